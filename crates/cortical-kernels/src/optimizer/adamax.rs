//! Adamax: Adam with the decaying maximum of gradients in place of the root of their mean square.
//!
//! ```text
//! g ← g + λ p
//! m ← β₁ m + (1 − β₁) g
//! u ← max(β₂ u, |g| + ε)
//! p ← p − lr / (1 − β₁ᵗ) · m / u
//! ```
//!
//! States: `m`, `u`.
//!
//! # Source
//! Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 2; the ε in the maximum is PyTorch's.

use super::{At, Rule, Update, bias_correction, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Learning rate.
    pub lr: f64,
    /// β₁, decay of the average of gradients.
    pub beta1: f64,
    /// β₂, decay of the maximum.
    pub beta2: f64,
    /// ε, what keeps the denominator from zero.
    pub eps: f64,
    /// λ, added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    step_size: T,
    scale: T,
    l2: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    eps: T,
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, u]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let u = (g.abs() + self.eps).maximum(self.beta2 * u);
        (p - self.step_size * m / u, [m, u])
    }
}

impl Update for Adamax {
    fn states(&self) -> usize {
        2
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let rule = Coefficients {
            step_size: T::from_f64(self.lr / bias_correction(self.beta1, at.t)),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            beta1: T::from_f64(self.beta1),
            one_minus_beta1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            eps: T::from_f64(self.eps),
        };
        run(rule, param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        each(param, grad, state, |p, g, [m, u]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *m = c(self.beta1) * *m + c(1.0 - self.beta1) * g;
            let (old, new) = (c(self.beta2) * *u, g.abs() + c(self.eps));
            *u = if old > new { old } else { new };
            let m_hat = *m / c(bias_correction(self.beta1, at.t));
            *p -= c(self.lr) * m_hat / *u;
        });
    }
}
