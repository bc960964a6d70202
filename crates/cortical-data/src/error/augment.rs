//! What can be wrong with random changes of pictures.

/// Why samples cannot be changed at random as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentDefect {
    /// A number that says how pictures are changed is outside its range.
    #[error("augment.{what}: expected {expected}, found {found}")]
    Field {
        /// The field.
        what: String,
        /// Its range.
        expected: String,
        /// The number.
        found: String,
    },
    /// Samples that are to be changed as pictures are none.
    #[error(
        "expected pictures of shape [channels, height, width] to augment, found samples of shape {found:?}"
    )]
    NotAPicture {
        /// The shape of the samples.
        found: Vec<usize>,
    },
}
