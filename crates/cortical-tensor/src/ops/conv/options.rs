//! The options of convolutions and how they become a checked geometry.

use crate::ops::prepare::{check_alike, check_float, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Result};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::conv::{Axis, Geometry, TransposedAxis};

/// The options of a convolution over `AXES` axes, with PyTorch's names and defaults; an option has a value for each
/// axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvOptions<const AXES: usize> {
    /// Distance between neighbouring windows, 1 by default.
    pub stride: [usize; AXES],
    /// Zeros in front of and behind the input, none by default.
    pub padding: [[usize; 2]; AXES],
    /// Distance between neighbouring taps of the kernel, 1 by default.
    pub dilation: [usize; AXES],
    /// Into how many groups the channels fall that know nothing of each other, 1 by default.
    pub groups: usize,
    /// What becomes of the weighted sums, the identity by default.
    pub activation: Activation,
}

impl<const AXES: usize> Default for ConvOptions<AXES> {
    fn default() -> Self {
        Self {
            stride: [1; AXES],
            padding: [[0; 2]; AXES],
            dilation: [1; AXES],
            groups: 1,
            activation: Activation::Identity,
        }
    }
}

/// The options of a transposed convolution over `AXES` axes, with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvTransposeOptions<const AXES: usize> {
    /// Distance between the outputs of neighbouring inputs, 1 by default.
    pub stride: [usize; AXES],
    /// Elements cut from both ends of the output, none by default.
    pub padding: [usize; AXES],
    /// Elements added to the end of the output, none by default; smaller than stride or dilation.
    pub output_padding: [usize; AXES],
    /// Distance between neighbouring taps of the kernel, 1 by default.
    pub dilation: [usize; AXES],
    /// Into how many groups the channels fall that know nothing of each other, 1 by default.
    pub groups: usize,
    /// What becomes of the weighted sums, the identity by default.
    pub activation: Activation,
}

impl<const AXES: usize> Default for ConvTransposeOptions<AXES> {
    fn default() -> Self {
        Self {
            stride: [1; AXES],
            padding: [0; AXES],
            output_padding: [0; AXES],
            dilation: [1; AXES],
            groups: 1,
            activation: Activation::Identity,
        }
    }
}

/// What is left after checking: the geometry, and the shape of the result.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) geometry: Geometry,
    pub(super) shape: Vec<usize>,
}

/// The three axes of the kernels: `AXES` of them behind unused ones.
fn lift<const AXES: usize, T: Copy>(unused: T, axis: impl Fn(usize) -> T) -> [T; 3] {
    let mut axes = [unused; 3];
    for i in 0..AXES {
        axes[3 - AXES + i] = axis(i);
    }
    axes
}

/// Batch, channels and spatial sizes of an input with or without a batch, and the sizes of a weight's kernel.
struct Sizes<'a> {
    batch: Option<usize>,
    channels: usize,
    space: &'a [usize],
    weight: [usize; 2],
    kernel: &'a [usize],
}

fn sizes<'a, const AXES: usize>(
    op: &'static str,
    x: &'a Tensor,
    weight: &'a Tensor,
    layout: &'static str,
) -> Result<Sizes<'a>> {
    check_float(op, "x", x)?;
    check_alike(op, x, "weight", weight)?;
    let (batch, channels, space) = match x.dims() {
        [batch, channels, space @ ..] if space.len() == AXES => (Some(*batch), *channels, space),
        [channels, space @ ..] if space.len() == AXES => (None, *channels, space),
        _ => {
            let expected = format!("[n, channels, …] or [channels, …] with {AXES} axes behind");
            return Err(wrong_shape(op, "x", expected, x));
        }
    };
    let [first, second, kernel @ ..] = weight.dims() else {
        return Err(wrong_shape(op, "weight", layout, weight));
    };
    if kernel.len() != AXES {
        return Err(wrong_shape(op, "weight", layout, weight));
    }
    Ok(Sizes {
        batch,
        channels,
        space,
        weight: [*first, *second],
        kernel,
    })
}

