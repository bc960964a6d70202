//! Where a layer is built: the place of its parameters and the shape of a sample that enters.

use cortical_neuron::{Error as NeuronError, Scope};

use crate::error::{Error, Result};

/// Where a layer is built: the place of its parameters, the shape of a sample that enters, and what messages call it.
#[derive(Debug)]
pub struct Site<'a> {
    pub(crate) scope: Scope,
    pub(crate) input: &'a [usize],
    pub(crate) classes: usize,
    /// The layer's place in its list, from 1.
    pub(crate) index: usize,
    /// Kind and name.
    pub(crate) label: String,
    pub(crate) advice: &'static str,
}

impl Site<'_> {
    /// The place of the layer's parameters.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The shape of a sample that enters.
    #[must_use]
    pub fn input(&self) -> &[usize] {
        self.input
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The error of an input that the layer cannot take: what it expects in words, and what to do.
    #[must_use]
    pub fn wrong_input(&self, expected: impl Into<String>, advice: &'static str) -> Error {
        Error::LayerInput {
            index: self.index,
            layer: self.label.clone(),
            expected: expected.into(),
            got: self.input.to_vec(),
            advice,
        }
    }

    /// The channels of an input with so many axes behind them.
    ///
    /// # Errors
    /// An input of another rank.
    pub fn channels(&self, axes: usize) -> Result<usize> {
        let expected = match (self.input, axes) {
            ([channels, rest @ ..], _) if rest.len() == axes => return Ok(*channels),
            (_, 1) => "sequences [channels, length]",
            (_, 2) => "pictures [channels, height, width]",
            _ => "volumes [channels, depth, height, width]",
        };
        let advice = "use linear layers, or give the data such a shape (data.input_shape)";
        Err(self.wrong_input(expected, advice))
    }

    /// Steps and features of an input that is a sequence.
    ///
    /// # Errors
    /// An input of another rank.
    pub fn sequence(&self) -> Result<[usize; 2]> {
        self.input.try_into().map_err(|_| {
            let advice = "give the data such a shape (data.input_shape), or bring it there with unflatten or permute";
            self.wrong_input("sequences [steps, features]", advice)
        })
    }

    /// The features of a row, or of each step of a sequence.
    ///
    /// # Errors
    /// An input of three axes or more.
    pub fn features(&self) -> Result<usize> {
        match *self.input {
            [features] | [_, features] => Ok(features),
            _ => Err(self.wrong_input(
                "[features] or [steps, features]",
                "put \"flatten\" before it",
            )),
        }
    }

    /// The sizes of so many axes at the end.
    ///
    /// # Errors
    /// An input of fewer axes.
    pub fn trailing(&self, axes: usize) -> Result<&[usize]> {
        let first = self.input.len().checked_sub(axes);
        first
            .and_then(|first| self.input.get(first..))
            .ok_or_else(|| self.wrong_input(format!("at least {axes} axes"), self.advice))
    }

    /// Refuses a dimension that a sample does not have. Dimensions are counted with the batch, which is 0, or with a
    /// negative number from the end.
    ///
    /// # Errors
    /// The batch, or a dimension beyond the last.
    pub fn check_dimension(&self, dim: i64) -> Result<()> {
        let axes = i64::try_from(self.input.len()).unwrap_or(i64::MAX);
        if (1..=axes).contains(&dim) || (-axes..=-1).contains(&dim) {
            return Ok(());
        }
        let expected =
            format!("an input with dimension {dim}, counted from 1 or from the end with -1");
        Err(self.wrong_input(expected, self.advice))
    }

    /// The error of a layer that could not be built or described, with the layer's name.
    pub(crate) fn error(&self, error: Error) -> Error {
        match error {
            Error::Build(source) => self.layer_error(source),
            other => other,
        }
    }

    /// As [`error`](Self::error).
    pub(crate) fn layer_error(&self, mut error: NeuronError) -> Error {
        while let NeuronError::InLayer { source, .. } = error {
            error = *source;
        }
        match error {
            NeuronError::TooLarge { shape, .. } => self.too_large("parameters", &shape),
            NeuronError::Op(cortical_tensor::Error::Shape {
                argument: "sample",
                expected,
                ..
            }) => self.wrong_input(expected, self.advice),
            source => Error::Layer {
                index: self.index,
                layer: self.label.clone(),
                source: Box::new(source),
            },
        }
    }

    /// Refuses an output without elements, one that cannot be addressed, and, before anything is allocated, one that
    /// does not fit into memory.
    pub(crate) fn check_output(&self, output: &[usize]) -> Result<()> {
        if output.contains(&0) {
            let expected = "an input that is large enough for one output";
            return Err(self.wrong_input(expected, self.advice));
        }
        let params = self.scope.params();
        let limit = match params.is_dry() {
            true => params.limit(),
            false => isize::MAX as usize / size_of::<f32>(),
        };
        match elements(output) {
            Some(count) if count <= limit => Ok(()),
            _ => Err(self.too_large("outputs", output)),
        }
    }

    /// The error of a shape that cannot be addressed, or that this machine cannot hold.
    fn too_large(&self, what: &'static str, shape: &[usize]) -> Error {
        let (index, layer) = (self.index, self.label.clone());
        match elements(shape) {
            Some(elements) if self.scope.params().is_dry() => Error::Memory {
                index,
                layer,
                elements,
                what,
                memory: self.scope.params().limit().saturating_mul(size_of::<f32>()),
            },
            _ => Error::TooLarge { index, layer },
        }
    }
}

/// The elements of a shape, if they can be addressed as 32-bit numbers.
fn elements(shape: &[usize]) -> Option<usize> {
    let count = shape
        .iter()
        .try_fold(1_usize, |count, size| count.checked_mul(*size));
    count.filter(|count| *count <= isize::MAX as usize / size_of::<f32>())
}
