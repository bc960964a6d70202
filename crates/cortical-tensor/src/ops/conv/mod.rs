//! Convolutions: local neurons whose weights are shared by all places, and their transposes.

mod fallback;
mod options;
mod transpose;

pub use options::{ConvOptions, ConvTransposeOptions};
pub use transpose::{conv_transpose, conv_transpose1d, conv_transpose2d, conv_transpose3d};

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::pool::{MaxPoolOptions, max_pool2d};
use crate::ops::prepare::{by_dtype, is_half};
use crate::{Input, Result, is_fallback, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{self, Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::conv::{self as kernel, Geometry, Gradients, Upstream};
use cortical_kernels::matmul::Write;
use cortical_kernels::pool;
use options::Plan;

/// [`conv1d`], [`conv2d`] or [`conv3d`], by the number of axes.
///
/// # Errors
/// As [`conv1d`].
pub fn conv<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvOptions<AXES>,
) -> Result<Tensor> {
    const { assert!(AXES >= 1 && AXES <= 3, "one, two or three axes") };
    let name = ["conv1d", "conv2d", "conv3d"][AXES - 1];
    convolve(name, x.into(), weight.into(), bias, options, None)
}

/// `y[n, o, p] = activation(b[o] + Σ_{c, t} w[o, c, t] · x[n, c, p · stride + t · dilation − padding])` over one axis.
///
/// # Shapes
/// - `x`: `[n, in_channels, length]`, or without `n`
/// - `weight`: `[out_channels, in_channels / groups, kernel]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_length]` with
///   `out = ⌊(in + padding − dilation · (kernel − 1) − 1) / stride⌋ + 1`, padding counted on both sides
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together,
/// [`Error::Geometry`](crate::Error::Geometry) when the kernel does not fit the input, something is 0 that must not be,
/// groups do not divide channels, or a result is too large to address.
pub fn conv1d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvOptions<1>,
) -> Result<Tensor> {
    conv(x, weight, bias, options)
}

/// As [`conv1d`] over height and width.
///
/// # Shapes
/// - `x`: `[n, in_channels, height, width]`, or without `n`
/// - `weight`: `[out_channels, in_channels / groups, kernel_height, kernel_width]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_height, out_width]`
///
/// # Errors
/// As [`conv1d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::{ConvOptions, conv2d};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::arange(0.0_f32, 9.0, &Device::Cpu)?.reshape((1, 1, 3, 3))?;
/// let weight = Tensor::ones((1, 1, 2, 2), candle_core::DType::F32, &Device::Cpu)?;
/// let y = conv2d(&x, &weight, None, &ConvOptions::default())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [8.0, 12.0, 20.0, 24.0]);
/// # Ok(())
/// # }
/// ```
pub fn conv2d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvOptions<2>,
) -> Result<Tensor> {
    conv(x, weight, bias, options)
}

/// As [`conv1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, in_channels, depth, height, width]`, or without `n`
/// - `weight`: `[out_channels, in_channels / groups, kernel_depth, kernel_height, kernel_width]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_depth, out_height, out_width]`
///
/// # Errors
/// As [`conv1d`].
pub fn conv3d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvOptions<3>,
) -> Result<Tensor> {
    conv(x, weight, bias, options)
}

/// `max_pool2d(conv2d(x))` in one operation that never stores the convolution's output: the pool's output and the
/// winning taps are all that its backward pass needs, where the activation's derivative needs at most the activation's
/// output. Other activations, and windows of more than 256 taps, take the two operations one after the other.
///
/// # Shapes
/// As [`conv2d`] and then [`max_pool2d`].
///
/// # Errors
/// As [`conv2d`] and [`max_pool2d`].
pub fn conv2d_max_pool<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvOptions<2>,
    pool: &MaxPoolOptions<2>,
) -> Result<Tensor> {
    let (x, weight) = (x.into(), weight.into());
    let dtype = x.tensor().dtype();
    if is_half(dtype) {
        // Rounded sums would make equals of numbers of which one is the largest.
        let bias = bias.map(|b| b.tensor());
        options.plan("conv2d_max_pool", x.tensor(), weight.tensor(), bias)?;
        let wide = |t: &Tensor| t.to_dtype(DType::F32);
        let (x, weight) = (wide(x.tensor())?, wide(weight.tensor())?);
        let bias = bias.map(wide).transpose()?;
        let y = conv2d_max_pool(&x, &weight, bias.as_ref().map(Into::into), options, pool)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let taps = pool.kernel_size[0].checked_mul(pool.kernel_size[1]);
    let fits = options.activation.saves() != Saves::Input && taps.is_some_and(|taps| taps <= 256);
    if fits && !is_fallback(x.tensor().device()) {
        convolve("conv2d_max_pool", x, weight, bias, options, Some(pool))
    } else {
        max_pool2d(&conv2d(x, weight, bias, options)?, pool)
    }
}

fn convolve<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    options: &ConvOptions<AXES>,
    pool: Option<&MaxPoolOptions<2>>,
) -> Result<Tensor> {
    let plan = options.plan(name, x.tensor(), weight.tensor(), bias.map(|b| b.tensor()))?;
    planned(name, plan, pool, x, weight, bias, options.activation)
}

