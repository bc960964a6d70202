//! A model in any format that is read, by the bytes that the file begins with.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_kernels::quantized::{Format, QuantizedMatrix};

use crate::load;
use crate::{
    Element, Error, GgufFile, GgufType, ModelFiles, NumpyFile, PytorchFile, Result, TensorInfo,
};

/// Elements that are read at a time.
const PIECE_ELEMENTS: usize = 1 << 16;

/// How the elements of a tensor lie in whatever file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// Each by itself.
    Plain(Element),
    /// In blocks, as llama.cpp's files have them.
    Quantized(Format),
}

impl TensorType {
    /// The name in upper case.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Plain(element) => element.name().to_owned(),
            Self::Quantized(format) => format.name().to_uppercase(),
        }
    }

    /// Bytes of rows of so many elements; `None` when they are no whole blocks, or cannot be counted.
    #[must_use]
    pub fn bytes(self, rows: usize, cols: usize) -> Option<u64> {
        let row = match self {
            Self::Plain(element) => cols.checked_mul(element.size())?,
            Self::Quantized(format) => format.row_bytes(cols)?,
        };
        row.checked_mul(rows).map(|bytes| bytes as u64)
    }
}

/// A tensor of a model in any format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyTensor {
    name: String,
    kind: TensorType,
    shape: Vec<usize>,
    bytes: u64,
    /// Whether only the elements that are not zero are stored.
    is_sparse: bool,
}

impl AnyTensor {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its elements lie.
    #[must_use]
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// Its dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of its elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of its elements, one behind the other in rows.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn plain(info: &TensorInfo) -> Self {
        Self {
            name: info.name().to_owned(),
            kind: TensorType::Plain(info.element()),
            shape: info.shape().to_vec(),
            bytes: info.count() as u64 * info.element().size() as u64,
            is_sparse: info.is_sparse(),
        }
    }
}

/// An open model: safetensors (one file, or several with their index), GGUF, PyTorch's or NumPy's.
///
/// Nothing but heads and tables is read when it is opened; tensors come whole with [`AnyModel::load`] or in pieces with
/// [`AnyModel::read_bytes`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// # let weight = candle_core::Tensor::new(&[[1f32, 2.], [3., 4.]], &candle_core::Device::Cpu)?;
/// # cortical_io::save_tensors(&path, &[("fc.weight".to_owned(), weight)], &Default::default())?;
/// let model = cortical_io::AnyModel::open(&path)?;
/// assert_eq!(model.format(), "safetensors");
/// assert_eq!(model.tensors()[0].name(), "fc.weight");
/// let mut last = [0; 4];
/// model.read_bytes("fc.weight", 12, &mut last)?;
/// assert_eq!(f32::from_le_bytes(last), 4.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AnyModel {
    path: PathBuf,
    files: Files,
    tensors: Vec<AnyTensor>,
    index: HashMap<String, usize>,
}

#[derive(Debug)]
enum Files {
    Safetensors(ModelFiles),
    Gguf(GgufFile),
    Pytorch(PytorchFile),
    Numpy(NumpyFile),
}

