//! What can be wrong with the index of a model in several files.

use crate::limits;

/// What is wrong with the index of a model in several files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexDefect {
    /// It is longer than the header of a file may be.
    #[error("it has {got} bytes, the limit is {}", limits::HEADER_BYTES)]
    TooLong {
        /// Its size.
        got: u64,
    },
    /// It is not the JSON that an index is.
    #[error("it is not an object with a `weight_map`: {0}")]
    Json(#[source] serde_json::Error),
    /// A file's name is a path, or no name.
    #[error("{name:?} is not the name of a file beside it")]
    FileName {
        /// The name.
        name: String,
    },
    /// A file has a tensor that the index does not say it has.
    #[error(
        "{file} has a tensor {tensor:?} that is not listed there; the files are not of one model"
    )]
    NotListed {
        /// Name of the tensor.
        tensor: String,
        /// The file.
        file: String,
    },
    /// A file lacks a tensor that the index says it has.
    #[error(
        "{file} has no tensor {tensor:?}, which is listed there; the files are not of one model"
    )]
    NotThere {
        /// Name of the tensor.
        tensor: String,
        /// The file.
        file: String,
    },
}
