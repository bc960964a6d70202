//! Writing safetensors files with canonical bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use candle_core::{CpuStorage, Device, Storage, Tensor};

use crate::element::Number;
use crate::header::{Header, check_name, check_tensor};
use crate::limits;
use crate::{Defect, Element, Error, Result, write_atomic};

/// What a file says about itself: strings by key.
pub type Metadata = BTreeMap<String, String>;

/// Elements that are written at a time. The system keeps what is written at once in large pages, which are read and
/// mapped several times as fast as pages of 4 kB.
const CHUNK: usize = 2 << 20;

/// Writes named tensors into a safetensors file, atomically and durably (see [`write_atomic`]).
///
/// The same tensors and metadata always give the same bytes, in whatever order they are given: tensors lie in the
/// file with the largest elements first (so that each is aligned to its elements) and by name among equals, metadata
/// keys are sorted, and the header is padded with spaces so that the first element is at a multiple of 8. Tensors
/// may lie in memory in any layout and on any device; one at a time is copied where it is not contiguous.
///
/// # Errors
/// [`Error::Unwritable`] for names that repeat or are no names, or for more than the [`limits`](crate::limits)
/// allow, so that whatever is written can be read; otherwise those of [`write_atomic`].
pub fn save_tensors(
    path: impl AsRef<Path>,
    tensors: &[(String, Tensor)],
    metadata: &Metadata,
) -> Result<()> {
    let path = path.as_ref();
    let plan = Plan::new(tensors, metadata).map_err(|defect| Error::Unwritable {
        path: path.into(),
        defect,
    })?;
    write_atomic(path, |writer| plan.write(writer))
}

/// A tensor that is to be written: what its header says, and whatever it comes from.
pub(crate) struct Part<T> {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) shape: Vec<u64>,
    pub(crate) from: T,
}

/// Lays tensors out: the bytes of the header, and the parts in the order of their bytes.
pub(crate) fn lay_out<T>(
    mut parts: Vec<Part<T>>,
    metadata: &Metadata,
) -> Result<(Vec<u8>, Vec<Part<T>>), Defect> {
    if parts.len() > limits::TENSORS {
        return Err(Defect::TooManyTensors);
    }
    for part in &parts {
        check_name(&part.name)?;
    }
    parts.sort_by(|a, b| {
        let sizes = b.element.size().cmp(&a.element.size());
        sizes.then_with(|| a.name.cmp(&b.name))
    });
    let mut header = Header {
        metadata: metadata.clone(),
        ..Header::default()
    };
    let mut start = 0;
    for (index, part) in parts.iter().enumerate() {
        let name = part.name.clone();
        if header.index.insert(name.clone(), index).is_some() {
            return Err(Defect::Duplicate { name });
        }
        let info = check_tensor(name, part.element, part.shape.clone(), start, None)?;
        start = info.end;
        header.tensors.push(info);
    }
    let header = header.to_bytes();
    let got = header.len() as u64 - 8;
    if got > limits::HEADER_BYTES {
        return Err(Defect::HeaderTooLong { got });
    }
    Ok((header, parts))
}

/// A checked file that is ready to be written.
pub(crate) struct Plan<'a> {
    header: Vec<u8>,
    /// In the order of their bytes.
    tensors: Vec<&'a Tensor>,
}

impl<'a> Plan<'a> {
    /// Lays the tensors out.
    pub(crate) fn new(named: &'a [(String, Tensor)], metadata: &Metadata) -> Result<Self, Defect> {
        let part = |(name, tensor): &'a (String, Tensor)| {
            let element = Element::of(tensor.dtype()).ok_or_else(|| Defect::Unstorable {
                name: name.clone(),
                got: tensor.dtype(),
            })?;
            Ok(Part {
                name: name.clone(),
                element,
                shape: tensor.dims().iter().map(|&dim| dim as u64).collect(),
                from: tensor,
            })
        };
        let parts = named.iter().map(part).collect::<Result<_, Defect>>()?;
        let (header, parts) = lay_out(parts, metadata)?;
        Ok(Self {
            header,
            tensors: parts.into_iter().map(|part| part.from).collect(),
        })
    }

    /// Writes the header and then one tensor after the other.
    pub(crate) fn write(&self, writer: &mut dyn Write) -> io::Result<()> {
        writer.write_all(&self.header)?;
        for tensor in &self.tensors {
            write_elements(tensor, writer)?;
        }
        Ok(())
    }
}

/// Writes a tensor's elements in row-major order.
fn write_elements(tensor: &Tensor, writer: &mut dyn Write) -> io::Result<()> {
    if tensor.elem_count() == 0 {
        // A narrowed view of an empty tensor starts outside its storage.
        return Ok(());
    }
    let tensor = tensor
        .to_device(&Device::Cpu)
        .and_then(|tensor| tensor.contiguous())
        .map_err(io::Error::other)?;
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) = layout
        .contiguous_offsets()
        .expect("the tensor was made contiguous above");
    let Storage::Cpu(storage) = &*storage else {
        unreachable!("the tensor was moved to the CPU above");
    };
    match storage {
        CpuStorage::U8(v) => write_numbers(&v[start..end], writer),
        CpuStorage::I16(v) => write_numbers(&v[start..end], writer),
        CpuStorage::F16(v) => write_numbers(&v[start..end], writer),
        CpuStorage::BF16(v) => write_numbers(&v[start..end], writer),
        CpuStorage::U32(v) => write_numbers(&v[start..end], writer),
        CpuStorage::I32(v) => write_numbers(&v[start..end], writer),
        CpuStorage::F32(v) => write_numbers(&v[start..end], writer),
        CpuStorage::I64(v) => write_numbers(&v[start..end], writer),
        CpuStorage::F64(v) => write_numbers(&v[start..end], writer),
        CpuStorage::F8E4M3(v) => {
            for chunk in v[start..end].chunks(CHUNK) {
                let bytes: Vec<u8> = chunk.iter().map(|number| number.to_bits()).collect();
                writer.write_all(&bytes)?;
            }
            Ok(())
        }
        CpuStorage::F6E2M3(_)
        | CpuStorage::F6E3M2(_)
        | CpuStorage::F4(_)
        | CpuStorage::F8E8M0(_) => {
            unreachable!("the plan refuses types that are not stored")
        }
    }
}

/// Writes numbers as they lie in memory, where that is how files have them.
fn write_numbers<T: Number>(numbers: &[T], writer: &mut dyn Write) -> io::Result<()> {
    for chunk in numbers.chunks(CHUNK) {
        writer.write_all(&T::bytes(chunk))?;
    }
    Ok(())
}
