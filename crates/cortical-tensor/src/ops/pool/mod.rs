//! Pooling: the maximum or the mean of each window of each channel.

mod adaptive;
mod avg;
mod max;

pub use adaptive::{
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d,
    adaptive_max_pool2d, adaptive_max_pool3d,
};
pub use avg::{AvgPoolOptions, avg_pool, avg_pool1d, avg_pool2d, avg_pool3d};
pub use max::{MaxPoolOptions, max_pool, max_pool1d, max_pool2d, max_pool3d};

use crate::ops::prepare::{check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback};
use candle_core::{DType, Tensor};
use cortical_kernels::conv::Axis;
use cortical_kernels::pool::Geometry;

/// What differs between the maximum and the mean of windows.
trait Pool: Copy {
    /// The pool's name in errors, by its number of axes.
    const NAMES: [&'static str; 3];

    /// The two pools, over height and width and then over depth, that together are this one over three axes.
    fn split(self) -> [Self; 2];

    /// The kernel over planes, with its backward pass, for every dtype that has one.
    fn fused(self, g: Geometry, x: Input<'_>, shape: Vec<usize>) -> Result<Tensor>;

    /// The same as candle operations, of the windows' elements one after the other.
    fn fallback(self, g: &Geometry, x: &Tensor) -> candle_core::Result<Tensor>;
}

/// The leading dimensions of `x` as a number of planes, and its last `AXES` dimensions.
fn space<const AXES: usize>(op: &'static str, x: &Tensor) -> Result<(usize, [usize; AXES])> {
    check_float(op, "x", x)?;
    let dims = x.dims();
    if dims.len() < AXES + 1 || dims.len() > AXES + 2 {
        let expected = format!("[n, channels, …] or [channels, …] with {AXES} axes behind");
        return Err(wrong_shape(op, "x", expected, x));
    }
    let (leading, space) = dims.split_at(dims.len() - AXES);
    let planes = checked_count(op, leading)?;
    Ok((planes, std::array::from_fn(|i| space[i])))
}

/// Pools the last `AXES` axes of `x`, where `axis` makes the option's axis `i` for an input of a given length.
fn pool<const AXES: usize, P: Pool>(
    how: P,
    x: Input<'_>,
    ceil_mode: bool,
    axis: impl Fn(usize, usize) -> Axis,
) -> Result<Tensor> {
    const { assert!(AXES >= 1 && AXES <= 3, "one, two or three axes") };
    let op = P::NAMES[AXES - 1];
    let t = x.tensor();
    let (planes, space) = space::<AXES>(op, t)?;
    let dtype = t.dtype();
    if is_half(dtype) {
        let wide = t.to_dtype(DType::F32)?;
        let y = pool::<AXES, P>(how, (&wide).into(), ceil_mode, axis)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let geometry = |planes, axes: [Axis; 2]| {
        let checked = Geometry::new(planes, axes, ceil_mode);
        let g = checked.map_err(|source| Error::Geometry { op, source })?;
        // `Geometry` has added these up without overflow.
        let [height, width] = axes.map(|a| a.input + a.padding[0] + a.padding[1]);
        checked_count(op, &[planes, height, width])?;
        Ok::<_, Error>(g)
    };
    let mut shape = t.dims().to_vec();
    let leading = shape.len() - AXES;
    if AXES < 3 {
        let mut axes = [Axis::UNUSED; 2];
        for i in 0..AXES {
            axes[2 - AXES + i] = axis(i, space[i]);
        }
        let g = geometry(planes, axes)?;
        shape[leading..].copy_from_slice(&g.output()[2 - AXES..]);
        checked_count(op, &shape)?;
        return run(how, g, x, shape);
    }
    let planes_of_depth = checked_count(op, &[planes, space[0]])?;
    let across = geometry(planes_of_depth, [axis(1, space[1]), axis(2, space[2])])?;
    let [height, width] = across.output();
    let row = Axis {
        input: height * width,
        ..Axis::UNUSED
    };
    let along = geometry(planes, [axis(0, space[0]), row])?;
    shape[leading..].copy_from_slice(&[along.output()[0], height, width]);
    checked_count(op, &shape)?;
    let [first, second] = how.split();
    let middle = vec![planes, space[0], height * width];
    checked_count(op, &middle)?;
    let y = run(first, across, x, middle)?;
    run(second, along, (&y).into(), shape)
}

fn run<P: Pool>(how: P, g: Geometry, x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
    let t = x.tensor();
    if is_fallback(t.device()) {
        let [height, width] = g.axes();
        if g.output_len() == 0 {
            return Ok(Tensor::zeros(shape, t.dtype(), t.device())?);
        }
        let x = (t.contiguous()?).reshape((g.planes(), height.input, width.input))?;
        return Ok(how.fallback(&g, &x)?.reshape(shape)?);
    }
    how.fused(g, x, shape)
}

#[cfg(test)]
mod tests;
