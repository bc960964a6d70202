//! Adagrad: the gradient divided by the root of the sum of all its squares so far.
//!
//! ```text
//! g ← g + λ p
//! s ← s + g²
//! p ← p − lr / (1 + (t − 1) η) · g / (√s + ε)
//! ```
//!
//! States: `s`.
//!
//! # Source
//! Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011), with the
//! diagonal matrix of section 1.3.

use super::{At, Rule, Update, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate.
    pub lr: f64,
    /// η, how fast the learning rate decays.
    pub lr_decay: f64,
    /// λ, added to the gradient times the parameter.
    pub weight_decay: f64,
    /// ε, what keeps the denominator from zero.
    pub eps: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            eps: 1e-10,
            maximize: false,
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    lr: T,
    scale: T,
    l2: T,
    eps: T,
}

impl<T: Real> Rule<T, 1> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [s]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g + self.l2 * p;
        let s = s + g * g;
        (p - self.lr * g / (s.sqrt() + self.eps), [s])
    }
}

impl Update for Adagrad {
    fn states(&self) -> usize {
        1
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let elapsed = at.t.saturating_sub(1) as f64;
        let rule = Coefficients {
            lr: T::from_f64(self.lr / (1.0 + elapsed * self.lr_decay)),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            eps: T::from_f64(self.eps),
        };
        run(rule, param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let lr = self.lr / (1.0 + (at.t as f64 - 1.0) * self.lr_decay);
        each(param, grad, state, |p, g, [s]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *s += g * g;
            *p -= c(lr) * (g / (s.sqrt() + c(self.eps)));
        });
    }
}
