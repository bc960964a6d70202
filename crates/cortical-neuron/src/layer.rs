//! The trait of layers, and their form for candle programs.

use crate::{Pass, Result};
use candle_core::Tensor;

/// A part of a network that maps one tensor to another.
///
/// Layers with several inputs or outputs (recurrence, attention) have methods of their own beside this trait.
pub trait Layer {
    /// The output for `x` in this pass.
    ///
    /// # Errors
    /// When the shape or dtype of `x` does not fit; the error says in which layer.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor>;

    /// This layer as a [`candle_core::Module`], which always evaluates.
    fn as_module(&self) -> AsModule<'_, Self>
    where
        Self: Sized,
    {
        AsModule(self)
    }
}

/// A layer as a [`candle_core::Module`]; see [`Layer::as_module`].
#[derive(Clone, Copy, Debug)]
pub struct AsModule<'a, L>(&'a L);

impl<L: Layer> candle_core::Module for AsModule<'_, L> {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.0.forward(x, &mut Pass::eval())?)
    }
}
