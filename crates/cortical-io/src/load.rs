//! Elements of a file become a tensor: whatever the format, read in pieces by all threads.

use std::io;
use std::path::Path;

use candle_core::{DType, Device, Tensor, WithDType};
use rayon::prelude::*;

use crate::element::Number;
use crate::{Element, Error};

/// Bytes that a thread reads and converts at a time; they stay in its cache meanwhile.
const CHUNK_BYTES: usize = 1 << 18;
/// Bytes of a tensor that a thread reads at a time to where they stay: a large page of memory.
const PIECE_BYTES: usize = 2 << 20;

/// Reads bytes of a tensor, counted from its first one.
pub(crate) type ReadAt<'a> = &'a (dyn Fn(u64, &mut [u8]) -> io::Result<()> + Sync);

/// Why a tensor could not be loaded, before the file's and the tensor's name are added.
pub(crate) enum LoadError {
    /// Candle has no tensors of this type.
    Type(Element),
    Memory,
    Read(io::Error),
    Tensor(candle_core::Error),
}

impl LoadError {
    /// The error for a tensor of a file.
    pub(crate) fn named(self, path: &Path, name: &str, bytes: u64) -> Error {
        let (path, name) = (path.to_owned(), name.to_owned());
        match self {
            Self::Type(element) => Error::NotLoadable {
                path,
                name,
                element,
            },
            Self::Memory => Error::OutOfMemory { path, name, bytes },
            Self::Read(source) => Error::Read { path, source },
            Self::Tensor(source) => Error::Tensor {
                path,
                name,
                source: Box::new(source),
            },
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The tensor of this type and shape whose bytes `read` reads.
pub(crate) fn tensor(
    element: Element,
    shape: &[usize],
    read: ReadAt<'_>,
    device: &Device,
) -> Result<Tensor, LoadError> {
    let Some(dtype) = element.dtype() else {
        return Err(LoadError::Type(element));
    };
    match dtype {
        DType::U8 => numbers::<u8>(shape, read, device),
        DType::I16 => numbers::<i16>(shape, read, device),
        DType::F16 => numbers::<half::f16>(shape, read, device),
        DType::BF16 => numbers::<half::bf16>(shape, read, device),
        DType::U32 => numbers::<u32>(shape, read, device),
        DType::I32 => numbers::<i32>(shape, read, device),
        DType::F32 => numbers::<f32>(shape, read, device),
        DType::I64 => numbers::<i64>(shape, read, device),
        DType::F64 => numbers::<f64>(shape, read, device),
        // What is left is of one byte and its Rust type is not ours to name; candle converts the bytes.
        _ => elements::<u8>(shape.iter().product(), read).and_then(|bytes| {
            let tensor = Tensor::from_raw_buffer(&bytes, dtype, shape, device);
            tensor.map_err(LoadError::Tensor)
        }),
    }
}

fn numbers<T: Number + WithDType>(
    shape: &[usize],
    read: ReadAt<'_>,
    device: &Device,
) -> Result<Tensor, LoadError> {
    let numbers = elements::<T>(shape.iter().product(), read)?;
    Tensor::from_vec(numbers, shape, device).map_err(LoadError::Tensor)
}

/// Reads elements to where they stay, pieces in parallel.
fn elements<T: Number>(count: usize, read: ReadAt<'_>) -> Result<Vec<T>, LoadError> {
    let fill = |bytes: &mut [u8]| {
        let pieces = bytes.par_chunks_mut(PIECE_BYTES).enumerate();
        pieces.try_for_each(|(index, piece)| read((index * PIECE_BYTES) as u64, piece))
    };
    match T::filled(count, fill) {
        Some(numbers) => Ok(numbers?),
        None => Err(LoadError::Memory),
    }
}

/// `count` zeros, if there is memory for them.
pub(crate) fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, LoadError> {
    // Asking first turns a lack of memory into an error. The reservation itself is given back, because memory that
    // the system hands out as zeros need not be written twice.
    Vec::<T>::new()
        .try_reserve_exact(count)
        .map_err(|_| LoadError::Memory)?;
    Ok(vec![T::default(); count])
}

/// Reads elements as numbers of double precision, from element `from` on, whose bytes `read` reads; `false` for complex
/// numbers.
pub(crate) fn read_numbers(
    element: Element,
    from: usize,
    out: &mut [f64],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let size = element.size();
    let per_chunk = CHUNK_BYTES / size;
    let mut bytes = vec![0; CHUNK_BYTES.min(out.len() * size)];
    for (index, out) in out.chunks_mut(per_chunk).enumerate() {
        let bytes = &mut bytes[..out.len() * size];
        read(((from + index * per_chunk) * size) as u64, bytes)?;
        if !element.numbers(bytes, out) {
            return Ok(false);
        }
    }
    Ok(true)
}
