//! GGUF files: llama.cpp's form of a language model, quantized weights, tokenizer and settings in one file.

mod defect;
mod reader;
#[cfg(test)]
mod tests;
mod value;
mod values;
mod write;

pub use defect::GgufDefect;
pub use value::GgufValue;
pub use values::GgufValues;
pub(crate) use write::{Written, check as check_written, write};

use crate::limits;
use crate::source::{self, read_exact_at};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use reader::{Failure, Reader};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How a tensor's elements lie in a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufType {
    /// Single precision.
    F32,
    /// Quantized.
    Quantized(Format),
}

impl GgufType {
    /// The numbers of the types in a file.
    const NUMBERS: [(u32, Self); 15] = [
        (0, Self::F32),
        (1, Self::Quantized(Format::F16)),
        (2, Self::Quantized(Format::Q4_0)),
        (3, Self::Quantized(Format::Q4_1)),
        (6, Self::Quantized(Format::Q5_0)),
        (7, Self::Quantized(Format::Q5_1)),
        (8, Self::Quantized(Format::Q8_0)),
        (10, Self::Quantized(Format::Q2K)),
        (11, Self::Quantized(Format::Q3K)),
        (12, Self::Quantized(Format::Q4K)),
        (13, Self::Quantized(Format::Q5K)),
        (14, Self::Quantized(Format::Q6K)),
        (20, Self::Quantized(Format::Iq4Nl)),
        (23, Self::Quantized(Format::Iq4Xs)),
        (30, Self::Quantized(Format::Bf16)),
    ];

    fn from_number(number: u32) -> Option<Self> {
        let known = Self::NUMBERS.into_iter().find(|(own, _)| *own == number);
        known.map(|(_, kind)| kind)
    }

    /// The number of the type in a file.
    fn number(self) -> u32 {
        let known = Self::NUMBERS.into_iter().find(|(_, kind)| *kind == self);
        known.map_or(u32::MAX, |(number, _)| number)
    }

    /// The name in upper case.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::F32 => "F32".to_owned(),
            Self::Quantized(format) => format.name().to_uppercase(),
        }
    }

    fn block(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Quantized(format) => format.block(),
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Quantized(format) => format.block_bytes(),
        }
    }
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    name: String,
    shape: Vec<usize>,
    kind: GgufType,
    /// From the first tensor on.
    start: u64,
    bytes: u64,
}

impl GgufTensor {
    /// Its name, llama.cpp's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its dimensions, outermost first: `[out, in]` for weights.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How its elements lie.
    #[must_use]
    pub fn kind(&self) -> GgufType {
        self.kind
    }

    /// Its bytes in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// What the bytes of so many of its rows stand for.
    fn numbers(&self, rows: usize, bytes: Vec<u8>) -> Vec<f32> {
        match self.kind {
            GgufType::F32 => {
                let numbers = bytes.as_chunks::<4>().0.iter();
                numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            GgufType::Quantized(format) => {
                let cols = self.shape.last().copied().unwrap_or(1);
                let matrix = QuantizedMatrix::new(format, rows, cols, bytes);
                matrix
                    .expect("the head was checked: whole blocks, and as many bytes as they need")
                    .dequantize()
            }
        }
    }
}

/// An open GGUF file whose head has been read and checked.
///
/// Every count and length is compared with the file's size before anything of that size is allocated.
///
/// ```no_run
/// # fn main() -> cortical_io::Result<()> {
/// let file = cortical_io::GgufFile::open("model.gguf")?;
/// println!("{:?}", file.value("general.architecture"));
/// for tensor in file.tensors() {
///     println!("{} {:?} {}", tensor.name(), tensor.shape(), tensor.kind().name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    version: u32,
    values: BTreeMap<String, GgufValue>,
    tensors: Vec<GgufTensor>,
    index: BTreeMap<String, usize>,
    data_start: u64,
    /// Where the values lie in the file.
    value_place: Range<u64>,
}

struct Head {
    version: u32,
    values: BTreeMap<String, GgufValue>,
    tensors: Vec<GgufTensor>,
    index: BTreeMap<String, usize>,
    data_start: u64,
    /// Where the values lie in the file.
    value_place: Range<u64>,
}

