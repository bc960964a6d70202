//! One mask from several.

use super::Attend;
use candle_core::{DType, Device, Tensor};
use cortical_neuron::Result;
use cortical_tensor::Error;

/// The mask and the mask of keys in one, `[batch or 1, heads or 1, rows or 1, keys + extra]`; further keys are seen by
/// every query. With further keys and `causal`, what comes later is in the mask, too.
pub(super) fn merged(
    attend: &Attend<'_>,
    [batch, heads, rows, keys]: [usize; 4],
    extra: usize,
    causal: bool,
    dtype: DType,
) -> Result<Option<Tensor>> {
    let mut parts = Vec::new();
    if let Some(mask) = attend.mask {
        parts.push(spread(mask, [batch, heads, rows, keys])?);
    }
    if let Some(mask) = attend.key_mask {
        let mask = match *mask.dims() {
            [b, k] if (b, k) == (batch, keys) => mask.reshape((batch, 1, 1, keys))?,
            [k] if (1, k) == (batch, keys) => mask.reshape((1, 1, 1, keys))?,
            _ => return Err(wrong("key_mask", format!("[{batch}, {keys}]"), mask)),
        };
        parts.push(mask);
    }
    if causal && extra > 0 {
        let device = parts.first().map_or(&Device::Cpu, Tensor::device);
        parts.push(earlier(rows, keys, device)?);
    }
    let mut mask: Option<Tensor> = None;
    for part in parts {
        mask = Some(match mask {
            None => part,
            Some(mask) if mask.dtype() == DType::U8 && part.dtype() == DType::U8 => {
                let seen = |t: &Tensor| t.ne(0_u8);
                seen(&mask)?.broadcast_mul(&seen(&part)?)?
            }
            Some(mask) => added(&mask, dtype)?.broadcast_add(&added(&part, dtype)?)?,
        });
    }
    match mask {
        Some(mask) if extra > 0 => Ok(Some(behind(&mask, extra)?)),
        mask => Ok(mask),
    }
}

/// A mask with its four dimensions.
fn spread(mask: &Tensor, [batch, heads, rows, keys]: [usize; 4]) -> Result<Tensor> {
    let fits = |dim: usize, whole: usize| dim == whole || dim == 1;
    Ok(match *mask.dims() {
        [r, k] if fits(r, rows) && k == keys => mask.reshape((1, 1, r, k))?,
        [n, r, k] if n == batch * heads && fits(r, rows) && k == keys => {
            mask.contiguous()?.reshape((batch, heads, r, k))?
        }
        [b, h, r, k] if fits(b, batch) && fits(h, heads) && fits(r, rows) && k == keys => {
            mask.clone()
        }
        _ => {
            let expected = format!(
                "[{rows}, {keys}], [{}, {rows}, {keys}] or [{batch} or 1, {heads} or 1, {rows} or 1, {keys}]",
                batch * heads
            );
            return Err(wrong("mask", expected, mask));
        }
    })
}

fn wrong(argument: &'static str, expected: String, mask: &Tensor) -> cortical_neuron::Error {
    let (op, got) = ("attention", mask.dims().to_vec());
    Error::Shape {
        op,
        argument,
        expected,
        got,
    }
    .into()
}

/// `[1, 1, rows, keys]`, not 0 where a key comes no later than the query.
fn earlier(rows: usize, keys: usize, device: &Device) -> Result<Tensor> {
    let seen: Vec<u8> = (0..rows)
        .flat_map(|row| (0..keys).map(move |key| u8::from(key <= row)))
        .collect();
    Ok(Tensor::from_vec(seen, (1, 1, rows, keys), device)?)
}

/// The mask with further keys that are seen.
fn behind(mask: &Tensor, extra: usize) -> Result<Tensor> {
    let mut dims = mask.dims().to_vec();
    dims[3] = extra;
    let seen = match mask.dtype() {
        DType::U8 => Tensor::ones(dims, DType::U8, mask.device())?,
        dtype => Tensor::zeros(dims, dtype, mask.device())?,
    };
    Ok(Tensor::cat(&[mask, &seen], 3)?)
}

/// A mask as what is added to scores: 0 where it is seen, −∞ where it is not.
pub(super) fn added(mask: &Tensor, dtype: DType) -> Result<Tensor> {
    if mask.dtype() != DType::U8 {
        return Ok(mask.to_dtype(dtype)?);
    }
    let zeros = Tensor::zeros(mask.dims(), dtype, mask.device())?;
    let never = Tensor::full(f32::NEG_INFINITY, mask.dims(), mask.device())?.to_dtype(dtype)?;
    Ok(mask.contiguous()?.ne(0_u8)?.where_cond(&zeros, &never)?)
}

/// What is added to scores, with later keys hidden.
pub(super) fn with_causal(
    mask: Option<Tensor>,
    rows: usize,
    keys: usize,
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    let earlier = added(&earlier(rows, keys, device)?, dtype)?;
    Ok(Some(match mask {
        Some(mask) => added(&mask, dtype)?.broadcast_add(&earlier)?,
        None => earlier,
    }))
}
