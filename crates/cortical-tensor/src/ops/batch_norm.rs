//! Batch norm, with the sum and the activation that follow it in a network.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::activation::activate_fallback;
use crate::ops::norm::{Kind, Problem, channels, check_affine, fallback};
use crate::ops::prepare::{by_dtype, check_alike, is_half, widen, wrong_shape};
use crate::ops::residual::residual;
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::norm::{Affine, Dims, Fused, Gradients, Moments};
use cortical_kernels::real::Real;

/// The arguments of batch norm beside its input.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormOptions<'a> {
    /// Scale of each channel.
    pub weight: Option<Input<'a>>,
    /// Shift of each channel.
    pub bias: Option<Input<'a>>,
    /// What is added behind, as at the end of a residual block; of the input's shape.
    pub branch: Option<Input<'a>>,
    /// What is added to the variance.
    pub eps: f64,
    /// What happens to the sum.
    pub activation: Activation,
}

impl Default for BatchNormOptions<'_> {
    fn default() -> Self {
        Self {
            weight: None,
            bias: None,
            branch: None,
            eps: 1e-5,
            activation: Activation::Identity,
        }
    }
}

/// What [`batch_norm`] returns.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The result, of the input's shape.
    pub output: Tensor,
    /// The mean of each channel, outside the graph.
    pub mean: Tensor,
    /// The variance of each channel, divided by the number of elements, outside the graph.
    pub var: Tensor,
    /// How many elements each channel has: an unbiased variance is `var · count / (count − 1)`.
    pub count: usize,
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` with the mean and variance of each channel over the batch, as in
/// training.
///
/// # Shapes
/// - `x`: `[n, channels, …]`, with more than one element a channel
/// - `weight`, `bias`: `[channels]`
/// - `output`: that of `x`; `mean` and `var`: `[channels]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together or a channel has a single element,
/// which has no variance; [`Error::Option`](crate::Error::Option) when `eps` is negative.
///
/// # Source
/// Ioffe and Szegedy, "Batch normalization" (2015).
pub fn batch_norm<'a>(
    x: impl Into<Input<'a>>,
    weight: Option<Input<'a>>,
    bias: Option<Input<'a>>,
    eps: f64,
) -> Result<BatchNormed> {
    let options = BatchNormOptions {
        weight,
        bias,
        eps,
        ..Default::default()
    };
    batch_norm_with(x, &options)
}

/// [`batch_norm`] and what follows it: `y = activation((x − μ) / √(σ² + eps) · weight + bias + branch)`, each in one
/// pass over memory, forward and backward.
///
/// # Shapes
/// As [`batch_norm`]; `branch` has the shape of `x`.
///
/// # Errors
/// As [`batch_norm`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::activation::Activation;
/// use cortical_tensor::ops::{BatchNormOptions, batch_norm_with};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32], [3.0]], &Device::Cpu)?;
/// let (branch, activation) = (Some((&x).into()), Activation::Relu);
/// let options = BatchNormOptions { branch, activation, eps: 0.0, ..Default::default() };
/// let y = batch_norm_with(&x, &options)?;
/// assert_eq!(y.output.to_vec2::<f32>()?, [[0.0], [4.0]]);
/// # Ok(())
/// # }
/// ```
pub fn batch_norm_with<'a>(
    x: impl Into<Input<'a>>,
    options: &BatchNormOptions<'a>,
) -> Result<BatchNormed> {
    let x = x.into();
    let problem = channels("batch_norm", Kind::Batch, &x, options.eps)?;
    check(&problem, &x, options)?;
    let count = problem.dims.samples * problem.dims.space;
    if count < 2 {
        let expected =
            "[n, channels, …] with more than one element a channel to take a variance of";
        return Err(wrong_shape(problem.name, "x", expected, x.tensor()));
    }
    let (output, moments) = run(problem, x, *options, None)?;
    let (mean, var) = moments.expect("`run` returns the moments of a batch");
    Ok(BatchNormed {
        output,
        mean,
        var,
        count,
    })
}

/// Batch norm with a given mean and variance of each channel, as in evaluation; the two are constants.
///
/// # Shapes
/// - `x`: `[n, channels, …]`
/// - `mean`, `var`, `weight`, `bias`: `[channels]`
/// - result: that of `x`
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_eval<'a>(
    x: impl Into<Input<'a>>,
    mean: &Tensor,
    var: &Tensor,
    weight: Option<Input<'a>>,
    bias: Option<Input<'a>>,
    eps: f64,
) -> Result<Tensor> {
    let options = BatchNormOptions {
        weight,
        bias,
        eps,
        ..Default::default()
    };
    batch_norm_eval_with(x, mean, var, &options)
}