impl GgufFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAFile`], or [`Error::Gguf`] with what is wrong with the content.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, bytes) = source::open(path)?;
        let head = match read_head(&file, bytes) {
            Ok(head) => head,
            Err(Failure::Io(source)) => {
                let path = path.into();
                return Err(Error::Read { path, source });
            }
            Err(Failure::Defect(defect)) => {
                let path = path.into();
                return Err(Error::Gguf { path, defect });
            }
        };
        Ok(Self {
            path: path.into(),
            file,
            version: head.version,
            values: head.values,
            tensors: head.tensors,
            index: head.index,
            data_start: head.data_start,
            value_place: head.value_place,
        })
    }

    /// Whether a file begins as a GGUF file does; `false` where it cannot be read.
    #[must_use]
    pub fn is_gguf(path: impl AsRef<Path>) -> bool {
        use std::io::Read;
        let path = path.as_ref();
        let mut magic = [0; 4];
        path.is_file()
            && File::open(path)
                .and_then(|mut file| file.read_exact(&mut magic))
                .is_ok()
            && &magic == b"GGUF"
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All values, by their keys.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, GgufValue> {
        &self.values
    }

    /// The value of a key, such as `general.architecture`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&GgufValue> {
        self.values.get(key)
    }

    /// All tensors, in the order of the file's list.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// The tensor of this name.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&GgufTensor> {
        self.index.get(name).map(|at| &self.tensors[*at])
    }

    /// The tensor's quantized rows, or `None` when it is no quantized matrix.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`], [`Error::OutOfMemory`].
    pub fn quantized(&self, name: &str) -> Result<Option<QuantizedMatrix>> {
        let info = self.need(name)?;
        let (GgufType::Quantized(format), &[rows, cols]) = (info.kind, &info.shape[..]) else {
            return Ok(None);
        };
        let bytes = self.bytes(info, 0..info.bytes)?;
        let matrix = QuantizedMatrix::new(format, rows, cols, bytes);
        Ok(Some(matrix.expect(
            "the head was checked: whole blocks, and as many bytes as they need",
        )))
    }

    /// The tensor in single precision.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`], [`Error::OutOfMemory`], [`Error::Tensor`].
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let info = self.need(name)?;
        let cols = info.shape.last().copied().unwrap_or(1);
        let rows = info.count().checked_div(cols).unwrap_or(0);
        let numbers = info.numbers(rows, self.bytes(info, 0..info.bytes)?);
        let tensor = Tensor::from_vec(numbers, info.shape.as_slice(), device);
        tensor.map_err(|source| Error::Tensor {
            path: self.path.clone(),
            name: name.to_owned(),
            source: Box::new(source),
        })
    }

    /// Some rows of a tensor in single precision; a row is what its last dimension counts. A tensor that is larger than
    /// memory is read piece by piece.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`], [`Error::OutOfMemory`]; [`Error::Elements`] for rows that the tensor does
    /// not have.
    pub fn load_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let info = self.need(name)?;
        let cols = info.shape.last().copied().unwrap_or(1);
        let all = info.count().checked_div(cols).unwrap_or(0);
        if rows.start > rows.end || rows.end > all {
            return Err(Error::Elements {
                path: self.path.clone(),
                name: name.to_owned(),
                from: rows.start.saturating_mul(cols),
                asked: rows.len().saturating_mul(cols),
                count: info.count(),
            });
        }
        // Rows are whole blocks, as the head was checked to have them.
        let row_bytes = info.bytes.checked_div(all as u64).unwrap_or(0);
        let place = rows.start as u64 * row_bytes..rows.end as u64 * row_bytes;
        Ok(info.numbers(rows.len(), self.bytes(info, place)?))
    }

    fn need(&self, name: &str) -> Result<&GgufTensor> {
        self.info(name).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.to_owned(),
        })
    }

    /// The values as they lie in the file.
    pub(crate) fn value_bytes(&self) -> Result<Vec<u8>> {
        let place = &self.value_place;
        let mut bytes = vec![0; (place.end - place.start) as usize];
        let read = read_exact_at(&self.file, place.start, &mut bytes);
        read.map_err(Error::read(&self.path))?;
        Ok(bytes)
    }

    /// Reads bytes of a tensor as they lie, from its byte `from` on; it has them.
    pub(crate) fn read_bytes(&self, name: &str, from: u64, out: &mut [u8]) -> Result<()> {
        let start = self.data_start + self.need(name)?.start + from;
        read_exact_at(&self.file, start, out).map_err(Error::read(&self.path))
    }

    /// The bytes of a tensor at some place in it.
    fn bytes(&self, info: &GgufTensor, place: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = usize::try_from(place.end - place.start).ok();
        if len.is_none_or(|len| bytes.try_reserve_exact(len).is_err()) {
            return Err(Error::OutOfMemory {
                path: self.path.clone(),
                name: info.name.clone(),
                bytes: place.end - place.start,
            });
        }
        bytes.resize(len.unwrap_or(0), 0);
        let start = self.data_start + info.start + place.start;
        read_exact_at(&self.file, start, &mut bytes).map_err(Error::read(&self.path))?;
        Ok(bytes)
    }
}

