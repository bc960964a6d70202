//! Adam: steps scaled by running averages of the gradient and of its square.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// Adam, with weight decay as an L2 penalty in the gradient.
///
/// ```text
/// g ← g + λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `amsgrad` the largest `v` so far takes the place of `v` in the last line. States: `exp_avg` (m), `exp_avg_sq`
/// (v), `max_exp_avg_sq`. For weight decay that is not scaled away use [`AdamW`](crate::AdamW).
///
/// # Source
/// Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; Reddi et al., "On the convergence
/// of Adam and beyond" (2018), algorithm 2.
pub type Adam = Engine<AdamConfig>;

settings! {
    /// Hyperparameters of [`Adam`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AdamConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether weight decay acts on the parameter and not on the gradient, as in [`AdamW`](crate::AdamW).
        pub decoupled_weight_decay: bool = false, "true: weight decay acts on the parameter itself";
        /// Whether the denominator uses the largest `v` so far.
        pub amsgrad: bool = false, "true: divide by the largest mean of squares so far";
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
    step_size: T,
}

impl<T: Real> Coefficients<T> {
    /// The parameter after weight decay, and both averages.
    #[inline(always)]
    fn averages(&self, p: T, g: T, m: T, v: T) -> (T, T, T) {
        let g = self.scale * g + self.l2 * p;
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + self.one_minus_beta2 * g * g;
        (self.keep * p, m, v)
    }

    #[inline(always)]
    fn moved(&self, p: T, m: T, v: T) -> T {
        p - self.step_size * m / (v.sqrt() * self.root_scale + self.eps)
    }
}

impl<T: Real> Rule<T, 2> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let (p, m, v) = self.averages(p, g, m, v);
        (self.moved(p, m, v), [m, v])
    }
}

impl<T: Real> Rule<T, 3> for Coefficients<T> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [m, v, largest]: [T; 3]) -> (T, [T; 3]) {
        let (p, m, v) = self.averages(p, g, m, v);
        let largest = v.maximum(largest);
        (self.moved(p, m, largest), [m, v, largest])
    }
}

impl AdamConfig {
    fn coefficients<T: Real>(&self, at: Step) -> Coefficients<T> {
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
            root_scale: T::from_f64(1.0 / at.bias_correction(self.betas.1).sqrt()),
            eps: T::from_f64(self.eps),
            step_size: T::from_f64(self.lr / at.bias_correction(self.betas.0)),
        }
    }
}

impl Algorithm for AdamConfig {
    const NAME: &'static str = "Adam";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        state_names(self.amsgrad)
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        let rule = self.coefficients(at);
        if self.amsgrad {
            run::<T, _, 3>(rule, param, grad, state);
        } else {
            run::<T, _, 2>(rule, param, grad, state);
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
        let update = |p: &mut T, g: T, m: &mut T, v: &mut T, largest: Option<&mut T>| {
            let mut g = at.gradient(self.maximize, g);
            if self.decoupled_weight_decay {
                *p -= c(self.lr * self.weight_decay) * *p;
            } else {
                g += c(self.weight_decay) * *p;
            }
            *m = c(self.betas.0) * *m + c(1.0 - self.betas.0) * g;
            *v = c(self.betas.1) * *v + c(1.0 - self.betas.1) * g * g;
            let v = match largest {
                Some(largest) => {
                    *largest = largest.maximum(*v);
                    *largest
                }
                None => *v,
            };
            let m_hat = *m / c(at.bias_correction(self.betas.0));
            let v_hat = v / c(at.bias_correction(self.betas.1));
            *p -= c(self.lr) * m_hat / (v_hat.sqrt() + c(self.eps));
        };
        if self.amsgrad {
            each(param, grad, state, |p, g, [m, v, largest]| {
                update(p, g, m, v, Some(largest));
            });
        } else {
            each(param, grad, state, |p, g, [m, v]| update(p, g, m, v, None));
        }
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
        let mut v = tensors.state[1].clone();
        if self.amsgrad {
            v = tensors.state[2].maximum(&v)?;
            tensors.state[2] = v.clone();
        }
        let root = 1.0 / step.bias_correction(beta2).sqrt();
        let direction = (&tensors.state[0] / v.sqrt()?.affine(root, self.eps)?)?;
        let step_size = self.lr / step.bias_correction(beta1);
        descend(
            &tensors.param.affine(1.0 - shrink, 0.0)?,
            step_size,
            &direction,
        )
    }
}

/// Of Adam and AdamW, which differ in one flag.
pub(crate) fn state_names(amsgrad: bool) -> Vec<&'static str> {
    let mut names = vec!["exp_avg", "exp_avg_sq"];
    if amsgrad {
        names.push("max_exp_avg_sq");
    }
    names
}
