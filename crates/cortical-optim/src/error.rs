//! What can go wrong in an optimizer.

use candle_core::DType;

/// The result of an optimizer, a schedule or a clipping.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A broken rule: what was expected, what came, what to do.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter is outside its range.
    #[error("{algorithm}: {option} must be {expected}, but is {got}")]
    Hyperparameter {
        /// The optimizer or function.
        algorithm: &'static str,
        /// Which hyperparameter.
        option: String,
        /// The range in words.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// A field of a schedule is outside its range.
    #[error("schedule: {field} must be {expected}, but is {got}")]
    Schedule {
        /// Which field.
        field: String,
        /// The range in words.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// Trainable parameters have no gradient.
    #[error(
        "no gradient for {}; call `params.backward` before the step, freeze what is not to be trained, or let the optimizer skip it (`MissingGradient::Skip`)",
        .names.join(", ")
    )]
    MissingGradient {
        /// The parameters, in the order of the store.
        names: Vec<String>,
    },
    /// A gradient does not fit its parameter.
    #[error("{name}: the parameter is {expected}, but its gradient is {got}")]
    Gradient {
        /// The parameter.
        name: String,
        /// Shape and dtype of the parameter.
        expected: String,
        /// Shape and dtype of the gradient.
        got: String,
    },
    /// A parameter has a dtype that is not trained.
    #[error("{name}: dtype {got:?} cannot be trained; use f32, f64, f16 or bf16")]
    DType {
        /// The parameter.
        name: String,
        /// Its dtype.
        got: DType,
    },
    /// An algorithm is not made for a parameter of this shape.
    #[error(
        "{name}: {algorithm} moves matrices only, and the shape is {got:?}; say how AdamW is to move the others (`others`), or freeze it"
    )]
    Shape {
        /// The optimizer.
        algorithm: &'static str,
        /// The parameter.
        name: String,
        /// Its shape.
        got: Vec<usize>,
    },
    /// A schedule is to move a momentum that the algorithm does not have.
    #[error("{algorithm} has no momentum that a schedule could move")]
    NoMomentum {
        /// The optimizer.
        algorithm: &'static str,
    },
    /// One variable was adopted under two names, and would be changed twice a step.
    #[error("{first} and {second} are the same variable; adopt it once")]
    SharedVariable {
        /// The name that came first.
        first: String,
        /// The other name.
        second: String,
    },
    /// The network got parameters after its optimizer was made.
    #[error(
        "the optimizer does not know {}; make it after the network is complete",
        .names.join(", ")
    )]
    NewParameters {
        /// The parameters.
        names: Vec<String>,
    },
    /// A group matches no parameter: a mistake in its rule.
    #[error(
        "group {group:?} matches none of {count} parameters; check its rule against their names"
    )]
    EmptyGroup {
        /// The group.
        group: String,
        /// How many parameters there are.
        count: usize,
    },
    /// A state that is to be loaded does not fit; nothing was changed.
    #[error("the state does not fit this optimizer: {}", list(.mismatches))]
    State {
        /// Everything that does not fit.
        mismatches: Vec<Mismatch>,
    },
    /// The norm of the gradients is infinite or NaN; they were left as they are.
    #[error(
        "the norm of the gradients is {norm}, because of {name}: skip this step or lower the learning rate"
    )]
    NotFinite {
        /// The first parameter with such a gradient, or the one with the largest.
        name: String,
        /// The norm.
        norm: f64,
    },
    /// Averaged weights are in the place of the trained ones, or are not when they should be.
    #[error("{operation} needs the {expected} weights in the network; call `{remedy}` first")]
    Swapped {
        /// What was asked for.
        operation: &'static str,
        /// Which weights should be there.
        expected: &'static str,
        /// The method that puts them there.
        remedy: &'static str,
    },
    /// The parameter store refused.
    #[error(transparent)]
    Params(#[from] cortical_neuron::Error),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Params(error.into())
    }
}

impl From<cortical_tensor::Error> for Error {
    fn from(error: cortical_tensor::Error) -> Self {
        Self::Params(error.into())
    }
}

/// One thing that does not fit when a state is loaded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// An entry that the optimizer needs is not there.
    #[error("{name} is missing")]
    Missing {
        /// The entry.
        name: String,
    },
    /// An entry belongs to no parameter or no state of this optimizer.
    #[error("{name} belongs to nothing here")]
    Unknown {
        /// The entry.
        name: String,
    },
    /// An entry is there twice.
    #[error("{name} is there twice")]
    Twice {
        /// The entry.
        name: String,
    },
    /// An entry has another shape.
    #[error("{name} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// The entry.
        name: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An entry has another dtype.
    #[error("{name} has dtype {got:?}, expected {expected:?}")]
    DType {
        /// The entry.
        name: String,
        /// The dtype that fits.
        expected: DType,
        /// The dtype that came.
        got: DType,
    },
    /// A number of steps is below zero.
    #[error("{name} is {got}, expected a number of steps from 0 up")]
    Steps {
        /// The entry.
        name: String,
        /// The number that came.
        got: i64,
    },
}

fn list(mismatches: &[Mismatch]) -> String {
    let lines: Vec<String> = mismatches.iter().map(Mismatch::to_string).collect();
    lines.join("; ")
}

impl Error {
    /// A field of a schedule that breaks its rule.
    pub(crate) fn schedule(broken: cortical_settings::Broken) -> Self {
        Self::Schedule {
            field: broken.field,
            expected: broken.expected,
            got: broken.found,
        }
    }
}