fn read_head(file: &File, bytes: u64) -> Result<Head, Failure> {
    let mut reader = Reader::new(file, bytes);
    if &reader.array::<4>("the first letters")? != b"GGUF" {
        return Err(GgufDefect::Magic.into());
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufDefect::Version { got: version }.into());
    }
    // A tensor's entry has at least a name's length, a dimension's count, a type and a place; a value's a key's length
    // and a kind.
    let tensor_count = reader.count("tensors", 24)?;
    let value_count = reader.count("values", 13)?;
    let mut values = BTreeMap::new();
    let first_value = reader.at();
    for _ in 0..value_count {
        let key = name(reader.text("a key")?)?;
        let value = reader.value(&key)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(GgufDefect::Duplicate { name: key }.into());
        }
    }
    let value_place = first_value..reader.at();
    let alignment = match values.get("general.alignment") {
        None => 32,
        Some(value) => {
            let got = value.as_u64().unwrap_or(0);
            if !got.is_power_of_two() || got > 65_536 {
                return Err(GgufDefect::Alignment { got }.into());
            }
            got
        }
    };
    let mut tensors = Vec::new();
    let mut index = BTreeMap::new();
    for at in 0..tensor_count {
        let tensor = read_tensor(&mut reader)?;
        if index.insert(tensor.name.clone(), at).is_some() {
            return Err(GgufDefect::Duplicate { name: tensor.name }.into());
        }
        tensors.push(tensor);
    }
    let data_start = reader.at().next_multiple_of(alignment);
    check_places(&tensors, alignment, bytes.saturating_sub(data_start))?;
    Ok(Head {
        version,
        values,
        tensors,
        index,
        data_start,
        value_place,
    })
}

fn name(name: String) -> Result<String, GgufDefect> {
    if name.is_empty() || name.len() > limits::NAME_BYTES || name.chars().any(char::is_control) {
        let name = name.chars().take(60).collect();
        return Err(GgufDefect::Name { name });
    }
    Ok(name)
}

fn read_tensor(reader: &mut Reader<&File>) -> Result<GgufTensor, Failure> {
    let name = name(reader.text("a tensor's name")?)?;
    let rank = reader.u32("a tensor's number of dimensions")?;
    if rank > 4 {
        let got = vec![rank.into()];
        return Err(GgufDefect::Dimensions { name, got }.into());
    }
    let sizes = (0..rank).map(|_| reader.u64("a tensor's dimension"));
    let sizes: Vec<u64> = sizes.collect::<Result<_, _>>()?;
    let number = reader.u32("a tensor's type")?;
    let start = reader.u64("a tensor's place")?;
    let Some(kind) = GgufType::from_number(number) else {
        return Err(GgufDefect::Type { name, got: number }.into());
    };
    let block = kind.block() as u64;
    let row = sizes.first().copied().unwrap_or(1);
    if !row.is_multiple_of(block) {
        let got = row;
        return Err(GgufDefect::Blocks { name, got, block }.into());
    }
    let count = sizes.iter().try_fold(1_u64, |n, d| n.checked_mul(*d));
    let bytes = count.and_then(|n| (n / block).checked_mul(kind.block_bytes() as u64));
    let shape: Option<Vec<usize>> = sizes
        .iter()
        .rev()
        .map(|d| usize::try_from(*d).ok())
        .collect();
    // Four bytes an element once it is dequantized.
    // A dimension of 0 counts as 1 here: in another order their product must be countable too.
    let largest = sizes
        .iter()
        .try_fold(1_u64, |n, d| n.checked_mul((*d).max(1)));
    let fits = largest
        .and_then(|n| n.checked_mul(4))
        .is_some_and(|n| isize::try_from(n).is_ok());
    let (Some(bytes), Some(shape), true) = (bytes, shape, fits) else {
        return Err(GgufDefect::Dimensions { name, got: sizes }.into());
    };
    Ok(GgufTensor {
        name,
        shape,
        kind,
        start,
        bytes,
    })
}

/// Every tensor lies inside the file where tensors may begin, and none over another.
fn check_places(tensors: &[GgufTensor], alignment: u64, bytes: u64) -> Result<(), GgufDefect> {
    let wrong = |tensor: &GgufTensor, why: &'static str| GgufDefect::Place {
        name: tensor.name.clone(),
        start: tensor.start,
        bytes: tensor.bytes,
        why,
    };
    let mut order: Vec<&GgufTensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.start);
    let mut end = 0;
    for tensor in order {
        if !tensor.start.is_multiple_of(alignment) {
            return Err(wrong(tensor, "which is not where tensors may begin"));
        }
        if tensor.start < end {
            return Err(wrong(tensor, "over another tensor"));
        }
        end = match tensor.start.checked_add(tensor.bytes) {
            Some(end) if end <= bytes => end,
            _ => return Err(wrong(tensor, "behind the end of the file")),
        };
    }
    Ok(())
}
