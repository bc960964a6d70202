//! Losses: one number that says how wrong a network is.
//!
//! Each is the mean of the operation of the same name in [`cortical_tensor::ops`], which has the equation and every option.

use crate::Result;
use candle_core::Tensor;
use cortical_tensor::ops::{self, BceWithLogits, CrossEntropy, Nll, Reduction};

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

/// The mean negative log-likelihood of `labels` under log-probabilities; [`cortical_tensor::ops::nll_loss`].
///
/// # Shapes
/// As [`cross_entropy`].
///
/// # Errors
/// As [`cross_entropy`].
pub fn nll_loss(log_probabilities: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(ops::nll_loss(log_probabilities, labels, &Nll::default())?)
}

/// The mean squared difference; [`cortical_tensor::ops::mse_loss`].
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - result: scalar
///
/// # Errors
/// When shapes or dtypes differ.
pub fn mse_loss(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(ops::mse_loss(x, target, Reduction::Mean)?)
}

/// The mean absolute difference; [`cortical_tensor::ops::l1_loss`].
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`].
pub fn l1_loss(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(ops::l1_loss(x, target, Reduction::Mean)?)
}

/// The mean of squares near the target and of distances further than `delta`; [`cortical_tensor::ops::huber_loss`].
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`], and unless `delta` is positive.
pub fn huber_loss(x: &Tensor, target: &Tensor, delta: f64) -> Result<Tensor> {
    Ok(ops::huber_loss(x, target, delta, Reduction::Mean)?)
}

/// The mean cross-entropy of yes-or-no answers, given as logits; [`cortical_tensor::ops::binary_cross_entropy_with_logits`].
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`].
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(ops::binary_cross_entropy_with_logits(
        logits,
        target,
        &BceWithLogits::default(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn each_loss_is_a_mean() {
        let x = Tensor::new(&[[0.0_f64, 2.0], [1.0, -1.0]], &Device::Cpu).unwrap();
        let t = Tensor::new(&[[1.0_f64, 0.0], [1.0, 0.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[1_u32, 0], &Device::Cpu).unwrap();
        let check = |loss: Result<Tensor>, want: f64| {
            let got = loss.unwrap().to_scalar::<f64>().unwrap();
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        };
        check(mse_loss(&x, &t), 6.0 / 4.0);
        check(l1_loss(&x, &t), 4.0 / 4.0);
        check(huber_loss(&x, &t, 1.0), (0.5 + 1.5 + 0.5) / 4.0);
        check(nll_loss(&x, &labels), -3.0 / 2.0);
        let softplus = |x: f64| x.exp().ln_1p();
        let row = softplus(-2.0);
        check(cross_entropy(&x, &labels), row);
        let each = softplus(0.0) + softplus(2.0) + softplus(-1.0) + softplus(-1.0);
        check(binary_cross_entropy_with_logits(&x, &t), each / 4.0);
    }
}
