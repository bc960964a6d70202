//! Weights with severed connections in safetensors files, as compressed-tensors (vLLM) writes `sparse-bitmask`.
//!
//! Four tensors stand for the weight `X`: `X.compressed` with the values that are not zero, row after row; `X.bitmask`,
//! a bit for every connection of a row, the lowest first, in whole bytes; `X.row_offsets`, where each row's values
//! begin; `X.shape`. A file shows them as one tensor `X`, which loads as the dense weight, or as
//! [`SparseMatrix`].

use std::collections::BTreeMap;
use std::io;

use candle_core::{DType, Device, Tensor};
use cortical_kernels::sparse::{SparseMatrix, Values};

use crate::{Defect, Element, Error, Result, TensorInfo};

const VALUES: &str = "compressed";
const MASK: &str = "bitmask";
const OFFSETS: &str = "row_offsets";
const SHAPE: &str = "shape";

/// The name of the weight that a tensor of this name would be a part of.
pub(crate) fn whole(name: &str) -> Option<&str> {
    let (whole, part) = name.rsplit_once('.')?;
    [VALUES, MASK, OFFSETS, SHAPE]
        .contains(&part)
        .then_some(whole)
}

/// The name of a part of a weight, under which an index lists it.
pub(crate) fn first_part(name: &str) -> String {
    format!("{name}.{VALUES}")
}

/// Where the parts of a weight lie, from the first byte behind the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmask {
    values: usize,
    values_start: u64,
    mask_start: u64,
    offsets_start: u64,
    /// Bytes of all parts.
    pub(crate) bytes: u64,
}

/// Reads bytes behind the header.
pub(crate) type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// Puts one tensor in the place of the four that stand for it.
pub(crate) fn fold(
    tensors: Vec<TensorInfo>,
    read: Read<'_>,
) -> io::Result<Result<Vec<TensorInfo>, Defect>> {
    let by_name: BTreeMap<&str, &TensorInfo> = tensors
        .iter()
        .map(|tensor| (tensor.name(), tensor))
        .collect();
    let mut folded = BTreeMap::new();
    for tensor in &tensors {
        let Some((name, MASK)) = tensor.name().rsplit_once('.') else {
            continue;
        };
        let part = |part: &str| by_name.get(format!("{name}.{part}").as_str()).copied();
        let (Some(values), Some(offsets), Some(shape)) = (part(VALUES), part(OFFSETS), part(SHAPE))
        else {
            continue;
        };
        if by_name.contains_key(name) {
            continue;
        }
        match combine(name, [values, tensor, offsets, shape], read)? {
            Ok(info) => folded.insert(name.to_owned(), info),
            Err(defect) => return Ok(Err(defect)),
        };
    }
    if folded.is_empty() {
        return Ok(Ok(tensors));
    }
    // Each weight stands where its values do.
    let place = |tensor: TensorInfo| {
        let part = whole(tensor.name()).filter(|name| folded.contains_key(*name));
        match part {
            None => Some(tensor),
            Some(name) if tensor.name().ends_with(VALUES) => folded.get(name).cloned(),
            Some(_) => None,
        }
    };
    Ok(Ok(tensors.into_iter().filter_map(place).collect()))
}

fn combine(
    name: &str,
    [values, mask, offsets, shape]: [&TensorInfo; 4],
    read: Read<'_>,
) -> io::Result<Result<TensorInfo, Defect>> {
    let wrong = |why: String| {
        Ok(Err(Defect::Sparse {
            name: name.to_owned(),
            why,
        }))
    };
    let (Element::U8, &[rows, row_bytes]) = (mask.element, mask.shape()) else {
        return wrong(format!("{} must be U8 of two dimensions", mask.name()));
    };
    let float = matches!(values.element, Element::F32 | Element::F16 | Element::BF16);
    let (true, &[count]) = (float, values.shape()) else {
        let name = values.name();
        return wrong(format!("{name} must be F32, F16 or BF16 of one dimension"));
    };
    if offsets.element != Element::I64 || offsets.shape() != [rows] {
        return wrong(format!("{} must be I64 of shape [{rows}]", offsets.name()));
    }
    if shape.element != Element::I64 || shape.shape() != [2] {
        return wrong(format!("{} must be I64 of shape [2]", shape.name()));
    }
    let mut bytes = [0; 16];
    read(shape.start, &mut bytes)?;
    let [a, b] = [0, 8].map(|at| {
        let number = bytes[at..at + 8].try_into().expect("eight bytes");
        usize::try_from(i64::from_le_bytes(number)).unwrap_or(usize::MAX)
    });
    if a != rows || b.div_ceil(8) != row_bytes || rows == 0 || b == 0 {
        let name = shape.name();
        return wrong(format!(
            "{name} says [{a}, {b}], the mask is for {rows} rows of {row_bytes} bytes"
        ));
    }
    let parts = [values, mask, offsets, shape];
    Ok(Ok(TensorInfo {
        name: name.to_owned(),
        element: values.element,
        shape: vec![a, b],
        start: values.start,
        end: values.end,
        bitmask: Some(Box::new(Bitmask {
            values: count,
            values_start: values.start,
            mask_start: mask.start,
            offsets_start: offsets.start,
            bytes: parts.iter().map(|part| part.end - part.start).sum(),
        })),
    }))
}

