//! AdamW: Adam whose weight decay acts on the parameter itself.

use crate::adam;
use crate::algorithm::{Algorithm, Composed, Rates, Step};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::adam as kernel;
use serde::{Deserialize, Serialize};

/// AdamW: Adam with decoupled weight decay, which shrinks every weight at the same rate however large its gradients are.
///
/// ```text
/// p ← p − lr λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `amsgrad` the largest `v` so far takes the place of `v` in the last line. States: `exp_avg` (m), `exp_avg_sq` (v),
/// `max_exp_avg_sq`.
///
/// # Source
/// Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
///
/// # Example
/// Biases and norms without weight decay:
/// ```
/// # use candle_core::Device;
/// # use cortical_neuron::{Init, Params};
/// # use cortical_tensor::Seed;
/// use cortical_optim::{AdamW, AdamWConfig, Group};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let params = Params::new(&Device::Cpu, Seed(1));
/// # params.at("fc").param("weight", &[2, 3], Init::ZEROS)?;
/// # params.at("fc").param("bias", &[2], Init::ZEROS)?;
/// let config = AdamWConfig { lr: 3e-4, weight_decay: 0.1, ..Default::default() };
/// let optimizer = AdamW::with_groups(&params, config, vec![Group::without_decay()])?;
/// # let _ = optimizer;
/// # Ok(())
/// # }
/// ```
pub type AdamW = Engine<AdamWConfig>;

/// Hyperparameters of [`AdamW`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.01.
    pub weight_decay: f64,
    /// Whether the denominator uses the largest `v` so far.
    pub amsgrad: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 1e-2,
            amsgrad: false,
            maximize: false,
        }
    }
}

impl AdamWConfig {
    fn adam(&self) -> kernel::Adam {
        kernel::Adam {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decoupled: true,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
        }
    }
}

impl Algorithm for AdamWConfig {
    type Kernel = kernel::Adam;
    const NAME: &'static str = "AdamW";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn validate(&self) -> Result<()> {
        adam::validate(Self::NAME, &self.adam())
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        adam::state_names(self.amsgrad)
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Adam {
        self.adam()
    }

    fn compose(&self, step: Step, tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        adam::compose(&self.adam(), step, tensors)
    }
}
