//! Adamax: Adam with the decaying maximum of gradients.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Adamax: Adam with the decaying maximum of gradients in place of the root of their mean square.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// u ← max(β₂ u, |g| + ε)
/// p ← p − lr / (1 − β₁ᵗ) · m / u
/// ```
///
/// States: `exp_avg` (m), `exp_inf` (u).
///
/// # Source
/// Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 2; the ε in the maximum is PyTorch's.
pub type Adamax = Engine<AdamaxConfig>;

settings! {
    /// Hyperparameters of [`Adamax`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AdamaxConfig {
        /// Learning rate, 2e-3.
        pub lr: f64 = 2e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the average of gradients and of their maximum, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    step_size: T,
    scale: T,
    l2: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    eps: T,
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, u]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let u = (g.abs() + self.eps).maximum(self.beta2 * u);
        (p - self.step_size * m / u, [m, u])
    }
}

impl Algorithm for AdamaxConfig {
    const NAME: &'static str = "Adamax";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg", "exp_inf"]
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
            step_size: T::from_f64(self.lr / at.bias_correction(self.betas.0)),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            beta1: T::from_f64(self.betas.0),
            one_minus_beta1: T::from_f64(1.0 - self.betas.0),
            beta2: T::from_f64(self.betas.1),
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
        each(param, grad, state, |p, g, [m, u]| {
            let g = at.gradient(self.maximize, g) + c(self.weight_decay) * *p;
            *m = c(self.betas.0) * *m + c(1.0 - self.betas.0) * g;
            let (old, new) = (c(self.betas.1) * *u, g.abs() + c(self.eps));
            *u = if old > new { old } else { new };
            let m_hat = *m / c(at.bias_correction(self.betas.0));
            *p -= c(self.lr) * m_hat / *u;
        });
    }

    fn fallback(&self, step: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        let new = g.abs()?.affine(1.0, self.eps)?;
        tensors.state[1] = tensors.state[1].affine(beta2, 0.0)?.maximum(&new)?;
        let direction = (&tensors.state[0] / &tensors.state[1])?;
        let step_size = self.lr / step.bias_correction(beta1);
        descend(tensors.param, step_size, &direction)
    }
}
