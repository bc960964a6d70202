//! Elements from one type to another, piece by piece: never much of a tensor is in memory.

use std::io::{self, Write};

use cortical_kernels::quantized::QuantizedMatrix;
use rayon::prelude::*;

use super::rearrange::Rearrange;
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
    rearranged: Option<Rearrange>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let is_same = matches!(rearranged, None | Some(Rearrange::Single));
    if to == tensor.kind() && is_same {
        return copy(model, tensor, out).map_err(io::Error::other)?;
    }
    let count = tensor.count();
    let piece_len = rearranged.map_or(PIECE, |how| how.together(tensor, PIECE));
    for group in (0..count).step_by(piece_len * TOGETHER) {
        let end = count.min(group + piece_len * TOGETHER);
        let starts: Vec<usize> = (group..end).step_by(piece_len).collect();
        let pieces = starts.into_par_iter().map(|from| {
            let len = piece_len.min(count - from);
            piece(model, tensor, from, len, to, rearranged)
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
    rearranged: Option<Rearrange>,
) -> Result<Vec<u8>> {
    let mut numbers = vec![0.0; len];
    match rearranged {
        None => model.read_numbers(tensor.name(), from, &mut numbers)?,
        Some(how) => how.read(model, tensor, from, &mut numbers)?,
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
