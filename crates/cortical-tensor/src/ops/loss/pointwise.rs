//! Losses between each number and its target.

use super::elements::{SOFTPLUS, pointwise, weighted};
use super::{check_alike, check_at_least, check_same, is_half, reduce, spread, widened};
use crate::ops::prepare::widen;
use crate::ops::{Reduction, activate};
use crate::{Input, Result};
use candle_core::Tensor;
use cortical_kernels::loss::Pointwise;

/// `l = (x − t)²`, reduced.
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device) when the arguments differ.
pub fn mse_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    reduction: Reduction,
) -> Result<Tensor> {
    pointwise(
        "mse_loss",
        Pointwise::Squared,
        x.into(),
        target.into(),
        reduction,
    )
}

/// `l = |x − t|`, reduced; the derivative where they are equal is 0.
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`].
pub fn l1_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    reduction: Reduction,
) -> Result<Tensor> {
    pointwise(
        "l1_loss",
        Pointwise::Absolute,
        x.into(),
        target.into(),
        reduction,
    )
}

/// `l = (x − t)² / 2β` where `|x − t| < β`, else `|x − t| − β/2`, reduced.
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`]; [`Error::Option`](crate::Error::Option) for a negative `beta` (0 makes it [`l1_loss`]).
///
/// # Source
/// Girshick, "Fast R-CNN" (2015), section 2.3.
pub fn smooth_l1_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    beta: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    check_at_least("smooth_l1_loss", "beta", 0.0, beta)?;
    let loss = Pointwise::SmoothL1 { beta };
    pointwise("smooth_l1_loss", loss, x.into(), target.into(), reduction)
}

