//! Sliding windows as candle operations whose gradients are right: for devices without kernels of ours.
//!
//! A window operation is a sum or a maximum over its taps, and each tap sees the padded input shifted and strided: an
//! `index_select` along each axis, whose gradient candle adds up rightly. Slower than candle's own convolution there,
//! which has wrong gradients.

use candle_core::{Device, Result, Tensor};
use cortical_kernels::conv::Axis;

/// `x` with `value` around its last `axes.len()` dimensions: the padding of each axis, and behind it as much as its
/// last window hangs over.
pub(super) fn pad(x: &Tensor, axes: &[Axis], output: &[usize], value: f64) -> Result<Tensor> {
    let first = x.rank() - axes.len();
    let mut x = x.clone();
    for (i, (axis, output)) in axes.iter().zip(output).enumerate() {
        let reached = (output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1;
        let behind = reached.saturating_sub(axis.input + axis.padding[0]);
        for (size, in_front) in [(axis.padding[0], true), (behind, false)] {
            if size == 0 {
                continue;
            }
            let mut shape = x.dims().to_vec();
            shape[first + i] = size;
            let edge = Tensor::zeros(shape, x.dtype(), x.device())?.affine(1.0, value)?;
            x = if in_front {
                Tensor::cat(&[&edge, &x], first + i)?
            } else {
                Tensor::cat(&[&x, &edge], first + i)?
            };
        }
    }
    Ok(x)
}

/// What each tap of a window sees of the padded input `x`, row by row.
pub(super) fn taps(x: &Tensor, axes: &[Axis], output: &[usize]) -> Result<Vec<Tensor>> {
    let first = x.rank() - axes.len();
    let mut seen = vec![x.clone()];
    for (i, (axis, output)) in axes.iter().zip(output).enumerate() {
        let mut next = Vec::with_capacity(seen.len() * axis.kernel);
        for x in &seen {
            for tap in 0..axis.kernel {
                let start = tap * axis.dilation;
                next.push(select(x, first + i, start, axis.stride, *output)?);
            }
        }
        seen = next;
    }
    Ok(seen)
}

/// The largest of each element over several tensors: of equal ones the first, and `NaN` over everything, as in the
/// kernels.
pub(super) fn largest(tensors: Vec<Tensor>) -> Result<Tensor> {
    let mut tensors = tensors.into_iter();
    let first = tensors.next().expect("there is at least one");
    // A later one wins only if it is larger, as candle's own maximum would split the gradient among equal ones. `NaN`
    // differs from itself.
    tensors.try_fold(first, |most, next| {
        let wins = (next.gt(&most)? + next.ne(&next)?)?.gt(0_u8)?;
        wins.where_cond(&next, &most)
    })
}

/// `count` elements along `dim` from `start` on, `step` apart.
pub(super) fn select(
    x: &Tensor,
    dim: usize,
    start: usize,
    step: usize,
    count: usize,
) -> Result<Tensor> {
    if step == 1 {
        return x.narrow(dim, start, count);
    }
    let indices: Vec<u32> = (0..count).map(|i| (start + i * step) as u32).collect();
    let indices = Tensor::from_vec(indices, count, &Device::Cpu)?.to_device(x.device())?;
    x.contiguous()?.index_select(&indices, dim)
}

/// `x` with `step − 1` zeros behind each element along `dim`.
pub(super) fn spread(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
    if step == 1 {
        return Ok(x.clone());
    }
    let wide = x.unsqueeze(dim + 1)?;
    let mut shape = wide.dims().to_vec();
    shape[dim + 1] = step - 1;
    let zeros = Tensor::zeros(shape, x.dtype(), x.device())?;
    let mut shape = x.dims().to_vec();
    shape[dim] *= step;
    Tensor::cat(&[&wide, &zeros], dim + 1)?.reshape(shape)
}
