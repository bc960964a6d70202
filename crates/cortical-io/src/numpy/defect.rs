//! What can be wrong with a file of NumPy's.

use crate::{ArchiveDefect, Defect};

/// Why a file of NumPy's is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NumpyDefect {
    /// The archive of a `.npz` file is wrong.
    #[error(transparent)]
    Archive(#[from] ArchiveDefect),
    /// It does not begin as an array does.
    #[error(
        "{what} does not begin with NumPy's mark, a version from 1 to 3 and a head that fits into it"
    )]
    Head {
        /// The file, or the one in the archive.
        what: String,
    },
    /// The head of an array is not the table of Python's that NumPy writes.
    #[error("the head of {what} is not NumPy's table of descr, fortran_order and shape: {why}")]
    Table {
        /// The file, or the one in the archive.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Elements of a type that is not read.
    #[error(
        "{what} has elements of type {got:?}, which are not read: little-endian numbers and booleans are; in Python, use .astype"
    )]
    Type {
        /// The file, or the one in the archive.
        what: String,
        /// NumPy's name of the type.
        got: String,
    },
    /// The array is not as large as its head says.
    #[error(
        "{what} has {got} bytes behind its head, its shape and type need {expected}; it is cut short or damaged"
    )]
    Size {
        /// The file, or the one in the archive.
        what: String,
        /// Bytes that are needed.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// A name or a shape that is not accepted in any file.
    #[error(transparent)]
    Tensor(Defect),
}
