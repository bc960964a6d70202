//! Pooling: the maximum or the mean of each window of each channel.

mod adaptive;
mod avg;
mod max;

pub use adaptive::{adaptive_avg_pool1d, adaptive_avg_pool2d};
pub use avg::{AvgPoolOptions, avg_pool, avg_pool1d, avg_pool2d};
pub use max::{MaxPoolOptions, max_pool, max_pool1d, max_pool2d};

use crate::ops::prepare::{check_float, wrong_shape};
use crate::{Error, Result};
use candle_core::Tensor;
use cortical_kernels::conv::Axis;
use cortical_kernels::pool::Geometry;

/// The leading dimensions of `x` as a number of planes, and its last `AXES` dimensions as height and width.
fn planes<const AXES: usize>(op: &'static str, x: &Tensor) -> Result<(usize, [usize; 2])> {
    check_float(op, "x", x)?;
    let dims = x.dims();
    if dims.len() < AXES + 1 || dims.len() > AXES + 2 {
        let expected = format!("[n, channels, …] or [channels, …] with {AXES} axes behind");
        return Err(wrong_shape(op, "x", expected, x));
    }
    let (leading, space) = dims.split_at(dims.len() - AXES);
    let planes = crate::shape::checked_count(op, leading)?;
    let mut size = [1; 2];
    size[2 - AXES..].copy_from_slice(space);
    Ok((planes, size))
}

/// Checks a pool over planes of `size`, where `axis` makes the option's axis `i` for an input of a given length.
fn geometry<const AXES: usize>(
    op: &'static str,
    planes: usize,
    size: [usize; 2],
    ceil_mode: bool,
    axis: impl Fn(usize, usize) -> Axis,
) -> Result<Geometry> {
    let mut axes = [Axis::UNUSED; 2];
    for i in 0..AXES {
        axes[2 - AXES + i] = axis(i, size[2 - AXES + i]);
    }
    Geometry::new(planes, axes, ceil_mode).map_err(|source| Error::Geometry { op, source })
}

/// The shape of a pool's result.
fn shape_of<const AXES: usize>(x: &Tensor, output: [usize; 2]) -> Vec<usize> {
    let mut shape = x.dims().to_vec();
    let leading = shape.len() - AXES;
    shape[leading..].copy_from_slice(&output[2 - AXES..]);
    shape
}

#[cfg(test)]
mod tests;
