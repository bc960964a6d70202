//! NAdam: Adam whose momentum looks one step ahead.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// NAdam: Adam whose momentum looks one step ahead, after Nesterov.
///
/// ```text
/// μₜ = β₁ (1 − ½ · 0.96^(t ψ)),  Πₜ = μ₁ μ₂ … μₜ
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · ((1 − μₜ) g / (1 − Πₜ) + μₜ₊₁ m / (1 − Πₜ₊₁)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `decoupled_weight_decay` the parameter is shrunk beforehand instead, `p ← p − lr λ p`. States: `exp_avg` (m),
/// `exp_avg_sq` (v) and the number `mu_product` (Πₜ).
///
/// # Source
/// Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2 with the schedule of its section on momentum
/// decay.
pub type NAdam = Engine<NAdamConfig>;

settings! {
    /// Hyperparameters of [`NAdam`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct NAdamConfig {
        /// Learning rate, 2e-3.
        pub lr: f64 = 2e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// ψ, how fast the momentum reaches β₁, 4e-3.
        pub momentum_decay: f64 = 4e-3, "how fast the momentum reaches the first of betas", from_zero();
        /// Whether weight decay acts on the parameter and not on the gradient.
        pub decoupled_weight_decay: bool = false, "true: weight decay acts on the parameter itself";
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
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    root_scale: T,
    eps: T,
    of_gradient: T,
    of_average: T,
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        let d = v.sqrt() * self.root_scale + self.eps;
        let direction = self.of_gradient * g + self.of_average * m;
        (self.keep * p - direction / d, [m, v])
    }
}

impl NAdamConfig {
    /// μₜ, the momentum of step `t`.
    fn momentum(&self, t: u64) -> f64 {
        self.betas.0 * (1.0 - 0.5 * 0.96_f64.powf(t as f64 * self.momentum_decay))
    }

    /// The factors of the gradient and of its average, learning rate included.
    fn factors(&self, at: Step) -> (f64, f64) {
        let (now, next) = (self.momentum(at.t), self.momentum(at.t.saturating_add(1)));
        let product = at.momentum_product * now;
        (
            self.lr * (1.0 - now) / (1.0 - product),
            self.lr * next / (1.0 - product * next),
        )
    }
}

impl Algorithm for NAdamConfig {
    const NAME: &'static str = "NAdam";

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

    fn scheduled_momentum(&self, t: u64) -> Option<f64> {
        Some(self.momentum(t))
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let (of_gradient, of_average) = self.factors(at);
        let (l2, decay) = if self.decoupled_weight_decay {
            (0.0, self.lr * self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        };
        let rule = Coefficients {
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(l2),
            keep: T::from_f64(1.0 - decay),
            beta1: T::from_f64(self.betas.0),
            one_minus_beta1: T::from_f64(1.0 - self.betas.0),
            beta2: T::from_f64(self.betas.1),
            one_minus_beta2: T::from_f64(1.0 - self.betas.1),
            root_scale: T::from_f64(1.0 / at.bias_correction(self.betas.1).sqrt()),
            eps: T::from_f64(self.eps),
            of_gradient: T::from_f64(of_gradient),
            of_average: T::from_f64(of_average),
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
        let (of_gradient, of_average) = self.factors(at);
        each(param, grad, state, |p, g, [m, v]| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled_weight_decay {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.betas.0) * *m + c(1.0 - self.betas.0) * g;
            *v = c(self.betas.1) * *v + c(1.0 - self.betas.1) * (g * g);
            let d = (*v / c(at.bias_correction(self.betas.1))).sqrt() + c(self.eps);
            *p -= c(of_gradient) * g / d;
            *p -= c(of_average) * *m / d;
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
        let (now, next) = (
            self.momentum(step.t),
            self.momentum(step.t.saturating_add(1)),
        );
        let product = step.momentum_product * now;
        let gradient_part = g.affine((1.0 - now) / (1.0 - product), 0.0)?;
        let average_part = tensors.state[0].affine(next / (1.0 - product * next), 0.0)?;
        let root = 1.0 / step.bias_correction(beta2).sqrt();
        let denominator = tensors.state[1].sqrt()?.affine(root, self.eps)?;
        let direction = ((gradient_part + average_part)? / denominator)?;
        descend(
            &tensors.param.affine(1.0 - shrink, 0.0)?,
            self.lr,
            &direction,
        )
    }
}
