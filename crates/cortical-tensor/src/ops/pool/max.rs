//! Max pooling.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, is_half};
use crate::ops::window;
use crate::{Input, Result, is_composed, values};
use candle_core::{DType, Tensor};
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

    pub(crate) fn geometry(
        &self,
        op: &'static str,
        planes: usize,
        size: [usize; 2],
    ) -> Result<Geometry> {
        super::geometry::<AXES>(op, planes, size, self.ceil_mode, |i, input| Axis {
            input,
            kernel: self.kernel_size[i],
            stride: self.stride[i],
            padding: [self.padding[i]; 2],
            dilation: self.dilation[i],
        })
    }
}

/// [`max_pool1d`] or [`max_pool2d`], by the number of axes.
///
/// # Errors
/// As [`max_pool1d`].
pub fn max_pool<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    options: &MaxPoolOptions<AXES>,
) -> Result<Tensor> {
    const { assert!(AXES >= 1 && AXES <= 2, "one or two axes") };
    pool(["max_pool1d", "max_pool2d"][AXES - 1], x.into(), options)
}

/// `y[p] = max_t x[p · stride + t · dilation − padding]` over the last axis; of equal ones the first gets the gradient.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, out_length]` with
///   `out = ⌊(in + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1`, or ⌈…⌉ in ceil mode
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType); [`Error::Geometry`](crate::Error::Geometry) when the
/// kernel does not fit, something is 0 that must not be, or padding is more than half of the kernel's span.
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

fn pool<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    options: &MaxPoolOptions<AXES>,
) -> Result<Tensor> {
    let t = x.tensor();
    let (planes, size) = super::planes::<AXES>(name, t)?;
    let g = options.geometry(name, planes, size)?;
    let shape = super::shape_of::<AXES>(t, g.output());
    let dtype = t.dtype();
    if is_half(dtype) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(pool(name, (&wide).into(), options)?.to_dtype(dtype)?);
    }
    if is_composed(t.device()) {
        return Ok(composed(&g, t)?.reshape(shape)?);
    }
    if g.taps() <= <u8 as Tap>::MOST {
        by_dtype!(name, "x", t, T => forward::<T, u8>(name, g, x, shape))
    } else {
        by_dtype!(name, "x", t, T => forward::<T, u32>(name, g, x, shape))
    }
}

fn forward<T: Element, I: Tap>(
    name: &'static str,
    geometry: Geometry,
    x: Input<'_>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(geometry.output_len());
    let mut taps = vec![I::default(); y.len()];
    let x = values::<T>(operand.tensor())?;
    kernel::max_forward(&geometry, &x, &mut y, &mut taps);
    drop(x);
    let op = MaxPool::<T, I> {
        name,
        geometry,
        taps,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct MaxPool<T, I> {
    name: &'static str,
    geometry: Geometry,
    /// Which tap of each window won.
    taps: Vec<I>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element, I: Tap> Op for MaxPool<T, I> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut d_x = unspecified::<T>(self.geometry.input_len());
        let d_y = values(pass.d_output(0))?;
        kernel::max_backward(&self.geometry, &d_y, &self.taps, &mut d_x);
        Ok(vec![Some(tensor(d_x, pass.input(0).shape())?)])
    }
}

fn composed(g: &Geometry, x: &Tensor) -> candle_core::Result<Tensor> {
    let [height, width] = g.axes();
    let x = (x.contiguous()?).reshape((g.planes(), height.input, width.input))?;
    if g.output_len() == 0 {
        return Tensor::zeros(g.output_len(), x.dtype(), x.device());
    }
    let padded = window::pad(&x, &g.axes(), &g.output(), f64::NEG_INFINITY)?;
    let mut taps = window::taps(&padded, &g.axes(), &g.output())?.into_iter();
    let first = taps.next().expect("a window has at least one tap");
    // A later tap wins only if it is larger, as candle's own maximum would split the gradient among equal ones.
    taps.try_fold(first, |most, tap| tap.gt(&most)?.where_cond(&tap, &most))
}
