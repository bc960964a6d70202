//! How weights are read from files, whatever their format.

use candle_core::{DType, Tensor};
use cortical_kernels::parallel;
use cortical_kernels::quantized::{Format, QuantizedError, QuantizedMatrix};
use cortical_neuron::Adapters;
use std::sync::{Arc, OnceLock};

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// How weights lie in memory; as [`Weights::Stored`] by default.
    pub weights: Weights,
    /// Low-rank changes of projections; none by default. Quantized weights take none.
    pub adapters: Option<Adapters>,
    /// What new parameters are drawn from.
    pub seed: u64,
    /// Leave the head over tokens out, and any other head that the files have: for a model that gets a head of its own.
    pub headless: bool,
    /// Draw a head over classes anew where the files have one: for other classes than theirs.
    pub new_head: bool,
}

/// How a model's weights lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Quantized where the file has them quantized (GGUF), sparse where it has them sparse, else in single precision.
    #[default]
    Stored,
    /// In single precision, as training has them.
    Single,
    /// As `bf16` parameters, which can be trained too: half the memory, three digits.
    Bf16,
    /// Quantized like this.
    Quantized(Format),
}

/// `map_err` for a tensor that a source cannot give.
pub(crate) fn unreadable<E>(name: &str) -> impl FnOnce(E) -> cortical_neuron::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| cortical_neuron::Error::Source {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// Numbers that are quantized at a time.
const PIECE: usize = 1 << 16;

/// Weights in single precision, quantized.
pub(crate) fn quantize(
    name: &str,
    tensor: &Tensor,
    format: Format,
) -> cortical_neuron::Result<Arc<QuantizedMatrix>> {
    let (rows, cols) = tensor.dims2()?;
    quantize_rows(name, [rows, cols], format, |first, count| {
        let rows = tensor.narrow(0, first, count)?.to_dtype(DType::F32)?;
        Ok(rows.flatten_all()?.to_vec1()?)
    })
}

/// Weights of `[rows, cols]`, quantized some rows at a time: `read(first, count)` gives so many rows from the first on.
/// A table of a whole vocabulary never lies in memory in single precision.
pub(crate) fn quantize_rows(
    name: &str,
    [rows, cols]: [usize; 2],
    format: Format,
    read: impl Fn(usize, usize) -> cortical_neuron::Result<Vec<f32>> + Sync + Send,
) -> cortical_neuron::Result<Arc<QuantizedMatrix>> {
    let columns = || QuantizedError::Columns { format, cols };
    let row_bytes = format.row_bytes(cols).ok_or_else(columns);
    let row_bytes = row_bytes.map_err(unreadable(name))?.max(1);
    let together = (PIECE / cols.max(1)).max(1);
    let mut bytes = vec![0; row_bytes * rows];
    let failed = OnceLock::new();
    parallel::chunks_mut(&mut bytes, together * row_bytes, |first, out| {
        let (first, count) = (first / row_bytes, out.len() / row_bytes);
        let piece = read(first, count).and_then(|weights| {
            QuantizedMatrix::quantize(format, count, cols, &weights).map_err(unreadable(name))
        });
        match piece {
            Ok(piece) => out.copy_from_slice(piece.bytes()),
            Err(why) => drop(failed.set(why)),
        }
    });
    if let Some(why) = failed.into_inner() {
        return Err(why);
    }
    let whole = QuantizedMatrix::new(format, rows, cols, bytes);
    Ok(Arc::new(whole.map_err(unreadable(name))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_kernels::quantized::QuantizedMatrix;

    #[test]
    fn pieces_are_the_whole() {
        // Not a whole number of pieces.
        let (rows, cols) = (2 * PIECE / 96 + 5, 96);
        let weights: Vec<f32> = (0..rows * cols).map(|i| (i as f32).sin()).collect();
        for format in [Format::Q8_0, Format::Bf16, Format::Int8] {
            let whole = QuantizedMatrix::quantize(format, rows, cols, &weights).unwrap();
            let read = |first: usize, count: usize| {
                Ok(weights[first * cols..(first + count) * cols].to_vec())
            };
            let pieces = quantize_rows("w", [rows, cols], format, read).unwrap();
            assert_eq!(pieces.bytes(), whole.bytes(), "{}", format.name());
        }
    }

    #[test]
    fn what_cannot_be_read_or_quantized_is_named() {
        let unread = |first: usize, _: usize| {
            Err(unreadable("w")(std::io::Error::other(format!(
                "row {first}"
            ))))
        };
        let error = quantize_rows("w", [3, 32], Format::Q8_0, unread).unwrap_err();
        assert!(format!("{error:?}").contains("row 0"), "{error:?}");
        let zeros = |_: usize, count: usize| Ok(vec![0.0; count * 33]);
        let error = quantize_rows("w", [3, 33], Format::Q8_0, zeros).unwrap_err();
        assert!(error.to_string().contains('w'), "{error}");
    }
}
