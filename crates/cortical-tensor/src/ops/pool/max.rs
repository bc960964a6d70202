//! Max pooling.

use super::{Pool, pool};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::by_dtype;
use crate::ops::window;
use crate::{Error, Input, Result, values};
use candle_core::Tensor;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::conv::Axis;
use cortical_kernels::pool::{self as kernel, Geometry, Tap};

/// The options of max pooling over `AXES` axes, with PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPoolOptions<const AXES: usize> {
    /// Taps of a window.
    pub kernel_size: [usize; AXES],
    /// Distance between neighbouring windows; the kernel's size by default.
    pub stride: [usize; AXES],
    /// Padding on both sides, which never wins; at most half of what the kernel spans.
    pub padding: [usize; AXES],
    /// Distance between neighbouring taps.
    pub dilation: [usize; AXES],
    /// Whether a last window may hang over the end of the input.
    pub ceil_mode: bool,
}

impl<const AXES: usize> MaxPoolOptions<AXES> {
    /// Windows of `kernel_size` side by side.
    #[must_use]
    pub fn new(kernel_size: [usize; AXES]) -> Self {
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0; AXES],
            dilation: [1; AXES],
            ceil_mode: false,
        }
    }

    fn axis(&self, i: usize, input: usize) -> Axis {
        Axis {
            input,
            kernel: self.kernel_size[i],
            stride: self.stride[i],
            padding: [self.padding[i]; 2],
            dilation: self.dilation[i],
        }
    }
}

impl MaxPoolOptions<2> {
    /// The checked pool of planes of `size`.
    pub(crate) fn geometry(
        &self,
        op: &'static str,
        planes: usize,
        size: [usize; 2],
    ) -> Result<Geometry> {
        let axes = std::array::from_fn(|i| self.axis(i, size[i]));
        let checked = Geometry::new(planes, axes, self.ceil_mode);
        checked.map_err(|source| Error::Geometry { op, source })
    }
}

/// [`max_pool1d`], [`max_pool2d`] or [`max_pool3d`], by the number of axes.
///
/// # Errors
/// As [`max_pool1d`].
pub fn max_pool<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    options: &MaxPoolOptions<AXES>,
) -> Result<Tensor> {
    let axis = |i, input| options.axis(i, input);
    pool::<AXES, _>(Max, x.into(), options.ceil_mode, axis)
}

/// `y[p] = max_t x[p · stride + t · dilation − padding]` over the last axis; of equal ones the first gets the gradient.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, out_length]` with
///   `out = ⌊(in + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1`, or ⌈…⌉ in ceil mode
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType);
/// [`Error::Geometry`](crate::Error::Geometry) when the kernel does not fit, something is 0 that must not be, or
/// padding is more than half of the kernel's span.
pub fn max_pool1d<'a>(x: impl Into<Input<'a>>, options: &MaxPoolOptions<1>) -> Result<Tensor> {
    max_pool(x, options)
}

/// As [`max_pool1d`] over height and width.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, out_height, out_width]`
///
/// # Errors
/// As [`max_pool1d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::{MaxPoolOptions, max_pool2d};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::arange(0.0_f32, 16.0, &Device::Cpu)?.reshape((1, 4, 4))?;
/// let y = max_pool2d(&x, &MaxPoolOptions::new([2, 2]))?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[5.0, 7.0], [13.0, 15.0]]]);
/// # Ok(())
/// # }
/// ```
pub fn max_pool2d<'a>(x: impl Into<Input<'a>>, options: &MaxPoolOptions<2>) -> Result<Tensor> {
    max_pool(x, options)
}

/// As [`max_pool1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, channels, depth, height, width]`, or without `n`
/// - result: `[n, channels, out_depth, out_height, out_width]`
///
/// # Errors
/// As [`max_pool1d`].
pub fn max_pool3d<'a>(x: impl Into<Input<'a>>, options: &MaxPoolOptions<3>) -> Result<Tensor> {
    max_pool(x, options)
}

#[derive(Clone, Copy)]
struct Max;

impl Pool for Max {
    const NAMES: [&'static str; 3] = ["max_pool1d", "max_pool2d", "max_pool3d"];

    fn split(self) -> [Self; 2] {
        [self; 2]
    }

    fn fused(self, g: Geometry, x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
        if g.taps() <= <u8 as Tap>::MOST {
            by_dtype!(Self::NAMES[0], "x", x.tensor(), T => forward::<T, u8>(g, x, shape))
        } else {
            by_dtype!(Self::NAMES[0], "x", x.tensor(), T => forward::<T, u32>(g, x, shape))
        }
    }

    fn fallback(self, g: &Geometry, x: &Tensor) -> candle_core::Result<Tensor> {
        let padded = window::pad(x, &g.axes(), &g.output(), f64::NEG_INFINITY)?;
        let taps = window::taps(&padded, &g.axes(), &g.output())?;
        window::largest(taps)
    }
}

fn forward<T: Element, I: Tap>(
    geometry: Geometry,
    x: Input<'_>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(geometry.output_len());
    let mut taps = vec![I::default(); y.len()];
    kernel::max_forward(&geometry, &values(operand.tensor())?, &mut y, &mut taps);
    let op = MaxPool::<T, I> {
        geometry,
        taps,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct MaxPool<T, I> {
    geometry: Geometry,
    /// Which tap of each window won.
    taps: Vec<I>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element, I: Tap> Op for MaxPool<T, I> {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut d_x = unspecified::<T>(self.geometry.input_len());
        let d_y = values(pass.d_output(0))?;
        kernel::max_backward(&self.geometry, &d_y, &self.taps, &mut d_x);
        Ok(vec![Some(tensor(d_x, pass.shape(0))?)])
    }

    fn reads_input(&self, _: usize) -> bool {
        false
    }

    fn reads_output(&self) -> bool {
        false
    }
}
