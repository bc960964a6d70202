//! What a training loop needs to know of an optimizer.

use crate::{Norm, Result};
use candle_core::Tensor;
use candle_core::backprop::GradStore;

/// What a step does about a trainable parameter that has no gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingGradient {
    /// Refuses the whole step, naming the parameters: a forgotten `backward` or a layer that is cut off is found at
    /// once.
    #[default]
    Refuse,
    /// Leaves the parameter and its state as they are, as PyTorch does where `grad` is `None`.
    Skip,
}

/// An optimizer over the parameters that it was made with.
///
/// Learning rates are those of the step to come: a loop with a schedule calls
/// `optimizer.set_lr(schedule.lr(step, base_lr))?` before each step.
pub trait Optimizer: Send {
    /// The algorithm's name.
    fn name(&self) -> &'static str;

    /// Moves every trainable parameter along its accumulated gradient, and uses the gradients up: their slots are empty
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::MissingGradient`](crate::Error::MissingGradient) unless such parameters are to be skipped,
    /// [`Error::Gradient`](crate::Error::Gradient), [`Error::NewParameters`](crate::Error::NewParameters); nothing was
    /// changed then.
    fn step(&mut self) -> Result<()>;

    /// As [`step`](Self::step), with the gradients scaled down so that their norm is at most `max_norm`; returns the
    /// norm they had.
    ///
    /// It moves the parameters as [`clip_grad_norm`](crate::clip_grad_norm) and then [`step`](Self::step) would, to the
    /// bit, but spares the pass over memory that writes the clipped gradients.
    ///
    /// # Errors
    /// As both of them; nothing was changed then.
    fn step_clipped(&mut self, max_norm: f64, norm: Norm) -> Result<f64>;

    /// As [`step`](Self::step), along the gradients times `scale`, which are widened to single precision first.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Error::Hyperparameter`](crate::Error::Hyperparameter) for a scale that is not
    /// finite.
    fn step_scaled(&mut self, scale: f64) -> Result<()>;

    /// As [`step`](Self::step), with the gradients in candle's own store in place of those in the parameters' slots.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    fn step_with(&mut self, grads: &GradStore) -> Result<()>;

    /// The learning rate of the next step; that of a group is this times its scale.
    fn lr(&self) -> f64;

    /// Sets the learning rate of the next steps.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`](crate::Error::Hyperparameter) if it is negative or not finite.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// Sets the momentum of the next steps, or the decay of the average of gradients (`betas.0`), in every group.
    ///
    /// # Errors
    /// [`Error::NoMomentum`](crate::Error::NoMomentum) for an algorithm without one,
    /// [`Error::Hyperparameter`](crate::Error::Hyperparameter) outside `[0, 1)` or where the configuration has a
    /// momentum of 0.
    fn set_momentum(&mut self, momentum: f64) -> Result<()>;

    /// Says what to do about parameters without a gradient.
    fn set_missing_gradient(&mut self, policy: MissingGradient);

    /// The most steps that any parameter has made.
    fn steps(&self) -> u64;

    /// Everything that the next steps depend on but weights, hyperparameters and gradients, as tensors named
    /// `{parameter}.{state}` with PyTorch's names of states. Each parameter has a `step`; the others appear with its
    /// first step.
    ///
    /// # Errors
    /// candle's, when a tensor cannot be made.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Puts the state back, whole or not at all; training then goes on with the same bits.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) lists everything that is missing, unknown or of another shape or dtype.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}
