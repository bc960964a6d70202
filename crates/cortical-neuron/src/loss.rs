//! Losses: one number that says how wrong a network is.
//!
//! Each is the mean of the operation of the same name in [`cortical_tensor::ops`], which has the equation and every
//! option; what is not here, such as Kullback and Leibler's divergence, triplets and CTC, is there as well. A loss has
//! no parameters and costs a few operations an element.

use crate::Result;
use candle_core::Tensor;
use cortical_tensor::ops::{self, BceWithLogits, CrossEntropy, GaussianNll, Nll, Reduction};

/// The mean cross-entropy of `logits` against `labels`; [`cortical_tensor::ops::cross_entropy`] has the equation and
/// every option.
///
/// # Shapes
/// - `logits`: `[n, classes]` or `[n, classes, …]`
/// - `labels`: `[n]` or `[n, …]` of `u32` or `i64`
/// - result: scalar
///
/// # Errors
/// When shapes or dtypes do not fit, or a label is no class.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::cross_entropy;
/// # fn main() -> cortical_neuron::Result<()> {
/// let logits = Tensor::new(&[[0.0_f32, 0.0]], &Device::Cpu)?; // two classes, one as likely as the other
/// let loss = cross_entropy(&logits, &Tensor::new(&[1_u32], &Device::Cpu)?)?;
/// assert!((loss.to_scalar::<f32>()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::nll_loss;
/// # fn main() -> cortical_neuron::Result<()> {
/// let log_p = Tensor::new(&[[-0.5_f32, -1.0]], &Device::Cpu)?;
/// assert_eq!(nll_loss(&log_p, &Tensor::new(&[0_u32], &Device::Cpu)?)?.to_scalar::<f32>()?, 0.5);
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::mse_loss;
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 4.0], &Device::Cpu)?;
/// let target = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// assert_eq!(mse_loss(&x, &target)?.to_scalar::<f32>()?, 2.0); // (0² + 2²) / 2
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::l1_loss;
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 4.0], &Device::Cpu)?;
/// let target = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// assert_eq!(l1_loss(&x, &target)?.to_scalar::<f32>()?, 1.0); // (0 + 2) / 2
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::huber_loss;
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 4.0], &Device::Cpu)?;
/// let target = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// assert_eq!(huber_loss(&x, &target, 1.0)?.to_scalar::<f32>()?, 0.75); // (0 + 1 · (2 − ½)) / 2
/// # Ok(())
/// # }
/// ```
pub fn huber_loss(x: &Tensor, target: &Tensor, delta: f64) -> Result<Tensor> {
    Ok(ops::huber_loss(x, target, delta, Reduction::Mean)?)
}

/// The mean negative log-likelihood of the target under normal distributions, without its constant: the network says
/// how sure it is of each number; [`cortical_tensor::ops::gaussian_nll_loss`].
///
/// # Shapes
/// - `x`, `target`: any, the same
/// - `var`: one that broadcasts to `x`; the variances
/// - result: scalar
///
/// # Errors
/// As [`mse_loss`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::gaussian_nll_loss;
/// # fn main() -> cortical_neuron::Result<()> {
/// let (x, target) = (Tensor::new(&[1.0_f32], &Device::Cpu)?, Tensor::new(&[3.0_f32], &Device::Cpu)?);
/// let sure = gaussian_nll_loss(&x, &target, &Tensor::new(&[1.0_f32], &Device::Cpu)?)?;
/// assert_eq!(sure.to_scalar::<f32>()?, 2.0); // (ln 1 + 2² / 1) / 2
/// # Ok(())
/// # }
/// ```
pub fn gaussian_nll_loss(x: &Tensor, target: &Tensor, var: &Tensor) -> Result<Tensor> {
    let options = GaussianNll::default();
    Ok(ops::gaussian_nll_loss(x, target, var, &options)?)
}

/// The mean cross-entropy of yes-or-no answers, given as logits;
/// [`cortical_tensor::ops::binary_cross_entropy_with_logits`].
///
/// # Shapes
/// As [`mse_loss`].
///
/// # Errors
/// As [`mse_loss`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::loss::binary_cross_entropy_with_logits;
/// # fn main() -> cortical_neuron::Result<()> {
/// let (x, yes) = (Tensor::new(&[0.0_f32], &Device::Cpu)?, Tensor::new(&[1.0_f32], &Device::Cpu)?);
/// let loss = binary_cross_entropy_with_logits(&x, &yes)?;
/// assert!((loss.to_scalar::<f32>()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
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
        let var = Tensor::new(&[[1.0_f64, 2.0]], &Device::Cpu).unwrap();
        let each = [1.0 + 0.0, 4.0 / 2.0 + 2.0 * 2.0_f64.ln() + 1.0 / 2.0];
        check(
            gaussian_nll_loss(&x, &t, &var),
            each.iter().sum::<f64>() / 2.0 / 4.0,
        );
        check(nll_loss(&x, &labels), -3.0 / 2.0);
        let softplus = |x: f64| x.exp().ln_1p();
        let row = softplus(-2.0);
        check(cross_entropy(&x, &labels), row);
        let each = softplus(0.0) + softplus(2.0) + softplus(-1.0) + softplus(-1.0);
        check(binary_cross_entropy_with_logits(&x, &t), each / 4.0);
    }
}