/// `l = (x − t)² / 2` where `|x − t| ≤ δ`, else `δ (|x − t| − δ/2)`, reduced.
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`]; [`Error::Option`](crate::Error::Option) unless `delta` is positive.
///
/// # Source
/// Huber, "Robust estimation of a location parameter" (1964).
pub fn huber_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    delta: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    check_at_least("huber_loss", "delta", f64::MIN_POSITIVE, delta)?;
    let loss = Pointwise::Huber { delta };
    pointwise("huber_loss", loss, x.into(), target.into(), reduction)
}

/// `l = −w (t ln x + (1 − t) ln(1 − x))` for a probability `x`, each logarithm at least −100, reduced.
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - `weight`: one that broadcasts to `x`
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// As [`mse_loss`].
pub fn binary_cross_entropy<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let name = "binary_cross_entropy";
    weighted(
        name,
        Pointwise::BinaryCrossEntropy,
        x.into(),
        target.into(),
        weight,
        reduction,
    )
}

/// The options of [`binary_cross_entropy_with_logits`].
#[derive(Clone, Debug, Default)]
pub struct BceWithLogits {
    /// How much each element counts; broadcasts to the logits.
    pub weight: Option<Tensor>,
    /// How much the positive side of each element counts; broadcasts to the logits.
    pub pos_weight: Option<Tensor>,
    /// What becomes of the elements' losses.
    pub reduction: Reduction,
}

/// `l = −w (p t ln σ(x) + (1 − t) ln(1 − σ(x)))`, computed without overflow, reduced.
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// As [`mse_loss`].
pub fn binary_cross_entropy_with_logits<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    options: &BceWithLogits,
) -> Result<Tensor> {
    let name = "binary_cross_entropy_with_logits";
    let (x, target) = (x.into(), target.into());
    let (weight, reduction) = (options.weight.as_ref(), options.reduction);
    let Some(pos_weight) = &options.pos_weight else {
        let loss = Pointwise::BinaryCrossEntropyWithLogits;
        return weighted(name, loss, x, target, weight, reduction);
    };
    check_same(name, x.tensor(), "target", target.tensor())?;
    let pos_weight = spread(name, "pos_weight", pos_weight, x.tensor())?;
    let weight = weight
        .map(|w| spread(name, "weight", w, x.tensor()))
        .transpose()?;
    let arguments = [
        x.tensor(),
        target.tensor(),
        &pos_weight,
        weight.as_ref().unwrap_or(&pos_weight),
    ];
    widened(arguments, |[x, t, p, w]| {
        // (1 − t) x + (1 + (p − 1) t) ln(1 + e⁻ˣ)
        let softplus = activate(&x.neg()?, SOFTPLUS)?;
        let factor = (((p - 1.0)? * t)? + 1.0)?;
        let loss = ((x * t.affine(-1.0, 1.0)?)? + (factor * softplus)?)?;
        let loss = if weight.is_some() { (loss * w)? } else { loss };
        reduce(&loss, reduction)
    })
}

/// `l = −1/C Σ_c w_c (t_c ln σ(x_c) + (1 − t_c) ln(1 − σ(x_c)))` over the last dimension, reduced.
///
/// # Shapes
/// - `x`, `target`: `[…, classes]`
/// - `weight`: `[classes]`
/// - result: scalar, or `[…]` for [`Reduction::None`]
///
/// # Errors
/// As [`mse_loss`]; [`Error::Shape`](crate::Error::Shape) for a scalar.
pub fn multi_label_soft_margin_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let name = "multi_label_soft_margin_loss";
    let (x, target) = (x.into(), target.into());
    let Some(classes) = x.tensor().dims().last().copied() else {
        return Err(super::wrong_shape(name, "x", "[…, classes]", x.tensor()));
    };
    let last = x.tensor().rank() - 1;
    let dtype = x.tensor().dtype();
    if is_half(dtype) {
        // Rounded once, behind the last sum.
        for (argument, t) in [("target", Some(target.tensor())), ("weight", weight)] {
            t.map_or(Ok(()), |t| check_alike(name, x.tensor(), argument, t))?;
        }
        let wide = widen(&[Some(x), Some(target), weight.map(Into::into)])?;
        let [Some(x), Some(target), weight] = &wide[..] else {
            unreachable!("as many tensors as arguments")
        };
        let y = multi_label_soft_margin_loss(x, target, weight.as_ref(), reduction)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let loss = Pointwise::BinaryCrossEntropyWithLogits;
    let each = weighted(name, loss, x, target, weight, Reduction::None)?;
    reduce(&(each.sum(last)? / classes as f64)?, reduction)
}

/// The options of [`kl_div`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KlDiv {
    /// Whether the target is a logarithm as well.
    pub log_target: bool,
    /// Whether the sum is divided by the number of rows (PyTorch's `batchmean`), which is the divergence's definition;
    /// `reduction` then does not count.
    pub batch_mean: bool,
    /// What becomes of the elements' losses.
    pub reduction: Reduction,
}

/// `l = t (ln t − x)` for `x = ln q`, the Kullback-Leibler divergence of `q` from `t`, reduced; 0 where `t` is 0.
///
/// # Shapes
/// - `x`, `target`: any, the same; at least one dimension for the mean over rows
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// As [`mse_loss`].
///
/// # Source
/// Kullback and Leibler, "On information and sufficiency" (1951).
pub fn kl_div<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    options: &KlDiv,
) -> Result<Tensor> {
    let (x, target) = (x.into(), target.into());
    let loss = match options.log_target {
        true => Pointwise::KlDivergenceOfLogs,
        false => Pointwise::KlDivergence,
    };
    if !options.batch_mean {
        return pointwise("kl_div", loss, x, target, options.reduction);
    }
    let Some(rows) = x.tensor().dims().first().copied() else {
        return Err(super::wrong_shape("kl_div", "x", "[rows, …]", x.tensor()));
    };
    Ok((pointwise("kl_div", loss, x, target, Reduction::Sum)? / rows as f64)?)
}

/// The options of [`poisson_nll_loss`], with PyTorch's defaults.
#[derive(Clone, Copy, Debug)]
pub struct PoissonNll {
    /// Whether the prediction is the logarithm of the rate.
    pub log_input: bool,
    /// Whether Stirling's approximation of `ln t!` is added where `t > 1`.
    pub full: bool,
    /// Keeps the logarithm of a rate finite.
    pub eps: f64,
    /// What becomes of the elements' losses.
    pub reduction: Reduction,
}

impl Default for PoissonNll {
    fn default() -> Self {
        Self {
            log_input: true,
            full: false,
            eps: 1e-8,
            reduction: Reduction::Mean,
        }
    }
}

/// `l = eˣ − t x` for the logarithm `x` of a Poisson rate, or `l = x − t ln(x + ε)` for the rate itself, reduced.
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`]; [`Error::Option`](crate::Error::Option) for a negative `eps`.
pub fn poisson_nll_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    options: &PoissonNll,
) -> Result<Tensor> {
    let name = "poisson_nll_loss";
    check_at_least(name, "eps", 0.0, options.eps)?;
    let (x, target) = (x.into(), target.into());
    let loss = match options.log_input {
        true => Pointwise::PoissonOfLogRate,
        false => Pointwise::Poisson { eps: options.eps },
    };
    if !options.full {
        return pointwise(name, loss, x, target, options.reduction);
    }
    let t = target.tensor();
    let each = pointwise(name, loss, x, target, Reduction::None)?;
    // t ln t − t + ln(2πt)/2 where t > 1; elsewhere a constant stands in, so that no NaN arises.
    let above = t.gt(1.0)?;
    let safe = above.where_cond(t, &t.ones_like()?)?;
    let stirling =
        (((&safe * safe.log()?)? - &safe)? + ((&safe * std::f64::consts::TAU)?.log()? * 0.5)?)?;
    let stirling = above.where_cond(&stirling, &stirling.zeros_like()?)?;
    reduce(&(each + stirling)?, options.reduction)
}

