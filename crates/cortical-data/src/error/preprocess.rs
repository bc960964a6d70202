//! What can be wrong with preprocessing.

/// Why values cannot be preprocessed as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessDefect {
    /// Scaling to 0..1 was asked for, but nobody knows what the largest value can be.
    #[error(
        "expected data whose range of values is known (images), found columns of numbers; use normalize = \"standardize\""
    )]
    NoRange,
    /// Preprocessing with statistics that cannot be.
    #[error("preprocessing: expected {what} {expected}, found {found}")]
    Field {
        /// Which field.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
}
