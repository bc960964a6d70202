//! Adagrad: the gradient divided by the root of the sum of all its squares so far.

use crate::algorithm::{Algorithm, Composed, Rates, Step, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::adagrad as kernel;
use serde::{Deserialize, Serialize};

/// Adagrad: large steps for what rarely has a gradient, ever smaller ones for what often has.
///
/// ```text
/// g ← g + λ p
/// s ← s + g²
/// p ← p − lr / (1 + (t − 1) η) · g / (√s + ε)
/// ```
///
/// States: `sum` (s).
///
/// # Source
/// Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011), with the
/// diagonal matrix of section 1.3.
pub type Adagrad = Engine<AdagradConfig>;

/// Hyperparameters of [`Adagrad`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdagradConfig {
    /// Learning rate, 1e-2.
    pub lr: f64,
    /// η, how fast the learning rate decays, 0.
    pub lr_decay: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// What the sums begin with, 0.
    pub initial_accumulator_value: f64,
    /// ε, what keeps the denominator from zero, 1e-10.
    pub eps: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for AdagradConfig {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            maximize: false,
        }
    }
}

impl Algorithm for AdagradConfig {
    type Kernel = kernel::Adagrad;
    const NAME: &'static str = "Adagrad";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: None,
        }
    }

    fn validate(&self) -> Result<()> {
        not_negative(
            Self::NAME,
            &[
                ("lr", self.lr),
                ("lr_decay", self.lr_decay),
                ("weight_decay", self.weight_decay),
                ("initial_accumulator_value", self.initial_accumulator_value),
                ("eps", self.eps),
            ],
        )
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["sum"]
    }

    fn initial_state(&self) -> f64 {
        self.initial_accumulator_value
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Adagrad {
        kernel::Adagrad {
            lr: self.lr,
            lr_decay: self.lr_decay,
            weight_decay: self.weight_decay,
            eps: self.eps,
            maximize: self.maximize,
        }
    }

    fn compose(&self, step: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, 1.0, &g.sqr()?, 1.0)?;
        let direction = (g / tensors.state[0].sqrt()?.affine(1.0, self.eps)?)?;
        let lr = self.lr / (1.0 + (step.t as f64 - 1.0) * self.lr_decay);
        descend(tensors.param, lr, &direction)
    }
}
