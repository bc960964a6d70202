//! Model files and checkpoints for candle tensors.
//!
//! - [`save`] and [`load_into`] move the parameters of a model to a file and back, all of them or none.
//! - [`load_with`] loads a model of any format into parameters, with rules for names, types and what may differ.
//! - [`TensorFile`] reads safetensors files, from the disk or through a memory map, and refuses whatever is
//!   not exactly one before it allocates anything; [`save_tensors`] writes them with canonical bytes.
//! - [`AnyModel`] is a model in any format that is read.
//! - [`convert`] writes a model in another format, piece by piece.
//! - [`ModelFiles`] is a model in one or several such files, as Hugging Face publishes them.
//! - [`GgufFile`] reads GGUF files, quantized weights as they are, with the same suspicion.
//! - [`PytorchFile`] reads what `torch.save` wrote, and executes nothing of it.
//! - [`NumpyFile`] reads `.npy` and `.npz`.
//! - [`write_atomic`] replaces a file so that a crash leaves the old one or the new one, never half of one.
//! - [`CheckpointDir`] keeps `checkpoints/step-N/` folders, each complete or absent, verified when they are read.
//! - [`RunLock`] lets one process at a time work in a run folder.
//! - [`machine_memory`] says how much memory there is, so that sizes from a file can be refused before anything is
//!   allocated.
//!
//! The central choice: we write and check the safetensors header ourselves. The same tensors always give the
//! same bytes (a file's hash says whether two trainings ended alike), and a stranger's file is judged by limits
//! of ours (see [`limits`]) and against the file's real size, not by what a library happens to accept.
//!
//! This crate knows nothing of architectures, layers or optimizers: it moves named tensors and named numbers.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.safetensors");
//! let weight = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
//! cortical_io::save_tensors(&path, &[("fc.weight".to_owned(), weight)], &Default::default())?;
//!
//! let file = cortical_io::TensorFile::open(&path)?;
//! assert_eq!(file.tensors()[0].shape(), [2, 2]);
//! let weight = file.load("fc.weight", &Device::Cpu)?;
//! assert_eq!(weight.to_vec2::<f32>()?, [[1., 2.], [3., 4.]]);
//! # Ok(())
//! # }
//! ```

mod any;
mod archive;
mod atomic;
mod bitmask;
mod checkpoint;
mod convert;
mod defect;
mod difference;
mod digest;
mod element;
mod error;
mod fault;
mod file;
mod gguf;
mod header;
mod index_defect;
pub mod limits;
mod load;
mod load_rules;
mod lock;
mod machine;
mod mmap;
mod model;
mod numpy;
mod pickle;
mod printable;
mod pytorch;
mod sharded;
mod source;
mod sparse_weights;
mod strided;
mod text;
mod write;

pub use any::{AnyModel, AnyTensor, TensorType};
pub use archive::ArchiveDefect;
pub use atomic::write_atomic;
pub use bitmask::sparse_tensors;
pub use checkpoint::{
    CHECKPOINT_VERSION, Checkpoint, CheckpointDir, Damage, Latest, Skipped, TrainingState,
};
pub use convert::{
    ConvertOptions, Converted, GGUF_VALUES, Pattern, Rearrange, Rename, RenameError, convert,
};
pub use defect::Defect;
pub use difference::{Difference, fitting_rename};
pub use digest::Digest;
pub use element::Element;
pub use error::{Error, Result};
pub use file::TensorFile;
pub use gguf::{GgufDefect, GgufFile, GgufTensor, GgufType, GgufValue, GgufValues};
pub use header::TensorInfo;
pub use index_defect::IndexDefect;
pub use load_rules::{LoadReport, LoadRules, load_with};
pub use lock::RunLock;
pub use machine::{machine_memory, resident_memory};
pub use model::{load_into, load_rest, model_metadata, save, save_with};
pub use numpy::{NumpyDefect, NumpyFile};
pub use pickle::PickleDefect;
pub use printable::printable;
pub use pytorch::{PytorchDefect, PytorchFile};
pub use sharded::ModelFiles;
pub use sparse_weights::SparseWeights;
pub use text::{as_text, read_text};
pub use write::{Metadata, save_tensors};
