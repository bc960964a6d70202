//! Adamax: Adam with the decaying maximum of gradients.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::adamax as kernel;
use serde::{Deserialize, Serialize};

/// Adamax: Adam with the decaying maximum of gradients in place of the root of their mean square.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// u ← max(β₂ u, |g| + ε)
/// p ← p − lr / (1 − β₁ᵗ) · m / u
/// ```
///
/// States: `exp_avg` (m), `exp_inf` (u).
///
/// # Source
/// Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 2; the ε in the maximum is PyTorch's.
pub type Adamax = Engine<AdamaxConfig>;

/// Hyperparameters of [`Adamax`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamaxConfig {
    /// Learning rate, 2e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the average of gradients and of their maximum, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for AdamaxConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Algorithm for AdamaxConfig {
    type Kernel = kernel::Adamax;
    const NAME: &'static str = "Adamax";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn validate(&self) -> Result<()> {
        check_betas(Self::NAME, self.betas)?;
        not_negative(
            Self::NAME,
            &[
                ("lr", self.lr),
                ("eps", self.eps),
                ("weight_decay", self.weight_decay),
            ],
        )
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg", "exp_inf"]
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Adamax {
        kernel::Adamax {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            maximize: self.maximize,
        }
    }

    fn compose(&self, step: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        let new = g.abs()?.affine(1.0, self.eps)?;
        tensors.state[1] = tensors.state[1].affine(beta2, 0.0)?.maximum(&new)?;
        let direction = (&tensors.state[0] / &tensors.state[1])?;
        let step_size = self.lr / step.bias_correction(beta1);
        descend(tensors.param, step_size, &direction)
    }
}