/// The options of [`gaussian_nll_loss`], with PyTorch's defaults.
#[derive(Clone, Copy, Debug)]
pub struct GaussianNll {
    /// Whether the constant `ln(2π)/2` is added.
    pub full: bool,
    /// The smallest variance that is reckoned with.
    pub eps: f64,
    /// What becomes of the elements' losses.
    pub reduction: Reduction,
}

impl Default for GaussianNll {
    fn default() -> Self {
        Self {
            full: false,
            eps: 1e-6,
            reduction: Reduction::Mean,
        }
    }
}

/// `l = (ln v + (x − t)² / v) / 2` with the variance `v = max(var, ε)`, reduced. The gradient of `var` is that of `v`,
/// as in PyTorch.
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - `var`: one that broadcasts to `x`
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// As [`mse_loss`]; [`Error::Option`](crate::Error::Option) unless `eps` is positive.
pub fn gaussian_nll_loss(
    x: &Tensor,
    target: &Tensor,
    var: &Tensor,
    options: &GaussianNll,
) -> Result<Tensor> {
    let name = "gaussian_nll_loss";
    check_at_least(name, "eps", f64::MIN_POSITIVE, options.eps)?;
    check_same(name, x, "target", target)?;
    // PyTorch also takes a variance that lacks the last dimension.
    let lacks_last = var.rank() + 1 == x.rank() && var.dims() == &x.dims()[..x.rank() - 1];
    let var = if lacks_last {
        var.unsqueeze(var.rank())?
    } else {
        var.clone()
    };
    let var = spread(name, "var", &var, x)?;
    widened([x, target, &var], |[x, t, var]| {
        let floor = var.zeros_like()?.affine(1.0, options.eps)?.detach();
        // Added without the graph, so that the gradient passes where the floor holds.
        let lift = (floor - var.detach())?.relu()?.detach();
        let v = (var + lift)?;
        let each = ((v.log()? + ((x - t)?.sqr()? / &v)?)? * 0.5)?;
        let each = if options.full {
            (each + 0.5 * std::f64::consts::TAU.ln())?
        } else {
            each
        };
        reduce(&each, options.reduction)
    })
}

/// `l = ln(1 + e^(−t x))` for targets of ±1, reduced.
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`].
pub fn soft_margin_loss<'a>(
    x: impl Into<Input<'a>>,
    target: impl Into<Input<'a>>,
    reduction: Reduction,
) -> Result<Tensor> {
    pointwise(
        "soft_margin_loss",
        Pointwise::SoftMargin,
        x.into(),
        target.into(),
        reduction,
    )
}
