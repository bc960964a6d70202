//! Stochastic gradient descent, with momentum, dampening and Nesterov's look ahead.
//!
//! ```text
//! g ← g + λ p
//! b ← μ b + (1 − τ) g        (b ← g at the first step)
//! p ← p − lr · b             (p ← p − lr (g + μ b) with Nesterov's momentum, p ← p − lr g without any)
//! ```
//!
//! States: `b` if the momentum μ is not zero, else none.
//!
//! # Source
//! Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Sutskever et al., "On the importance of initialization
//! and momentum in deep learning" (2013), section 2.

use super::{At, Rule, Update, each, run};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// μ, the share of the last direction that is kept.
    pub momentum: f64,
    /// τ, the share of the gradient that does not enter the momentum.
    pub dampening: f64,
    /// λ, added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

/// The constants of one step; `LOOK_AHEAD` is Nesterov's variant.
#[derive(Clone, Copy)]
struct Coefficients<T, const LOOK_AHEAD: bool> {
    lr: T,
    scale: T,
    l2: T,
    momentum: T,
    share: T,
}

impl<T: Real> Rule<T, 0> for Coefficients<T, false> {
    #[inline(always)]
    fn update(&self, p: T, g: T, _: [T; 0]) -> (T, [T; 0]) {
        let g = self.scale * g + self.l2 * p;
        (p - self.lr * g, [])
    }
}

impl<T: Real, const LOOK_AHEAD: bool> Rule<T, 1> for Coefficients<T, LOOK_AHEAD> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [b]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g + self.l2 * p;
        let b = self.momentum * b + self.share * g;
        let direction = if LOOK_AHEAD { g + self.momentum * b } else { b };
        (p - self.lr * direction, [b])
    }
}

impl Sgd {
    fn coefficients<T: Real, const LOOK_AHEAD: bool>(&self, at: At) -> Coefficients<T, LOOK_AHEAD> {
        Coefficients {
            lr: T::from_f64(self.lr),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            momentum: T::from_f64(self.momentum),
            // The first gradient enters whole; the momentum is zero then.
            share: T::from_f64(if at.t == 1 { 1.0 } else { 1.0 - self.dampening }),
        }
    }
}

impl Update for Sgd {
    fn states(&self) -> usize {
        usize::from(self.momentum != 0.0)
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        if self.momentum == 0.0 {
            run::<T, _, 0>(self.coefficients::<T, false>(at), param, grad, state);
        } else if self.nesterov {
            run::<T, _, 1>(self.coefficients::<T, true>(at), param, grad, state);
        } else {
            run::<T, _, 1>(self.coefficients::<T, false>(at), param, grad, state);
        }
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let decayed = |p: T, g: T| at.gradient(self.maximize, g) + c(self.weight_decay) * p;
        if self.momentum == 0.0 {
            each(param, grad, state, |p, g, []| {
                *p -= c(self.lr) * decayed(*p, g);
            });
            return;
        }
        each(param, grad, state, |p, g, [b]| {
            let g = decayed(*p, g);
            *b = if at.t == 1 {
                g
            } else {
                c(self.momentum) * *b + c(1.0 - self.dampening) * g
            };
            let direction = if self.nesterov {
                g + c(self.momentum) * *b
            } else {
                *b
            };
            *p -= c(self.lr) * direction;
        });
    }
}
