//! Average pooling.

use super::{Pool, pool};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::by_dtype;
use crate::ops::window;
use crate::{Error, Input, Result, values};
use candle_core::{Device, Tensor};
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

/// [`avg_pool1d`], [`avg_pool2d`] or [`avg_pool3d`], by the number of axes.
///
/// # Errors
/// As [`avg_pool1d`].
pub fn avg_pool<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    options: &AvgPoolOptions<AXES>,
) -> Result<Tensor> {
    let how = Mean(options.divisor(Mean::NAMES[AXES - 1])?);
    let axis = |i: usize, input| Axis {
        input,
        kernel: options.kernel_size[i],
        stride: options.stride[i],
        padding: [options.padding[i]; 2],
        dilation: 1,
    };
    pool::<AXES, _>(how, x.into(), options.ceil_mode, axis)
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

/// As [`avg_pool1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, channels, depth, height, width]`, or without `n`
/// - result: `[n, channels, out_depth, out_height, out_width]`
///
/// # Errors
/// As [`avg_pool1d`].
pub fn avg_pool3d<'a>(x: impl Into<Input<'a>>, options: &AvgPoolOptions<3>) -> Result<Tensor> {
    avg_pool(x, options)
}

/// What a window's sum is divided by.
#[derive(Clone, Copy)]
struct Mean(Divisor);

impl Pool for Mean {
    const NAMES: [&'static str; 3] = ["avg_pool1d", "avg_pool2d", "avg_pool3d"];

    fn split(self) -> [Self; 2] {
        match self.0 {
            Divisor::Given(_) => [Self(Divisor::Given(1)), self],
            Divisor::Padded | Divisor::Inside => [self; 2],
        }
    }

    fn fused(self, g: Geometry, x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
        by_dtype!(Self::NAMES[0], "x", x.tensor(), T => forward::<T>(g, self.0, x, shape))
    }

    fn fallback(self, g: &Geometry, x: &Tensor) -> candle_core::Result<Tensor> {
        let padded = window::pad(x, &g.axes(), &g.output(), 0.0)?;
        let mut taps = window::taps(&padded, &g.axes(), &g.output())?.into_iter();
        let first = taps.next().expect("a window has at least one tap");
        let sum = taps.try_fold(first, |sum, tap| sum + tap)?;
        let factors = kernel::avg_factors(g, self.0);
        let factors = Tensor::from_vec(factors, (1, g.output()[0], g.output()[1]), &Device::Cpu)?;
        let factors = factors.to_dtype(x.dtype())?.to_device(x.device())?;
        sum.broadcast_mul(&factors)
    }
}

fn forward<T: Element>(
    geometry: Geometry,
    divisor: Divisor,
    x: Input<'_>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(geometry.output_len());
    kernel::avg_forward(&geometry, divisor, &values(operand.tensor())?, &mut y);
    let op = AvgPool::<T> {
        geometry,
        divisor,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct AvgPool<T> {
    geometry: Geometry,
    divisor: Divisor,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for AvgPool<T> {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut d_x = unspecified::<T>(self.geometry.input_len());
        let d_y = values(pass.d_output(0))?;
        kernel::avg_backward(&self.geometry, self.divisor, &d_y, &mut d_x);
        Ok(vec![Some(tensor(d_x, pass.shape(0))?)])
    }

    fn reads_input(&self, _: usize) -> bool {
        false
    }

    fn reads_output(&self) -> bool {
        false
    }
}
