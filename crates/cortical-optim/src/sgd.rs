//! Stochastic gradient descent.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::sgd as kernel;
use serde::{Deserialize, Serialize};

/// Stochastic gradient descent, with momentum, dampening and Nesterov's look ahead.
///
/// ```text
/// g ← g + λ p
/// b ← μ b + (1 − τ) g        (b ← g at the first step)
/// p ← p − lr · b             (p ← p − lr (g + μ b) with Nesterov's momentum, p ← p − lr g without any)
/// ```
///
/// States: `momentum_buffer` (b) if the momentum is not zero.
///
/// # Source
/// Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Sutskever et al., "On the importance of initialization
/// and momentum in deep learning" (2013), section 2.
pub type Sgd = Engine<SgdConfig>;

/// Hyperparameters of [`Sgd`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// μ, the share of the last direction that is kept, 0.
    pub momentum: f64,
    /// τ, the share of the gradient that does not enter the momentum, 0.
    pub dampening: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum; needs a momentum and no dampening.
    pub nesterov: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

impl Algorithm for SgdConfig {
    type Kernel = kernel::Sgd;
    const NAME: &'static str = "SGD";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn validate(&self) -> Result<()> {
        let (name, dampening) = (Self::NAME, self.dampening);
        not_negative(
            name,
            &[
                ("lr", self.lr),
                ("momentum", self.momentum),
                ("weight_decay", self.weight_decay),
            ],
        )?;
        check(name, "dampening", "a finite number", true, dampening)?;
        let expected = "above 0 with Nesterov's momentum";
        let holds = !self.nesterov || self.momentum > 0.0;
        check(name, "momentum", expected, holds, self.momentum)?;
        let expected = "0 with Nesterov's momentum";
        let holds = !self.nesterov || dampening == 0.0;
        check(name, "dampening", expected, holds, dampening)
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        if self.momentum == 0.0 {
            Vec::new()
        } else {
            vec!["momentum_buffer"]
        }
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Sgd {
        kernel::Sgd {
            lr: self.lr,
            momentum: self.momentum,
            dampening: self.dampening,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov,
            maximize: self.maximize,
        }
    }

    fn compose(&self, step: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        if self.momentum == 0.0 {
            return descend(tensors.param, self.lr, &g);
        }
        let share = if step.t == 1 {
            1.0
        } else {
            1.0 - self.dampening
        };
        tensors.decay(0, self.momentum, &g, share)?;
        let b = &tensors.state[0];
        if self.nesterov {
            let direction = (g + b.affine(self.momentum, 0.0)?)?;
            descend(tensors.param, self.lr, &direction)
        } else {
            descend(tensors.param, self.lr, b)
        }
    }
}
