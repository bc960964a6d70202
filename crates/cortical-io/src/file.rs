//! Reading safetensors files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_kernels::sparse::SparseMatrix;
use rayon::prelude::*;

use crate::bitmask::{self, Trouble};
use crate::header::Header;
use crate::limits;
use crate::load;
use crate::mmap::MappedFile;
use crate::source::{self, Source};
use crate::{Defect, Error, Result, TensorInfo};

/// An open safetensors file whose header has been read and checked.
///
/// Opening reads the header only. It is refused unless everything fits together: see [`Defect`] for what can be
/// wrong and [`limits`](crate::limits) for what is too much. Nothing of a tensor's stated size is allocated before
/// the size has been checked against the file's.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    source: Source,
    header: Header,
    /// Where the elements start in the file.
    data_start: u64,
}

impl TensorFile {
    /// Opens a file whose tensors are read when they are loaded.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAFile`], or [`Error::Malformed`] with what is wrong with the content.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::with(path.as_ref(), |file| Ok(Source::Plain(file)))
    }

    /// Opens a file through a memory map: pages that the system has cached are not read again.
    ///
    /// Nobody may shorten the file meanwhile, or the operating system stops the process; files that are replaced by
    /// [`write_atomic`](crate::write_atomic) are safe, because the old one lives on as long as it is mapped.
    ///
    /// # Errors
    /// Those of [`TensorFile::open`].
    pub fn map(path: impl AsRef<Path>) -> Result<Self> {
        Self::with(path.as_ref(), |file| {
            MappedFile::new(&file).map(Source::Mapped)
        })
    }

    fn with(path: &Path, source: impl FnOnce(File) -> io::Result<Source>) -> Result<Self> {
        let read = || Error::read(path);
        let (mut file, file_bytes) = source::open(path)?;
        let json = match read_header(&mut file, file_bytes).map_err(read())? {
            Ok(json) => json,
            Err(defect) => return Err(Error::malformed(path)(defect)),
        };
        let data_start = 8 + json.len() as u64;
        let mut header =
            Header::parse(&json, file_bytes - data_start).map_err(Error::malformed(path))?;
        let source = source(file).map_err(read())?;
        let behind = |at: u64, out: &mut [u8]| source.read_exact_at(data_start + at, out);
        header
            .fold(&behind)
            .map_err(read())?
            .map_err(Error::malformed(path))?;
        Ok(Self {
            path: path.into(),
            source,
            header,
            data_start,
        })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says about itself.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// All tensors, in the order in which they lie in the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// The tensor called `name`, if there is one.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header
            .index
            .get(name)
            .map(|&index| &self.header.tensors[index])
    }

    /// Whether a tensor of this name is stored, be it as a part of a sparse weight.
    pub(crate) fn stores(&self, name: &str) -> bool {
        let part_of = bitmask::whole(name).and_then(|whole| self.info(whole));
        self.info(name).is_some_and(|info| !info.is_sparse())
            || part_of.is_some_and(TensorInfo::is_sparse)
    }

    /// The weight called `name` with the connections that are left, where it is stored so.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`].
    pub fn sparse(&self, name: &str) -> Result<Option<SparseMatrix>> {
        let Some(info) = self.info(name) else {
            return Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            });
        };
        self.sparse_of(info)
    }

    fn sparse_of(&self, info: &TensorInfo) -> Result<Option<SparseMatrix>> {
        let Some(parts) = &info.bitmask else {
            return Ok(None);
        };
        let matrix = parts.matrix(info.element, info.shape(), &self.behind());
        matrix.map(Some).map_err(|why| self.trouble(info, why))
    }

    /// Reads bytes behind the header.
    fn behind(&self) -> impl Fn(u64, &mut [u8]) -> io::Result<()> + '_ {
        |at, out| self.source.read_exact_at(self.data_start + at, out)
    }

    fn trouble(&self, info: &TensorInfo, why: Trouble) -> Error {
        let (path, name) = (self.path.clone(), info.name.clone());
        match why {
            Trouble::Memory => Error::OutOfMemory {
                path,
                name,
                bytes: info.bytes(),
            },
            Trouble::Read(source) => Error::Read { path, source },
            Trouble::Content(why) => Error::malformed(&path)(Defect::Sparse { name, why }),
        }
    }

    /// Loads the tensor called `name`.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::NotLoadable`], [`Error::OutOfMemory`], [`Error::Read`], or [`Error::Tensor`]
    /// if the device cannot take it.
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        match self.info(name) {
            Some(info) => self.load_info(info, device),
            None => Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            }),
        }
    }

    /// Loads the tensor called `name` with at least so many rows, the first dimension: behind its own there are zeros.
    /// What grows row by row is read to where it stays.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`]; [`Error::NotLoadable`] for a scalar or a sparse weight, which have no rows to add
    /// to.
    pub fn load_with_room(&self, name: &str, rows: usize, device: &Device) -> Result<Tensor> {
        let Some(info) = self.info(name) else {
            return self.load(name, device);
        };
        let [own, rest @ ..] = info.shape() else {
            return Err(self.not_loadable(info));
        };
        if info.is_sparse() || rest.contains(&0) {
            return Err(self.not_loadable(info));
        }
        let shape = [&[rows.max(*own)], rest].concat();
        let start = self.data_start + info.start;
        let read = |at: u64, out: &mut [u8]| {
            let there = info.bytes().saturating_sub(at);
            let there = usize::try_from(there).map_or(out.len(), |there| there.min(out.len()));
            let (stored, behind) = out.split_at_mut(there);
            behind.fill(0);
            match stored.is_empty() {
                true => Ok(()),
                false => self.source.read_exact_at(start + at, stored),
            }
        };
        load::tensor(info.element, &shape, &read, device)
            .map_err(|why| why.named(&self.path, &info.name, info.bytes()))
    }

    fn not_loadable(&self, info: &TensorInfo) -> Error {
        Error::NotLoadable {
            path: self.path.clone(),
            name: info.name.clone(),
            element: info.element,
        }
    }

    /// Loads all tensors, in the order in which they lie in the file.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`].
    pub fn load_all(&self, device: &Device) -> Result<Vec<(String, Tensor)>> {
        let load = |info: &TensorInfo| Ok((info.name.clone(), self.load_info(info, device)?));
        self.header.tensors.par_iter().map(load).collect()
    }

    /// Reads `out.len()` elements of a tensor as numbers of double precision, from element `from` on (rows follow each
    /// other): a tensor that is larger than memory is read piece by piece.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::NotLoadable`], [`Error::Read`]; [`Error::Elements`] for elements that the tensor
    /// does not have.
    pub fn read_numbers(&self, name: &str, from: usize, out: &mut [f64]) -> Result<()> {
        let info = self.info(name).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.into(),
        })?;
        if from
            .checked_add(out.len())
            .is_none_or(|end| end > info.count())
        {
            return Err(Error::Elements {
                path: self.path.clone(),
                name: name.into(),
                from,
                asked: out.len(),
                count: info.count(),
            });
        }
        if let Some(parts) = &info.bitmask {
            let found = parts.numbers(info.element, info.shape(), from, out, &self.behind());
            return found.map_err(|why| self.trouble(info, why));
        }
        let read = |at: u64, bytes: &mut [u8]| self.read_bytes(info, at, bytes);
        match load::read_numbers(info.element, from, out, read)? {
            true => Ok(()),
            false => Err(self.not_loadable(info)),
        }
    }

    /// Reads bytes of a tensor that exists and has them; of a sparse one, those that the dense weight would have.
    pub(crate) fn read_bytes(&self, info: &TensorInfo, from: u64, out: &mut [u8]) -> Result<()> {
        if info.is_sparse() {
            let size = info.element.size();
            let mut numbers = vec![0.0; out.len() / size];
            self.read_numbers(&info.name, from as usize / size, &mut numbers)?;
            info.element.bytes_of(&numbers, out);
            return Ok(());
        }
        let read = self
            .source
            .read_exact_at(self.data_start + info.start + from, out);
        read.map_err(Error::read(&self.path))
    }

    fn load_info(&self, info: &TensorInfo, device: &Device) -> Result<Tensor> {
        let (path, name) = (self.path.clone(), info.name.clone());
        let Some(dtype) = info.element.dtype() else {
            return Err(self.not_loadable(info));
        };
        if let Some(matrix) = self.sparse_of(info)? {
            load::zeros::<f32>(info.count()).map_err(|_| self.trouble(info, Trouble::Memory))?;
            return bitmask::dense(&matrix, dtype, device).map_err(|source| Error::Tensor {
                path,
                name,
                source: Box::new(source),
            });
        }
        let start = self.data_start + info.start;
        let read = |at: u64, out: &mut [u8]| self.source.read_exact_at(start + at, out);
        load::tensor(info.element, info.shape(), &read, device)
            .map_err(|why| why.named(&self.path, &info.name, info.bytes()))
    }
}

/// Reads the JSON of the header, once its length is known to be within the limit and the file.
fn read_header(file: &mut File, file_bytes: u64) -> io::Result<Result<Vec<u8>, Defect>> {
    if file_bytes < 8 {
        return Ok(Err(Defect::NoHeader { got: file_bytes }));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let (expected, got) = (u64::from_le_bytes(length), file_bytes - 8);
    if expected > got {
        return Ok(Err(Defect::HeaderCut { expected, got }));
    }
    if expected > limits::HEADER_BYTES {
        return Ok(Err(Defect::HeaderTooLong { got: expected }));
    }
    let mut json = vec![0; expected as usize];
    file.read_exact(&mut json)?;
    Ok(Ok(json))
}