/// What can be wrong with a sparse weight when it is read.
pub(crate) enum Trouble {
    Memory,
    Read(io::Error),
    Content(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Bitmask {
    /// All of a weight of this type and shape.
    pub(crate) fn matrix(
        &self,
        element: Element,
        shape: &[usize],
        read: Read<'_>,
    ) -> Result<SparseMatrix, Trouble> {
        let (rows, cols) = (shape[0], shape[1]);
        let mut mask = room(rows * cols.div_ceil(8))?;
        read(self.mask_start, &mut mask)?;
        let mut bytes = room(self.values * element.size())?;
        read(self.values_start, &mut bytes)?;
        let halves = || bytes.as_chunks::<2>().0.iter();
        let values = match element {
            Element::F32 => {
                let numbers = bytes.as_chunks::<4>().0.iter();
                Values::F32(numbers.map(|b| f32::from_le_bytes(*b)).collect())
            }
            Element::BF16 => Values::Bf16(halves().map(|b| u16::from_le_bytes(*b)).collect()),
            // What `combine` let through: F16, which single precision holds exactly.
            _ => Values::F32(
                halves()
                    .map(|b| half::f16::from_le_bytes(*b).to_f32())
                    .collect(),
            ),
        };
        SparseMatrix::new(rows, cols, &mask, values)
            .map_err(|why| Trouble::Content(why.to_string()))
    }

    /// Some elements of a weight of this shape, from element `from` on; they are there.
    pub(crate) fn numbers(
        &self,
        element: Element,
        shape: &[usize],
        from: usize,
        out: &mut [f64],
        read: Read<'_>,
    ) -> Result<(), Trouble> {
        out.fill(0.0);
        let (cols, end) = (shape[1], from + out.len());
        let row_bytes = cols.div_ceil(8);
        let size = element.size();
        for row in from / cols..end.div_ceil(cols) {
            let mut mask = room(row_bytes)?;
            read(self.mask_start + (row * row_bytes) as u64, &mut mask)?;
            let count: usize = mask.iter().map(|byte| byte.count_ones() as usize).sum();
            let mut offset = [0; 8];
            read(self.offsets_start + 8 * row as u64, &mut offset)?;
            let offset = usize::try_from(i64::from_le_bytes(offset)).unwrap_or(usize::MAX);
            if offset
                .checked_add(count)
                .is_none_or(|end| end > self.values)
            {
                return Err(Trouble::Content(format!(
                    "row {row} begins at value {offset} and has {count}, of {}",
                    self.values
                )));
            }
            let mut bytes = room(count * size)?;
            read(self.values_start + (offset * size) as u64, &mut bytes)?;
            let mut values = vec![0.0; count];
            element.numbers(&bytes, &mut values);
            let mut values = values.into_iter();
            for p in (0..8 * row_bytes).filter(|p| mask[p / 8] >> (p % 8) & 1 == 1) {
                let value = values.next().unwrap_or(0.0);
                let at = row * cols + p;
                if p < cols && (from..end).contains(&at) {
                    out[at - from] = value;
                }
            }
        }
        Ok(())
    }
}

/// So many bytes, if there is memory for them.
fn room(bytes: usize) -> Result<Vec<u8>, Trouble> {
    let mut room = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| Trouble::Memory)?;
    room.resize(bytes, 0);
    Ok(room)
}

/// The tensors that stand for the weight `name`, for [`save_tensors`](crate::save_tensors).
///
/// # Errors
/// [`Error::Tensor`] when a tensor cannot be made.
pub fn sparse_tensors(name: &str, matrix: &SparseMatrix) -> Result<Vec<(String, Tensor)>> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let cpu = &Device::Cpu;
    let make = || -> candle_core::Result<[(&str, Tensor); 4]> {
        let mask = matrix.mask();
        let row_bytes = cols.div_ceil(8);
        let mut next = 0;
        let mut offsets = Vec::with_capacity(rows);
        for row in mask.chunks_exact(row_bytes) {
            offsets.push(next);
            next += row
                .iter()
                .map(|byte| i64::from(byte.count_ones()))
                .sum::<i64>();
        }
        let values = match matrix.values() {
            Values::Bf16(values) => {
                let values: Vec<_> = values.into_iter().map(half::bf16::from_bits).collect();
                Tensor::new(values, cpu)?
            }
            Values::F32(values) => Tensor::new(values, cpu)?,
        };
        Ok([
            (MASK, Tensor::from_vec(mask, (rows, row_bytes), cpu)?),
            (VALUES, values),
            (OFFSETS, Tensor::new(offsets, cpu)?),
            (SHAPE, Tensor::new(&[rows as i64, cols as i64], cpu)?),
        ])
    };
    let tensors = make().map_err(|source| Error::Tensor {
        path: "a sparse weight".into(),
        name: name.to_owned(),
        source: Box::new(source),
    })?;
    let named = tensors.map(|(part, tensor)| (format!("{name}.{part}"), tensor));
    Ok(named.into())
}

/// The dense weight as a tensor of this type.
pub(crate) fn dense(
    matrix: &SparseMatrix,
    dtype: DType,
    device: &Device,
) -> candle_core::Result<Tensor> {
    let shape = (matrix.rows(), matrix.cols());
    Tensor::from_vec(matrix.dense(), shape, device)?.to_dtype(dtype)
}
