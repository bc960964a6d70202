//! What makes one optimizer different from another.

use candle_core::Tensor;
use cortical_kernels::real::Real;
use cortical_settings::{Rule, Settings, rule};
use std::fmt::Debug;

use crate::{Error, Result};

/// An update rule with its hyperparameters: the configuration of an [`Engine`](crate::Engine).
///
/// It holds the rule three times: fused for the CPU, as its paper writes it, which is the reference of the fused one,
/// and in candle's operations for every other device.
pub trait Algorithm: Settings + Debug + Send + Sync + 'static {
    /// The name that errors show.
    const NAME: &'static str;

    /// The hyperparameters that groups and schedules change.
    fn rates(&mut self) -> Rates<'_>;

    /// Checks the hyperparameters.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`].
    fn validate(&self) -> Result<()> {
        let broken = self.broken().map(|broken| Error::Hyperparameter {
            algorithm: Self::NAME,
            option: broken.field,
            expected: broken.expected,
            got: broken.found,
        });
        broken.map_or(Ok(()), Err)
    }

    /// Whether the rule is made for a parameter of this shape.
    fn accepts(&self, _dims: &[usize]) -> bool {
        true
    }

    /// The names of the states of a parameter of this shape, in the order in which the updates take them.
    fn state_names(&self, dims: &[usize]) -> Vec<&'static str>;

    /// What states hold before the first step.
    fn initial_state(&self) -> f64 {
        0.0
    }

    /// The momentum of step `t`, for an algorithm whose steps depend on the product of all of them so far.
    fn scheduled_momentum(&self, _t: u64) -> Option<f64> {
        None
    }

    /// One step of a parameter of shape `dims`, in one pass over its slices and those of its states.
    ///
    /// # Panics
    /// If there are not as many state slices as names, or the lengths differ.
    fn fused<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    );

    /// The same as [`fused`](Self::fused), written as its paper writes it.
    ///
    /// # Panics
    /// As [`fused`](Self::fused).
    fn naive<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    );

    /// The same in candle's operations, for devices without kernels of ours: the states are replaced and the new
    /// parameter returned. The gradient is scaled already.
    ///
    /// # Errors
    /// candle's.
    fn fallback(&self, at: Step, tensors: Tensors<'_>) -> candle_core::Result<Tensor>;
}

/// The hyperparameters that groups and schedules change.
#[derive(Debug)]
pub struct Rates<'a> {
    /// The learning rate.
    pub lr: &'a mut f64,
    /// The weight decay.
    pub weight_decay: &'a mut f64,
    /// The momentum, or the decay of the average of gradients.
    pub momentum: Option<&'a mut f64>,
}

/// Which step of a parameter it is.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its number, counted from 1.
    pub t: u64,
    /// The product of the scheduled momenta of the steps before it, 1 at first.
    pub momentum_product: f64,
    /// By what the gradient is multiplied first: 1, or less where gradients are clipped by their norm without a pass of
    /// their own.
    pub grad_scale: f64,
}

impl Step {
    /// Step `t`, with the gradient as it is.
    #[must_use]
    pub fn number(t: u64) -> Self {
        Self {
            t,
            momentum_product: 1.0,
            grad_scale: 1.0,
        }
    }

    /// What a gradient is multiplied with: its scale, negated to climb.
    pub(crate) fn factor(self, maximize: bool) -> f64 {
        if maximize {
            -self.grad_scale
        } else {
            self.grad_scale
        }
    }

    /// The gradient that counts, for the naive updates.
    pub(crate) fn gradient<T: Real>(self, maximize: bool, g: T) -> T {
        let g = T::from_f64(self.grad_scale) * g;
        if maximize { -g } else { g }
    }

    /// `1 − βᵗ`, what a running average that began at zero must be divided by.
    #[must_use]
    pub fn bias_correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.t as f64)
    }
}

/// What a step in candle's operations works on: all in `f32` or `f64` and outside any graph.
#[derive(Debug)]
pub struct Tensors<'a> {
    /// The parameter.
    pub param: &'a Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The states.
    pub state: &'a mut [Tensor],
}

impl Tensors<'_> {
    /// The gradient that counts: negated to climb, with `l2` times the parameter added.
    pub(crate) fn gradient(&self, maximize: bool, l2: f64) -> candle_core::Result<Tensor> {
        let grad = if maximize {
            self.grad.neg()?
        } else {
            self.grad.clone()
        };
        if l2 == 0.0 {
            Ok(grad)
        } else {
            grad + self.param.affine(l2, 0.0)?
        }
    }

    /// `state[i] ← keep · state[i] + share · x`
    pub(crate) fn decay(
        &mut self,
        i: usize,
        keep: f64,
        x: &Tensor,
        share: f64,
    ) -> candle_core::Result<()> {
        self.state[i] = (self.state[i].affine(keep, 0.0)? + x.affine(share, 0.0)?)?;
        Ok(())
    }
}

/// `p − lr · x`
pub(crate) fn descend(p: &Tensor, lr: f64, x: &Tensor) -> candle_core::Result<Tensor> {
    p - x.affine(lr, 0.0)?
}

/// Refuses a hyperparameter that is outside its range.
pub(crate) fn check(
    algorithm: &'static str,
    option: &str,
    expected: &str,
    holds: bool,
    got: f64,
) -> Result<()> {
    if holds && got.is_finite() {
        Ok(())
    } else {
        Err(Error::Hyperparameter {
            algorithm,
            option: option.to_owned(),
            expected: expected.to_owned(),
            got: got.to_string(),
        })
    }
}

/// Refuses what is negative, infinite or NaN.
pub(crate) fn not_negative(algorithm: &'static str, options: &[(&str, f64)]) -> Result<()> {
    options.iter().try_for_each(|(option, got)| {
        check(algorithm, option, "a number from 0 up", *got >= 0.0, *got)
    })
}

/// `x ≥ 0`, finite
pub(crate) fn from_zero() -> Rule<f64> {
    rule("a number from 0 up", |x: &f64| *x >= 0.0 && x.is_finite())
}

/// Neither NaN nor infinite.
pub(crate) fn finite() -> Rule<f64> {
    rule("a finite number", |x: &f64| x.is_finite())
}

/// `0 ≤ x ≤ 1`
pub(crate) fn unit() -> Rule<f64> {
    rule("from 0 to 1", |x: &f64| (0.0..=1.0).contains(x))
}

/// Decays of averages: `0 ≤ x < 1`, both.
pub(crate) fn share_pair() -> Rule<(f64, f64)> {
    rule("two shares from 0 to below 1", |(a, b): &(f64, f64)| {
        [a, b].iter().all(|x| (0.0..1.0).contains(*x))
    })
}

#[cfg(test)]
pub(crate) mod tests;
