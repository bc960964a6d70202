//! LAMB: Adam's direction, stretched for each tensor to the length of its parameter.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²
//! r = (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + λ p
//! p ← p − lr · ‖p‖ / ‖r‖ · r        (the quotient is 1 where a norm is zero)
//! ```
//!
//! The norms are those of one whole tensor, so a parameter must be given in one piece. States: `m`, `v`.
//!
//! # Source
//! You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020), algorithm 2.

use super::{At, Rule, Update, bias_correction, each, run};
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;

/// Hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate.
    pub lr: f64,
    /// β₁, decay of the average of gradients.
    pub beta1: f64,
    /// β₂, decay of the average of squared gradients.
    pub beta2: f64,
    /// ε, what keeps the denominator from zero.
    pub eps: f64,
    /// λ, added to the direction times the parameter.
    pub weight_decay: f64,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

/// The first pass: both averages.
#[derive(Clone, Copy)]
struct Averages<T> {
    scale: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
}

impl<T: Real> Rule<T, 2> for Averages<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        (p, [m, v])
    }
}

/// The direction `r` of an element, and in the last pass the move along it.
#[derive(Clone, Copy)]
struct Direction<T> {
    mean_scale: T,
    root_scale: T,
    eps: T,
    weight_decay: T,
    step_size: T,
}

impl<T: Real> Direction<T> {
    #[inline(always)]
    fn of(&self, p: T, m: T, v: T) -> T {
        self.mean_scale * m / (v.sqrt() * self.root_scale + self.eps) + self.weight_decay * p
    }
}

impl<T: Real> Rule<T, 2> for Direction<T> {
    #[inline(always)]
    fn update(&self, p: T, _: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        (p - self.step_size * self.of(p, m, v), [m, v])
    }
}

/// `‖p‖ / ‖r‖`, 1 where one of them is zero.
fn trust(param_squares: f64, direction_squares: f64) -> f64 {
    if param_squares == 0.0 || direction_squares == 0.0 {
        1.0
    } else {
        (param_squares / direction_squares).sqrt()
    }
}

impl Lamb {
    fn direction<T: Real>(&self, t: u64, step_size: f64) -> Direction<T> {
        Direction {
            mean_scale: T::from_f64(1.0 / bias_correction(self.beta1, t)),
            root_scale: T::from_f64(1.0 / bias_correction(self.beta2, t).sqrt()),
            eps: T::from_f64(self.eps),
            weight_decay: T::from_f64(self.weight_decay),
            step_size: T::from_f64(step_size),
        }
    }
}

impl Update for Lamb {
    fn states(&self) -> usize {
        2
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        // 1. Both averages.
        let averages = Averages {
            scale: T::from_f64(at.factor(self.maximize)),
            beta1: T::from_f64(self.beta1),
            one_minus_beta1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(1.0 - self.beta2),
        };
        run::<T, _, 2>(averages, param, grad, state);
        // 2. Squares of both norms, task by task in a fixed order.
        let direction = self.direction::<T>(at.t, 0.0);
        let (p, m, v) = (&*param, &*state[0], &*state[1]);
        let squares = parallel::map(p.len().div_ceil(TASK_ELEMENTS), |task| {
            let start = task * TASK_ELEMENTS;
            let (mut of_param, mut of_direction) = (0.0, 0.0);
            for i in start..p.len().min(start + TASK_ELEMENTS) {
                let (x, r) = (p[i].to_f64(), direction.of(p[i], m[i], v[i]).to_f64());
                of_param += x * x;
                of_direction += r * r;
            }
            (of_param, of_direction)
        });
        let (of_param, of_direction) = squares
            .into_iter()
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        // 3. The move.
        let step_size = self.lr * trust(of_param, of_direction);
        run::<T, _, 2>(self.direction::<T>(at.t, step_size), param, grad, state);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let c = T::from_f64;
        let mut direction = Vec::with_capacity(param.len());
        each(param, grad, state, |p, g, [m, v]| {
            let g = at.gradient(self.maximize, g);
            *m = c(self.beta1) * *m + c(1.0 - self.beta1) * g;
            *v = c(self.beta2) * *v + c(1.0 - self.beta2) * g * g;
            let m_hat = *m / c(bias_correction(self.beta1, at.t));
            let v_hat = *v / c(bias_correction(self.beta2, at.t));
            direction.push(m_hat / (v_hat.sqrt() + c(self.eps)) + c(self.weight_decay) * *p);
        });
        let squares = |x: &[T]| x.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let length = c(self.lr * trust(squares(param), squares(&direction)));
        for (p, r) in param.iter_mut().zip(direction) {
            *p -= length * r;
        }
    }
}
