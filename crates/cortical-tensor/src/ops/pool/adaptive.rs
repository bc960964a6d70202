//! Adaptive pooling: windows cut so that the result has a given size.

use super::space;
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, is_half, wrong_shape};
use crate::ops::upsample::{Resample, resample};
use crate::ops::window;
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::pool::{self as kernel, Cuts};
use cortical_kernels::resample::AxisMap;

/// `y[p]` is the mean of `x` from ⌊p · in / out⌋ to ⌈(p + 1) · in / out⌉ along the last axis.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, output_size]`
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`]; [`Error::Option`] for an output size of 0; [`Error::TooLarge`].
pub fn adaptive_avg_pool1d<'a>(x: impl Into<Input<'a>>, output_size: usize) -> Result<Tensor> {
    mean("adaptive_avg_pool1d", x.into(), [output_size])
}

/// As [`adaptive_avg_pool1d`] over height and width; `[1, 1]` is the mean of each channel.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, output_height, output_width]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_avg_pool2d<'a>(x: impl Into<Input<'a>>, output_size: [usize; 2]) -> Result<Tensor> {
    mean("adaptive_avg_pool2d", x.into(), output_size)
}

/// As [`adaptive_avg_pool1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, channels, depth, height, width]`, or without `n`
/// - result: `[n, channels, output_depth, output_height, output_width]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_avg_pool3d<'a>(x: impl Into<Input<'a>>, output_size: [usize; 3]) -> Result<Tensor> {
    mean("adaptive_avg_pool3d", x.into(), output_size)
}

fn mean<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    output_size: [usize; AXES],
) -> Result<Tensor> {
    let how = Resample {
        name,
        option: "output_size",
        map: |_, input, output| AxisMap::mean(input, output),
    };
    resample(how, x, &output_size)
}

/// `y[p]` is the largest of `x` from ⌊p · in / out⌋ to ⌈(p + 1) · in / out⌉ along the last axis; of equal ones the
/// first gets the gradient.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, output_size]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 5.0, 2.0, 4.0, 3.0]], &Device::Cpu)?;
/// let y = cortical_tensor::ops::adaptive_max_pool1d(&x, 2)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[5.0, 4.0]]); // of the first three and of the last three
/// # Ok(())
/// # }
/// ```
pub fn adaptive_max_pool1d<'a>(x: impl Into<Input<'a>>, output_size: usize) -> Result<Tensor> {
    largest("adaptive_max_pool1d", x.into(), [output_size])
}

/// As [`adaptive_max_pool1d`] over height and width.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, output_height, output_width]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_max_pool2d<'a>(x: impl Into<Input<'a>>, output_size: [usize; 2]) -> Result<Tensor> {
    largest("adaptive_max_pool2d", x.into(), output_size)
}

/// As [`adaptive_max_pool1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, channels, depth, height, width]`, or without `n`
/// - result: `[n, channels, output_depth, output_height, output_width]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_max_pool3d<'a>(x: impl Into<Input<'a>>, output_size: [usize; 3]) -> Result<Tensor> {
    largest("adaptive_max_pool3d", x.into(), output_size)
}

fn largest<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    output_size: [usize; AXES],
) -> Result<Tensor> {
    let t = x.tensor();
    let (planes, space) = space::<AXES>(name, t)?;
    if space.contains(&0) {
        let expected = format!("{AXES} axes at the end, none of them empty");
        return Err(wrong_shape(name, "x", expected, t));
    }
    if output_size.contains(&0) {
        return Err(Error::Option {
            op: name,
            option: "output_size",
            expected: "at least 1 along each axis".into(),
            got: format!("{output_size:?}"),
        });
    }
    let mut shape = t.dims().to_vec();
    let leading = shape.len() - AXES;
    shape[leading..].copy_from_slice(&output_size);
    // The windows of an axis are a list as well, and their places in a plane are counted in 32 bits.
    for size in output_size {
        checked_count(name, &[size, 4])?;
    }
    checked_count(name, &output_size)?;
    checked_count(name, &shape)?;
    if space.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)) >= Some(1 << 32) {
        let expected = "planes of fewer than 2³² elements";
        return Err(wrong_shape(name, "x", expected, t));
    }
    let dtype = t.dtype();
    if is_half(dtype) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(largest(name, (&wide).into(), output_size)?.to_dtype(dtype)?);
    }
    let cuts = |i: usize| Cuts::new(space[i], output_size[i]);
    let (height, width) = match AXES {
        1 => (Cuts::new(1, 1), cuts(0)),
        _ => (cuts(AXES - 2), cuts(AXES - 1)),
    };
    if AXES < 3 {
        return run(name, [height, width], x, shape);
    }
    // The largest of a box is the largest of its planes' largest.
    let plane = output_size[1] * output_size[2];
    let middle = vec![checked_count(name, &[planes, space[0], plane])?];
    let y = run(name, [height, width], x, middle)?;
    run(name, [cuts(0), Cuts::new(plane, plane)], (&y).into(), shape)
}

fn run(name: &'static str, cuts: [Cuts; 2], x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
    let t = x.tensor();
    if is_fallback(t.device()) {
        return Ok(fallback(&cuts, t)?.reshape(shape)?);
    }
    by_dtype!(name, "x", t, T => forward::<T>(cuts, x, shape))
}

fn forward<T: Element>(cuts: [Cuts; 2], x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
    let operand = x.operand()?;
    let [height, width] = &cuts;
    let mut y = unspecified::<T>(shape.iter().product());
    let mut winners = vec![0; y.len()];
    kernel::adaptive_max_forward(
        height,
        width,
        &values(operand.tensor())?,
        &mut y,
        &mut winners,
    );
    let op = AdaptiveMax::<T> {
        cuts,
        winners,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct AdaptiveMax<T> {
    cuts: [Cuts; 2],
    /// Where in its plane each output was found.
    winners: Vec<u32>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for AdaptiveMax<T> {
    fn name(&self) -> &'static str {
        "adaptive_max_pool"
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = pass.input(0);
        let mut d_x = unspecified::<T>(x.elem_count());
        let d_y = values(pass.d_output(0))?;
        let [height, width] = &self.cuts;
        kernel::adaptive_max_backward(height, width, &d_y, &self.winners, &mut d_x);
        Ok(vec![Some(tensor(d_x, x.shape())?)])
    }
}

/// The largest of each window's elements in turn; a window shorter than others repeats its last one.
fn fallback(cuts: &[Cuts; 2], x: &Tensor) -> candle_core::Result<Tensor> {
    let [height, width] = cuts;
    let planes = x.elem_count() / (height.input() * width.input());
    if planes == 0 {
        return Ok(x.clone());
    }
    let mut x = (x.contiguous()?).reshape((planes, height.input(), width.input()))?;
    for (dim, cuts) in [(2, width), (1, height)] {
        let longest = (cuts.windows().iter().map(|w| w.len()).max()).unwrap_or(0);
        let taps = (0..longest)
            .map(|tap| {
                let at = |w: &std::ops::Range<usize>| (w.start + tap).min(w.end - 1) as u32;
                let places: Vec<u32> = cuts.windows().iter().map(at).collect();
                let places = Tensor::from_vec(places, cuts.windows().len(), &Device::Cpu)?;
                x.index_select(&places.to_device(x.device())?, dim)
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        x = window::largest(taps)?;
    }
    Ok(x)
}
