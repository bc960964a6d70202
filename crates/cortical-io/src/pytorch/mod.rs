//! PyTorch's files: `.pt`, `.pth`, `.bin`, `.ckpt`, whatever `torch.save` wrote.
//!
//! Their tables are pickles, which in Python can run any code. Here nothing runs: see [`crate::pickle`].

mod defect;
mod forms;
mod tensors;

pub use defect::PytorchDefect;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::mmap::MappedFile;
use crate::strided::Strided;
use crate::{Error, Result, TensorInfo, load, source};
use forms::Failure;
use tensors::Tensors;

/// An open file of PyTorch's, with the tensors in its tables and lists.
///
/// Read are the zip archives of today, the older pickles one behind the other, and the first tar archives, with
/// pickles of protocols 2 to 5. A tensor's name is made of the keys and positions that lead to it, with dots between:
/// `state_dict.conv1.weight`. Nothing in the file is executed: whatever is not needed for tensors is refused by its
/// name.
///
/// ```no_run
/// # fn main() -> cortical_io::Result<()> {
/// let file = cortical_io::PytorchFile::open("model.pth")?;
/// for tensor in file.tensors() {
///     println!("{} {:?}", tensor.name(), tensor.shape());
/// }
/// let weight = file.load("conv1.weight", &candle_core::Device::Cpu)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PytorchFile {
    path: PathBuf,
    file: File,
    /// For elements that do not lie in order.
    map: MappedFile,
    tensors: Tensors,
    index: HashMap<String, usize>,
}

impl PytorchFile {
    /// Opens a file and reads its tables.
    ///
    /// Nobody may shorten it meanwhile, or the operating system stops the process.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAFile`], or [`Error::Pytorch`] with what is wrong with the content.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, bytes) = source::open(path)?;
        let tensors = forms::read(&file, bytes).map_err(|failure| match failure {
            Failure::Io(source) => Error::read(path)(source),
            Failure::Defect(defect) => Error::Pytorch {
                path: path.into(),
                defect: Box::new(defect),
            },
        })?;
        let names = tensors.infos.iter().map(|info| info.name.clone());
        Ok(Self {
            path: path.into(),
            map: MappedFile::new(&file).map_err(Error::read(path))?,
            file,
            index: names.zip(0..).collect(),
            tensors,
        })
    }

    /// Whether a file begins as one of PyTorch's may, which other zip archives do too; `false` where it cannot be read.
    #[must_use]
    pub fn may_be(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let mut start = Vec::new();
        path.is_file()
            && File::open(path)
                .and_then(|file| file.take(512).read_to_end(&mut start))
                .is_ok()
            && forms::may_be(&start)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors, in the order of the file's tables.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors.infos
    }

    /// The tensor called `name`, if there is one.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|at| &self.tensors.infos[*at])
    }

    /// Loads the tensor called `name`.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::NotLoadable`], [`Error::OutOfMemory`], [`Error::Read`], [`Error::Tensor`].
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let at = self.index.get(name).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.into(),
        })?;
        self.load_number(*at, device)
    }

    /// Loads all tensors, in the order of the file's tables.
    ///
    /// # Errors
    /// Those of [`PytorchFile::load`].
    pub fn load_all(&self, device: &Device) -> Result<Vec<(String, Tensor)>> {
        let load = |at: usize| {
            Ok((
                self.tensors.infos[at].name.clone(),
                self.load_number(at, device)?,
            ))
        };
        (0..self.tensors.infos.len())
            .into_par_iter()
            .map(load)
            .collect()
    }

    /// Tensors that are the same elements of a storage as one before them: by their names, that one's.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        let mut first: HashMap<&Strided, &str> = HashMap::new();
        let mut aliases = BTreeMap::new();
        for (info, view) in self.tensors.infos.iter().zip(&self.tensors.views) {
            // Nothing can be the same nothing.
            if info.count() == 0 {
                continue;
            }
            match first.get(view) {
                Some(kept) => drop(aliases.insert(info.name.clone(), (*kept).to_owned())),
                None => drop(first.insert(view, &info.name)),
            }
        }
        aliases
    }

    /// The number of the tensor called `name`.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    fn load_number(&self, at: usize, device: &Device) -> Result<Tensor> {
        let info = &self.tensors.infos[at];
        let read = |from: u64, out: &mut [u8]| self.read_bytes(at, from, out);
        load::tensor(info.element, info.shape(), &read, device)
            .map_err(|why| why.named(&self.path, &info.name, info.bytes()))
    }

    /// Reads bytes of tensor number `index`, from its byte `at` on.
    pub(crate) fn read_bytes(&self, index: usize, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.tensors.views[index].read(
            at,
            out,
            |at, out| source::read_exact_at(&self.file, at, out),
            |at, out| self.map.read_exact_at(at, out),
        )
    }

    /// Reads some elements of tensor number `index` as numbers of double precision.
    pub(crate) fn read_numbers(&self, index: usize, from: usize, out: &mut [f64]) -> Result<()> {
        let info = &self.tensors.infos[index];
        let (path, name) = (self.path.clone(), info.name.clone());
        let (asked, count, element) = (out.len(), info.count(), info.element);
        if from.checked_add(asked).is_none_or(|end| end > count) {
            return Err(Error::Elements {
                path,
                name,
                from,
                asked,
                count,
            });
        }
        let read = |at: u64, bytes: &mut [u8]| {
            let read = self.read_bytes(index, at, bytes);
            read.map_err(Error::read(&self.path))
        };
        match load::read_numbers(element, from, out, read)? {
            true => Ok(()),
            false => Err(Error::NotLoadable {
                path,
                name,
                element,
            }),
        }
    }
}