impl AnyModel {
    /// Opens a file, an index, or a folder that [`ModelFiles::open`] opens.
    ///
    /// # Errors
    /// Those of [`ModelFiles::open`], [`GgufFile::open`], [`PytorchFile::open`] and [`NumpyFile::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let files = if GgufFile::is_gguf(path) {
            Files::Gguf(GgufFile::open(path)?)
        } else if NumpyFile::may_be(path) {
            Files::Numpy(NumpyFile::open(path)?)
        } else if PytorchFile::may_be(path) {
            Files::Pytorch(PytorchFile::open(path)?)
        } else {
            Files::Safetensors(ModelFiles::open(path)?)
        };
        let tensors: Vec<AnyTensor> = match &files {
            Files::Safetensors(files) => files.tensors().map(AnyTensor::plain).collect(),
            Files::Pytorch(file) => file.tensors().iter().map(AnyTensor::plain).collect(),
            Files::Numpy(file) => file.tensors().iter().map(AnyTensor::plain).collect(),
            Files::Gguf(file) => file
                .tensors()
                .iter()
                .map(|tensor| AnyTensor {
                    name: tensor.name().to_owned(),
                    kind: match tensor.kind() {
                        GgufType::F32 => TensorType::Plain(Element::F32),
                        GgufType::Quantized(Format::F16) => TensorType::Plain(Element::F16),
                        GgufType::Quantized(Format::Bf16) => TensorType::Plain(Element::BF16),
                        GgufType::Quantized(format) => TensorType::Quantized(format),
                    },
                    shape: tensor.shape().to_vec(),
                    bytes: tensor.bytes(),
                    is_sparse: false,
                })
                .collect(),
        };
        Ok(Self {
            path: path.into(),
            files,
            index: tensors
                .iter()
                .map(|tensor| tensor.name.clone())
                .zip(0..)
                .collect(),
            tensors,
        })
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format: `safetensors`, `GGUF`, `PyTorch` or `NumPy`.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match &self.files {
            Files::Safetensors(files) => files.format(),
            Files::Gguf(_) => "GGUF",
            Files::Pytorch(_) => "PyTorch",
            Files::Numpy(_) => "NumPy",
        }
    }

    /// The GGUF file, if it is one.
    #[must_use]
    pub fn gguf(&self) -> Option<&GgufFile> {
        match &self.files {
            Files::Gguf(file) => Some(file),
            _ => None,
        }
    }

    /// The safetensors files, if it is made of them.
    #[must_use]
    pub fn safetensors(&self) -> Option<&ModelFiles> {
        match &self.files {
            Files::Safetensors(files) if !files.files().is_empty() => Some(files),
            _ => None,
        }
    }

    /// What safetensors files say about themselves; other formats have no such texts.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let files = self
            .safetensors()
            .map(ModelFiles::files)
            .unwrap_or_default();
        let pairs = files.iter().flat_map(|file| file.metadata());
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// All tensors, in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[AnyTensor] {
        &self.tensors
    }

    /// The tensor called `name`, if there is one.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&AnyTensor> {
        self.index.get(name).map(|at| &self.tensors[*at])
    }

    fn need(&self, name: &str) -> Result<(usize, &AnyTensor)> {
        let at = self.index.get(name).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.into(),
        })?;
        Ok((*at, &self.tensors[*at]))
    }

    /// Loads the tensor called `name`; quantized ones in single precision.
    ///
    /// # Errors
    /// Those of the format's own `load`.
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        match &self.files {
            Files::Safetensors(files) => files.load(name, device),
            Files::Gguf(file) => file.load(name, device),
            Files::Pytorch(file) => file.load(name, device),
            Files::Numpy(file) => file.load(name, device),
        }
    }

    /// Reads bytes of a tensor as the file has them, little-endian and in rows, from its byte `from` on.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`], [`Error::OutOfMemory`]; [`Error::Elements`] for bytes that the tensor does
    /// not have, and for parts of elements.
    pub fn read_bytes(&self, name: &str, from: u64, out: &mut [u8]) -> Result<()> {
        let (at, tensor) = self.need(name)?;
        let size = match tensor.kind {
            TensorType::Plain(element) => element.size() as u64,
            TensorType::Quantized(_) => 1,
        };
        let length = out.len() as u64;
        let inside = from
            .checked_add(length)
            .is_some_and(|end| end <= tensor.bytes);
        if !inside || !from.is_multiple_of(size) || !length.is_multiple_of(size) {
            return Err(Error::Elements {
                path: self.path.clone(),
                name: name.into(),
                from: (from / size) as usize,
                asked: (length / size) as usize,
                count: tensor.count(),
            });
        }
        let read = Error::read(&self.path);
        match &self.files {
            Files::Safetensors(files) => files.read_bytes(name, from, out),
            Files::Gguf(file) => file.read_bytes(name, from, out),
            Files::Pytorch(file) => file.read_bytes(at, from, out).map_err(read),
            Files::Numpy(file) => file.read_bytes(at, from, out).map_err(read),
        }
    }

    /// Reads `out.len()` elements of a tensor as numbers of double precision, from element `from` on (rows follow each
    /// other).
    ///
    /// # Errors
    /// Those of [`AnyModel::read_bytes`]; [`Error::NotLoadable`] for complex numbers.
    pub fn read_numbers(&self, name: &str, from: usize, out: &mut [f64]) -> Result<()> {
        let (_, tensor) = self.need(name)?;
        let (path, name) = (self.path.clone(), name.to_owned());
        let element = match tensor.kind {
            TensorType::Plain(element) => element,
            TensorType::Quantized(format) => {
                return self.read_quantized(&tensor.name, format, from, out);
            }
        };
        let (asked, count) = (out.len(), tensor.count());
        if from.checked_add(asked).is_none_or(|end| end > count) {
            return Err(Error::Elements {
                path,
                name,
                from,
                asked,
                count,
            });
        }
        let read = |at: u64, bytes: &mut [u8]| self.read_bytes(&name, at, bytes);
        match load::read_numbers(element, from, out, read)? {
            true => Ok(()),
            false => Err(Error::NotLoadable {
                path,
                name,
                element,
            }),
        }
    }

    /// As [`AnyModel::read_numbers`], out of the blocks that hold these elements.
    fn read_quantized(
        &self,
        name: &str,
        format: Format,
        from: usize,
        out: &mut [f64],
    ) -> Result<()> {
        let (_, tensor) = self.need(name)?;
        let (asked, count, block) = (out.len(), tensor.count(), format.block());
        if from.checked_add(asked).is_none_or(|end| end > count) {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(Error::Elements {
                path,
                name,
                from,
                asked,
                count,
            });
        }
        let mut at = from;
        for out in out.chunks_mut(PIECE_ELEMENTS) {
            let (first, last) = (at / block, (at + out.len()).div_ceil(block));
            let mut bytes = vec![0; (last - first) * format.block_bytes()];
            self.read_bytes(name, (first * format.block_bytes()) as u64, &mut bytes)?;
            let blocks = QuantizedMatrix::new(format, 1, (last - first) * block, bytes);
            let numbers = blocks.expect("whole blocks").dequantize();
            for (out, number) in out.iter_mut().zip(&numbers[at - first * block..]) {
                *out = f64::from(*number);
            }
            at += out.len();
        }
        Ok(())
    }
}
