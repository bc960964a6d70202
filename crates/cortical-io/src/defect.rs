//! What can be wrong with a safetensors file.

use crate::{Element, limits};

/// What is wrong with the content of a safetensors file.
///
/// Offsets count from the first byte behind the header, as in the header itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// There are not even the eight bytes with the header's length.
    #[error("it has {got} bytes, a file starts with 8 bytes that say how long its header is")]
    NoHeader {
        /// Size of the file in bytes.
        got: u64,
    },
    /// The header would not fit into the file.
    #[error(
        "its header should have {expected} bytes, {got} are there; the file is cut short or not safetensors"
    )]
    HeaderCut {
        /// Length that the file states.
        expected: u64,
        /// Bytes behind the statement.
        got: u64,
    },
    /// The header is longer than we read.
    #[error("its header has {got} bytes, the limit is {}", limits::HEADER_BYTES)]
    HeaderTooLong {
        /// Length of the header.
        got: u64,
    },
    /// The header is not the JSON that the format prescribes.
    #[error("its header is not what the format prescribes: {0}")]
    Json(#[source] serde_json::Error),
    /// There are more tensors than we read.
    #[error("it has more than {} tensors", limits::TENSORS)]
    TooManyTensors,
    /// A tensor's name is empty, too long, has control characters or could be a path out of a folder.
    #[error(
        "{name:?} is not a name for a tensor: 1 to {} bytes without control characters, `\\`, leading `/` or `..` as a part",
        limits::NAME_BYTES
    )]
    Name {
        /// The name, or its beginning.
        name: String,
    },
    /// A name appears twice, so that it is not known which tensor is meant.
    #[error("the name {name:?} appears twice")]
    Duplicate {
        /// The name of a tensor, of a field of the header or of the metadata.
        name: String,
    },
    /// A tensor's description lacks a field.
    #[error("tensor {name:?} has no {field:?}")]
    MissingField {
        /// Name of the tensor.
        name: String,
        /// The field that is missing.
        field: &'static str,
    },
    /// A tensor's description has a field that the format does not know.
    #[error("tensor {name:?} has an unknown field {field:?}; known are dtype, shape, data_offsets")]
    UnknownField {
        /// Name of the tensor.
        name: String,
        /// The unknown field.
        field: String,
    },
    /// A tensor has more dimensions than we read.
    #[error("tensor {name:?} has more than {} dimensions", limits::RANK)]
    Rank {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has elements of an unknown type.
    #[error(
        "tensor {name:?} has elements of type {got:?}; known are {}",
        Element::names()
    )]
    UnknownElement {
        /// Name of the tensor.
        name: String,
        /// The type.
        got: String,
    },
    /// The number of elements does not fit into the machine's numbers.
    #[error("tensor {name:?} of shape {shape:?} has more elements than can be counted")]
    TooManyElements {
        /// Name of the tensor.
        name: String,
        /// Its dimensions.
        shape: Vec<u64>,
    },
    /// A tensor's bytes are not as many as its shape and element type need.
    #[error(
        "tensor {name:?} of shape {shape:?} and type {element} needs {expected} bytes, its offsets are {start} to {end}"
    )]
    Span {
        /// Name of the tensor.
        name: String,
        /// Its dimensions.
        shape: Vec<usize>,
        /// Its element type.
        element: Element,
        /// Bytes that follow from both.
        expected: u64,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// The tensors that stand for a sparse weight do not fit together.
    #[error("the sparse weight {name:?} cannot be read: {why}")]
    Sparse {
        /// The weight's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Two tensors share bytes, or bytes lie between them that belong to none.
    #[error("tensor {name:?} starts at {got}, where the one before it ends at {expected}")]
    Gap {
        /// Name of the second tensor.
        name: String,
        /// Where the first ends and this one should start.
        expected: u64,
        /// Where it starts.
        got: u64,
    },
    /// The file does not end where its last tensor does.
    #[error("its tensors end at byte {expected} behind the header, the file at {got}; {}", cut_or_extended(.expected, .got))]
    Size {
        /// Bytes that all tensors need together.
        expected: u64,
        /// Bytes behind the header.
        got: u64,
    },
    /// Candle's element types of less than a byte have no place in a file.
    #[error("tensor {name:?} has elements {got:?}, which are not stored; convert it first")]
    Unstorable {
        /// Name of the tensor.
        name: String,
        /// Its type.
        got: candle_core::DType,
    },
}

/// What most likely happened to a file of the wrong size.
fn cut_or_extended(expected: &u64, got: &u64) -> &'static str {
    if got < expected {
        "it is cut short: copy or download it again"
    } else {
        "something was appended to it"
    }
}
