//! What can be wrong with a GGUF file.

use crate::limits;

/// What is wrong with the content of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufDefect {
    /// The first four bytes are not those of the format.
    #[error("it does not begin with the letters GGUF")]
    Magic,
    /// A version that is not read.
    #[error("it is of version {got}; versions 2 and 3 in little-endian order are read")]
    Version {
        /// The version.
        got: u32,
    },
    /// The file ends in the middle of something.
    #[error(
        "{what} needs {expected} bytes at byte {at}, but the file ends after {left}; it is cut short: copy or download it again"
    )]
    Cut {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        at: u64,
        /// The bytes that it needs.
        expected: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// A count that cannot be, given the size of the file.
    #[error(
        "it says that there are {got} {what}, for which the {left} bytes that follow are not enough"
    )]
    Count {
        /// Of what.
        what: &'static str,
        /// The count.
        got: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    Text {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        at: u64,
    },
    /// A kind of value that the format does not have.
    #[error("the value of {key:?} is of kind {got}, which is not known")]
    Kind {
        /// Its key.
        key: String,
        /// The number of the kind.
        got: u32,
    },
    /// A list of lists.
    #[error("the value of {key:?} is a list of lists, which is not read")]
    Nested {
        /// Its key.
        key: String,
    },
    /// A key or a tensor's name that stands twice.
    #[error("the name {name:?} appears twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that is empty, too long or has control characters.
    #[error(
        "{name:?} is not a name: 1 to {} bytes without control characters",
        limits::NAME_BYTES
    )]
    Name {
        /// The name, or its beginning.
        name: String,
    },
    /// Where tensors may begin makes no sense.
    #[error("general.alignment is {got}; expected a power of two from 1 to 65536")]
    Alignment {
        /// The alignment.
        got: u64,
    },
    /// A tensor with too many dimensions, or too large to count.
    #[error(
        "tensor {name:?} has dimensions {got:?}; expected at most four whose product can be counted"
    )]
    Dimensions {
        /// Its name.
        name: String,
        /// Its dimensions, innermost first as in the file.
        got: Vec<u64>,
    },
    /// A type of elements that is not read.
    #[error(
        "tensor {name:?} has elements of type {}; read are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS: convert the file to one of them",
        type_name(*.got)
    )]
    Type {
        /// Its name.
        name: String,
        /// The number of the type.
        got: u32,
    },
    /// A row that is no whole number of blocks.
    #[error("tensor {name:?} has rows of {got} elements, which are no whole blocks of {block}")]
    Blocks {
        /// Its name.
        name: String,
        /// Elements of a row.
        got: u64,
        /// Elements of a block.
        block: u64,
    },
    /// A tensor that lies outside the file, or not where tensors may begin, or over another.
    #[error("tensor {name:?} lies at byte {start} with {bytes} bytes, {why}")]
    Place {
        /// Its name.
        name: String,
        /// Where it begins, counted from the first tensor.
        start: u64,
        /// Its bytes.
        bytes: u64,
        /// What is wrong with that.
        why: &'static str,
    },
}

/// llama.cpp's name of a type that is not read.
fn type_name(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        other => return format!("number {other}"),
    };
    name.to_owned()
}
