//! What can go wrong with files, one variant a broken invariant.

use std::path::{Path, PathBuf};

use crate::checkpoint::{CHECKPOINT_VERSION, Damage};
use crate::{Defect, Difference, Element, GgufDefect, IndexDefect, NumpyDefect, PytorchDefect};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file, checkpoint or run folder could not be read, written or used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read the file or folder.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process works in the run folder.
    #[error("{folder} is in use by another process; wait for it, stop it, or choose another folder", folder = folder.display())]
    Locked {
        /// Which folder.
        folder: PathBuf,
    },
    /// The run folder cannot be locked.
    #[error("cannot lock {folder}: {source}", folder = folder.display())]
    Lock {
        /// Which folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no checkpoint of this step.
    #[error("{path} has no checkpoint of step {step}", path = path.display())]
    NoCheckpoint {
        /// The folder of checkpoints.
        path: PathBuf,
        /// The step asked for.
        step: u64,
    },
    /// The checkpoint is not what was written.
    #[error("{path} is damaged: {damage}", path = path.display())]
    Damaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        damage: Damage,
    },
    /// The checkpoint was written by a newer version of this crate.
    #[error(
        "{path} is a checkpoint of version {version}, this program knows {CHECKPOINT_VERSION}; use a newer version of it",
        path = path.display()
    )]
    NewerCheckpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// The operating system could not write the file or folder.
    #[error("cannot write {path}: {source}; what was there before is unchanged", path = path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the operating system, or the code that makes the content, said.
        source: std::io::Error,
    },
    /// The file was written, but may be lost if the power fails now.
    #[error("{path} was written, but the system does not say that it is on the disk: {source}", path = path.display())]
    NotDurable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The path is a folder, a device or a pipe where a file is wanted.
    #[error("{path} is not a regular file; give the path of a file", path = path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
    /// The file is not a safetensors file that we accept.
    #[error("{path} is not a usable safetensors file: {defect}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
    /// The index of a model in several files is wrong, or does not fit the files.
    #[error("{path} is not a usable index: {defect}", path = path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        defect: IndexDefect,
    },
    /// The file is not a GGUF file that we accept.
    #[error("{path} is not a usable GGUF file: {defect}", path = path.display())]
    Gguf {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        defect: GgufDefect,
    },
    /// The file is not one of PyTorch's that we accept.
    #[error("{path} is not a usable PyTorch file: {defect}", path = path.display())]
    Pytorch {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        defect: Box<PytorchDefect>,
    },
    /// The file is not one of NumPy's that we accept.
    #[error("{path} is not a usable NumPy file: {defect}", path = path.display())]
    Numpy {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        defect: Box<NumpyDefect>,
    },
    /// A text file is larger than what it should hold can be.
    #[error("{path} has {got} bytes, the limit is {limit}", path = path.display())]
    TextTooLong {
        /// Which file.
        path: PathBuf,
        /// Its size.
        got: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A text file is not UTF-8.
    #[error(
        "{path} is not UTF-8 text: line {line} has a byte that is none, byte {at} of the file counted from 0; convert it to UTF-8",
        path = path.display()
    )]
    NotText {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// How many bytes stand before it in the file.
        at: usize,
    },
    /// The tensors cannot be stored as a file that we would accept.
    #[error("cannot write {path} as safetensors: {defect}", path = path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What would be wrong with it.
        defect: Defect,
    },
    /// The ending of a file says no format that is written.
    #[error("{path} has no ending that says a format; write .safetensors, .gguf or .npz, or no ending for a folder of safetensors files", path = path.display())]
    Ending {
        /// Which path.
        path: PathBuf,
    },
    /// Two tensors get the same name.
    #[error("{first:?} and {second:?} would both be called {name:?}; change the rules of --rename")]
    Renamed {
        /// The name that both get.
        name: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The rows of a tensor are not those of so many heads, or not of numbers that can be put in another order.
    #[error(
        "tensor {name:?} of shape {shape:?} cannot be written {how}; give a model that is not quantized, with the shapes of its configuration"
    )]
    Rearrange {
        /// Name of the tensor.
        name: String,
        /// Its dimensions.
        shape: Vec<usize>,
        /// How it was to be written.
        how: String,
    },
    /// The format has no elements of this type.
    #[error("{path} cannot hold elements {kind}; choose others, such as --dtype f32 or f16", path = path.display())]
    NoSuchType {
        /// The file that is to be written.
        path: PathBuf,
        /// The type.
        kind: String,
    },
    /// Numbers cannot be quantized so.
    #[error("tensor {name:?}: {why}")]
    Quantize {
        /// Name of the tensor.
        name: String,
        /// Why not.
        why: cortical_kernels::quantized::QuantizedError,
    },
    /// The tensors or values cannot be stored as a GGUF file that we would accept.
    #[error("cannot write {path} as GGUF: {defect}", path = path.display())]
    UnwritableGguf {
        /// Which file.
        path: PathBuf,
        /// What would be wrong with it.
        defect: GgufDefect,
    },
    /// The file has no tensor of this name.
    #[error("{path} has no tensor {name:?}; `cortical inspect` lists those it has", path = path.display())]
    NoTensor {
        /// Which file.
        path: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// Elements are asked for that the tensor does not have.
    #[error("tensor {name:?} of {path} has {count} elements; {asked} from number {from} on are asked for", path = path.display())]
    Elements {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The first element that is asked for.
        from: usize,
        /// How many are asked for.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// Two files of one folder have a tensor of the same name, and no index says which is meant.
    #[error("{first} and {second} both have a tensor {name:?}; name one of the files", first = first.display(), second = second.display())]
    TwoFiles {
        /// The tensor's name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Candle has no tensors of this element type.
    #[error(
        "tensor {name:?} of {path} has elements {element}, which cannot be loaded; convert it to one of {supported}",
        path = path.display(), supported = Element::loadable_names()
    )]
    NotLoadable {
        /// Which file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Its element type.
        element: Element,
    },
    /// The tensors that are to be loaded are not those of the model. Nothing was loaded.
    #[error(
        "{origin} does not fit the model, nothing was loaded; is it the same network with the same sizes?{}{}",
        crate::difference::list(.differences),
        crate::difference::fitting_rule(.differences).map_or(String::new(), |rule| format!("\n  names fit with the rule '{rule}', as `cortical convert --rename` takes it"))
    )]
    Mismatch {
        /// The file or checkpoint.
        origin: String,
        /// Every difference.
        differences: Vec<Difference>,
    },
    /// A parameter or buffer did not take its value.
    #[error("cannot set {name}: {source}")]
    Assign {
        /// Its name.
        name: String,
        /// What the store of parameters said.
        source: Box<cortical_neuron::Error>,
    },
    /// There is not enough memory for a tensor.
    #[error("no memory for the {bytes} bytes of tensor {name:?} of {path}", path = path.display())]
    OutOfMemory {
        /// Which file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// Candle could not make or read a tensor.
    #[error("tensor {name:?} of {path}: {source}", path = path.display())]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// What candle said.
        source: Box<candle_core::Error>,
    },
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// `map_err` for reading `path`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read {
            path: path.into(),
            source,
        }
    }

    /// `map_err` for writing `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Write {
            path: path.into(),
            source,
        }
    }

    /// `map_err` for the content of `path`.
    pub(crate) fn malformed(path: &Path) -> impl FnOnce(Defect) -> Self {
        move |defect| Self::Malformed {
            path: path.into(),
            defect,
        }
    }
}
