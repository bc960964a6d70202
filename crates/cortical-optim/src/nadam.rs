//! NAdam: Adam whose momentum looks one step ahead.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::nadam as kernel;
use serde::{Deserialize, Serialize};

/// NAdam: Adam whose momentum looks one step ahead, after Nesterov.
///
/// ```text
/// μₜ = β₁ (1 − ½ · 0.96^(t ψ)),  Πₜ = μ₁ μ₂ … μₜ
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · ((1 − μₜ) g / (1 − Πₜ) + μₜ₊₁ m / (1 − Πₜ₊₁)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `decoupled_weight_decay` the parameter is shrunk beforehand instead, `p ← p − lr λ p`. States: `exp_avg` (m), `exp_avg_sq` (v) and the
/// number `mu_product` (Πₜ).
///
/// # Source
/// Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2 with the schedule of its section on momentum decay.
pub type NAdam = Engine<NAdamConfig>;

/// Hyperparameters of [`NAdam`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NAdamConfig {
    /// Learning rate, 2e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// ψ, how fast the momentum reaches β₁, 4e-3.
    pub momentum_decay: f64,
    /// Whether weight decay acts on the parameter and not on the gradient.
    pub decoupled_weight_decay: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for NAdamConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl NAdamConfig {
    fn nadam(&self, momentum_product: f64) -> kernel::NAdam {
        kernel::NAdam {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            momentum_decay: self.momentum_decay,
            decoupled: self.decoupled_weight_decay,
            maximize: self.maximize,
            momentum_product,
        }
    }
}

impl Algorithm for NAdamConfig {
    type Kernel = kernel::NAdam;
    const NAME: &'static str = "NAdam";

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
                ("momentum_decay", self.momentum_decay),
            ],
        )
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn scheduled_momentum(&self, t: u64) -> Option<f64> {
        Some(self.nadam(1.0).momentum(t))
    }

    fn kernel(&self, step: Step, _: &[usize]) -> kernel::NAdam {
        self.nadam(step.momentum_product)
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
        let nadam = self.nadam(step.momentum_product);
        let (now, next) = (
            nadam.momentum(step.t),
            nadam.momentum(step.t.saturating_add(1)),
        );
        let product = step.momentum_product * now;
        let gradient_part = g.affine((1.0 - now) / (1.0 - product), 0.0)?;
        let average_part = tensors.state[0].affine(next / (1.0 - product * next), 0.0)?;
        let root = 1.0 / step.bias_correction(beta2).sqrt();
        let denominator = tensors.state[1].sqrt()?.affine(root, self.eps)?;
        let direction = ((gradient_part + average_part)? / denominator)?;
        descend(
            &tensors.param.affine(1.0 - shrink, 0.0)?,
            self.lr,
            &direction,
        )
    }
}
