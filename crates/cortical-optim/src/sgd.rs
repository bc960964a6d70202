//! Stochastic gradient descent.

use crate::Engine;
use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, finite, from_zero};
use candle_core::Tensor;
use cortical_kernels::optimizer::{Rule, each, run};
use cortical_kernels::real::Real;
use cortical_settings::{Broken, settings};
use serde::{Deserialize, Serialize};

/// Stochastic gradient descent, with momentum, dampening and Nesterov's look ahead.
///
/// ```text
/// g ← g + λ p
/// b ← μ b + (1 − τ) g        (b ← g at the first step)
/// p ← p − lr · b             (p ← p − lr (g + μ b) with Nesterov's momentum, p ← p − lr g without any)
/// ```
///
/// States: `momentum_buffer` (b) if the momentum is not zero.
///
/// # Source
/// Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Sutskever et al., "On the
/// importance of initialization and momentum in deep learning" (2013), section 2.
pub type Sgd = Engine<SgdConfig>;

settings! {
    /// Hyperparameters of [`Sgd`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct SgdConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// μ, the share of the last direction that is kept, 0.
        pub momentum: f64 = 0.0, "share of the last direction that is kept", from_zero();
        /// τ, the share of the gradient that does not enter the momentum, 0.
        pub dampening: f64 = 0.0, "share of the gradient that does not enter the momentum", finite();
        /// λ, added to the gradient times the parameter, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away, or added to its gradient", from_zero();
        /// Whether to look ahead along the momentum; needs a momentum and no dampening.
        pub nesterov: bool = false, "true: look ahead along the momentum";
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
    check = Self::nesterov_fits;
}

/// The constants of one step; `LOOK_AHEAD` is Nesterov's variant.
#[derive(Clone, Copy)]
struct Coefficients<T, const LOOK_AHEAD: bool> {
    lr: T,
    scale: T,
    l2: T,
    momentum: T,
    share: T,
}

impl<T: Real> Rule<T, 0> for Coefficients<T, false> {
    #[inline(always)]
    fn update(&self, p: T, g: T, _: [T; 0]) -> (T, [T; 0]) {
        let g = self.scale * g + self.l2 * p;
        (p - self.lr * g, [])
    }
}

impl<T: Real, const LOOK_AHEAD: bool> Rule<T, 1> for Coefficients<T, LOOK_AHEAD> {
    #[inline(always)]
    fn update(&self, p: T, g: T, [b]: [T; 1]) -> (T, [T; 1]) {
        let g = self.scale * g + self.l2 * p;
        let b = self.momentum * b + self.share * g;
        let direction = if LOOK_AHEAD { g + self.momentum * b } else { b };
        (p - self.lr * direction, [b])
    }
}

impl SgdConfig {
    /// Nesterov's momentum needs one, whole.
    fn nesterov_fits(&self) -> Option<Broken> {
        if !self.nesterov {
            None
        } else if self.momentum <= 0.0 {
            let expected = "above 0 with Nesterov's momentum";
            Some(Broken::new("momentum", expected, self.momentum))
        } else if self.dampening != 0.0 {
            let expected = "0 with Nesterov's momentum";
            Some(Broken::new("dampening", expected, self.dampening))
        } else {
            None
        }
    }

    fn coefficients<T: Real, const LOOK_AHEAD: bool>(
        &self,
        at: Step,
    ) -> Coefficients<T, LOOK_AHEAD> {
        Coefficients {
            lr: T::from_f64(self.lr),
            scale: T::from_f64(at.factor(self.maximize)),
            l2: T::from_f64(self.weight_decay),
            momentum: T::from_f64(self.momentum),
            // The first gradient enters whole; the momentum is zero then.
            share: T::from_f64(if at.t == 1 { 1.0 } else { 1.0 - self.dampening }),
        }
    }
}

impl Algorithm for SgdConfig {
    const NAME: &'static str = "SGD";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn state_names(&self, _: &[usize]) -> Vec<&'static str> {
        if self.momentum == 0.0 {
            Vec::new()
        } else {
            vec!["momentum_buffer"]
        }
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        _: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        if self.momentum == 0.0 {
            run::<T, _, 0>(self.coefficients::<T, false>(at), param, grad, state);
        } else if self.nesterov {
            run::<T, _, 1>(self.coefficients::<T, true>(at), param, grad, state);
        } else {
            run::<T, _, 1>(self.coefficients::<T, false>(at), param, grad, state);
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
        let decayed = |p: T, g: T| at.gradient(self.maximize, g) + c(self.weight_decay) * p;
        if self.momentum == 0.0 {
            each(param, grad, state, |p, g, []| {
                *p -= c(self.lr) * decayed(*p, g);
            });
            return;
        }
        each(param, grad, state, |p, g, [b]| {
            let g = decayed(*p, g);
            *b = if at.t == 1 {
                g
            } else {
                c(self.momentum) * *b + c(1.0 - self.dampening) * g
            };
            let direction = if self.nesterov {
                g + c(self.momentum) * *b
            } else {
                *b
            };
            *p -= c(self.lr) * direction;
        });
    }

    fn fallback(&self, step: Step, mut tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let g = tensors.gradient(self.maximize, self.weight_decay)?;
        if self.momentum == 0.0 {
            return descend(tensors.param, self.lr, &g);
        }
        let share = if step.t == 1 {
            1.0
        } else {
            1.0 - self.dampening
        };
        tensors.decay(0, self.momentum, &g, share)?;
        let b = &tensors.state[0];
        if self.nesterov {
            let direction = (g + b.affine(self.momentum, 0.0)?)?;
            descend(tensors.param, self.lr, &direction)
        } else {
            descend(tensors.param, self.lr, b)
        }
    }
}
