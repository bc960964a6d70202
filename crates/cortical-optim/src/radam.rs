//! RAdam: Adam that rectifies the variance of its first steps.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::radam as kernel;
use serde::{Deserialize, Serialize};

/// RAdam: Adam that takes plain momentum steps until its average of squares has seen enough, and then rectifies its variance.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// m̂ = m / (1 − β₁ᵗ)
/// ρ∞ = 2 / (1 − β₂) − 1,  ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
/// ρ > 5:  r = √( (ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ) ),  p ← p − lr · r · m̂ √(1 − β₂ᵗ) / (√v + ε)
/// else:   p ← p − lr · m̂
/// ```
///
/// With `decoupled_weight_decay` the parameter is shrunk beforehand instead, `p ← p − lr λ p`. States: `exp_avg` (m), `exp_avg_sq` (v).
///
/// # Source
/// Liu et al., "On the variance of the adaptive learning rate and beyond" (2020), algorithm 2; the threshold of 5 and the place of ε
/// are PyTorch's.
pub type RAdam = Engine<RAdamConfig>;

/// Hyperparameters of [`RAdam`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RAdamConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// Whether weight decay acts on the parameter and not on the gradient.
    pub decoupled_weight_decay: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for RAdamConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl RAdamConfig {
    fn radam(&self) -> kernel::RAdam {
        kernel::RAdam {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decoupled: self.decoupled_weight_decay,
            maximize: self.maximize,
        }
    }
}

impl Algorithm for RAdamConfig {
    type Kernel = kernel::RAdam;
    const NAME: &'static str = "RAdam";

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
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::RAdam {
        self.radam()
    }

    fn compose(&self, step: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let (l2, shrink) = if self.decoupled_weight_decay {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        let g = tensors.gradient(self.maximize, l2)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        tensors.decay(1, beta2, &g.sqr()?, 1.0 - beta2)?;
        let param = tensors.param.affine(1.0 - shrink, 0.0)?;
        let step_size = self.lr / step.bias_correction(beta1);
        match self.radam().rectification(step.t) {
            Some(r) => {
                let denominator = tensors.state[1].sqrt()?.affine(1.0, self.eps)?;
                let direction = (&tensors.state[0] / denominator)?;
                let step_size = step_size * r * step.bias_correction(beta2).sqrt();
                descend(&param, step_size, &direction)
            }
            None => descend(&param, step_size, &tensors.state[0]),
        }
    }
}
