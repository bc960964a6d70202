//! What can be wrong with a checkpoint.

/// Version of the format of checkpoints. A reader refuses newer ones.
pub const CHECKPOINT_VERSION: u64 = 4;

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The folder is there and one of its files is not.
    #[error("{file} is missing")]
    Missing {
        /// Name of the file.
        file: String,
    },
    /// A file has not the size it was written with.
    #[error("{file} has {got} bytes, {expected} were written")]
    Size {
        /// Name of the file.
        file: String,
        /// Bytes that were written.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// A file has not the content it was written with.
    #[error("{file} has not the content that was written: its checksum is wrong")]
    Checksum {
        /// Name of the file.
        file: String,
    },
    /// `state.json` is not what we write.
    #[error("state.json cannot be read: {source}")]
    State {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// `state.json` is something else.
    #[error("this is no checkpoint: state.json does not say that it is one")]
    NotACheckpoint,
    /// The folder's name and its content disagree.
    #[error("it holds step {got}; the folder was renamed")]
    Step {
        /// The step in `state.json`.
        got: u64,
    },
}
