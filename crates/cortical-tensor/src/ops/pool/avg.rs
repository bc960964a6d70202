//! Average pooling.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, is_half};
use crate::ops::window;
use crate::{Error, Input, Result, is_composed, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::conv::Axis;
use cortical_kernels::pool::{self as kernel, Divisor, Geometry};

/// The options of average pooling over `AXES` axes, with PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPoolOptions<const AXES: usize> {
    /// Elements of a window.
    pub kernel_size: [usize; AXES],
    /// Distance between neighbouring windows; the kernel's size by default.
    pub stride: [usize; AXES],
    /// Zeros on both sides; at most half of the kernel.
    pub padding: [usize; AXES],
    /// Whether a last window may hang over the end of the input.
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count in the divisor, as they do by default.
    pub count_include_pad: bool,
    /// What to divide by instead of the number of elements.
    pub divisor_override: Option<usize>,
}

impl<const AXES: usize> AvgPoolOptions<AXES> {
    /// Windows of `kernel_size` side by side.
    #[must_use]
    pub fn new(kernel_size: [usize; AXES]) -> Self {
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0; AXES],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    fn divisor(&self, op: &'static str) -> Result<Divisor> {
        match self.divisor_override {
            Some(0) => Err(Error::Option {
                op,
                option: "divisor_override",
                expected: "at least 1".into(),
                got: "0".into(),
            }),
            Some(n) => Ok(Divisor::Given(n)),
            None if self.count_include_pad => Ok(Divisor::Padded),
            None => Ok(Divisor::Inside),
        }
    }
}

/// [`avg_pool1d`] or [`avg_pool2d`], by the number of axes.
///
/// # Errors
/// As [`avg_pool1d`].
pub fn avg_pool<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    options: &AvgPoolOptions<AXES>,
) -> Result<Tensor> {
    const { assert!(AXES >= 1 && AXES <= 2, "one or two axes") };
    pool(["avg_pool1d", "avg_pool2d"][AXES - 1], x.into(), options)
}

/// `y[p] = Σ_t x[p · stride + t − padding] / divisor` over the last axis.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, out_length]` with `out = ⌊(in + 2 · padding − kernel) / stride⌋ + 1`, or ⌈…⌉ in ceil mode
///
/// # Errors
/// As [`max_pool1d`](super::max_pool1d), and [`Error::Option`] for a divisor of 0.
pub fn avg_pool1d<'a>(x: impl Into<Input<'a>>, options: &AvgPoolOptions<1>) -> Result<Tensor> {
    avg_pool(x, options)
}

/// As [`avg_pool1d`] over height and width.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, out_height, out_width]`
///
/// # Errors
/// As [`avg_pool1d`].
pub fn avg_pool2d<'a>(x: impl Into<Input<'a>>, options: &AvgPoolOptions<2>) -> Result<Tensor> {
    avg_pool(x, options)
}

fn pool<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    options: &AvgPoolOptions<AXES>,
) -> Result<Tensor> {
    let t = x.tensor();
    let (planes, size) = super::planes::<AXES>(name, t)?;
    let divisor = options.divisor(name)?;
    let g = super::geometry::<AXES>(name, planes, size, options.ceil_mode, |i, input| Axis {
        input,
        kernel: options.kernel_size[i],
        stride: options.stride[i],
        padding: [options.padding[i]; 2],
        dilation: 1,
    })?;
    let shape = super::shape_of::<AXES>(t, g.output());
    let dtype = t.dtype();
    if is_half(dtype) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(pool(name, (&wide).into(), options)?.to_dtype(dtype)?);
    }
    if is_composed(t.device()) {
        return Ok(composed(&g, divisor, t)?.reshape(shape)?);
    }
    by_dtype!(name, "x", t, T => forward::<T>(name, g, divisor, x, shape))
}

fn forward<T: Element>(
    name: &'static str,
    geometry: Geometry,
    divisor: Divisor,
    x: Input<'_>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(geometry.output_len());
    kernel::avg_forward(&geometry, divisor, &values(operand.tensor())?, &mut y);
    let op = AvgPool::<T> {
        name,
        geometry,
        divisor,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct AvgPool<T> {
    name: &'static str,
    geometry: Geometry,
    divisor: Divisor,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for AvgPool<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut d_x = unspecified::<T>(self.geometry.input_len());
        let d_y = values(pass.d_output(0))?;
        kernel::avg_backward(&self.geometry, self.divisor, &d_y, &mut d_x);
        Ok(vec![Some(tensor(d_x, pass.input(0).shape())?)])
    }
}

fn composed(g: &Geometry, divisor: Divisor, x: &Tensor) -> candle_core::Result<Tensor> {
    let [height, width] = g.axes();
    let x = (x.contiguous()?).reshape((g.planes(), height.input, width.input))?;
    if g.output_len() == 0 {
        return Tensor::zeros(g.output_len(), x.dtype(), x.device());
    }
    let padded = window::pad(&x, &g.axes(), &g.output(), 0.0)?;
    let mut taps = window::taps(&padded, &g.axes(), &g.output())?.into_iter();
    let first = taps.next().expect("a window has at least one tap");
    let sum = taps.try_fold(first, |sum, tap| sum + tap)?;
    let factors = kernel::avg_factors(g, divisor);
    let factors = Tensor::from_vec(factors, (1, g.output()[0], g.output()[1]), &Device::Cpu)?;
    let factors = factors.to_dtype(x.dtype())?.to_device(x.device())?;
    sum.broadcast_mul(&factors)
}
