//! Lion: steps of one length along the sign of a running average of gradients.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Lion: every element moves by the learning rate, in the direction that a running average of gradients points to.
///
/// ```text
/// p ← p − lr λ p
/// p ← p − lr · sign(β₁ m + (1 − β₁) g)
/// m ← β₂ m + (1 − β₂) g
/// ```
///
/// Its steps are larger than Adam's, so it wants a learning rate three to ten times smaller and a weight decay as much
/// larger. States: `exp_avg` (m).
///
/// # Source
/// Chen et al., "Symbolic discovery of optimization algorithms" (2023), program 1.
pub type Lion = Engine<LionConfig>;

settings! {
    /// Hyperparameters of [`Lion`]; the defaults are its authors'.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct LionConfig {
        /// Learning rate, 1e-4.
        pub lr: f64 = 1e-4, "base learning rate", from_zero();
        /// β₁, share of the average in a step's direction, and β₂, its decay, (0.9, 0.99).
        pub betas: (f64, f64) = (0.9, 0.99), "decay of the two running means", share_pair();
        /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    scale: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    lr: T,
}

/// −1, 0 or 1; `NaN` stays, so that it is seen.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x
    }
}

impl<T: Real> Rule<T, 1> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g;
        let direction = sign(self.beta1 * m + self.one_minus_beta1 * g);
        let m = self.beta2 * m + self.one_minus_beta2 * g;
        (self.keep * p - self.lr * direction, [m])
    }
}

impl Algorithm for LionConfig {
    const NAME: &'static str = "Lion";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let c = T::from_f64;
        let rule = Coefficients {
            scale: c(at.factor(self.maximize)),
            keep: c(1.0 - self.lr * self.weight_decay),
            beta1: c(self.betas.0),
            one_minus_beta1: c(1.0 - self.betas.0),
            beta2: c(self.betas.1),
            one_minus_beta2: c(1.0 - self.betas.1),
            lr: c(self.lr),
        };
        run::<T, _, 1>(rule, param, grad, state);
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
        each(param, grad, state, |p, g, [m]| {
            let g = at.gradient(self.maximize, g);
            *p -= c(self.lr * self.weight_decay) * *p;
            *p -= c(self.lr) * sign(c(self.betas.0) * *m + c(1.0 - self.betas.0) * g);
            *m = c(self.betas.1) * *m + c(1.0 - self.betas.1) * g;
        });
    }

    fn fallback(&self, _: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let g = tensors.gradient(self.maximize, 0.0)?;
        let direction = (tensors.state[0].affine(beta1, 0.0)? + g.affine(1.0 - beta1, 0.0)?)?;
        tensors.decay(0, beta2, &g, 1.0 - beta2)?;
        let kept = tensors
            .param
            .affine(1.0 - self.lr * self.weight_decay, 0.0)?;
        descend(&kept, self.lr, &direction.sign()?)
    }
}
