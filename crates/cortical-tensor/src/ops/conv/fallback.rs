//! Convolutions in candle's operations, where there is no kernel: a matrix product for each tap of the kernel, summed.

use crate::ops::activation::activate_fallback;
use crate::ops::window;
use candle_core::{Result, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::conv::{Axis, Geometry};

/// `Σ_t w_t · x_t` over the taps of each group, without bias: `x` is `[n, c, d, h, w]`, `weight`
/// `[o, c / groups, taps]`.
fn sum_over_taps(g: &Geometry, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (n, o, pixels) = (g.batch(), g.out_channels(), g.out_pixels());
    if n * o * pixels * g.fan_in() == 0 {
        return Tensor::zeros((n, o, pixels), x.dtype(), x.device());
    }
    let padded = window::pad(x, &g.axes(), &g.output(), 0.0)?;
    let seen = window::taps(&padded, &g.axes(), &g.output())?;
    let (per_in, per_out) = (g.in_per_group(), g.out_per_group());
    let groups = (0..g.groups())
        .map(|group| {
            let weight = weight.narrow(0, group * per_out, per_out)?;
            let mut sum: Option<Tensor> = None;
            for (t, x) in seen.iter().enumerate() {
                let w = weight.narrow(2, t, 1)?.squeeze(2)?;
                let w = w.broadcast_left(n)?.contiguous()?;
                let x = x.narrow(1, group * per_in, per_in)?.contiguous()?;
                let part = w.matmul(&x.reshape((n, per_in, pixels))?)?;
                sum = Some(match sum {
                    Some(sum) => (sum + part)?,
                    None => part,
                });
            }
            Ok(sum.expect("a kernel has at least one tap"))
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&groups, 1)
}

fn finish(
    sum: Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    shape: &[usize],
) -> Result<Tensor> {
    let sum = match bias {
        Some(bias) => sum.broadcast_add(&bias.unsqueeze(1)?)?,
        None => sum,
    };
    activate_fallback(activation, &sum)?.reshape(shape)
}

fn five(x: &Tensor, n: usize, c: usize, space: [usize; 3]) -> Result<Tensor> {
    x.contiguous()?
        .reshape((n, c, space[0], space[1], space[2]))
}

/// A convolution.
pub(super) fn conv(
    g: &Geometry,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    shape: &[usize],
) -> Result<Tensor> {
    let space = g.axes().map(|axis| axis.input);
    let x = five(x, g.batch(), g.in_channels(), space)?;
    let weight = (weight.contiguous()?).reshape((g.out_channels(), g.in_per_group(), g.taps()))?;
    finish(sum_over_taps(g, &x, &weight)?, bias, activation, shape)
}

/// The adjoint of the convolution `g`: the input, spread by the stride, convolved with the kernel turned around.
pub(super) fn transposed(
    g: &Geometry,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    shape: &[usize],
) -> Result<Tensor> {
    let (n, groups) = (g.batch(), g.groups());
    let (per_in, per_out, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
    let mut x = five(x, n, g.out_channels(), g.output())?;
    let mut axes = g.axes();
    for (i, axis) in axes.iter_mut().enumerate() {
        let span = (axis.kernel - 1) * axis.dilation;
        // Behind a single element no further one follows, however long the stride.
        let step = if x.dims()[2 + i] == 1 { 1 } else { axis.stride };
        x = window::spread(&x, 2 + i, step)?;
        // Zeros enough for every window, of which those in the output's padding are left out.
        let input = x.dims()[2 + i];
        *axis = Axis {
            input,
            stride: 1,
            padding: [span, axis.padding[0] + axis.input],
            ..*axis
        };
    }
    let cut = g.axes().map(|axis| axis.padding[0]);
    let output = std::array::from_fn(|i| g.axes()[i].input + cut[i]);
    if x.elem_count() * weight.elem_count() == 0 {
        let sum = Tensor::zeros((n, g.in_channels(), g.in_pixels()), x.dtype(), x.device())?;
        return finish(sum, bias, activation, shape);
    }
    // [in, out / groups, taps] to [out, in / groups, taps], the taps in reverse.
    let reverse: Vec<u32> = (0..taps as u32).rev().collect();
    let reverse = Tensor::from_vec(reverse, taps, x.device())?;
    let weight = (weight.contiguous()?)
        .reshape((groups, per_in, per_out, taps))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((groups * per_out, per_in, taps))?
        .index_select(&reverse, 2)?;
    let wide = Geometry::new(n, g.out_channels(), g.in_channels(), groups, axes)
        .map_err(candle_core::Error::wrap)?
        .with_output(output);
    let sum = sum_over_taps(&wide, &x, &weight)?;
    let mut sum = five(&sum, n, g.in_channels(), output)?;
    for (i, cut) in cut.into_iter().enumerate() {
        sum = sum.narrow(2 + i, cut, g.axes()[i].input)?;
    }
    let sum = (sum.contiguous()?).reshape((n, g.in_channels(), g.in_pixels()))?;
    finish(sum, bias, activation, shape)
}
