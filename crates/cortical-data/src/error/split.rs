//! What can be wrong with a division of samples into parts.

/// Why samples cannot be divided into parts as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitDefect {
    /// A number of folds that samples cannot be dealt into.
    #[error(
        "expected from 2 to {samples} folds and a fold below their number, found fold {fold} of {folds}"
    )]
    Folds {
        /// How many folds were asked for.
        folds: usize,
        /// Which one.
        fold: usize,
        /// How many samples there are.
        samples: usize,
    },
    /// A held-out part outside 0..1.
    #[error("expected a test fraction above 0 and below 1, found {found}")]
    TestFraction {
        /// The fraction.
        found: f64,
    },
    /// A split that leaves one side without samples.
    #[error(
        "expected at least one sample for training and one for testing, but {samples} samples in {classes} classes leave {train} and {test}; add samples or change the test fraction"
    )]
    EmptyTest {
        /// How many samples there are.
        samples: usize,
        /// How many classes have samples.
        classes: usize,
        /// How many samples training would get.
        train: usize,
        /// How many samples testing would get.
        test: usize,
    },
    /// A validation part outside 0..1.
    #[error("expected a validation fraction of at least 0 and below 1, found {found}")]
    ValidFraction {
        /// The fraction.
        found: f64,
    },
    /// A validation part that leaves one side without samples.
    #[error(
        "expected at least one sample for training and one for validation, but {samples} samples in {classes} classes leave {train} and {valid}; add samples or change the validation fraction"
    )]
    EmptyValidation {
        /// How many samples there are beside the test part.
        samples: usize,
        /// How many classes have samples.
        classes: usize,
        /// How many samples training would get.
        train: usize,
        /// How many samples validation would get.
        valid: usize,
    },
}
