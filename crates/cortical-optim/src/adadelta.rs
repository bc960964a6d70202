//! Adadelta: steps in the units of the parameter.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::adadelta as kernel;
use serde::{Deserialize, Serialize};

/// Adadelta: steps in the units of the parameter, from running averages of squared gradients and of squared steps.
///
/// ```text
/// g ← g + λ p
/// v ← ρ v + (1 − ρ) g²
/// δ = √(u + ε) / √(v + ε) · g
/// u ← ρ u + (1 − ρ) δ²
/// p ← p − lr · δ
/// ```
///
/// States: `square_avg` (v), `acc_delta` (u).
///
/// # Source
/// Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.
pub type Adadelta = Engine<AdadeltaConfig>;

/// Hyperparameters of [`Adadelta`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdadeltaConfig {
    /// Learning rate, a factor on the step, 1.
    pub lr: f64,
    /// ρ, decay of both averages, 0.9.
    pub rho: f64,
    /// ε, what keeps both roots from zero, 1e-6.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for AdadeltaConfig {
    fn default() -> Self {
        Self {
            lr: 1.0,
            rho: 0.9,
            eps: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Algorithm for AdadeltaConfig {
    type Kernel = kernel::Adadelta;
    const NAME: &'static str = "Adadelta";

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
                ("eps", self.eps),
                ("weight_decay", self.weight_decay),
            ],
        )?;
        let holds = (0.0..=1.0).contains(&self.rho);
        check(Self::NAME, "rho", "from 0 to 1", holds, self.rho)
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["square_avg", "acc_delta"]
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Adadelta {
        kernel::Adadelta {
            lr: self.lr,
            rho: self.rho,
            eps: self.eps,
            weight_decay: self.weight_decay,
            maximize: self.maximize,
        }
    }

    fn compose(&self, _: Step, mut tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, self.rho, &g.sqr()?, 1.0 - self.rho)?;
        let root = |x: &Tensor| x.affine(1.0, self.eps)?.sqrt();
        let delta = ((root(&tensors.state[1])? / root(&tensors.state[0])?)? * g)?;
        tensors.decay(1, self.rho, &delta.sqr()?, 1.0 - self.rho)?;
        descend(tensors.param, self.lr, &delta)
    }
}
