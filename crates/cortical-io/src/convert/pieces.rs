//! Elements from one type to another, piece by piece: never much of a tensor is in memory.

use std::io::{self, Write};

use cortical_kernels::quantized::QuantizedMatrix;
use rayon::prelude::*;

use crate::{AnyModel, AnyTensor, Error, Result, TensorType};

/// Elements that are converted at a time by one thread: whole blocks of every type.
const PIECE: usize = 1 << 16;
/// Pieces that are in memory at a time, about 2 MiB each.
const TOGETHER: usize = 8;
/// Bytes that are copied at a time where nothing is converted.
const COPY: usize = 4 << 20;

/// Writes the elements of a tensor as elements of another type.
pub(super) fn write(
    model: &AnyModel,
    tensor: &AnyTensor,
    to: TensorType,
    pairs: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if to == tensor.kind() && pairs.is_none() {
        return copy(model, tensor, out).map_err(io::Error::other)?;
    }
    let count = tensor.count();
    for group in (0..count).step_by(PIECE * TOGETHER) {
        let end = count.min(group + PIECE * TOGETHER);
        let starts: Vec<usize> = (group..end).step_by(PIECE).collect();
        let pieces = starts.into_par_iter().map(|from| {
            let len = PIECE.min(count - from);
            piece(model, tensor, from, len, to, pairs)
        });
        let pieces: Result<Vec<Vec<u8>>> = pieces.collect();
        for piece in pieces.map_err(io::Error::other)? {
            out.write_all(&piece)?;
        }
    }
    Ok(())
}

fn copy(model: &AnyModel, tensor: &AnyTensor, out: &mut dyn Write) -> Result<io::Result<()>> {
    let bytes = tensor.bytes();
    let mut buffer = vec![0; (COPY as u64).min(bytes) as usize];
    let mut at = 0;
    while at < bytes {
        let part = buffer
            .len()
            .min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        model.read_bytes(tensor.name(), at, &mut buffer[..part])?;
        if let Err(error) = out.write_all(&buffer[..part]) {
            return Ok(Err(error));
        }
        at += part as u64;
    }
    Ok(Ok(()))
}

/// Some elements, whole blocks, as bytes of another type.
fn piece(
    model: &AnyModel,
    tensor: &AnyTensor,
    from: usize,
    len: usize,
    to: TensorType,
    pairs: Option<usize>,
) -> Result<Vec<u8>> {
    let mut numbers = vec![0.0; len];
    match pairs {
        None => model.read_numbers(tensor.name(), from, &mut numbers)?,
        Some(heads) => {
            let [rows, cols] = matrix(tensor);
            let (mut at, mut rest) = (from, &mut numbers[..]);
            while !rest.is_empty() {
                let (row, within) = (at / cols, at % cols);
                let (part, behind) = rest.split_at_mut((cols - within).min(rest.len()));
                let from = paired(row, heads, rows) * cols + within;
                model.read_numbers(tensor.name(), from, part)?;
                (at, rest) = (at + part.len(), behind);
            }
        }
    }
    match to {
        TensorType::Plain(element) => {
            let mut bytes = vec![0; len * element.size()];
            match element.bytes_of(&numbers, &mut bytes) {
                true => Ok(bytes),
                false => Err(Error::NotLoadable {
                    path: model.path().into(),
                    name: tensor.name().into(),
                    element,
                }),
            }
        }
        TensorType::Quantized(format) => {
            let numbers: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
            let made = QuantizedMatrix::quantize(format, 1, len, &numbers);
            let made = made.map_err(|why| Error::Quantize {
                name: tensor.name().into(),
                why,
            })?;
            Ok(made.bytes().to_vec())
        }
    }
}

/// Rows and their elements, where the elements of one dimension are rows of their own.
fn matrix(tensor: &AnyTensor) -> [usize; 2] {
    match tensor.shape() {
        [] => [1, 1],
        [rows, rest @ ..] => [*rows, rest.iter().product()],
    }
}

/// Whether the rows of a tensor are those of so many heads, each of two halves.
pub(super) fn is_paired(tensor: &AnyTensor, heads: usize) -> bool {
    let [rows, _] = matrix(tensor);
    let is_float = match tensor.kind() {
        TensorType::Plain(element) => element.is_float(),
        TensorType::Quantized(_) => false,
    };
    is_float && heads > 0 && rows.is_multiple_of(2 * heads)
}

/// The row that stands at place `row` once the two numbers of a rotated pair are side by side.
fn paired(row: usize, heads: usize, rows: usize) -> usize {
    let dim = rows / heads;
    let (head, within) = (row / dim, row % dim);
    head * dim + within / 2 + dim / 2 * (within % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side() {
        let order: Vec<usize> = (0..8).map(|row| paired(row, 2, 8)).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
        let order: Vec<usize> = (0..6).map(|row| paired(row, 1, 6)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5]);
    }
}
