//! What can go wrong while measuring.

/// The result of a step or of a measurement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a workload or of the machinery around it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No workload's name contains this.
    #[error("no workload's name contains {got:?}; there are {}", .known.join(", "))]
    UnknownName {
        /// What was asked for.
        got: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// An option of the command line that is none.
    #[error("{got} is no option; usage: workloads [--threads N] [--list | --turns] [NAME…]")]
    UnknownOption {
        /// The option.
        got: String,
    },
    /// `--threads` without a number of threads.
    #[error("--threads takes a number from 1 to 1024, but was given {got:?}")]
    Threads {
        /// What was given.
        got: String,
    },
    /// A checksum that is non-finite: something was computed wrongly, so its time means nothing.
    #[error(
        "{bench}: the checksum is {got}, so the results are wrong and their time means nothing"
    )]
    Checksum {
        /// The workload.
        bench: String,
        /// The checksum.
        got: f64,
    },
    /// A run that ended before its first step.
    #[error("{bench}: no step was asked for, so there is no time")]
    NoSteps {
        /// The workload.
        bench: String,
    },
    /// `--turns` with several workloads or none.
    #[error("--turns takes turns with one workload, but the names given pick {got}")]
    Turns {
        /// How many they pick.
        got: usize,
    },
    /// A folder for files could not be made.
    #[error("cannot make a temporary folder: {0}")]
    Folder(#[source] std::io::Error),
    /// A layer or the parameters refused.
    #[error(transparent)]
    Neuron(#[from] cortical_neuron::Error),
    /// An operation refused.
    #[error(transparent)]
    Tensor(#[from] cortical_tensor::Error),
    /// candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An optimizer refused.
    #[error(transparent)]
    Optim(#[from] cortical_optim::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] cortical_io::Error),
    /// There were no threads to be had.
    #[error(transparent)]
    Train(Box<cortical_train::Error>),
}

impl From<cortical_train::Error> for Error {
    fn from(error: cortical_train::Error) -> Self {
        Self::Train(Box::new(error))
    }
}

impl Error {
    /// Whether the person at the command line can mend it by typing something else.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownName { .. }
                | Self::UnknownOption { .. }
                | Self::Threads { .. }
                | Self::Turns { .. }
        )
    }
}
