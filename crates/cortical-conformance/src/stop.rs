//! Why a case ends before it has passed: nobody knows how to run it, or something is wrong.

use cortical_testkit::Mismatch;

/// A case that did not pass: skipped with the reason, or failed with the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// Nothing of this kind and name is known to the runner.
    #[error("no {kind} called {name:?} is known")]
    UnknownSubject {
        /// The kind of the case.
        kind: String,
        /// PyTorch's name.
        name: String,
    },
    /// The subject is known, this value of one of its options is not.
    #[error("{option} = {value} is not known")]
    UnknownOption {
        /// PyTorch's name of the option, or the tensor that is given besides the inputs.
        option: String,
        /// Its value as JSON.
        value: String,
    },
    /// The file cannot be read, or is no case.
    #[error(transparent)]
    Unreadable(cortical_testkit::CaseError),
    /// Something of ours panicked, which is always a defect of ours.
    #[error("panicked: {what}")]
    Panicked {
        /// With which message.
        what: String,
    },
    /// The case lacks something that it must have, so its file is wrong.
    #[error("the case has no usable {what}")]
    Malformed {
        /// What is missing or of the wrong type.
        what: String,
    },
    /// A tensor that the case expects was not computed.
    #[error("{way}: {what} was not computed")]
    NotComputed {
        /// Which way of running the case.
        way: &'static str,
        /// The tensor.
        what: String,
    },
    /// The parameters of the layer have other names than those of PyTorch's.
    #[error("{way}: the parameters are {got:?}, expected {expected:?}")]
    ParameterNames {
        /// Which way of running the case.
        way: &'static str,
        /// PyTorch's names.
        expected: Vec<String>,
        /// Ours.
        got: Vec<String>,
    },
    /// A tensor has another shape than PyTorch's.
    #[error("{way}: {what} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// Which way of running the case.
        way: &'static str,
        /// The tensor.
        what: String,
        /// PyTorch's shape.
        expected: Vec<usize>,
        /// Ours.
        got: Vec<usize>,
    },
    /// A tensor has other values than PyTorch's.
    #[error("{way}: {what}: {mismatch}")]
    Values {
        /// Which way of running the case.
        way: &'static str,
        /// The tensor.
        what: String,
        /// By how much.
        mismatch: Mismatch,
    },
    /// A layer or operation refused.
    #[error("refused: {0}")]
    Refused(#[from] cortical_neuron::Error),
    /// An optimizer, a schedule or a limit refused.
    #[error("refused: {0}")]
    RefusedInTraining(#[from] cortical_optim::Error),
}

impl Stop {
    /// Whether the case was skipped, because the runner does not know what it asks for.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        matches!(
            self,
            Self::UnknownSubject { .. } | Self::UnknownOption { .. }
        )
    }
}

impl From<cortical_tensor::Error> for Stop {
    fn from(error: cortical_tensor::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl From<candle_core::Error> for Stop {
    fn from(error: candle_core::Error) -> Self {
        Self::Refused(error.into())
    }
}
