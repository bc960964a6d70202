//! Adadelta: steps in the units of the parameter, from running averages of squared gradients and of squared steps.
//!
//! ```text
//! g ← g + λ p
//! v ← ρ v + (1 − ρ) g²
//! δ = √(u + ε) / √(v + ε) · g
//! u ← ρ u + (1 − ρ) δ²
//! p ← p − lr · δ
//! ```
//!
//! States: `v`, `u`.
//!
//! # Source
//! Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.

use super::{At, Rule, Update, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Learning rate, a factor on the step.
    pub lr: f64,
    /// ρ, decay of both averages.
    pub rho: f64,
    /// ε, what keeps both roots from zero.
    pub eps: f64,
    /// λ, added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Adadelta {
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

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    lr: T,
    scale: T,
    l2: T,
    rho: T,
    one_minus_rho: T,
    eps: T,
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [v, u]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let v = self.rho * v + self.one_minus_rho * g * g;
        let delta = (u + self.eps).sqrt() / (v + self.eps).sqrt() * g;
        let u = self.rho * u + self.one_minus_rho * delta * delta;
        (p - self.lr * delta, [v, u])
    }
}

impl Update for Adadelta {
    fn states(&self) -> usize {
        2
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let rule = Coefficients {
            lr: T::from_f64(self.lr),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            rho: T::from_f64(self.rho),
            one_minus_rho: T::from_f64(1.0 - self.rho),
            eps: T::from_f64(self.eps),
        };
        run(rule, param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        each(param, grad, state, |p, g, [v, u]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *v = c(self.rho) * *v + c(1.0 - self.rho) * (g * g);
            let root_mean_square = |x: T| (x + c(self.eps)).sqrt();
            let delta = root_mean_square(*u) / root_mean_square(*v) * g;
            *u = c(self.rho) * *u + c(1.0 - self.rho) * (delta * delta);
            *p -= c(self.lr) * delta;
        });
    }
}
