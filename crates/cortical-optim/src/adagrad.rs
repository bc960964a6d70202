//! Adagrad: the gradient divided by the root of the sum of all its squares so far.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Adagrad: large steps for what rarely has a gradient, ever smaller ones for what often has.
///
/// ```text
/// g ← g + λ p
/// s ← s + g²
/// p ← p − lr / (1 + (t − 1) η) · g / (√s + ε)
/// ```
///
/// States: `sum` (s).
///
/// # Source
/// Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011), with
/// the diagonal matrix of section 1.3.
pub type Adagrad = Engine<AdagradConfig>;

settings! {
    /// Hyperparameters of [`Adagrad`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AdagradConfig {
        /// Learning rate, 1e-2.
        pub lr: f64 = 1e-2, "base learning rate", from_zero();
        /// η, how fast the learning rate decays, 0.
        pub lr_decay: f64 = 0.0, "how fast the learning rate decays", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// What the sums begin with, 0.
        pub initial_accumulator_value: f64 = 0.0, "what the sums begin with", from_zero();
        /// ε, what keeps the denominator from zero, 1e-10.
        pub eps: f64 = 1e-10, "what keeps a denominator from zero", from_zero();
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
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

impl Algorithm for AdagradConfig {
    const NAME: &'static str = "Adagrad";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: None,
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["sum"]
    }

    fn initial_state(&self) -> f64 {
        self.initial_accumulator_value
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let elapsed = at.t.saturating_sub(1) as f64;
        let rule = Coefficients {
            lr: T::from_f64(self.lr / (1.0 + elapsed * self.lr_decay)),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            eps: T::from_f64(self.eps),
        };
        run(rule, param, grad, state);
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
        let lr = self.lr / (1.0 + (at.t as f64 - 1.0) * self.lr_decay);
        each(param, grad, state, |p, g, [s]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *s += g * g;
            *p -= c(lr) * (g / (s.sqrt() + c(self.eps)));
        });
    }

    fn fallback(&self, step: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, 1.0, &g.sqr()?, 1.0)?;
        let direction = (g / tensors.state[0].sqrt()?.affine(1.0, self.eps)?)?;
        let lr = self.lr / (1.0 + (step.t as f64 - 1.0) * self.lr_decay);
        descend(tensors.param, lr, &direction)
    }
}
