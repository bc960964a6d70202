//! RAdam: Adam that takes plain momentum steps until its average of squares has seen enough, and then rectifies its variance.
//!
//! ```text
//! g ← g + λ p
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²
//! m̂ = m / (1 − β₁ᵗ)
//! ρ∞ = 2 / (1 − β₂) − 1,  ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
//! ρ > 5:  r = √( (ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ) ),  p ← p − lr · r · m̂ √(1 − β₂ᵗ) / (√v + ε)
//! else:   p ← p − lr · m̂
//! ```
//!
//! With `decoupled` weight decay shrinks the parameter beforehand instead, `p ← p − lr λ p`.
//!
//! States: `m`, `v`.
//!
//! # Source
//! Liu et al., "On the variance of the adaptive learning rate and beyond" (2020), algorithm 2; the threshold of 5 and the place of ε
//! are PyTorch's.

use super::{At, Rule, Update, bias_correction, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
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
    /// Whether weight decay acts on the parameter and not on the gradient.
    pub decoupled: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            maximize: false,
        }
    }
}

/// The constants of one step; `ADAPTIVE` once the averages have seen enough.
#[derive(Clone, Copy)]
struct Coefficients<T, const ADAPTIVE: bool> {
    scale: T,
    l2: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    eps: T,
    step_size: T,
}

impl<T: Real, const ADAPTIVE: bool> Rule<T, 2> for Coefficients<T, ADAPTIVE> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        let step = if ADAPTIVE {
            self.step_size * m / (v.sqrt() + self.eps)
        } else {
            self.step_size * m
        };
        (self.keep * p - step, [m, v])
    }
}

impl RAdam {
    /// The rectification `r` of step `t`, or `None` while the averages have not seen enough.
    #[must_use]
    pub fn rectification(&self, t: u64) -> Option<f64> {
        let infinite = 2.0 / (1.0 - self.beta2) - 1.0;
        let t_real = t as f64;
        let length =
            infinite - 2.0 * t_real * self.beta2.powf(t_real) / bias_correction(self.beta2, t);
        (length > 5.0).then(|| {
            ((length - 4.0) * (length - 2.0) * infinite
                / ((infinite - 4.0) * (infinite - 2.0) * length))
                .sqrt()
        })
    }

    fn coefficients<T: Real, const ADAPTIVE: bool>(
        &self,
        at: At,
        step_size: f64,
    ) -> Coefficients<T, ADAPTIVE> {
        let (l2, decay) = if self.decoupled {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        Coefficients {
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(l2),
            keep: T::from_f64(1.0 - decay),
            beta1: T::from_f64(self.beta1),
            one_minus_beta1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(1.0 - self.beta2),
            eps: T::from_f64(self.eps),
            step_size: T::from_f64(step_size),
        }
    }
}

impl Update for RAdam {
    fn states(&self) -> usize {
        2
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let step_size = self.lr / bias_correction(self.beta1, at.t);
        match self.rectification(at.t) {
            Some(r) => {
                let step_size = step_size * r * bias_correction(self.beta2, at.t).sqrt();
                run(
                    self.coefficients::<T, true>(at, step_size),
                    param,
                    grad,
                    state,
                );
            }
            None => run(
                self.coefficients::<T, false>(at, step_size),
                param,
                grad,
                state,
            ),
        }
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let rectification = self.rectification(at.t);
        each(param, grad, state, |p, g, [m, v]| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.beta1) * *m + c(1.0 - self.beta1) * g;
            *v = c(self.beta2) * *v + c(1.0 - self.beta2) * (g * g);
            let m_hat = *m / c(bias_correction(self.beta1, at.t));
            *p -= match rectification {
                Some(r) => {
                    let root = c(bias_correction(self.beta2, at.t).sqrt());
                    c(self.lr) * c(r) * m_hat * (root / (v.sqrt() + c(self.eps)))
                }
                None => c(self.lr) * m_hat,
            };
        });
    }
}
