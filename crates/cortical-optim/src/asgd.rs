//! Averaged stochastic gradient descent.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, finite, from_zero};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Averaged stochastic gradient descent: steps that shrink with time, and beside the parameter the average of where it
/// has been.
///
/// ```text
/// ηₜ = lr / (1 + λ lr t)^α,  μₜ = 1 / max(1, t − t₀)
/// g ← g + w p
/// p ← p (1 − λ ηₜ₋₁) − ηₜ₋₁ g
/// a ← a + μₜ₋₁ (p − a)             (a ← p while μ is 1)
/// ```
///
/// The average takes no part in the steps; it is the state `ax` (a), which PyTorch keeps as well. `η` follows the
/// learning rate in force, where PyTorch's is that of the step before: under a schedule its steps come one behind.
///
/// # Source
/// Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); the step sizes are those of
/// Bottou's programs, as in PyTorch.
pub type Asgd = Engine<AsgdConfig>;

settings! {
    /// Hyperparameters of [`Asgd`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AsgdConfig {
        /// Learning rate, 1e-2.
        pub lr: f64 = 1e-2, "base learning rate", from_zero();
        /// λ, how fast parameters and steps shrink, 1e-4.
        pub lambd: f64 = 1e-4, "how fast parameters and steps shrink", from_zero();
        /// α, the power with which steps shrink, 0.75.
        pub alpha: f64 = 0.75, "the power with which steps shrink", finite();
        /// t₀, the step at which averaging begins, 1e6.
        pub t0: f64 = 1e6, "step at which averaging begins", from_zero();
        /// w, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter added to its gradient", from_zero();
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    scale: T,
    l2: T,
    keep: T,
    eta: T,
    mu: T,
}

impl<T: Real> Rule<T, 1> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [a]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g + self.l2 * p;
        let p = self.keep * p - self.eta * g;
        let moved = a + self.mu * (p - a);
        (p, [if self.mu == T::ONE { p } else { moved }])
    }
}

impl AsgdConfig {
    /// ηₜ₋₁ and μₜ₋₁ of step `t`.
    fn rates_at(&self, at: Step) -> (f64, f64) {
        let before = at.t.saturating_sub(1) as f64;
        let eta = self.lr / (1.0 + self.lambd * self.lr * before).powf(self.alpha);
        (eta, 1.0 / (before - self.t0).max(1.0))
    }
}

impl Algorithm for AsgdConfig {
    const NAME: &'static str = "ASGD";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: None,
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["ax"]
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let (eta, mu) = self.rates_at(at);
        let rule = Coefficients {
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            keep: T::from_f64(1.0 - self.lambd * eta),
            eta: T::from_f64(eta),
            mu: T::from_f64(mu),
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
        let (eta, mu) = self.rates_at(at);
        each(param, grad, state, |p, g, [a]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *p -= c(self.lambd * eta) * *p;
            *p -= c(eta) * g;
            if mu == 1.0 {
                *a = *p;
            } else {
                *a += c(mu) * (*p - *a);
            }
        });
    }

    fn fallback(&self, at: Step, tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let (eta, mu) = self.rates_at(at);
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        let moved = descend(&tensors.param.affine(1.0 - self.lambd * eta, 0.0)?, eta, &g)?;
        tensors.state[0] = if mu == 1.0 {
            moved.clone()
        } else {
            (&tensors.state[0] + (&moved - &tensors.state[0])?.affine(mu, 0.0)?)?
        };
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::tests::check;

    #[test]
    fn the_fused_update_is_the_naive_one_before_and_while_it_averages() {
        for (t0, maximize) in [(1e6, false), (2.0, true)] {
            check(AsgdConfig {
                lr: 0.1,
                lambd: 0.1,
                weight_decay: 0.1,
                t0,
                maximize,
                ..AsgdConfig::default()
            });
        }
    }
}
