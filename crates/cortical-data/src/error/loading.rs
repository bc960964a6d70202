//! What can be wrong with drawing samples and making batches of them.

use std::io;

/// Why batches cannot be made as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadDefect {
    /// The operating system gave no thread.
    #[error("no thread could be started to prepare batches ahead: {why}; set train.prefetch to 0")]
    Thread {
        /// What the operating system says.
        why: io::Error,
    },
    /// Weights to draw samples by that are no weights.
    #[error("weight {index}: expected {expected}, found {found}")]
    Weight {
        /// Which one.
        index: usize,
        /// What weights are.
        expected: &'static str,
        /// The weight.
        found: f64,
    },
    /// Another number of weights than of samples.
    #[error("expected {expected} weights, one for each sample, found {found}")]
    WeightCount {
        /// How many samples there are.
        expected: usize,
        /// How many weights came.
        found: usize,
    },
    /// A batch size of zero.
    #[error("expected a batch size of at least 1, found 0")]
    BatchSize,
    /// An epoch without a batch.
    #[error("expected at least {expected} sample(s) for one batch, found {found}")]
    NoBatches {
        /// The samples that one batch needs.
        expected: usize,
        /// The samples that there are.
        found: usize,
    },
    /// A position in another loader's data.
    #[error(
        "expected a position with a batch below {expected}, found {found}; it was saved with other data or another batch size"
    )]
    Position {
        /// The number of batches in an epoch.
        expected: u64,
        /// The batch of the position.
        found: u64,
    },
}
