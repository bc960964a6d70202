//! What makes one optimizer different from another.

use candle_core::Tensor;
use cortical_kernels::optimizer::Update;
use std::fmt::Debug;

use crate::{Error, Result};

/// An update rule with its hyperparameters: the configuration of an [`Engine`](crate::Engine).
///
/// It holds the rule twice: as a kernel for the CPU, and composed of candle's operations for every other device.
pub trait Algorithm: Clone + Debug + Send + Sync + 'static {
    /// The kernel.
    type Kernel: Update;

    /// The name that errors show.
    const NAME: &'static str;

    /// The hyperparameters that groups and schedules change.
    fn rates(&mut self) -> Rates<'_>;

    /// Checks the hyperparameters.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`].
    fn validate(&self) -> Result<()>;

    /// Whether the rule is made for a parameter of this shape.
    fn accepts(&self, _dims: &[usize]) -> bool {
        true
    }

    /// The names of the states of a parameter of this shape, in the kernel's order.
    fn state_names(&self, dims: &[usize]) -> Vec<&'static str>;

    /// What states hold before the first step.
    fn initial_state(&self) -> f64 {
        0.0
    }

    /// The momentum of step `t`, for an algorithm whose steps depend on the product of all of them so far.
    fn scheduled_momentum(&self, _t: u64) -> Option<f64> {
        None
    }

    /// The kernel of one step of a parameter of this shape.
    fn kernel(&self, step: Step, dims: &[usize]) -> Self::Kernel;

    /// The same step in candle's operations: the states are replaced and the new parameter returned.
    ///
    /// # Errors
    /// candle's.
    fn compose(&self, step: Step, tensors: Composed<'_>) -> candle_core::Result<Tensor>;
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
    /// By what the gradient is multiplied first. The engine sees to it.
    pub grad_scale: f64,
}

impl Step {
    /// `1 − βᵗ`
    #[must_use]
    pub fn bias_correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.t as f64)
    }
}

/// What a composed step works on: all in `f32` or `f64` and outside any graph.
#[derive(Debug)]
pub struct Composed<'a> {
    /// The parameter.
    pub param: &'a Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The states.
    pub state: &'a mut [Tensor],
}

impl Composed<'_> {
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
    option: &'static str,
    expected: &'static str,
    holds: bool,
    got: f64,
) -> Result<()> {
    if holds && got.is_finite() {
        Ok(())
    } else {
        Err(Error::Hyperparameter {
            algorithm,
            option,
            expected,
            got,
        })
    }
}

/// Refuses what is negative, infinite or no number.
pub(crate) fn not_negative(algorithm: &'static str, options: &[(&'static str, f64)]) -> Result<()> {
    options.iter().try_for_each(|(option, got)| {
        check(algorithm, option, "a number from 0 up", *got >= 0.0, *got)
    })
}

/// Refuses decays of averages outside `[0, 1)`.
pub(crate) fn check_betas(algorithm: &'static str, betas: (f64, f64)) -> Result<()> {
    for (option, beta) in [("betas.0", betas.0), ("betas.1", betas.1)] {
        let holds = (0.0..1.0).contains(&beta);
        check(algorithm, option, "at least 0 and below 1", holds, beta)?;
    }
    Ok(())
}
