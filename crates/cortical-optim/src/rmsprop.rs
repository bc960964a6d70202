//! RMSprop: the gradient divided by the root of the running average of its square.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::rmsprop as kernel;
use serde::{Deserialize, Serialize};

/// RMSprop, plain or centered, with or without momentum.
///
/// ```text
/// g ← g + λ p
/// v ← α v + (1 − α) g²
/// a ← α a + (1 − α) g        (centered)
/// d = √v + ε                 (√(v − a²) + ε if centered)
/// b ← μ b + g / d            (with momentum)
/// p ← p − lr · b             (p ← p − lr · g / d without momentum)
/// ```
///
/// States: `square_avg` (v), `momentum_buffer` (b) with momentum, `grad_avg` (a) if centered.
///
/// # Source
/// Tieleman and Hinton, "Lecture 6.5: RMSprop", COURSERA: Neural networks for machine learning (2012); the centered variant is
/// Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 45.
pub type RmsProp = Engine<RmsPropConfig>;

/// Hyperparameters of [`RmsProp`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsPropConfig {
    /// Learning rate, 1e-2.
    pub lr: f64,
    /// α, decay of the averages, 0.99.
    pub alpha: f64,
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// μ, the share of the last direction that is kept, 0.
    pub momentum: f64,
    /// Whether the average of gradients is taken out of that of squares.
    pub centered: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
    }
}

impl Algorithm for RmsPropConfig {
    type Kernel = kernel::RmsProp;
    const NAME: &'static str = "RMSprop";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn validate(&self) -> Result<()> {
        not_negative(
            Self::NAME,
            &[
                ("lr", self.lr),
                ("eps", self.eps),
                ("weight_decay", self.weight_decay),
                ("momentum", self.momentum),
            ],
        )?;
        // Above 1 the average of squares would become negative, and the step no number.
        let holds = (0.0..=1.0).contains(&self.alpha);
        check(Self::NAME, "alpha", "from 0 to 1", holds, self.alpha)
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        let mut names = vec!["square_avg"];
        if self.momentum > 0.0 {
            names.push("momentum_buffer");
        }
        if self.centered {
            names.push("grad_avg");
        }
        names
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::RmsProp {
        kernel::RmsProp {
            lr: self.lr,
            alpha: self.alpha,
            eps: self.eps,
            weight_decay: self.weight_decay,
            momentum: self.momentum,
            centered: self.centered,
            maximize: self.maximize,
        }
    }

    fn compose(&self, _: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, self.alpha, &g.sqr()?, 1.0 - self.alpha)?;
        let mut variance = tensors.state[0].clone();
        if self.centered {
            let last = tensors.state.len() - 1;
            tensors.decay(last, self.alpha, &g, 1.0 - self.alpha)?;
            variance = (variance - tensors.state[last].sqr()?)?;
        }
        let direction = (g / variance.sqrt()?.affine(1.0, self.eps)?)?;
        if self.momentum > 0.0 {
            tensors.decay(1, self.momentum, &direction, 1.0)?;
            return descend(tensors.param, self.lr, &tensors.state[1]);
        }
        descend(tensors.param, self.lr, &direction)
    }
}
