//! LAMB: Adam's direction, stretched for each tensor to the length of its parameter.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::lamb as kernel;
use serde::{Deserialize, Serialize};

/// LAMB: Adam's direction, stretched for each parameter to the parameter's own length, for very large batches.
///
/// ```text
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// r = (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + λ p
/// p ← p − lr · ‖p‖ / ‖r‖ · r        (the quotient is 1 where a norm is zero)
/// ```
///
/// States: `exp_avg` (m), `exp_avg_sq` (v).
///
/// # Source
/// You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020), algorithm 2 with φ(z) = z.
pub type Lamb = Engine<LambConfig>;

/// Hyperparameters of [`Lamb`]; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LambConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-6.
    pub eps: f64,
    /// λ, added to the direction times the parameter, 0.01.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for LambConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-6,
            weight_decay: 1e-2,
            maximize: false,
        }
    }
}

impl Algorithm for LambConfig {
    type Kernel = kernel::Lamb;
    const NAME: &'static str = "LAMB";

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

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Lamb {
        kernel::Lamb {
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
        let g = tensors.gradient(self.maximize, 0.0)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        tensors.decay(1, beta2, &g.sqr()?, 1.0 - beta2)?;
        let mean = tensors.state[0].affine(1.0 / step.bias_correction(beta1), 0.0)?;
        let root = 1.0 / step.bias_correction(beta2).sqrt();
        let direction = (mean / tensors.state[1].sqrt()?.affine(root, self.eps)?)?;
        let direction = (direction + tensors.param.affine(self.weight_decay, 0.0)?)?;
        let (param, along) = (length(tensors.param)?, length(&direction)?);
        let trust = if param == 0.0 || along == 0.0 {
            1.0
        } else {
            param / along
        };
        descend(tensors.param, self.lr * trust, &direction)
    }
}

/// The Euclidean norm of a tensor.
fn length(x: &Tensor) -> candle_core::Result<f64> {
    let squares = x.sqr()?.sum_all()?.to_dtype(DType::F64)?;
    Ok(squares.to_scalar::<f64>()?.sqrt())
}
