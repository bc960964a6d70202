//! Layer, RMS, group and instance norm.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, widen, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::Tensor;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::norm::{self as kernel, Affine, Dims, Gradients, Moments};
use cortical_kernels::real::Real;

/// Which elements share a mean and a variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Each row; without a mean for RMS norm.
    Rows { centred: bool },
    /// Each channel over the batch.
    Batch,
    /// As `Batch`, with moments from outside.
    Fixed,
    /// The channels of a group in one sample.
    Group(usize),
}

/// One normalisation with checked sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Problem {
    pub(super) name: &'static str,
    kind: Kind,
    pub(super) dims: Dims,
    pub(super) eps: f64,
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` over the trailing dimensions `normalized_shape`.
///
/// # Shapes
/// - `x`: `[…, normalized_shape]`
/// - `weight`, `bias`: `normalized_shape`
/// - result: that of `x`
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] or [`Error::Device`] when the arguments do not fit together; [`Error::Option`]
/// when `eps` is negative.
///
/// # Source
/// Ba, Kiros and Hinton, "Layer normalization" (2016).
pub fn layer_norm<'a>(
    x: impl Into<Input<'a>>,
    normalized_shape: &[usize],
    weight: Option<Input<'a>>,
    bias: Option<Input<'a>>,
    eps: f64,
) -> Result<Tensor> {
    let x = x.into();
    let kind = Kind::Rows { centred: true };
    let problem = rows("layer_norm", kind, &x, normalized_shape, eps)?;
    check_affine(problem.name, &x, &[weight, bias], normalized_shape)?;
    run(problem, x, weight, bias)
}

/// `y = x / √(mean(x²) + eps) · weight` over the trailing dimensions `normalized_shape`.
///
/// # Shapes
/// - `x`: `[…, normalized_shape]`
/// - `weight`: `normalized_shape`
/// - result: that of `x`
///
/// # Errors
/// As [`layer_norm`].
///
/// # Source
/// Zhang and Sennrich, "Root mean square layer normalization" (2019).
pub fn rms_norm<'a>(
    x: impl Into<Input<'a>>,
    normalized_shape: &[usize],
    weight: Option<Input<'a>>,
    eps: f64,
) -> Result<Tensor> {
    let x = x.into();
    let kind = Kind::Rows { centred: false };
    let problem = rows("rms_norm", kind, &x, normalized_shape, eps)?;
    check_affine(problem.name, &x, &[weight], normalized_shape)?;
    run(problem, x, weight, None)
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` with the moments of each of `groups` groups of channels in each sample.
/// As many groups as channels make instance norm.
///
/// # Shapes
/// - `x`: `[n, channels, …]`
/// - `weight`, `bias`: `[channels]`
/// - result: that of `x`
///
/// # Errors
/// As [`layer_norm`]; [`Error::Option`] when `groups` does not divide the channels.
///
/// # Source
/// Wu and He, "Group normalization" (2018); Ulyanov et al., "Instance normalization" (2016).
pub fn group_norm<'a>(
    x: impl Into<Input<'a>>,
    groups: usize,
    weight: Option<Input<'a>>,
    bias: Option<Input<'a>>,
    eps: f64,
) -> Result<Tensor> {
    let x = x.into();
    let problem = channels("group_norm", Kind::Group(groups), &x, eps)?;
    let all = problem.dims.channels;
    if groups == 0 || !all.is_multiple_of(groups) {
        let (expected, got) = (
            format!("a divisor of the {all} channels"),
            groups.to_string(),
        );
        return Err(Error::Option {
            op: problem.name,
            option: "groups",
            expected,
            got,
        });
    }
    check_affine(problem.name, &x, &[weight, bias], &[all])?;
    run(problem, x, weight, bias)
}

fn check_eps(name: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    let (expected, got) = ("a number not below 0".to_string(), eps.to_string());
    Err(Error::Option {
        op: name,
        option: "eps",
        expected,
        got,
    })
}

fn rows(
    name: &'static str,
    kind: Kind,
    x: &Input<'_>,
    shape: &[usize],
    eps: f64,
) -> Result<Problem> {
    let x = x.tensor();
    check_float(name, "x", x)?;
    check_eps(name, eps)?;
    if shape.is_empty() || !x.dims().ends_with(shape) {
        let expected = format!("[…, {}], which is what is normalised", list(shape));
        return Err(wrong_shape(name, "x", expected, x));
    }
    let channels = checked_count(name, shape)?;
    let samples = checked_count(name, &x.dims()[..x.rank() - shape.len()])?;
    checked_count(name, x.dims())?;
    Ok(Problem {
        name,
        kind,
        dims: Dims {
            samples,
            channels,
            space: 1,
        },
        eps,
    })
}

