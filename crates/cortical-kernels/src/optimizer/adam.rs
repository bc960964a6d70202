//! Adam and AdamW: steps scaled by running averages of the gradient and of its square.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²
//! p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```
//!
//! Weight decay λ is added to the gradient, `g ← g + λ p` (Adam), or shrinks the parameter beforehand,
//! `p ← p − lr λ p` (AdamW, `decoupled`). With `amsgrad` the largest `v` so far takes the place of `v` in the last line.
//!
//! States: `m`, `v`, and with `amsgrad` the largest `v`.
//!
//! # Source
//! Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; Loshchilov and Hutter, "Decoupled weight decay
//! regularization" (2019), algorithm 2; Reddi et al., "On the convergence of Adam and beyond" (2018), algorithm 2.

use super::{At, Rule, Update, bias_correction, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
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
    /// Whether weight decay acts on the parameter (AdamW) and not on the gradient (Adam).
    pub decoupled: bool,
    /// Whether the denominator uses the largest `v` so far.
    pub amsgrad: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            amsgrad: false,
            maximize: false,
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
    step_size: T,
}

impl<T: Real> Coefficients<T> {
    /// The parameter after weight decay, and both averages.
    #[inline(always)]
    fn averages(&self, p: T, g: T, m: T, v: T) -> (T, T, T) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        (self.keep * p, m, v)
    }

    #[inline(always)]
    fn moved(&self, p: T, m: T, v: T) -> T {
        p - self.step_size * m / (v.sqrt() * self.root_scale + self.eps)
    }
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let (p, m, v) = self.averages(p, g, m, v);
        (self.moved(p, m, v), [m, v])
    }
}

impl<T: Real> Rule<T, 3> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v, largest]: [T; 3]) -> (T, [T; 3]) {
        let (p, m, v) = self.averages(p, g, m, v);
        let largest = v.maximum(largest);
        (self.moved(p, m, largest), [m, v, largest])
    }
}

impl Adam {
    fn coefficients<T: Real>(&self, at: At) -> Coefficients<T> {
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
            root_scale: T::from_f64(1.0 / bias_correction(self.beta2, at.t).sqrt()),
            eps: T::from_f64(self.eps),
            step_size: T::from_f64(self.lr / bias_correction(self.beta1, at.t)),
        }
    }
}

impl Update for Adam {
    fn states(&self) -> usize {
        if self.amsgrad { 3 } else { 2 }
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let rule = self.coefficients(at);
        if self.amsgrad {
            run::<T, _, 3>(rule, param, grad, state);
        } else {
            run::<T, _, 2>(rule, param, grad, state);
        }
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let update = |p: &mut T, g: T, m: &mut T, v: &mut T, largest: Option<&mut T>| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.beta1) * *m + c(1.0 - self.beta1) * g;
            *v = c(self.beta2) * *v + c(1.0 - self.beta2) * g * g;
            let v = match largest {
                Some(largest) => {
                    *largest = largest.maximum(*v);
                    *largest
                }
                None => *v,
            };
            let m_hat = *m / c(bias_correction(self.beta1, at.t));
            let v_hat = v / c(bias_correction(self.beta2, at.t));
            *p -= c(self.lr) * m_hat / (v_hat.sqrt() + c(self.eps));
        };
        if self.amsgrad {
            each(param, grad, state, |p, g, [m, v, largest]| {
                update(p, g, m, v, Some(largest));
            });
        } else {
            each(param, grad, state, |p, g, [m, v]| update(p, g, m, v, None));
        }
    }
}
