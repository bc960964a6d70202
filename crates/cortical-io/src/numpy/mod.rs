//! NumPy's files: one array (`.npy`), or several in a zip archive (`.npz`), packed or not.

mod defect;
mod head;
mod unpack;
mod write;

pub use defect::NumpyDefect;
pub(crate) use write::{NpzPlan, descr};

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::{Device, Tensor};

use crate::archive::{Method, Zip, ZipEntry};
use crate::mmap::MappedFile;
use crate::strided::Strided;
use crate::{Defect, Error, Result, TensorInfo, header, limits, load, source};
use head::Head;
use unpack::Unpacking;

/// What an array's file in an archive is called behind its name.
const ENDING: &str = ".npy";

/// An open file of NumPy's. The array of a `.npy` file has the file's name without its ending.
///
/// ```no_run
/// # fn main() -> cortical_io::Result<()> {
/// let file = cortical_io::NumpyFile::open("arrays.npz")?;
/// for array in file.tensors() {
///     println!("{} {:?} {}", array.name(), array.shape(), array.element());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NumpyFile {
    path: PathBuf,
    file: File,
    /// For elements that do not lie in order.
    map: MappedFile,
    infos: Vec<TensorInfo>,
    places: Vec<Place>,
    index: HashMap<String, usize>,
    unpacking: Mutex<Option<Unpacking>>,
}

/// Where the elements of an array are.
#[derive(Debug)]
struct Place {
    view: Strided,
    /// The packed file of which the view is a part once it is unpacked.
    packed: Option<ZipEntry>,
}

enum Failure {
    Io(io::Error),
    Defect(NumpyDefect),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<D: Into<NumpyDefect>> From<D> for Failure {
    fn from(defect: D) -> Self {
        Self::Defect(defect.into())
    }
}

impl NumpyFile {
    /// Opens a file and reads the heads of its arrays.
    ///
    /// Nobody may shorten it meanwhile, or the operating system stops the process.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAFile`], or [`Error::Numpy`] with what is wrong with the content.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, bytes) = source::open(path)?;
        let arrays = read(path, &file, bytes).map_err(|failure| match failure {
            Failure::Io(source) => Error::read(path)(source),
            Failure::Defect(defect) => Error::Numpy {
                path: path.into(),
                defect: Box::new(defect),
            },
        })?;
        let (infos, places): (Vec<TensorInfo>, Vec<_>) = arrays.into_iter().unzip();
        let names = infos.iter().map(|info| info.name.clone());
        Ok(Self {
            path: path.into(),
            map: MappedFile::new(&file).map_err(Error::read(path))?,
            file,
            index: names.zip(0..).collect(),
            infos,
            places,
            unpacking: Mutex::new(None),
        })
    }

    /// Whether a file begins as an array does, or is a zip archive that holds one; `false` where it cannot be read.
    #[must_use]
    pub fn may_be(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let (mut start, mut name) = ([0; 6], Vec::new());
        let found = path.is_file()
            && File::open(path)
                .and_then(|mut file| {
                    file.read_exact(&mut start)?;
                    file.seek(SeekFrom::Start(26))?;
                    file.take(1024).read_to_end(&mut name)
                })
                .is_ok();
        let in_archive = || {
            let length = name.first().zip(name.get(1));
            let length = length.map_or(0, |(a, b)| usize::from(u16::from_le_bytes([*a, *b])));
            name.get(4..4 + length)
                .is_some_and(|name| name.ends_with(ENDING.as_bytes()))
        };
        found && (start == *b"\x93NUMPY" || start.starts_with(b"PK\x03\x04") && in_archive())
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All arrays, in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    /// The array called `name`, if there is one.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|at| &self.infos[*at])
    }

