//! What can go wrong when a network is pruned.

use std::path::PathBuf;

/// What a function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network cannot be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neurons are to be removed, and no layer has some that may go.
    #[error(
        "no neurons of this network can be removed: its inputs and the scores of its classes have to stay; prune weights instead (--sparsity)"
    )]
    NoNeurons,
    /// A network cannot be made as fast as it is to be.
    #[error(
        "the target is not reached: the fastest network that was found takes {ms:.4} ms for {batch} at a time, {speedup:.2} times as fast as before; choose a slower target"
    )]
    Unreached {
        /// Samples at a time.
        batch: usize,
        /// Its time.
        ms: f64,
        /// How much faster it is.
        speedup: f64,
    },
    /// A linear layer has read nothing of the calibration text, or cannot be pruned.
    #[error(
        "{layer} has read nothing of the calibration text, so it is not known what its weights are worth"
    )]
    Unread {
        /// The layer.
        layer: String,
    },
    /// A tensor that a layer names is not there, or not as wide as the layer says.
    #[error("{tensor}: a layer says that axis {axis} has {expected} positions, found {found}")]
    Slice {
        /// The tensor.
        tensor: String,
        /// Its axis.
        axis: usize,
        /// What the layer says.
        expected: usize,
        /// What is there.
        found: String,
    },
    /// A folder has another run than the one that was asked for.
    #[error("{} holds another run; choose another folder", path.display())]
    OtherRun {
        /// The folder.
        path: PathBuf,
    },
    /// What is asked for cannot be done to this kind of model.
    #[error("{what} {}: {why}", path.display())]
    Unsuited {
        /// What was asked for.
        what: &'static str,
        /// The model.
        path: PathBuf,
        /// Why not, and what can be done.
        why: String,
    },
    /// A layer has no form in which it could be packed.
    #[error("{layer} cannot be packed: {why}")]
    Pack {
        /// The layer.
        layer: String,
        /// Why not.
        why: cortical_kernels::quantized::QuantizedError,
    },
    /// Networks.
    #[error(transparent)]
    Model(Box<cortical_models::Error>),
    /// Parameters and layers.
    #[error(transparent)]
    Neuron(#[from] cortical_neuron::Error),
    /// Files.
    #[error(transparent)]
    Io(#[from] cortical_io::Error),
    /// Recipes, runs and training.
    #[error(transparent)]
    Train(Box<cortical_train::Error>),
    /// Tensors.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
    /// Texts.
    #[error(transparent)]
    Text(#[from] cortical_text::Error),
}

impl Error {
    /// Whether something was asked for that makes no sense.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NoNeurons
            | Self::Unreached { .. }
            | Self::OtherRun { .. }
            | Self::Unsuited { .. } => true,
            Self::Train(error) => error.is_usage(),
            _ => false,
        }
    }
}

impl From<cortical_models::Error> for Error {
    fn from(error: cortical_models::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<cortical_train::Error> for Error {
    fn from(error: cortical_train::Error) -> Self {
        Self::Train(Box::new(error))
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}
