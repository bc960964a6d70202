//! Losses: one number that says how wrong a network is.

use crate::Result;
use candle_core::Tensor;
use cortical_tensor::ops::{self, CrossEntropy};

/// The mean cross-entropy of `logits` against `labels`; [`cortical_tensor::ops::cross_entropy`] has the equation and every option.
///
/// # Shapes
/// - `logits`: `[n, classes]` or `[n, classes, …]`
/// - `labels`: `[n]` or `[n, …]` of `u32` or `i64`
/// - result: scalar
///
/// # Errors
/// When shapes or dtypes do not fit, or a label is no class.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(ops::cross_entropy(
        logits,
        labels,
        &CrossEntropy::default(),
    )?)
}
