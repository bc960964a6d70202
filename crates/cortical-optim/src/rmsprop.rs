//! RMSprop: the gradient divided by the root of the running average of its square.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, unit};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// RMSprop, plain or centered, with or without momentum.
///
/// ```text
/// g ← g + λ p
/// v ← α v + (1 − α) g²
/// a ← α a + (1 − α) g        (centered)
/// d = √v + ε                 (√(v − a²) + ε if centered)
/// b ← μ b + g / d            (with momentum)
/// p ← p − lr · b             (p ← p − lr · g / d without momentum)
/// ```
///
/// States: `square_avg` (v), `momentum_buffer` (b) with momentum, `grad_avg` (a) if centered.
///
/// # Source
/// Tieleman and Hinton, "Lecture 6.5: RMSprop", COURSERA: Neural networks for machine learning (2012); the centered
/// variant is Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 45.
pub type RmsProp = Engine<RmsPropConfig>;

settings! {
    /// Hyperparameters of [`RmsProp`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RmsPropConfig {
        /// Learning rate, 1e-2.
        pub lr: f64 = 1e-2, "base learning rate", from_zero();
        /// α, decay of the averages, 0.99.
        // Above 1 the average of squares would become negative, and the step NaN.
        pub alpha: f64 = 0.99, "decay of the averages", unit();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// μ, the share of the last direction that is kept, 0.
        pub momentum: f64 = 0.0, "share of the last direction that is kept", from_zero();
        /// Whether the average of gradients is taken out of that of squares.
        pub centered: bool = false, "true: take the mean of gradients out of that of squares";
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

/// The constants of one step, and which variant it is.
#[derive(Clone, Copy)]
struct Coefficients<T, const MOMENTUM: bool, const CENTERED: bool> {
    lr: T,
    scale: T,
    l2: T,
    alpha: T,
    one_minus_alpha: T,
    eps: T,
    momentum: T,
}

impl<T: Real, const MOMENTUM: bool, const CENTERED: bool> Coefficients<T, MOMENTUM, CENTERED> {
    /// The gradient with weight decay, and the average of squares.
    #[inline(always)]
    fn square(&self, p: T, g: T, v: T) -> (T, T) {
        let g = self.scale * g + self.l2 * p;
        (g, self.alpha * v + self.one_minus_alpha * g * g)
    }

    #[inline(always)]
    fn average(&self, g: T, a: T) -> T {
        self.alpha * a + self.one_minus_alpha * g
    }
}

impl<T: Real> Rule<T, 1> for Coefficients<T, false, false> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [v]: [T; 1]) -> (T, [T; 1]) {
        let (g, v) = self.square(p, g, v);
        (p - self.lr * g / (v.sqrt() + self.eps), [v])
    }
}

impl<T: Real> Rule<T, 2> for Coefficients<T, true, false> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [v, b]: [T; 2]) -> (T, [T; 2]) {
        let (g, v) = self.square(p, g, v);
        let b = self.momentum * b + g / (v.sqrt() + self.eps);
        (p - self.lr * b, [v, b])
    }
}

impl<T: Real> Rule<T, 2> for Coefficients<T, false, true> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [v, a]: [T; 2]) -> (T, [T; 2]) {
        let (g, v) = self.square(p, g, v);
        let a = self.average(g, a);
        let d = (v - a * a).sqrt() + self.eps;
        (p - self.lr * g / d, [v, a])
    }
}

impl<T: Real> Rule<T, 3> for Coefficients<T, true, true> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [v, b, a]: [T; 3]) -> (T, [T; 3]) {
        let (g, v) = self.square(p, g, v);
        let a = self.average(g, a);
        let b = self.momentum * b + g / ((v - a * a).sqrt() + self.eps);
        (p - self.lr * b, [v, b, a])
    }
}

impl RmsPropConfig {
    fn coefficients<T: Real, const MOMENTUM: bool, const CENTERED: bool>(
        &self,
        at: Step,
    ) -> Coefficients<T, MOMENTUM, CENTERED> {
        Coefficients {
            lr: T::from_f64(self.lr),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            alpha: T::from_f64(self.alpha),
            one_minus_alpha: T::from_f64(1.0 - self.alpha),
            eps: T::from_f64(self.eps),
            momentum: T::from_f64(self.momentum),
        }
    }
}

impl Algorithm for RmsPropConfig {
    const NAME: &'static str = "RMSprop";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        let mut names = vec!["square_avg"];
        if self.momentum > 0.0 {
            names.push("momentum_buffer");
        }
        if self.centered {
            names.push("grad_avg");
        }
        names
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        match (self.momentum > 0.0, self.centered) {
            (false, false) => run(self.coefficients::<T, false, false>(at), param, grad, state),
            (true, false) => run(self.coefficients::<T, true, false>(at), param, grad, state),
            (false, true) => run(self.coefficients::<T, false, true>(at), param, grad, state),
            (true, true) => run(self.coefficients::<T, true, true>(at), param, grad, state),
        }
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
        let update = |p: &mut T, g: T, v: &mut T, b: Option<&mut T>, a: Option<&mut T>| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *v = c(self.alpha) * *v + c(1.0 - self.alpha) * g * g;
            let mut variance = *v;
            if let Some(a) = a {
                *a = c(self.alpha) * *a + c(1.0 - self.alpha) * g;
                variance -= *a * *a;
            }
            let mut direction = g / (variance.sqrt() + c(self.eps));
            if let Some(b) = b {
                *b = c(self.momentum) * *b + direction;
                direction = *b;
            }
            *p -= c(self.lr) * direction;
        };
        match (self.momentum > 0.0, self.centered) {
            (false, false) => each(param, grad, state, |p, g, [v]| update(p, g, v, None, None)),
            (true, false) => each(param, grad, state, |p, g, [v, b]| {
                update(p, g, v, Some(b), None);
            }),
            (false, true) => each(param, grad, state, |p, g, [v, a]| {
                update(p, g, v, None, Some(a));
            }),
            (true, true) => each(param, grad, state, |p, g, [v, b, a]| {
                update(p, g, v, Some(b), Some(a));
            }),
        }
    }

    fn fallback(&self, _: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, self.alpha, &g.sqr()?, 1.0 - self.alpha)?;
        let mut variance = tensors.state[0].clone();
        if self.centered {
            let last = tensors.state.len() - 1;
            tensors.decay(last, self.alpha, &g, 1.0 - self.alpha)?;
            variance = (variance - tensors.state[last].sqr()?)?;
        }
        let direction = (g / variance.sqrt()?.affine(1.0, self.eps)?)?;
        if self.momentum > 0.0 {
            tensors.decay(1, self.momentum, &direction, 1.0)?;
            return descend(tensors.param, self.lr, &tensors.state[1]);
        }
        descend(tensors.param, self.lr, &direction)
    }
}
