//! The losses between each number and its target, element by element: kernel, backward pass and fallback.

use super::{check_same, reduce, spread};
use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::Reduction;
use crate::ops::activation::activate_fallback;
use crate::ops::prepare::{by_dtype, is_half};
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::loss::{self as kernel, Pointwise, Side, Upstream};
use cortical_kernels::real::Real;

/// ln(1 + eˣ), never cut short to x.
pub(super) const SOFTPLUS: Activation = Activation::Softplus {
    beta: 1.0,
    threshold: f64::INFINITY,
};

/// [`pointwise`] with a weight for each element, which broadcasts.
pub(super) fn weighted(
    name: &'static str,
    loss: Pointwise,
    x: Input<'_>,
    target: Input<'_>,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let Some(weight) = weight else {
        return pointwise(name, loss, x, target, reduction);
    };
    let weight = spread(name, "weight", weight, x.tensor())?;
    let each = pointwise(name, loss, x, target, Reduction::None)?;
    reduce(&(each * weight)?, reduction)
}

/// The loss of each element and its target, reduced.
pub(super) fn pointwise(
    name: &'static str,
    loss: Pointwise,
    x: Input<'_>,
    target: Input<'_>,
    reduction: Reduction,
) -> Result<Tensor> {
    check_same(name, x.tensor(), "target", target.tensor())?;
    let dtype = x.tensor().dtype();
    if is_half(dtype) {
        let (x, t) = (
            x.tensor().to_dtype(DType::F32)?,
            target.tensor().to_dtype(DType::F32)?,
        );
        return Ok(pointwise(name, loss, (&x).into(), (&t).into(), reduction)?.to_dtype(dtype)?);
    }
    if is_fallback(x.tensor().device()) {
        return reduce(&fallback(loss, x.tensor(), target.tensor())?, reduction);
    }
    by_dtype!(name, "x", x.tensor(), T => forward::<T>(name, loss, x, target, reduction))
}

fn forward<T: Element>(
    name: &'static str,
    loss: Pointwise,
    x: Input<'_>,
    target: Input<'_>,
    reduction: Reduction,
) -> Result<Tensor> {
    let (x, target) = (x.operand()?, target.operand()?);
    let n = x.tensor().elem_count();
    let mut each = zeros::<T>(n);
    kernel::forward(
        loss,
        &values(x.tensor())?,
        &values(target.tensor())?,
        &mut each,
    );
    let scale = if reduction == Reduction::Mean {
        1.0 / n as f64
    } else {
        1.0
    };
    let output = match reduction {
        Reduction::None => Output::new(each, x.tensor().shape()),
        Reduction::Sum | Reduction::Mean => {
            let total: f64 = each.iter().map(|l| Real::to_f64(*l)).sum();
            // Nothing has no mean: 0 / 0.
            let total = if reduction == Reduction::Mean {
                total / n as f64
            } else {
                total
            };
            Output::new(vec![<T as Real>::from_f64(total)], ())
        }
    };
    let op = Loss::<T> {
        name,
        loss,
        reduction,
        scale: Real::from_f64(scale),
    };
    apply_one(op, vec![x, target], output)
}

struct Loss<T> {
    name: &'static str,
    loss: Pointwise,
    reduction: Reduction,
    /// What the reduction multiplies each element's loss with.
    scale: T,
}

impl<T: Element> Op for Loss<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, t) = (pass.input(0), pass.input(1));
        let upstream = values::<T>(pass.d_output(0))?;
        let d_l = match self.reduction {
            Reduction::None => Upstream::Each(&upstream[..]),
            Reduction::Mean | Reduction::Sum => Upstream::All(upstream[0] * self.scale),
        };
        let side = |i: usize, side: Side| {
            if !pass.wants(i) {
                return Ok(None);
            }
            let mut d = zeros::<T>(x.elem_count());
            kernel::backward(self.loss, side, &values(x)?, &values(t)?, d_l, &mut d);
            tensor(d, x.shape()).map(Some)
        };
        Ok(vec![side(0, Side::Prediction)?, side(1, Side::Target)?])
    }
}

fn fallback(loss: Pointwise, x: &Tensor, t: &Tensor) -> Result<Tensor> {
    let softplus = |x: &Tensor| activate_fallback(SOFTPLUS, x);
    // |d| with derivative 0 at 0, which candle's `abs` has not.
    let absolute = |d: &Tensor| d * d.sign()?.detach();
    let loss = match loss {
        Pointwise::Squared => (x - t)?.sqr(),
        Pointwise::Absolute => absolute(&(x - t)?),
        Pointwise::SmoothL1 { beta: 0.0 } => absolute(&(x - t)?),
        Pointwise::SmoothL1 { beta } => {
            let d = (x - t)?;
            // NaN is inside, and an infinite d out of it: its square would make NaN of the gradient.
            let inside = d.abs()?.ge(beta)?.eq(0_u8)?;
            let near = inside.where_cond(&d, &d.zeros_like()?)?;
            inside.where_cond(
                &(near.sqr()? * (0.5 / beta))?,
                &(absolute(&d)? - 0.5 * beta)?,
            )
        }
        Pointwise::Huber { delta } => {
            let d = (x - t)?;
            let inside = d.abs()?.gt(delta)?.eq(0_u8)?;
            let near = inside.where_cond(&d, &d.zeros_like()?)?;
            let outside = ((absolute(&d)? - 0.5 * delta)? * delta)?;
            inside.where_cond(&(near.sqr()? * 0.5)?, &outside)
        }
        Pointwise::BinaryCrossEntropy => {
            let floored = |x: &Tensor| {
                // A 1 stands in for what has no logarithm, so that its gradient is 0 and not NaN.
                let some = x.gt(0.0)?;
                let log = some.where_cond(x, &x.ones_like()?)?.log()?;
                let floor = log.zeros_like()?.affine(1.0, -100.0)?;
                let log = some.where_cond(&log, &floor)?;
                log.gt(-100.0)?.where_cond(&log, &floor)
            };
            let no = (t.affine(-1.0, 1.0)? * floored(&x.affine(-1.0, 1.0)?)?)?;
            let value = ((t * floored(x)?)? + no)?.neg()?;
            // PyTorch's derivatives, whose denominator is kept away from 0, beside a value without any.
            let floor = x.zeros_like()?.affine(1.0, 1e-12)?;
            let variance = (x * x.affine(-1.0, 1.0)?)?.maximum(&floor)?;
            let by_x = ((x - t)? / variance)?.detach();
            let by_t = (floored(&x.affine(-1.0, 1.0)?)? - floored(x)?)?.detach();
            let nothing = |v: &Tensor| v - v.detach();
            value.detach() + ((nothing(x)? * by_x)? + (nothing(t)? * by_t)?)?
        }
        Pointwise::BinaryCrossEntropyWithLogits => {
            let side = x.ge(0.0)?.where_cond(&t.affine(-1.0, 1.0)?, &t.neg()?)?;
            (x * side)? + softplus(&x.abs()?.neg()?)?
        }
        Pointwise::KlDivergence => {
            let some = t.ne(0.0)?;
            let safe = some.where_cond(t, &t.ones_like()?)?;
            some.where_cond(&(t * (safe.log()? - x)?)?, &(t.detach() * x)?.neg()?)
        }
        Pointwise::KlDivergenceOfLogs => t.exp()? * (t - x)?,
        Pointwise::PoissonOfLogRate => x.exp()? - (t * x)?,
        Pointwise::Poisson { eps } => x - (t * (x + eps)?.log()?)?,
        Pointwise::SoftMargin => softplus(&(t * x)?.neg()?),
    };
    Ok(loss?)
}