pub(super) fn channels(name: &'static str, kind: Kind, x: &Input<'_>, eps: f64) -> Result<Problem> {
    let x = x.tensor();
    check_float(name, "x", x)?;
    check_eps(name, eps)?;
    let [samples, channels, space @ ..] = x.dims() else {
        return Err(wrong_shape(name, "x", "[n, channels, …]", x));
    };
    checked_count(name, x.dims())?;
    let (samples, channels) = (*samples, *channels);
    Ok(Problem {
        name,
        kind,
        dims: Dims {
            samples,
            channels,
            space: checked_count(name, space)?,
        },
        eps,
    })
}

fn list(shape: &[usize]) -> String {
    shape
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn check_affine(
    name: &'static str,
    x: &Input<'_>,
    arguments: &[Option<Input<'_>>],
    shape: &[usize],
) -> Result<()> {
    for (argument, input) in ["weight", "bias"].into_iter().zip(arguments) {
        if let Some(input) = input {
            check_alike(name, x.tensor(), argument, input.tensor())?;
            if input.tensor().dims() != shape {
                return Err(wrong_shape(
                    name,
                    argument,
                    format!("[{}]", list(shape)),
                    input.tensor(),
                ));
            }
        }
    }
    Ok(())
}

fn run(
    problem: Problem,
    x: Input<'_>,
    weight: Option<Input<'_>>,
    bias: Option<Input<'_>>,
) -> Result<Tensor> {
    let dtype = x.tensor().dtype();
    if is_half(dtype) {
        let wide = widen(&[Some(x), weight, bias])?;
        let inputs: Vec<Option<Input<'_>>> =
            wide.iter().map(|t| t.as_ref().map(Into::into)).collect();
        let x = inputs[0].expect("`x` is an argument");
        return Ok(run(problem, x, inputs[1], inputs[2])?.to_dtype(dtype)?);
    }
    if is_fallback(x.tensor().device()) {
        let affine = [weight, bias].map(|t| t.map(|t| t.tensor()));
        return Ok(fallback(problem, x.tensor(), affine, None)?.0);
    }
    by_dtype!(problem.name, "x", x.tensor(), T => forward::<T>(problem, x, weight, bias))
}

/// An operation with its moments.
struct Norm<T> {
    problem: Problem,
    moments: Vec<Moments<T>>,
    has_weight: bool,
    has_bias: bool,
}

fn forward<T: Element>(
    problem: Problem,
    x: Input<'_>,
    weight: Option<Input<'_>>,
    bias: Option<Input<'_>>,
) -> Result<Tensor> {
    let operands = [Some(x), weight, bias]
        .into_iter()
        .flatten()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let Problem {
        kind, dims, eps, ..
    } = problem;
    let eps = <T as Real>::from_f64(eps);
    let mut y = unspecified::<T>(dims.elements());
    let sets = match kind {
        Kind::Rows { .. } => dims.samples,
        Kind::Group(groups) => dims.samples * groups,
        Kind::Batch | Kind::Fixed => unreachable!("batch norm is an operation of its own"),
    };
    let mut moments = vec![Moments::default(); sets];
    {
        let tensors: Vec<_> = operands
            .iter()
            .map(|o| values::<T>(o.tensor()))
            .collect::<Result<_>>()?;
        let x = &tensors[0];
        let affine = Affine {
            weight: weight.is_some().then(|| &*tensors[1]),
            bias: bias
                .is_some()
                .then(|| &**tensors.last().expect("the bias is the last argument")),
        };
        match kind {
            Kind::Rows { centred: true } => {
                kernel::layer_forward(x, dims.channels, affine, eps, &mut y, &mut moments);
            }
            Kind::Rows { centred: false } => {
                kernel::rms_forward(x, dims.channels, affine.weight, eps, &mut y, &mut moments);
            }
            Kind::Batch | Kind::Fixed => unreachable!("batch norm is an operation of its own"),
            Kind::Group(groups) => {
                kernel::group_forward(x, dims, groups, affine, eps, &mut y, &mut moments);
            }
        }
    }
    let output = Output::new(y, x.tensor().shape());
    let op = Norm {
        problem,
        moments,
        has_weight: weight.is_some(),
        has_bias: bias.is_some(),
    };
    apply_one(op, operands, output)
}

impl<T: Element> Op for Norm<T> {
    fn name(&self) -> &'static str {
        self.problem.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Problem {
            kind, dims, eps, ..
        } = self.problem;
        let eps = <T as Real>::from_f64(eps);
        let (weight_at, bias_at) = (1, 1 + usize::from(self.has_weight));
        let (x, d_y) = (values::<T>(pass.input(0))?, values::<T>(pass.d_output(0))?);
        let weight = self
            .has_weight
            .then(|| values::<T>(pass.input(weight_at)))
            .transpose()?;
        let weight = weight.as_deref();
        let wanted =
            |has: bool, at: usize, n: usize| (has && pass.wants(at)).then(|| zeros::<T>(n));
        let mut d_x = pass.wants(0).then(|| unspecified::<T>(x.len()));
        let mut d_weight = wanted(self.has_weight, weight_at, dims.channels);
        let mut d_bias = wanted(self.has_bias, bias_at, dims.channels);
        let gradients = Gradients {
            d_x: d_x.as_deref_mut(),
            d_weight: d_weight.as_deref_mut(),
            d_bias: d_bias.as_deref_mut(),
        };
        let moments = &self.moments[..];
        match kind {
            Kind::Rows { centred: true } => {
                kernel::layer_backward(&x, dims.channels, weight, eps, moments, &d_y, gradients);
            }
            Kind::Rows { centred: false } => {
                kernel::rms_backward(&x, dims.channels, weight, eps, moments, &d_y, gradients);
            }
            Kind::Batch | Kind::Fixed => unreachable!("batch norm is an operation of its own"),
            Kind::Group(groups) => {
                kernel::group_backward(&x, dims, groups, weight, eps, moments, &d_y, gradients);
            }
        }
        let mut out = vec![d_x.map(|d| tensor(d, pass.shape(0))).transpose()?];
        if self.has_weight {
            out.push(
                d_weight
                    .map(|d| tensor(d, pass.shape(weight_at)))
                    .transpose()?,
            );
        }
        if self.has_bias {
            out.push(d_bias.map(|d| tensor(d, pass.shape(bias_at))).transpose()?);
        }
        Ok(out)
    }

    fn reads_output(&self) -> bool {
        false
    }
}

/// The result and, for a batch, the moments.
type Normed = (Tensor, Option<(Tensor, Tensor)>);

/// The same from candle's operations.
pub(super) fn fallback(
    problem: Problem,
    x: &Tensor,
    [weight, bias]: [Option<&Tensor>; 2],
    fixed: Option<(&Tensor, &Tensor)>,
) -> candle_core::Result<Normed> {
    let Problem {
        kind, dims, eps, ..
    } = problem;
    let Dims {
        samples,
        channels,
        space,
    } = dims;
    if dims.elements() == 0 {
        let nothing = Tensor::zeros(channels, x.dtype(), x.device())?;
        return Ok((x.zeros_like()?, Some((nothing.clone(), nothing))));
    }
    // One row for each set that shares moments.
    let by_channel = |x: &Tensor| {
        x.reshape((samples, channels, space))?
            .transpose(0, 1)?
            .contiguous()
    };
    let sets = match kind {
        Kind::Rows { .. } => x.contiguous()?.reshape((samples, channels))?,
        Kind::Batch | Kind::Fixed => {
            by_channel(&x.contiguous()?)?.reshape((channels, samples * space))?
        }
        Kind::Group(groups) => x
            .contiguous()?
            .reshape((samples * groups, channels / groups * space))?,
    };
    let (mean, var) = match fixed {
        Some((mean, var)) => (
            mean.detach().reshape((channels, 1))?,
            var.detach().reshape((channels, 1))?,
        ),
        None => {
            let mean = if kind == (Kind::Rows { centred: false }) {
                Tensor::zeros((samples, 1), x.dtype(), x.device())?
            } else {
                sets.mean_keepdim(1)?
            };
            let var = sets.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
            (mean, var)
        }
    };
    let normal = sets
        .broadcast_sub(&mean)?
        .broadcast_div(&(&var + eps)?.sqrt()?)?;
    let normal = match kind {
        Kind::Batch | Kind::Fixed => normal
            .reshape((channels, samples, space))?
            .transpose(0, 1)?
            .contiguous()?,
        _ => normal.reshape((samples, channels, space))?,
    };
    let scaled = match weight {
        Some(weight) => normal.broadcast_mul(&weight.contiguous()?.reshape((1, channels, 1))?)?,
        None => normal,
    };
    let shifted = match bias {
        Some(bias) => scaled.broadcast_add(&bias.contiguous()?.reshape((1, channels, 1))?)?,
        None => scaled,
    };
    let moments = (mean.detach().flatten_all()?, var.detach().flatten_all()?);
    Ok((shifted.reshape(x.shape())?, Some(moments)))
}

#[cfg(test)]
mod tests;
