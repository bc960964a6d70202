//! Lion: steps of one length along the sign of a running average of gradients.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::lion as kernel;
use serde::{Deserialize, Serialize};

/// Lion: every element moves by the learning rate, in the direction that a running average of gradients points to.
///
/// ```text
/// p ← p − lr λ p
/// p ← p − lr · sign(β₁ m + (1 − β₁) g)
/// m ← β₂ m + (1 − β₂) g
/// ```
///
/// Its steps are larger than Adam's, so it wants a learning rate three to ten times smaller and a weight decay as much
/// larger. States: `exp_avg` (m).
///
/// # Source
/// Chen et al., "Symbolic discovery of optimization algorithms" (2023), program 1.
pub type Lion = Engine<LionConfig>;

/// Hyperparameters of [`Lion`]; the defaults are its authors'.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LionConfig {
    /// Learning rate, 1e-4.
    pub lr: f64,
    /// β₁, share of the average in a step's direction, and β₂, its decay, (0.9, 0.99).
    pub betas: (f64, f64),
    /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: (0.9, 0.99),
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Algorithm for LionConfig {
    type Kernel = kernel::Lion;
    const NAME: &'static str = "Lion";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn validate(&self) -> Result<()> {
        check_betas(Self::NAME, self.betas)?;
        let options = [("lr", self.lr), ("weight_decay", self.weight_decay)];
        not_negative(Self::NAME, &options)
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Lion {
        kernel::Lion {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            weight_decay: self.weight_decay,
            maximize: self.maximize,
        }
    }

    fn compose(&self, _: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let g = tensors.gradient(self.maximize, 0.0)?;
        let direction = (tensors.state[0].affine(beta1, 0.0)? + g.affine(1.0 - beta1, 0.0)?)?;
        tensors.decay(0, beta2, &g, 1.0 - beta2)?;
        let kept = tensors
            .param
            .affine(1.0 - self.lr * self.weight_decay, 0.0)?;
        descend(&kept, self.lr, &direction.sign()?)
    }
}
