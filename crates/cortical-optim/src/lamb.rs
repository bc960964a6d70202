//! LAMB: Adam's direction, scaled for each tensor to the length of its parameter.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::parallel::{self, TASK_ELEMENTS};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// LAMB: Adam's direction, scaled for each parameter to the parameter's own length, for very large batches.
///
/// ```text
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// r = (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + λ p
/// p ← p − lr · ‖p‖ / ‖r‖ · r        (the quotient is 1 where a norm is zero)
/// ```
///
/// States: `exp_avg` (m), `exp_avg_sq` (v).
///
/// # Source
/// You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020), algorithm 2 with φ(z)
/// = z.
pub type Lamb = Engine<LambConfig>;

settings! {
    /// Hyperparameters of [`Lamb`]; the defaults are the paper's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct LambConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-6.
        pub eps: f64 = 1e-6, "what keeps a denominator from zero", from_zero();
        /// λ, added to the direction times the parameter, 0.01.
        pub weight_decay: f64 = 1e-2, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
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

impl LambConfig {
    fn direction<T: Real>(&self, at: Step, step_size: f64) -> Direction<T> {
        Direction {
            mean_scale: T::from_f64(1.0 / at.bias_correction(self.betas.0)),
            root_scale: T::from_f64(1.0 / at.bias_correction(self.betas.1).sqrt()),
            eps: T::from_f64(self.eps),
            weight_decay: T::from_f64(self.weight_decay),
            step_size: T::from_f64(step_size),
        }
    }
}

impl Algorithm for LambConfig {
    const NAME: &'static str = "LAMB";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        // 1. Both averages.
        let averages = Averages {
            scale: T::from_f64(at.factor(self.maximize)),
            beta1: T::from_f64(self.betas.0),
            one_minus_beta1: T::from_f64(1.0 - self.betas.0),
            beta2: T::from_f64(self.betas.1),
            one_minus_beta2: T::from_f64(1.0 - self.betas.1),
        };
        run::<T, _, 2>(averages, param, grad, state);
        // 2. Squares of both norms, task by task in a fixed order.
        let direction = self.direction::<T>(at, 0.0);
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
        run::<T, _, 2>(self.direction::<T>(at, step_size), param, grad, state);
    }

    fn naive<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let c = T::from_f64;
        let mut direction = Vec::with_capacity(param.len());
        each(param, grad, state, |p, g, [m, v]| {
            let g = at.gradient(self.maximize, g);
            *m = c(self.betas.0) * *m + c(1.0 - self.betas.0) * g;
            *v = c(self.betas.1) * *v + c(1.0 - self.betas.1) * g * g;
            let m_hat = *m / c(at.bias_correction(self.betas.0));
            let v_hat = *v / c(at.bias_correction(self.betas.1));
            direction.push(m_hat / (v_hat.sqrt() + c(self.eps)) + c(self.weight_decay) * *p);
        });
        let squares = |x: &[T]| x.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let length = c(self.lr * trust(squares(param), squares(&direction)));
        for (p, r) in param.iter_mut().zip(direction) {
            *p -= length * r;
        }
    }

    fn fallback(&self, step: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let g = tensors.gradient(self.maximize, 0.0)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        tensors.decay(1, beta2, &g.sqr()?, 1.0 - beta2)?;
        let mean = tensors.state[0].affine(1.0 / step.bias_correction(beta1), 0.0)?;
        let root = 1.0 / step.bias_correction(beta2).sqrt();
        let direction = (mean / tensors.state[1].sqrt()?.affine(root, self.eps)?)?;
        let direction = (direction + tensors.param.affine(self.weight_decay, 0.0)?)?;
        let (param, along) = (length(tensors.param)?, length(&direction)?);
        let trust = if param == 0.0 || along == 0.0 {
            1.0
        } else {
            param / along
        };
        descend(tensors.param, self.lr * trust, &direction)
    }
}

/// The Euclidean norm of a tensor.
fn length(x: &Tensor) -> candle_core::Result<f64> {
    let squares = x.sqr()?.sum_all()?.to_dtype(DType::F64)?;
    Ok(squares.to_scalar::<f64>()?.sqrt())
}