/// [`batch_norm_eval`] and what follows it, as [`batch_norm_with`].
///
/// # Shapes
/// As [`batch_norm_eval`]; `branch` has the shape of `x`.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_eval_with<'a>(
    x: impl Into<Input<'a>>,
    mean: &Tensor,
    var: &Tensor,
    options: &BatchNormOptions<'a>,
) -> Result<Tensor> {
    let x = x.into();
    let problem = channels("batch_norm_eval", Kind::Fixed, &x, options.eps)?;
    check(&problem, &x, options)?;
    let shape = [problem.dims.channels];
    let moments = [Some(mean.into()), Some(var.into())];
    check_affine(problem.name, &x, &moments, &shape)?;
    Ok(run(problem, x, *options, Some((mean, var)))?.0)
}

fn check(problem: &Problem, x: &Input<'_>, options: &BatchNormOptions<'_>) -> Result<()> {
    let affine = [options.weight, options.bias];
    check_affine(problem.name, x, &affine, &[problem.dims.channels])?;
    if let Some(branch) = options.branch {
        check_alike(problem.name, x.tensor(), "branch", branch.tensor())?;
        if branch.tensor().dims() != x.tensor().dims() {
            let expected = format!("that of x, {:?}", x.tensor().dims());
            return Err(wrong_shape(
                problem.name,
                "branch",
                expected,
                branch.tensor(),
            ));
        }
    }
    Ok(())
}

/// The result and, for a batch, the moments.
type Normed = (Tensor, Option<(Tensor, Tensor)>);

fn run(
    problem: Problem,
    x: Input<'_>,
    options: BatchNormOptions<'_>,
    fixed: Option<(&Tensor, &Tensor)>,
) -> Result<Normed> {
    let BatchNormOptions {
        weight,
        bias,
        branch,
        activation,
        ..
    } = options;
    let dtype = x.tensor().dtype();
    if is_half(dtype) {
        let wide = widen(&[Some(x), weight, bias, branch])?;
        let inputs: Vec<Option<Input<'_>>> =
            wide.iter().map(|t| t.as_ref().map(Into::into)).collect();
        let x = inputs[0].expect("`x` is an argument");
        let fixed = match fixed {
            Some((mean, var)) => Some((mean.to_dtype(DType::F32)?, var.to_dtype(DType::F32)?)),
            None => None,
        };
        let fixed = fixed.as_ref().map(|(mean, var)| (mean, var));
        let options = BatchNormOptions {
            weight: inputs[1],
            bias: inputs[2],
            branch: inputs[3],
            ..options
        };
        let (y, moments) = run(problem, x, options, fixed)?;
        return Ok((y.to_dtype(dtype)?, moments));
    }
    if is_fallback(x.tensor().device()) {
        let affine = [weight, bias].map(|t| t.map(|t| t.tensor()));
        let (y, moments) = fallback(problem, x.tensor(), affine, fixed)?;
        let sum = match branch {
            Some(branch) => (y + branch.tensor())?,
            None => y,
        };
        return Ok((activate_fallback(activation, &sum)?, moments));
    }
    if let Some(branch) = branch.filter(|_| activation.saves() == Saves::Input) {
        // The activation's derivative needs the sum, which would have to be kept beside the output.
        let plain = BatchNormOptions {
            branch: None,
            activation: Activation::Identity,
            ..options
        };
        let (y, moments) = run(problem, x, plain, fixed)?;
        return Ok((residual(&y, branch, activation)?, moments));
    }
    by_dtype!(problem.name, "x", x.tensor(), T => forward::<T>(problem, x, options, fixed))
}

/// Where each optional argument stands among the operands.
#[derive(Clone, Copy)]
struct Places {
    weight: Option<usize>,
    bias: Option<usize>,
    branch: Option<usize>,
}

