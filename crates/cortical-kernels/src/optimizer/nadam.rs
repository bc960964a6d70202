//! NAdam: Adam whose momentum looks one step ahead, after Nesterov.
//!
//! ```text
//! μₜ = β₁ (1 − ½ · 0.96^(t ψ)),  Πₜ = μ₁ μ₂ … μₜ
//! g ← g + λ p
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²
//! p ← p − lr · ((1 − μₜ) g / (1 − Πₜ) + μₜ₊₁ m / (1 − Πₜ₊₁)) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```
//!
//! With `decoupled` weight decay shrinks the parameter beforehand instead, `p ← p − lr λ p`.
//!
//! States: `m`, `v`.
//!
//! # Source
//! Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2 with the schedule of its section on momentum decay.

use super::{At, Rule, Update, bias_correction, each, run};
use crate::real::Real;

/// Hyperparameters, and the product Πₜ₋₁ that the steps so far have built up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Learning rate.
    pub lr: f64,
    /// β₁, decay of the average of gradients.
    pub beta1: f64,
    /// β₂, decay of the average of squared gradients.
    pub beta2: f64,
    /// ε, what keeps the denominator from zero.
    pub eps: f64,
    /// λ, the share of the parameter that is taken away.
    pub weight_decay: f64,
    /// ψ, how fast the momentum reaches β₁.
    pub momentum_decay: f64,
    /// Whether weight decay acts on the parameter and not on the gradient.
    pub decoupled: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
    /// Πₜ₋₁, 1 before the first step; the caller multiplies it by [`momentum`](Self::momentum) of each step made.
    pub momentum_product: f64,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled: false,
            maximize: false,
            momentum_product: 1.0,
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    scale: T,
    l2: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    root_scale: T,
    eps: T,
    of_gradient: T,
    of_average: T,
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        let d = v.sqrt() * self.root_scale + self.eps;
        let direction = self.of_gradient * g + self.of_average * m;
        (self.keep * p - direction / d, [m, v])
    }
}

impl NAdam {
    /// μₜ, the momentum of step `t`.
    #[must_use]
    pub fn momentum(&self, t: u64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96_f64.powf(t as f64 * self.momentum_decay))
    }

    /// The factors of the gradient and of its average, learning rate included.
    fn factors(&self, t: u64) -> (f64, f64) {
        let (now, next) = (self.momentum(t), self.momentum(t.saturating_add(1)));
        let product = self.momentum_product * now;
        (
            self.lr * (1.0 - now) / (1.0 - product),
            self.lr * next / (1.0 - product * next),
        )
    }
}

impl Update for NAdam {
    fn states(&self) -> usize {
        2
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let (of_gradient, of_average) = self.factors(at.t);
        let (l2, decay) = if self.decoupled {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        let rule = Coefficients {
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(l2),
            keep: T::from_f64(1.0 - decay),
            beta1: T::from_f64(self.beta1),
            one_minus_beta1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(1.0 - self.beta2),
            root_scale: T::from_f64(1.0 / bias_correction(self.beta2, at.t).sqrt()),
            eps: T::from_f64(self.eps),
            of_gradient: T::from_f64(of_gradient),
            of_average: T::from_f64(of_average),
        };
        run(rule, param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let (of_gradient, of_average) = self.factors(at.t);
        each(param, grad, state, |p, g, [m, v]| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.beta1) * *m + c(1.0 - self.beta1) * g;
            *v = c(self.beta2) * *v + c(1.0 - self.beta2) * (g * g);
            let d = (*v / c(bias_correction(self.beta2, at.t))).sqrt() + c(self.eps);
            *p -= c(of_gradient) * g / d;
            *p -= c(of_average) * *m / d;
        });
    }
}
