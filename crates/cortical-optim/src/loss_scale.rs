//! Loss scaling for half precision: gradients too small for `f16` are lifted into its range, and those that overflow
//! are thrown away.

use crate::{Error, Norm, Optimizer, Result, grad_norm};
use candle_core::Tensor;
use cortical_neuron::Params;
use serde::{Deserialize, Serialize};

/// Multiplies the loss before `backward` and divides the gradients before the step; the factor falls when a gradient
/// overflows, and rises after some steps without.
///
/// ```
/// # use candle_core::{DType, Device, Var};
/// # use cortical_neuron::Params;
/// # use cortical_tensor::Seed;
/// use cortical_optim::{LossScaler, Sgd, SgdConfig};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weight = Var::new(&[3.0_f32], &Device::Cpu)?;
/// let params = Params::new(&Device::Cpu, Seed(0));
/// params.adopt("weight", weight.clone())?;
/// let mut optimizer = Sgd::new(&params, SgdConfig { lr: 0.5, ..Default::default() })?;
/// let mut scaler = LossScaler::default();
/// let loss = weight.sqr()?.sum_all()?;
/// params.backward(&scaler.scale_loss(&loss)?)?;
/// assert!(scaler.step(&params, &mut optimizer)?);
/// assert_eq!(weight.to_vec1::<f32>()?, [0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// Micikevicius et al., "Mixed precision training" (2018), section 3.2; the numbers are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossScaler {
    /// The factor in force, 65536 at first.
    pub scale: f64,
    /// By what it is multiplied after steps without overflow, 2.
    pub growth_factor: f64,
    /// By what it is multiplied after an overflow, ½.
    pub backoff_factor: f64,
    /// Steps without overflow before it grows, 2000.
    pub growth_interval: u64,
    /// Steps without overflow since it last changed.
    pub good_steps: u64,
}

impl Default for LossScaler {
    fn default() -> Self {
        Self {
            scale: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            good_steps: 0,
        }
    }
}

impl LossScaler {
    /// The loss times the factor.
    ///
    /// # Errors
    /// candle's.
    pub fn scale_loss(&self, loss: &Tensor) -> Result<Tensor> {
        Ok(loss.affine(self.scale, 0.0)?)
    }

    /// Divides the gradients by the factor and takes a step, unless one of them is non-finite: then they are thrown
    /// away, the factor falls, and the answer is `false`.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step(&mut self, params: &Params, optimizer: &mut dyn Optimizer) -> Result<bool> {
        match grad_norm(params, Norm::Infinity) {
            Ok(_) => {}
            Err(Error::NotFinite { .. }) => {
                params.zero_grad();
                self.scale *= self.backoff_factor;
                self.good_steps = 0;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        optimizer.step_scaled(1.0 / self.scale)?;
        self.good_steps += 1;
        if self.good_steps >= self.growth_interval {
            self.good_steps = 0;
            self.scale *= self.growth_factor;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sgd, SgdConfig};
    use candle_core::{DType, Device, Var};
    use cortical_tensor::Seed;

    #[test]
    fn overflows_are_left_out_and_lower_the_factor() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let one = Tensor::ones(2, DType::F16, &Device::Cpu).unwrap();
        let param = params.adopt("p", Var::from_tensor(&one).unwrap()).unwrap();
        let mut optimizer = Sgd::new(&params, SgdConfig::default()).unwrap();
        let mut scaler = LossScaler {
            growth_interval: 2,
            ..LossScaler::default()
        };
        let give = |value: f64| param.slot().set(Some(one.affine(value, 0.0).unwrap()));
        give(f64::INFINITY);
        assert!(!scaler.step(&params, &mut optimizer).unwrap());
        assert_eq!((scaler.scale, optimizer.steps()), (32_768.0, 0));
        assert!(param.grad().is_none());
        for _ in 0..2 {
            give(32_768.0);
            assert!(scaler.step(&params, &mut optimizer).unwrap());
        }
        assert_eq!((scaler.scale, optimizer.steps()), (65_536.0, 2));
        // Two steps of 1e-3 along gradients of 1.
        let state = optimizer.state().unwrap();
        let master = state[1].1.to_vec1::<f32>().unwrap();
        assert!((master[0] - 0.998).abs() < 1e-6, "{master:?}");
        let text = toml::to_string(&scaler).unwrap();
        assert_eq!(toml::from_str::<LossScaler>(&text).unwrap(), scaler);
    }
}