fn planned(
    name: &'static str,
    plan: Plan,
    pool: Option<&MaxPoolOptions<2>>,
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    activation: Activation,
) -> Result<Tensor> {
    let (xt, wt, bt) = (x.tensor(), weight.tensor(), bias.map(|b| b.tensor()));
    let dtype = xt.dtype();
    if is_half(dtype) {
        let wide = |t: &Tensor| t.to_dtype(DType::F32);
        let (x, weight) = (wide(xt)?, wide(wt)?);
        let bias = bt.map(wide).transpose()?;
        let bias = bias.as_ref().map(Into::into);
        let (x, weight) = ((&x).into(), (&weight).into());
        let y = planned(name, plan, pool, x, weight, bias, activation)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let g = &plan.geometry;
    tally::count(&[g.batch(), g.out_pixels(), g.weight_len()]);
    if is_fallback(xt.device()) {
        let (g, shape) = (&plan.geometry, &plan.shape);
        return Ok(fallback::conv(g, xt, wt, bt, activation, shape)?);
    }
    let pool = pool
        .map(|pool| {
            let [_, height, width] = plan.geometry.output();
            let planes = plan.geometry.batch() * plan.geometry.out_channels();
            pool.geometry(name, planes, [height, width])
        })
        .transpose()?;
    by_dtype!(name, "x", xt, T => forward::<T>(name, plan, pool, x, weight, bias, activation))
}

/// The inputs of an operation as it keeps them.
pub(super) fn operands(
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
) -> Result<Vec<crate::Operand>> {
    Ok([Some(x), Some(weight), bias]
        .into_iter()
        .flatten()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?)
}

fn forward<T: Element>(
    name: &'static str,
    plan: Plan,
    pool: Option<pool::Geometry>,
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    activation: Activation,
) -> Result<Tensor> {
    let Plan {
        geometry: g,
        mut shape,
    } = plan;
    let has_bias = bias.is_some();
    let operands = operands(x, weight, bias)?;
    let (mut saved, mut pooled) = (None, None);
    let mut y;
    {
        let (x, w) = (
            values::<T>(operands[0].tensor())?,
            values::<T>(operands[1].tensor())?,
        );
        let b = (operands.get(2).map(|b| values::<T>(b.tensor()))).transpose()?;
        let b = b.as_deref();
        if let Some(pool) = pool {
            y = unspecified::<T>(pool.output_len());
            let mut taps = vec![0_u8; y.len()];
            kernel::forward_pooled(&g, &x, &w, b, activation, &pool, &mut y, &mut taps);
            let rank = shape.len();
            shape[rank - 2..].copy_from_slice(&pool.output());
            pooled = Some((pool, taps));
        } else if activation.saves() == Saves::Input {
            let mut sum = unspecified::<T>(g.output_len());
            kernel::forward(&g, &x, &w, b, Activation::Identity, &mut sum);
            y = unspecified::<T>(sum.len());
            activation::forward(activation, &sum, &mut y);
            saved = Some(tensor(sum, &shape[..])?);
        } else {
            y = unspecified::<T>(g.output_len());
            kernel::forward(&g, &x, &w, b, activation, &mut y);
        }
    }
    let op = Conv::<T> {
        name,
        geometry: g,
        activation,
        has_bias,
        saved,
        pooled,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, operands, Output::new(y, shape))
}

struct Conv<T> {
    name: &'static str,
    geometry: Geometry,
    activation: Activation,
    has_bias: bool,
    /// The weighted sums, where the activation's derivative needs them.
    saved: Option<Tensor>,
    /// The pool on top and its winners.
    pooled: Option<(pool::Geometry, Vec<u8>)>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Conv<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let g = &self.geometry;
        let d_y = values::<T>(pass.d_output(0))?;
        // Nothing is read where there is neither an activation nor a pool.
        let saved = self.saved.as_ref();
        let saved = saved.or_else(|| self.reads_output().then(|| pass.output()));
        let saved = values::<T>(saved.unwrap_or_else(|| pass.d_output(0)))?;
        let upstream = match &self.pooled {
            Some((pool, taps)) => Upstream::Pooled {
                activation: self.activation,
                pool,
                pooled: &saved,
                taps,
                d_pooled: &d_y,
            },
            None if self.activation == Activation::Identity => Upstream::Sum { d_z: &d_y },
            None => Upstream::Activated {
                activation: self.activation,
                saved: &saved,
                d_y: &d_y,
            },
        };
        let room = |i: usize, len| {
            (i < 2 + usize::from(self.has_bias) && pass.wants(i)).then(|| unspecified::<T>(len))
        };
        let mut d_x = room(0, g.input_len());
        let mut d_w = room(1, g.weight_len());
        let mut d_b = room(2, g.out_channels());
        let gradients = Gradients {
            input: d_x.as_deref_mut(),
            weight: d_w.as_deref_mut().map(|d| (d, Write::Replace)),
            bias: d_b.as_deref_mut().map(|d| (d, Write::Replace)),
        };
        let (x, w) = (values::<T>(pass.input(0))?, values::<T>(pass.input(1))?);
        kernel::backward(g, &x, &w, &upstream, gradients);
        let mut grads = vec![d_x, d_w];
        if self.has_bias {
            grads.push(d_b);
        }
        grads
            .into_iter()
            .enumerate()
            .map(|(i, d)| d.map(|d| tensor(d, pass.shape(i))).transpose())
            .collect()
    }

    fn reads_output(&self) -> bool {
        self.activation.saves() == Saves::Output && self.saved.is_none()
    }
}

#[cfg(test)]
mod tests;
