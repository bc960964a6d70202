//! Reductions as candle operations whose gradients are right, for devices without kernels of ours.

use super::Kind;
use candle_core::{DType, Result, Tensor};
use cortical_kernels::reduction::End;

/// `x` as `[outer, n, inner]`.
fn three(x: &Tensor, dims: [usize; 3]) -> Result<Tensor> {
    x.contiguous()?.reshape((dims[0], dims[1], dims[2]))
}

/// The reduction of the middle axis, `[outer, inner]`.
pub(super) fn reduce(kind: Kind, dims: [usize; 3], x: &Tensor) -> Result<Tensor> {
    let [outer, n, inner] = dims;
    if outer * n * inner == 0 {
        // Nothing along an axis that has to be added up, as no extreme gets here.
        let value = match kind {
            Kind::Mean | Kind::Variance(_) => f64::NAN,
            Kind::LogSumExp => f64::NEG_INFINITY,
            Kind::Norm(p) if p < 0.0 => f64::INFINITY,
            _ => 0.0,
        };
        return Tensor::zeros((outer, inner), x.dtype(), x.device())?.affine(1.0, value);
    }
    let x = three(x, dims)?;
    match kind {
        Kind::Sum => x.sum(1),
        Kind::Mean => x.sum(1)? / n as f64,
        Kind::Extreme(End::Furthest) => extreme(&absolute(&x)?, End::Most),
        Kind::Extreme(End::Nearest) => extreme(&absolute(&x)?, End::Least),
        Kind::Extreme(end) => extreme(&x, end),
        Kind::Variance(correction) => {
            let deviation = x.broadcast_sub(&(x.sum_keepdim(1)? / n as f64)?)?;
            deviation.sqr()?.sum(1)? / n.saturating_sub(correction) as f64
        }
        Kind::Norm(p) => norm(&x, p),
        Kind::LogSumExp => {
            // No gradient flows through the maximum: it only moves the range of the exponents.
            let most = x.detach().max_keepdim(1)?;
            let infinite = most.abs()?.eq(f64::INFINITY)?;
            let most = infinite.where_cond(&most.zeros_like()?, &most)?;
            let sum = x.broadcast_sub(&most)?.exp()?.sum(1)?;
            sum.log()? + most.squeeze(1)?
        }
    }
}

/// The places of the extremes of the middle axis, `[outer, inner]`.
pub(super) fn places(end: End, dims: [usize; 3], x: &Tensor) -> Result<Tensor> {
    let [outer, n, inner] = dims;
    if outer * n * inner == 0 {
        return Tensor::zeros((outer, inner), DType::U32, x.device());
    }
    first(&three(&x.detach(), dims)?, end)
}

/// Where along the middle axis of `x` the first extreme stands: candle's own search does not say which of equal ones it
/// takes.
fn first(x: &Tensor, end: End) -> Result<Tensor> {
    let best = match end {
        End::Most | End::Furthest => x.max_keepdim(1)?,
        End::Least | End::Nearest => x.min_keepdim(1)?,
    };
    // `NaN` differs from itself and is every extreme.
    let none = x.ne(x)?.to_dtype(DType::U32)?;
    let any_none = none.max_keepdim(1)?.broadcast_as(x.shape())?;
    let chosen = any_none.where_cond(&none, &x.broadcast_eq(&best)?.to_dtype(DType::U32)?)?;
    let n = x.dim(1)?;
    let order = Tensor::arange(0_u32, n as u32, x.device())?.reshape((1, n, 1))?;
    let order = order.broadcast_as(x.shape())?;
    let last = Tensor::full(n as u32 - 1, x.shape(), x.device())?;
    chosen.where_cond(&order, &last)?.min(1)
}

fn extreme(x: &Tensor, end: End) -> Result<Tensor> {
    let places = first(&x.detach(), end)?.unsqueeze(1)?.contiguous()?;
    x.gather(&places, 1)?.squeeze(1)
}

/// |x| with derivative 0 at 0, which candle's `abs` has not.
fn absolute(x: &Tensor) -> Result<Tensor> {
    x * x.sign()?.detach()
}

/// (Σ |x|ᵖ)^(1/p), where nothing infinite arises from a derivative at 0.
fn norm(x: &Tensor, p: f64) -> Result<Tensor> {
    if p == 0.0 {
        return x.detach().ne(0.0)?.to_dtype(x.dtype())?.sum(1);
    }
    if p == 1.0 {
        return absolute(x)?.sum(1);
    }
    let some = x.ne(0.0)?;
    // A 1 stands in for 0, so that its derivative is finite, and is taken away again.
    let safe = some.where_cond(&absolute(x)?, &x.ones_like()?)?;
    let power = if p == 2.0 { safe.sqr()? } else { safe.powf(p)? };
    let at_zero = if p < 0.0 { f64::INFINITY } else { 0.0 };
    let zeros = power.zeros_like()?.affine(1.0, at_zero)?;
    let sum = some.where_cond(&power, &zeros)?.sum(1)?;
    let some = sum.ne(0.0)?;
    let safe = some.where_cond(&sum, &sum.ones_like()?)?;
    let root = if p == 2.0 {
        safe.sqrt()?
    } else {
        safe.powf(1.0 / p)?
    };
    some.where_cond(&root, &sum.zeros_like()?)
}