fn forward<T: Element>(
    problem: Problem,
    x: Input<'_>,
    options: BatchNormOptions<'_>,
    fixed: Option<(&Tensor, &Tensor)>,
) -> Result<Normed> {
    let mut operands = vec![x.operand()?];
    let mut place = |input: Option<Input<'_>>| -> Result<Option<usize>> {
        let Some(input) = input else {
            return Ok(None);
        };
        operands.push(input.operand()?);
        Ok(Some(operands.len() - 1))
    };
    let places = Places {
        weight: place(options.weight)?,
        bias: place(options.bias)?,
        branch: place(options.branch)?,
    };
    let channels = problem.dims.channels;
    let mut moments = match fixed {
        Some((mean, var)) => given::<T>(mean, var)?,
        None => vec![Moments::default(); channels],
    };
    let mut y = unspecified::<T>(problem.dims.elements());
    {
        let tensors: Vec<_> = operands
            .iter()
            .map(|o| values::<T>(o.tensor()))
            .collect::<Result<_>>()?;
        let slice = |at: Option<usize>| at.map(|at| &*tensors[at]);
        let fused = Fused {
            dims: problem.dims,
            affine: Affine {
                weight: slice(places.weight),
                bias: slice(places.bias),
            },
            eps: <T as Real>::from_f64(problem.eps),
            activation: options.activation,
        };
        let branch = slice(places.branch);
        fused.forward(&tensors[0], branch, fixed.is_some(), &mut moments, &mut y);
    }
    let of_batch = if fixed.is_none() {
        let mean = moments.iter().map(|m| m.mean).collect::<Vec<T>>();
        let var = moments.iter().map(|m| m.var).collect::<Vec<T>>();
        Some((tensor(mean, channels)?, tensor(var, channels)?))
    } else {
        None
    };
    let output = Output::new(y, x.tensor().shape());
    let op = BatchNorm {
        problem,
        activation: options.activation,
        given: fixed.is_some(),
        moments,
        places,
    };
    Ok((apply_one(op, operands, output)?, of_batch))
}

/// The moments of an evaluation.
fn given<T: Element>(mean: &Tensor, var: &Tensor) -> Result<Vec<Moments<T>>> {
    let (mean, var) = (mean.contiguous()?, var.contiguous()?);
    let (mean, var) = (values::<T>(&mean)?, values::<T>(&var)?);
    let pairs = mean.iter().zip(&*var);
    Ok(pairs.map(|(&mean, &var)| Moments { mean, var }).collect())
}

struct BatchNorm<T> {
    problem: Problem,
    activation: Activation,
    /// Whether the moments are constants.
    given: bool,
    moments: Vec<Moments<T>>,
    places: Places,
}

impl<T: Element> Op for BatchNorm<T> {
    fn name(&self) -> &'static str {
        self.problem.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Dims { channels, .. } = self.problem.dims;
        let (x, d_y) = (values::<T>(pass.input(0))?, values::<T>(pass.d_output(0))?);
        let input = |at: Option<usize>| at.map(|at| values::<T>(pass.input(at))).transpose();
        let (weight, bias) = (input(self.places.weight)?, input(self.places.bias)?);
        let y = match self.reads_output() {
            true => Some(values::<T>(pass.output())?),
            false => None,
        };
        let wants = |at: Option<usize>| at.is_some_and(|at| pass.wants(at));
        // Gradients of weight and bias are added to; the others are written whole.
        let sums = |at| wants(at).then(|| vec![T::ZERO; channels]);
        let whole = |wanted: bool| wanted.then(|| unspecified::<T>(x.len()));
        let mut d_x = whole(pass.wants(0));
        let (mut d_weight, mut d_bias) = (sums(self.places.weight), sums(self.places.bias));
        let hands_on = wants(self.places.branch) && self.activation == Activation::Identity;
        let mut d_branch = whole(wants(self.places.branch) && !hands_on);
        let fused = Fused {
            dims: self.problem.dims,
            affine: Affine {
                weight: weight.as_deref(),
                bias: bias.as_deref(),
            },
            eps: <T as Real>::from_f64(self.problem.eps),
            activation: self.activation,
        };
        let gradients = Gradients {
            d_x: d_x.as_deref_mut(),
            d_weight: d_weight.as_deref_mut(),
            d_bias: d_bias.as_deref_mut(),
        };
        let (moments, d_branch_room) = (&self.moments[..], d_branch.as_deref_mut());
        fused.backward(
            &x,
            y.as_deref(),
            self.given,
            moments,
            &d_y,
            gradients,
            d_branch_room,
        );
        let shaped =
            |at: usize, d: Option<Vec<T>>| d.map(|d| tensor(d, pass.shape(at))).transpose();
        let mut grads = vec![shaped(0, d_x)?];
        if let Some(at) = self.places.weight {
            grads.push(shaped(at, d_weight)?);
        }
        if let Some(at) = self.places.bias {
            grads.push(shaped(at, d_bias)?);
        }
        if let Some(at) = self.places.branch {
            grads.push(match hands_on {
                true => Some(pass.d_output(0).clone()),
                false => shaped(at, d_branch)?,
            });
        }
        Ok(grads)
    }

    fn reads_input(&self, i: usize) -> bool {
        self.places.branch != Some(i)
    }

    /// Without a branch, what the activation did is computed again from the input.
    fn reads_output(&self) -> bool {
        self.places.branch.is_some() && self.activation != Activation::Identity
    }
}

#[cfg(test)]
mod tests;
