//! What can go wrong with parameters and layers.

use candle_core::DType;

/// The result of a layer or of an access to parameters.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A broken rule of the parameter store or of a layer.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two parameters or buffers would have one name.
    #[error(
        "the name {name:?} is taken; build each layer at a place of its own (`params.at(\"…\")`)"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// There is no parameter or buffer of this name.
    #[error("there is no parameter or buffer {name:?}{}", .nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    UnknownName {
        /// The name.
        name: String,
        /// The most similar name there is.
        nearest: Option<String>,
    },
    /// A value has another shape than the parameter that it is for.
    #[error("{name:?} has shape {expected:?}, but the value has {got:?}")]
    ValueShape {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// A value has another dtype than the parameter that it is for.
    #[error(
        "{name:?} has dtype {expected:?}, but the value has {got:?}; convert it with `to_dtype`"
    )]
    ValueDType {
        /// The parameter.
        name: String,
        /// Its dtype.
        expected: DType,
        /// The dtype that came.
        got: DType,
    },
    /// A parameter would have more elements than memory can address, or than its store may hold.
    #[error("{name:?} of shape {shape:?} is too large to address or to hold")]
    TooLarge {
        /// The parameter.
        name: String,
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// `backward` needs one number to differentiate.
    #[error(
        "backward needs a loss of one element, but it has shape {got:?}; reduce it with `mean_all` or `sum_all`"
    )]
    LossNotScalar {
        /// The shape that came.
        got: Vec<usize>,
    },
    /// The loss does not depend on any variable.
    #[error(
        "the loss depends on no parameter; compute it with `Pass::train`, and let a layer of your own read its parameters by `Param::tracked` or `Param::input`, not by `Param::tensor`"
    )]
    LossNotTracked,
    /// Trainable parameters that the loss does not depend on.
    #[error("no gradient reached {}; if that is meant, freeze {} or use `backward_partial` (a layer of your own reads parameters by `Param::tracked`, not by `Param::tensor`)", .names.join(", "), if .names.len() == 1 { "it" } else { "them" })]
    MissingGradient {
        /// The parameters, in the order of the store.
        names: Vec<String>,
    },
    /// An option of a layer is outside its range.
    #[error("{option} must be {expected}, but is {got}")]
    Option {
        /// Which option.
        option: &'static str,
        /// The range in words.
        expected: &'static str,
        /// The value that came.
        got: String,
    },
    /// A layer that does not say what it is made of.
    #[error("this layer does not describe itself; implement `Layer::describe` for it")]
    NotDescribed,
    /// Where first values come from could not give one.
    #[error("the value of {name:?}: {source}")]
    Source {
        /// The parameter.
        name: String,
        /// What the source says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Weights that cannot be changed were asked to.
    #[error("{name:?} is {what}, so it cannot be {asked}; load the model with weights in f32")]
    Fixed {
        /// The layer.
        name: String,
        /// How its weights are stored.
        what: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// An error inside a layer.
    #[error("in layer {layer:?}: {source}")]
    InLayer {
        /// The layer's place in the network.
        layer: String,
        /// What went wrong there.
        source: Box<Error>,
    },
    /// An operation refused.
    #[error(transparent)]
    Op(#[from] cortical_tensor::Error),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The same error with the layer it happened in, unless it names one already.
    #[must_use]
    pub fn in_unnamed_layer(self, layer: &str) -> Self {
        match self {
            Self::InLayer { .. } => self,
            _ => self.in_layer(layer),
        }
    }

    /// The same error, with the layer it happened in.
    #[must_use]
    pub fn in_layer(self, layer: &str) -> Self {
        Self::InLayer {
            layer: layer.to_string(),
            source: Box::new(self),
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Op(error.into())
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Op(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}
