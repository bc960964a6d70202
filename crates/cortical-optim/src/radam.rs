//! RAdam: Adam that rectifies the variance of its first steps.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// RAdam: Adam that takes plain momentum steps until its average of squares has seen enough, and then rectifies its
/// variance.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// m̂ = m / (1 − β₁ᵗ)
/// ρ∞ = 2 / (1 − β₂) − 1,  ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
/// ρ > 5:  r = √( (ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ) ),  p ← p − lr · r · m̂ √(1 − β₂ᵗ) / (√v + ε)
/// else:   p ← p − lr · m̂
/// ```
///
/// With `decoupled_weight_decay` the parameter is shrunk beforehand instead, `p ← p − lr λ p`. States: `exp_avg` (m),
/// `exp_avg_sq` (v).
///
/// # Source
/// Liu et al., "On the variance of the adaptive learning rate and beyond" (2020), algorithm 2; the threshold of 5 and
/// the place of ε are PyTorch's.
pub type RAdam = Engine<RAdamConfig>;

settings! {
    /// Hyperparameters of [`RAdam`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RAdamConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether weight decay acts on the parameter and not on the gradient.
        pub decoupled_weight_decay: bool = false, "true: weight decay acts on the parameter itself";
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

/// The constants of one step; `ADAPTIVE` once the averages have seen enough.
#[derive(Clone, Copy)]
struct Coefficients<T, const ADAPTIVE: bool> {
    scale: T,
    l2: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    eps: T,
    step_size: T,
}

impl<T: Real, const ADAPTIVE: bool> Rule<T, 2> for Coefficients<T, ADAPTIVE> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        let step = if ADAPTIVE {
            self.step_size * m / (v.sqrt() + self.eps)
        } else {
            self.step_size * m
        };
        (self.keep * p - step, [m, v])
    }
}

impl RAdamConfig {
    /// The rectification `r` of a step, or `None` while the averages have not seen enough.
    fn rectification(&self, at: Step) -> Option<f64> {
        let infinite = 2.0 / (1.0 - self.betas.1) - 1.0;
        let t = at.t as f64;
        let length = infinite - 2.0 * t * self.betas.1.powf(t) / at.bias_correction(self.betas.1);
        (length > 5.0).then(|| {
            ((length - 4.0) * (length - 2.0) * infinite
                / ((infinite - 4.0) * (infinite - 2.0) * length))
                .sqrt()
        })
    }

    fn coefficients<T: Real, const ADAPTIVE: bool>(
        &self,
        at: Step,
        step_size: f64,
    ) -> Coefficients<T, ADAPTIVE> {
        let (l2, decay) = if self.decoupled_weight_decay {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        Coefficients {
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(l2),
            keep: T::from_f64(1.0 - decay),
            beta1: T::from_f64(self.betas.0),
            one_minus_beta1: T::from_f64(1.0 - self.betas.0),
            beta2: T::from_f64(self.betas.1),
            one_minus_beta2: T::from_f64(1.0 - self.betas.1),
            eps: T::from_f64(self.eps),
            step_size: T::from_f64(step_size),
        }
    }
}

impl Algorithm for RAdamConfig {
    const NAME: &'static str = "RAdam";

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
        let step_size = self.lr / at.bias_correction(self.betas.0);
        match self.rectification(at) {
            Some(r) => {
                let step_size = step_size * r * at.bias_correction(self.betas.1).sqrt();
                run(
                    self.coefficients::<T, true>(at, step_size),
                    param,
                    grad,
                    state,
                );
            }
            None => run(
                self.coefficients::<T, false>(at, step_size),
                param,
                grad,
                state,
            ),
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
        let rectification = self.rectification(at);
        each(param, grad, state, |p, g, [m, v]| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled_weight_decay {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.betas.0) * *m + c(1.0 - self.betas.0) * g;
            *v = c(self.betas.1) * *v + c(1.0 - self.betas.1) * (g * g);
            let m_hat = *m / c(at.bias_correction(self.betas.0));
            *p -= match rectification {
                Some(r) => {
                    let root = c(at.bias_correction(self.betas.1).sqrt());
                    c(self.lr) * c(r) * m_hat * (root / (v.sqrt() + c(self.eps)))
                }
                None => c(self.lr) * m_hat,
            };
        });
    }

    fn fallback(&self, step: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let (l2, shrink) = if self.decoupled_weight_decay {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        let g = tensors.gradient(self.maximize, l2)?;
        tensors.decay(0, beta1, &g, 1.0 - beta1)?;
        tensors.decay(1, beta2, &g.sqr()?, 1.0 - beta2)?;
        let param = tensors.param.affine(1.0 - shrink, 0.0)?;
        let step_size = self.lr / step.bias_correction(beta1);
        match self.rectification(step) {
            Some(r) => {
                let denominator = tensors.state[1].sqrt()?.affine(1.0, self.eps)?;
                let direction = (&tensors.state[0] / denominator)?;
                let step_size = step_size * r * step.bias_correction(beta2).sqrt();
                descend(&param, step_size, &direction)
            }
            None => descend(&param, step_size, &tensors.state[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_must_have_seen_enough() {
        let radam = RAdamConfig::default();
        let rectification = |t| radam.rectification(Step::number(t));
        assert_eq!((1..20).find(|t| rectification(*t).is_some()), Some(6));
        assert!((rectification(1_000_000).unwrap() - 1.0).abs() < 1e-6);
    }
}
