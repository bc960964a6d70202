//! Losses: how wrong a prediction is.
//!
//! Those between a number and its target ([`pointwise`]) run in kernels; distances and margins ([`margin`]) are a few
//! candle operations with right gradients on every device.

mod ctc;
mod elements;
mod margin;
mod nll;
mod pointwise;
#[cfg(test)]
mod tests;

pub use ctc::{Ctc, ctc_loss};
pub use margin::{
    TripletMargin, TripletMarginWithDistance, cosine_embedding_loss, hinge_embedding_loss,
    margin_ranking_loss, multi_label_margin_loss, multi_margin_loss, triplet_margin_loss,
    triplet_margin_with_distance_loss,
};
pub use nll::{Nll, nll_loss};
pub use pointwise::{
    BceWithLogits, GaussianNll, KlDiv, PoissonNll, binary_cross_entropy,
    binary_cross_entropy_with_logits, gaussian_nll_loss, huber_loss, kl_div, l1_loss, mse_loss,
    multi_label_soft_margin_loss, poisson_nll_loss, smooth_l1_loss, soft_margin_loss,
};

use crate::ops::Reduction;
use crate::ops::prepare::{check_alike, check_float, is_half, wrong_shape};
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// What becomes of a loss for each element.
fn reduce(loss: &Tensor, reduction: Reduction) -> Result<Tensor> {
    Ok(match reduction {
        Reduction::None => loss.clone(),
        Reduction::Sum => loss.sum_all()?,
        Reduction::Mean => (loss.sum_all()? / loss.elem_count() as f64)?,
    })
}

/// Checks that `other` is a tensor like `x`: shape, dtype and device.
fn check_same(op: &'static str, x: &Tensor, argument: &'static str, other: &Tensor) -> Result<()> {
    check_float(op, "x", x)?;
    check_alike(op, x, argument, other)?;
    if other.dims() != x.dims() {
        return Err(wrong_shape(
            op,
            argument,
            format!("{:?}, that of x", x.dims()),
            other,
        ));
    }
    Ok(())
}

/// A weight spread over the elements of `x`, of which it has a part of the dimensions.
fn spread(op: &'static str, argument: &'static str, weight: &Tensor, x: &Tensor) -> Result<Tensor> {
    check_alike(op, x, argument, weight)?;
    weight.broadcast_as(x.shape()).map_err(|_| {
        let expected = format!("one that broadcasts to {:?}", x.dims());
        wrong_shape(op, argument, expected, weight)
    })
}

/// Refuses an option that must be a finite number of at least `low`.
fn check_at_least(op: &'static str, option: &'static str, low: f64, got: f64) -> Result<()> {
    if got.is_finite() && got >= low {
        return Ok(());
    }
    Err(Error::Option {
        op,
        option,
        expected: format!("a finite number of at least {low}"),
        got: got.to_string(),
    })
}

/// Runs a loss of several tensors in `f32` where they are of half precision, and rounds the result once.
fn widened<const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let dtype = tensors[0].dtype();
    if !is_half(dtype) {
        return f(tensors);
    }
    let wide = tensors
        .iter()
        .map(|t| t.to_dtype(DType::F32))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let refs = std::array::from_fn(|i| &wide[i]);
    Ok(f(refs)?.to_dtype(dtype)?)
}
