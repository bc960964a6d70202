//! Adam: steps scaled by running averages of the gradient and of its square.

use crate::algorithm::{Algorithm, Composed, Rates, Step, check_betas, descend, not_negative};
use crate::{Engine, Result};
use candle_core::Tensor;
use cortical_kernels::optimizer::adam as kernel;
use serde::{Deserialize, Serialize};

/// Adam, with weight decay as an L2 penalty in the gradient.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `amsgrad` the largest `v` so far takes the place of `v` in the last line. States: `exp_avg` (m), `exp_avg_sq` (v),
/// `max_exp_avg_sq`. For weight decay that is not scaled away use [`AdamW`](crate::AdamW).
///
/// # Source
/// Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; Reddi et al., "On the convergence of Adam and
/// beyond" (2018), algorithm 2.
pub type Adam = Engine<AdamConfig>;

/// Hyperparameters of [`Adam`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, what keeps the denominator from zero, 1e-8.
    pub eps: f64,
    /// λ, added to the gradient times the parameter, 0.
    pub weight_decay: f64,
    /// Whether weight decay acts on the parameter and not on the gradient, as in [`AdamW`](crate::AdamW).
    pub decoupled_weight_decay: bool,
    /// Whether the denominator uses the largest `v` so far.
    pub amsgrad: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            amsgrad: false,
            maximize: false,
        }
    }
}

impl AdamConfig {
    fn adam(&self) -> kernel::Adam {
        kernel::Adam {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decoupled: self.decoupled_weight_decay,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
        }
    }
}

impl Algorithm for AdamConfig {
    type Kernel = kernel::Adam;
    const NAME: &'static str = "Adam";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn validate(&self) -> Result<()> {
        validate(Self::NAME, &self.adam())
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        state_names(self.amsgrad)
    }

    fn kernel(&self, _: Step, _: &[usize]) -> kernel::Adam {
        self.adam()
    }

    fn compose(&self, step: Step, tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        compose(&self.adam(), step, tensors)
    }
}

/// Adam and AdamW differ in one flag; what follows is for both.
pub(crate) fn validate(name: &'static str, adam: &kernel::Adam) -> Result<()> {
    check_betas(name, (adam.beta1, adam.beta2))?;
    not_negative(
        name,
        &[
            ("lr", adam.lr),
            ("eps", adam.eps),
            ("weight_decay", adam.weight_decay),
        ],
    )
}

pub(crate) fn state_names(amsgrad: bool) -> Vec<&'static str> {
    let mut names = vec!["exp_avg", "exp_avg_sq"];
    if amsgrad {
        names.push("max_exp_avg_sq");
    }
    names
}

pub(crate) fn compose(
    adam: &kernel::Adam,
    step: Step,
    mut tensors: Composed<'_>,
) -> candle_core::Result<Tensor> {
    let (l2, shrink) = if adam.decoupled {
        (0.0, adam.lr * adam.weight_decay)
    } else {
        (adam.weight_decay, 0.0)
    };
    let g = tensors.gradient(adam.maximize, l2)?;
    tensors.decay(0, adam.beta1, &g, 1.0 - adam.beta1)?;
    tensors.decay(1, adam.beta2, &g.sqr()?, 1.0 - adam.beta2)?;
    let mut v = tensors.state[1].clone();
    if adam.amsgrad {
        v = tensors.state[2].maximum(&v)?;
        tensors.state[2] = v.clone();
    }
    let root = 1.0 / step.bias_correction(adam.beta2).sqrt();
    let direction = (&tensors.state[0] / v.sqrt()?.affine(root, adam.eps)?)?;
    let step_size = adam.lr / step.bias_correction(adam.beta1);
    descend(
        &tensors.param.affine(1.0 - shrink, 0.0)?,
        step_size,
        &direction,
    )
}
