//! What can be wrong with a network's description.

use crate::fields::FieldError;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A description that gives no network, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer cannot be built.
    #[error(transparent)]
    Build(#[from] cortical_neuron::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A description kept in a model file is no JSON of a list of layers.
    #[error("the description of the network is damaged: {why}")]
    Description {
        /// What the reader says.
        why: serde_json::Error,
    },
    /// A layer gets an input that it cannot take.
    #[error("layer {index} ({layer}) expects {expected}, but gets {got:?}; {advice}")]
    LayerInput {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
        /// The shape in words.
        expected: String,
        /// The shape of a sample that came.
        got: Vec<usize>,
        /// What to do.
        advice: &'static str,
    },
    /// Two layers have one name, so that their parameters would be the same.
    #[error("layers {first} and {second} are both called {name:?}; give one of them another name")]
    DuplicateName {
        /// The name.
        name: String,
        /// The place of the first, from 1.
        first: usize,
        /// The place of the second, from 1.
        second: usize,
    },
    /// What leaves the last layer is no score for each class.
    #[error(
        "the network ends with shape {got:?}, but must end with one score for each of the {classes} classes; let its last layer be {{ linear = \"classes\" }}"
    )]
    Output {
        /// The number of classes.
        classes: usize,
        /// The shape of a sample after the last layer.
        got: Vec<usize>,
    },
    /// A layer would have more parameters or outputs than can be addressed.
    #[error("layer {index} ({layer}) is too large to address")]
    TooLarge {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
    },
    /// A sample needs at least one value.
    #[error("the input shape {got:?} has no value; expected sizes of at least 1")]
    InputShape {
        /// The shape.
        got: Vec<usize>,
    },
}
