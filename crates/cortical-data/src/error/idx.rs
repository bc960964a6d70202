//! What can be wrong with the bytes of an IDX file.

/// What is wrong with an IDX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxDefect {
    /// The first two bytes of an IDX file are not zero.
    #[error("expected the two zero bytes an IDX file begins with, found {found:02x?}")]
    Magic {
        /// The two bytes.
        found: [u8; 2],
    },
    /// An IDX file holds elements of another type.
    #[error("expected element type 0x08 (unsigned bytes), found {found:#04x}")]
    Type {
        /// The type's code.
        found: u8,
    },
    /// An IDX file has another number of dimensions.
    #[error("expected {expected} dimension(s) for {what}, found {found}")]
    Dimensions {
        /// Images or labels.
        what: &'static str,
        /// How many dimensions such a file has.
        expected: u8,
        /// How many it says it has.
        found: u8,
    },
    /// A dimension of an IDX file is zero.
    #[error("expected a size of at least 1 for dimension {dimension}, found 0")]
    Empty {
        /// Which dimension, from 0.
        dimension: usize,
    },
    /// An IDX header claims more elements than any file that this crate reads.
    #[error("expected at most {limit} elements, found a header that claims {claimed:?}")]
    TooLarge {
        /// The most elements allowed.
        limit: u64,
        /// The sizes in the header.
        claimed: Vec<u32>,
    },
    /// An IDX file ends before what its header promises.
    #[error("expected {expected} bytes in all, found the end of the file")]
    Truncated {
        /// How many bytes it should have.
        expected: u64,
    },
    /// An IDX file goes on after what its header promises.
    #[error("expected the end of the file, found more bytes")]
    Trailing,
    /// A label in an IDX file is no class of the data set.
    #[error("expected a label below {expected}, found {found}")]
    Label {
        /// The number of classes.
        expected: usize,
        /// The label.
        found: u8,
    },
}
