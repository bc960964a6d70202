//! Transposed convolutions: the adjoints of convolutions, which spread each input over a window of the output.

use super::fallback;
use super::operands;
use super::options::{ConvTransposeOptions, Plan};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, is_half};
use crate::{Input, Result, is_fallback, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{self, Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::conv::{self as kernel, Geometry, Gradients};
use cortical_kernels::matmul::Write;

/// [`conv_transpose1d`], [`conv_transpose2d`] or [`conv_transpose3d`], by the number of axes.
///
/// # Errors
/// As [`conv_transpose1d`].
pub fn conv_transpose<'a, const AXES: usize>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvTransposeOptions<AXES>,
) -> Result<Tensor> {
    const { assert!(AXES >= 1 && AXES <= 3, "one, two or three axes") };
    let name = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"][AXES - 1];
    convolve(name, x.into(), weight.into(), bias, options)
}

/// `y[n, o, p · stride + t · dilation − padding] += w[c, o, t] · x[n, c, p]`, plus bias and activation, over one axis.
///
/// # Shapes
/// - `x`: `[n, in_channels, length]`, or without `n`
/// - `weight`: `[in_channels, out_channels / groups, kernel]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_length]` with
///   `out = (in − 1) · stride − 2 · padding + dilation · (kernel − 1) + output_padding + 1`
///
/// # Errors
/// As [`conv1d`](super::conv1d); an output padding that is smaller than neither stride nor dilation, and a padding that
/// cuts everything away are [`Error::Geometry`](crate::Error::Geometry).
pub fn conv_transpose1d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvTransposeOptions<1>,
) -> Result<Tensor> {
    conv_transpose(x, weight, bias, options)
}

/// As [`conv_transpose1d`] over height and width.
///
/// # Shapes
/// - `x`: `[n, in_channels, height, width]`, or without `n`
/// - `weight`: `[in_channels, out_channels / groups, kernel_height, kernel_width]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_height, out_width]`
///
/// # Errors
/// As [`conv_transpose1d`].
pub fn conv_transpose2d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvTransposeOptions<2>,
) -> Result<Tensor> {
    conv_transpose(x, weight, bias, options)
}

/// As [`conv_transpose1d`] over depth, height and width.
///
/// # Shapes
/// - `x`: `[n, in_channels, depth, height, width]`, or without `n`
/// - `weight`: `[in_channels, out_channels / groups, kernel_depth, kernel_height, kernel_width]`
/// - `bias`: `[out_channels]`
/// - result: `[n, out_channels, out_depth, out_height, out_width]`
///
/// # Errors
/// As [`conv_transpose1d`].
pub fn conv_transpose3d<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    options: &ConvTransposeOptions<3>,
) -> Result<Tensor> {
    conv_transpose(x, weight, bias, options)
}

fn convolve<const AXES: usize>(
    name: &'static str,
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    options: &ConvTransposeOptions<AXES>,
) -> Result<Tensor> {
    let plan = options.plan(name, x.tensor(), weight.tensor(), bias.map(|b| b.tensor()))?;
    planned(name, plan, x, weight, bias, options.activation)
}

fn planned(
    name: &'static str,
    plan: Plan,
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
        let y = planned(name, plan, x, weight, bias, activation)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let g = &plan.geometry;
    tally::count(&[g.batch(), g.out_pixels(), g.weight_len()]);
    if is_fallback(xt.device()) {
        let (g, shape) = (&plan.geometry, &plan.shape);
        return Ok(fallback::transposed(g, xt, wt, bt, activation, shape)?);
    }
    by_dtype!(name, "x", xt, T => forward::<T>(name, plan, x, weight, bias, activation))
}

fn forward<T: Element>(
    name: &'static str,
    plan: Plan,
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    activation: Activation,
) -> Result<Tensor> {
    let (g, shape, has_bias) = (plan.geometry, plan.shape, bias.is_some());
    let operands = operands(x, weight, bias)?;
    let mut y = unspecified::<T>(g.input_len());
    let mut saved = None;
    {
        let (x, w) = (
            values::<T>(operands[0].tensor())?,
            values::<T>(operands[1].tensor())?,
        );
        let b = (operands.get(2).map(|b| values::<T>(b.tensor()))).transpose()?;
        let keeps_sum = activation.saves() == Saves::Input;
        let at_once = if keeps_sum {
            Activation::Identity
        } else {
            activation
        };
        kernel::transposed_forward(&g, &x, &w, b.as_deref(), at_once, &mut y);
        if keeps_sum {
            let sum = std::mem::replace(&mut y, unspecified::<T>(g.input_len()));
            activation::forward(activation, &sum, &mut y);
            saved = Some(tensor(sum, &shape[..])?);
        }
    }
    let op = ConvTranspose::<T> {
        name,
        geometry: g,
        activation,
        has_bias,
        saved,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, operands, Output::new(y, shape))
}

struct ConvTranspose<T> {
    name: &'static str,
    /// The convolution that this is the adjoint of.
    geometry: Geometry,
    activation: Activation,
    has_bias: bool,
    /// The weighted sums, where the activation's derivative needs them.
    saved: Option<Tensor>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for ConvTranspose<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let g = &self.geometry;
        let d_y = values::<T>(pass.d_output(0))?;
        let gated;
        let d_z: &[T] = if self.activation == Activation::Identity {
            &d_y
        } else {
            let saved = values::<T>(self.saved.as_ref().unwrap_or_else(|| pass.output()))?;
            let mut d_z = unspecified(d_y.len());
            activation::backward(self.activation, &saved, &d_y, &mut d_z);
            gated = d_z;
            &gated
        };
        let room = |i: usize, len| {
            (i < 2 + usize::from(self.has_bias) && pass.wants(i)).then(|| unspecified::<T>(len))
        };
        let mut d_x = room(0, g.output_len());
        let mut d_w = room(1, g.weight_len());
        let mut d_b = room(2, g.in_channels());
        let gradients = Gradients {
            input: d_x.as_deref_mut(),
            weight: d_w.as_deref_mut().map(|d| (d, Write::Replace)),
            bias: d_b.as_deref_mut().map(|d| (d, Write::Replace)),
        };
        let (x, w) = (values::<T>(pass.input(0))?, values::<T>(pass.input(1))?);
        kernel::transposed_backward(g, &x, &w, d_z, gradients);
        let mut grads = vec![d_x, d_w];
        if self.has_bias {
            grads.push(d_b);
        }
        grads
            .into_iter()
            .enumerate()
            .map(|(i, d)| d.map(|d| tensor(d, pass.input(i).shape())).transpose())
            .collect()
    }
}
