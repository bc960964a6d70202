//! Adadelta: steps in the units of the parameter.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, unit};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Adadelta: steps in the units of the parameter, from running averages of squared gradients and of squared steps.
///
/// ```text
/// g ← g + λ p
/// v ← ρ v + (1 − ρ) g²
/// δ = √(u + ε) / √(v + ε) · g
/// u ← ρ u + (1 − ρ) δ²
/// p ← p − lr · δ
/// ```
///
/// States: `square_avg` (v), `acc_delta` (u).
///
/// # Source
/// Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.
pub type Adadelta = Engine<AdadeltaConfig>;

settings! {
    /// Hyperparameters of [`Adadelta`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AdadeltaConfig {
        /// Learning rate, a factor on the step, 1.
        pub lr: f64 = 1.0, "base learning rate", from_zero();
        /// ρ, decay of both averages, 0.9.
        pub rho: f64 = 0.9, "decay of both averages", unit();
        /// ε, what keeps both roots from zero, 1e-6.
        pub eps: f64 = 1e-6, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
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

impl Algorithm for AdadeltaConfig {
    const NAME: &'static str = "Adadelta";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: None,
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["square_avg", "acc_delta"]
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
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

    fn naive<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
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

    fn fallback(&self, _: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, self.rho, &g.sqr()?, 1.0 - self.rho)?;
        let root = |x: &Tensor| x.affine(1.0, self.eps)?.sqrt();
        let delta = ((root(&tensors.state[1])? / root(&tensors.state[0])?)? * g)?;
        tensors.decay(1, self.rho, &delta.sqr()?, 1.0 - self.rho)?;
        descend(tensors.param, self.lr, &delta)
    }
}