    /// Loads the array called `name`.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::NotLoadable`], [`Error::OutOfMemory`], [`Error::Read`], [`Error::Tensor`].
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let at = *self.index.get(name).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.into(),
        })?;
        let info = &self.infos[at];
        let named = |why: load::LoadError| why.named(&self.path, name, info.bytes());
        if self.places[at].packed.is_none() {
            let read = |from: u64, out: &mut [u8]| self.read_bytes(at, from, out);
            return load::tensor(info.element, info.shape(), &read, device).map_err(named);
        }
        // Unpacked from its beginning to its end, then turned into numbers.
        let mut bytes = load::zeros::<u8>(info.bytes() as usize).map_err(named)?;
        self.read_bytes(at, 0, &mut bytes)
            .map_err(Error::read(&self.path))?;
        let read = |from: u64, out: &mut [u8]| {
            out.copy_from_slice(&bytes[from as usize..][..out.len()]);
            Ok(())
        };
        load::tensor(info.element, info.shape(), &read, device).map_err(named)
    }

    /// Reads bytes of array number `index`, from its byte `from` on. Of packed ones, one piece behind the other is read
    /// fast.
    pub(crate) fn read_bytes(&self, index: usize, from: u64, out: &mut [u8]) -> io::Result<()> {
        let Place { view, packed } = &self.places[index];
        let Some(entry) = packed else {
            return view.read(
                from,
                out,
                |at, out| source::read_exact_at(&self.file, at, out),
                |at, out| self.map.read_exact_at(at, out),
            );
        };
        let mut unpacking = self
            .unpacking
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !view.is_contiguous() {
            let whole = Unpacking::whole(&mut unpacking, &self.file, entry)?;
            let copy = |at: u64, out: &mut [u8]| {
                out.copy_from_slice(&whole[at as usize..][..out.len()]);
                Ok(())
            };
            return view.read(from, out, copy, copy);
        }
        Unpacking::read(&mut unpacking, &self.file, entry, view.start + from, out)
    }
}

fn read(path: &Path, file: &File, bytes: u64) -> Result<Vec<(TensorInfo, Place)>, Failure> {
    let mut start = [0; 4];
    let read_at = |at: u64, out: &mut [u8]| source::read_exact_at(file, at, out);
    if bytes >= 4 {
        read_at(0, &mut start)?;
    }
    if start != *b"PK\x03\x04" && start != *b"PK\x05\x06" {
        let mut from = file;
        from.seek(SeekFrom::Start(0))?;
        let head = head::read(BufReader::new(from), bytes, "it")??;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Ok(vec![array(name.into_owned(), head, 0, bytes, None)?]);
    }
    let zip = Zip::read(bytes, &read_at)??;
    let mut arrays = Vec::new();
    for entry in &zip.entries {
        let Some(name) = entry.name.strip_suffix(ENDING) else {
            let what = entry.name.clone();
            return Err(NumpyDefect::Head { what }.into());
        };
        if arrays.len() == limits::TENSORS {
            return Err(NumpyDefect::Tensor(Defect::TooManyTensors).into());
        }
        let from = unpack::open(file, entry)?;
        let head = head::read(from, entry.size, &entry.name)??;
        arrays.push(match entry.method {
            Method::Stored => array(name.to_owned(), head, entry.start, entry.size, None)?,
            Method::Deflated => array(name.to_owned(), head, 0, entry.size, Some(entry))?,
        });
    }
    Ok(arrays)
}

/// An array whose file begins at byte `start` and has `bytes` bytes.
fn array(
    name: String,
    head: Head,
    start: u64,
    bytes: u64,
    packed: Option<&ZipEntry>,
) -> Result<(TensorInfo, Place), NumpyDefect> {
    header::check_name(&name).map_err(NumpyDefect::Tensor)?;
    let info = header::check_tensor(name, head.element, head.shape.clone(), 0, None);
    let info = info.map_err(NumpyDefect::Tensor)?;
    let got = bytes - head.data;
    if got != info.bytes() {
        return Err(NumpyDefect::Size {
            what: info.name.clone(),
            expected: info.bytes(),
            got,
        });
    }
    let mut strides = vec![1; head.shape.len()];
    let mut stride = 1_u64;
    for i in 0..strides.len() {
        let i = if head.fortran {
            i
        } else {
            strides.len() - 1 - i
        };
        strides[i] = stride;
        stride = stride.saturating_mul(head.shape[i].max(1));
    }
    let size = head.element.size() as u64;
    let view = Strided::view(start + head.data, got / size, size, 0, head.shape, strides);
    let view = view.expect("as many elements as the shape needs are there");
    let packed = packed.cloned();
    Ok((info, Place { view, packed }))
}