fn check_bias(op: &'static str, x: &Tensor, bias: Option<&Tensor>, out: usize) -> Result<()> {
    let Some(bias) = bias else { return Ok(()) };
    check_alike(op, x, "bias", bias)?;
    if bias.dims() != [out] {
        let expected = format!("[{out}], one for each output channel");
        return Err(wrong_shape(op, "bias", expected, bias));
    }
    Ok(())
}

impl<const AXES: usize> ConvOptions<AXES> {
    /// Checks a convolution of `x`.
    pub(super) fn plan(
        &self,
        op: &'static str,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Plan> {
        let s = sizes::<AXES>(
            op,
            x,
            weight,
            "[out_channels, in_channels / groups, …kernel]",
        )?;
        let [out_channels, per_group] = s.weight;
        if self.groups > 0 && per_group.checked_mul(self.groups) != Some(s.channels) {
            let expected = format!(
                "[…, {}, …], as the weight reads {per_group} channels in each of {} groups",
                per_group.saturating_mul(self.groups),
                self.groups
            );
            return Err(wrong_shape(op, "x", expected, x));
        }
        check_bias(op, x, bias, out_channels)?;
        let axes = lift::<AXES, _>(Axis::UNUSED, |i| Axis {
            input: s.space[i],
            kernel: s.kernel[i],
            stride: self.stride[i],
            padding: self.padding[i],
            dilation: self.dilation[i],
        });
        let batch = s.batch.unwrap_or(1);
        let geometry = Geometry::new(batch, s.channels, out_channels, self.groups, axes)
            .map_err(|source| Error::Geometry { op, source })?;
        let mut shape: Vec<usize> = s.batch.into_iter().chain([out_channels]).collect();
        shape.extend(&geometry.output()[3 - AXES..]);
        // `Geometry` has added these up without overflow.
        let [d, h, w] = geometry
            .axes()
            .map(|a| a.input + a.padding[0] + a.padding[1]);
        checked_count(op, &[batch, s.channels, d, h, w])?;
        checked_count(op, &shape)?;
        Ok(Plan { geometry, shape })
    }
}

impl<const AXES: usize> ConvTransposeOptions<AXES> {
    /// Checks a transposed convolution of `x`; the geometry is that of the convolution that it is the adjoint of.
    pub(super) fn plan(
        &self,
        op: &'static str,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Plan> {
        let s = sizes::<AXES>(
            op,
            x,
            weight,
            "[in_channels, out_channels / groups, …kernel]",
        )?;
        let [in_channels, per_group] = s.weight;
        if in_channels != s.channels {
            let expected = format!("[…, {in_channels}, …], as the weight has so many rows");
            return Err(wrong_shape(op, "x", expected, x));
        }
        let out_channels = per_group
            .checked_mul(self.groups)
            .ok_or_else(|| Error::TooLarge {
                op,
                shape: vec![per_group, self.groups],
            })?;
        check_bias(op, x, bias, out_channels)?;
        let axes = lift::<AXES, _>(TransposedAxis::UNUSED, |i| TransposedAxis {
            input: s.space[i],
            kernel: s.kernel[i],
            stride: self.stride[i],
            padding: self.padding[i],
            output_padding: self.output_padding[i],
            dilation: self.dilation[i],
        });
        let batch = s.batch.unwrap_or(1);
        let geometry = Geometry::transposed(batch, in_channels, out_channels, self.groups, axes)
            .map_err(|source| Error::Geometry { op, source })?;
        let mut shape: Vec<usize> = s.batch.into_iter().chain([out_channels]).collect();
        shape.extend(geometry.axes()[3 - AXES..].iter().map(|axis| axis.input));
        checked_count(op, &shape)?;
        Ok(Plan { geometry, shape })
    }
}
