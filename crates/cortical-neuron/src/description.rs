//! What a layer is made of and what it costs, in numbers and in words.

use crate::{Error, Param, Result};
use cortical_kernels::activation::{Activation, Saves};

/// A layer in numbers and in words: what `inspect` and `plan` print.
///
/// Costs are those of one sample, without its place in a batch.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The kind of layer, such as `Linear`.
    pub kind: &'static str,
    /// Its place in the network, empty where it has none.
    pub name: String,
    /// Which neuron reads which inputs.
    pub reads: String,
    /// How many parameters there are.
    pub parameters: usize,
    /// How that number comes about, such as `out·in + out = 3·4 + 3`; empty without parameters.
    pub formula: String,
    /// The shape of the output for one sample.
    pub output: Vec<usize>,
    /// Whether the layer's neurons stand along the first axis of that shape, as channels do, not along the last.
    pub channels_first: bool,
    /// What each neuron does with its sum.
    pub activation: Activation,
    /// Pairs of an input and a neuron that reads it, pruned ones not counted.
    pub connections: u64,
    /// Multiplications with the addition that follows each, of products with weights and of attention: what
    /// `cortical_tensor::multiply_adds_of` counts. Norms, activations, gates and pools do not count.
    pub multiply_adds: u64,
    /// Whether the output is the input itself in another shape, which takes no memory of its own.
    pub is_view: bool,
    /// Elements that a training keeps of a sample for the way back, tensor by tensor, beside the output and beside what
    /// the parts keep.
    pub keeps: Vec<u64>,
    /// The layers inside.
    pub parts: Vec<Description>,
}

impl Description {
    /// A layer without parameters whose output has the shape of its input.
    #[must_use]
    pub fn new(kind: &'static str, name: &str, sample: &[usize]) -> Self {
        Self {
            kind,
            name: name.to_string(),
            output: sample.to_vec(),
            ..Self::default()
        }
    }

    /// Which neuron reads which inputs.
    #[must_use]
    pub fn reads(mut self, words: impl Into<String>) -> Self {
        self.reads = words.into();
        self
    }

    /// The shape of the output for one sample.
    #[must_use]
    pub fn output(mut self, shape: &[usize]) -> Self {
        self.output = shape.to_vec();
        self
    }

    /// The output is the input in another shape.
    #[must_use]
    pub fn view(mut self) -> Self {
        self.is_view = true;
        self
    }

    /// A training keeps tensors of so many elements for the way back as well, beside the output.
    #[must_use]
    pub fn keeping(mut self, elements: impl IntoIterator<Item = u64>) -> Self {
        self.keeps.extend(elements);
        self
    }

    /// A training keeps the sums before this activation as well, if its derivative needs them.
    #[must_use]
    pub fn keeping_sums_of(self, activation: Activation) -> Self {
        let elements = product(&self.output);
        self.keeping((activation.saves() == Saves::Input).then_some(elements))
    }

    /// The layers inside that have no layers inside, in the order in which they run.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Self> {
        match self.parts.is_empty() {
            true => vec![self],
            false => self.parts.iter().flat_map(Self::leaves).collect(),
        }
    }

    /// Elements of each tensor that a training keeps of a sample for the way back.
    #[must_use]
    pub fn kept(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.parts.iter().flat_map(Self::kept).collect();
        all.extend(&self.keeps);
        if self.parts.is_empty() && !self.is_view {
            all.push(product(&self.output));
        }
        all
    }

    /// That the neurons are channels, which stand along the first axis of the output.
    #[must_use]
    pub fn channels_first(mut self) -> Self {
        self.channels_first = true;
        self
    }

    /// What each neuron does with its sum; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The number of parameters and how it comes about.
    #[must_use]
    pub fn parameters<'a>(
        mut self,
        params: impl IntoIterator<Item = &'a Param>,
        formula: impl Into<String>,
    ) -> Self {
        self.parameters = params.into_iter().map(Param::count).sum();
        self.formula = formula.into();
        self
    }

    /// As many connections and multiply-adds, if nothing is pruned.
    #[must_use]
    pub fn costs(mut self, connections: u64, multiply_adds: u64) -> Self {
        self.connections = connections;
        self.multiply_adds = multiply_adds;
        self
    }

    /// Every element of `weight` used so many times: as many multiply-adds, and as many connections as are not pruned.
    ///
    /// # Errors
    /// candle's, when the weight's mask cannot be read.
    pub fn uses(mut self, weight: &Param, times: usize) -> Result<Self> {
        let connections = product(&[weight.unpruned()?, times]);
        self.connections = self.connections.saturating_add(connections);
        let all = product(&[weight.count(), times]);
        self.multiply_adds = self.multiply_adds.saturating_add(all);
        Ok(self)
    }

    /// A network of parts whose output is the last one's: parameters and costs are sums.
    #[must_use]
    pub fn of_parts(kind: &'static str, name: &str, parts: Vec<Self>, output: &[usize]) -> Self {
        let sum = |f: fn(&Self) -> u64| parts.iter().map(f).fold(0, u64::saturating_add);
        Self {
            kind,
            name: name.to_string(),
            reads: "layer after layer".to_string(),
            parameters: parts.iter().map(|p| p.parameters).sum(),
            formula: "the sum of its parts".to_string(),
            output: output.to_vec(),
            channels_first: parts.last().is_some_and(|part| part.channels_first),
            activation: parts.last().map(|part| part.activation).unwrap_or_default(),
            connections: sum(|p| p.connections),
            multiply_adds: sum(|p| p.multiply_adds),
            is_view: false,
            keeps: Vec::new(),
            parts,
        }
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.name.is_empty() { "" } else { " " };
        write!(f, "{}{name}{} -> {:?}: ", self.kind, self.name, self.output)?;
        if self.parameters == 0 {
            f.write_str("no parameters")?;
        } else {
            write!(f, "{} parameters ({})", self.parameters, self.formula)?;
        }
        let (connections, operations) = (self.connections, self.multiply_adds);
        write!(
            f,
            ", {connections} connections, {operations} multiply-adds a sample"
        )?;
        if !self.reads.is_empty() {
            write!(f, "; {}", self.reads)?;
        }
        for part in &self.parts {
            for line in part.to_string().lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// The product of sizes as a count of operations, no further than `u64` goes.
#[must_use]
pub fn product(sizes: &[usize]) -> u64 {
    let sizes = sizes.iter().map(|n| u64::try_from(*n).unwrap_or(u64::MAX));
    sizes.fold(1, u64::saturating_mul)
}

/// The error of a sample of another shape than a layer describes itself for.
#[must_use]
pub fn wrong_sample(op: &'static str, expected: impl Into<String>, sample: &[usize]) -> Error {
    Error::Op(cortical_tensor::Error::Shape {
        op,
        argument: "sample",
        expected: expected.into(),
        got: sample.to_vec(),
    })
}
