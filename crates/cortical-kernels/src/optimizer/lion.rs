//! Lion: steps of one length, whose direction is the sign of a running average of gradients.
//!
//! ```text
//! p ← p − lr λ p
//! p ← p − lr · sign(β₁ m + (1 − β₁) g)
//! m ← β₂ m + (1 − β₂) g
//! ```
//!
//! The sign of zero is zero. States: `m`.
//!
//! # Source
//! Chen et al., "Symbolic discovery of optimization algorithms" (2023), program 1.

use super::{At, Rule, Update, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate.
    pub lr: f64,
    /// β₁, share of the average in the direction of a step.
    pub beta1: f64,
    /// β₂, decay of the average of gradients.
    pub beta2: f64,
    /// λ, the share of the parameter that a step of learning rate 1 takes away.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    scale: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    lr: T,
}

/// −1, 0 or 1; `NaN` stays, so that it is seen.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x
    }
}

impl<T: Real> Rule<T, 1> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g;
        let direction = sign(self.beta1 * m + self.one_minus_beta1 * g);
        let m = self.beta2 * m + self.one_minus_beta2 * g;
        (self.keep * p - self.lr * direction, [m])
    }
}

impl Update for Lion {
    fn states(&self) -> usize {
        1
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let rule = Coefficients {
            scale: c(at.factor(self.maximize)),
            keep: c(1.0 - self.lr * self.weight_decay),
            beta1: c(self.beta1),
            one_minus_beta1: c(1.0 - self.beta1),
            beta2: c(self.beta2),
            one_minus_beta2: c(1.0 - self.beta2),
            lr: c(self.lr),
        };
        run::<T, _, 1>(rule, param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        each(param, grad, state, |p, g, [m]| {
            let g = at.gradient(self.maximize, g);
            *p -= c(self.lr * self.weight_decay) * *p;
            *p -= c(self.lr) * sign(c(self.beta1) * *m + c(1.0 - self.beta1) * g);
            *m = c(self.beta2) * *m + c(1.0 - self.beta2) * g;
        });
    }
}
