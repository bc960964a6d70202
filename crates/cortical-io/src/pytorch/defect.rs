//! What can be wrong with a file of PyTorch's.

use crate::{ArchiveDefect, Defect, PickleDefect, limits};

/// Why a file of PyTorch's is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PytorchDefect {
    /// It is none of the three forms that `torch.save` has had.
    #[error(
        "it begins like nothing that torch.save writes: neither a zip archive, nor a pickle with PyTorch's mark, nor a tar archive"
    )]
    Form,
    /// Its archive is wrong.
    #[error(transparent)]
    Archive(#[from] ArchiveDefect),
    /// A pickle in it is wrong.
    #[error(transparent)]
    Pickle(#[from] PickleDefect),
    /// It is a program, not a table of tensors.
    #[error(
        "it is a TorchScript program, which is not run; in Python, torch.save(torch.jit.load(path).state_dict(), …)"
    )]
    TorchScript,
    /// Its bytes are in the order of another kind of processor.
    #[error(
        "its numbers are in {got} order; only little-endian ones are read: save it again on another machine"
    )]
    ByteOrder {
        /// The order that it says.
        got: String,
    },
    /// A part of the frame around the tensors is not what the form prescribes.
    #[error("{what} is not what torch.save writes; it is damaged or made by hand")]
    Frame {
        /// Which part.
        what: &'static str,
    },
    /// A tensor is not described as PyTorch does.
    #[error(
        "tensor {name:?} is described by something else than storage, place, shape and strides"
    )]
    Description {
        /// Its name.
        name: String,
    },
    /// A tensor has numbers of a type that is not read.
    #[error(
        "tensor {name:?} has elements of type {got}, which are not read; in Python, save it as real numbers (torch.view_as_real, dequantize)"
    )]
    Type {
        /// Its name.
        name: String,
        /// PyTorch's name of the type.
        got: &'static str,
    },
    /// A tensor's numbers would have to be changed when they are read.
    #[error(
        "tensor {name:?} is stored conjugated or negated; in Python, save its .resolve_conj().resolve_neg()"
    )]
    Lazy {
        /// Its name.
        name: String,
    },
    /// The numbers of a tensor are not in the file.
    #[error("the numbers of tensor {name:?}, storage {key:?}, are not in the file")]
    NoStorage {
        /// The tensor's name.
        name: String,
        /// The storage's.
        key: String,
    },
    /// A tensor reaches behind its storage.
    #[error(
        "tensor {name:?} of shape {shape:?} with strides {strides:?} from element {offset} on reaches behind its storage of {storage} elements"
    )]
    Outside {
        /// Its name.
        name: String,
        /// Its dimensions.
        shape: Vec<u64>,
        /// Elements from one to the next along each.
        strides: Vec<u64>,
        /// Its first element in the storage.
        offset: u64,
        /// Elements of the storage.
        storage: u64,
    },
    /// Views that repeat the same few numbers very often.
    #[error(
        "tensor {name:?} makes {bytes} bytes out of a file of {file}: it repeats its numbers; in Python, save .clone() of a part"
    )]
    Repeats {
        /// Its name.
        name: String,
        /// Bytes of it, or of all up to it.
        bytes: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// Tables in tables without end.
    #[error("its tables and lists are nested too deeply or contain each other")]
    Nested,
    /// A name, a rank or a number of tensors that is not accepted in any file.
    #[error(transparent)]
    Tensor(Defect),
    /// There is no tensor.
    #[error(
        "it has no tensors; names of at most {} bytes in tables and lists are looked at",
        limits::NAME_BYTES
    )]
    Empty,
}
