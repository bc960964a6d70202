//! First values from elsewhere.

use crate::Result;
use candle_core::Tensor;
use cortical_kernels::constant::ConstantMatrix;
use cortical_kernels::quantized::QuantizedMatrix;
use std::fmt;
use std::sync::Arc;

/// Where a store takes the first values of its parameters from, in place of random numbers: a model file, for example.
///
/// A layer asks for its parameters by their full names while it is built, so a model is read once and never drawn.
pub trait Source: fmt::Debug + Send + Sync {
    /// The value of the parameter `name`, or `None` where it is to be drawn.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) when it is there and cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>>;

    /// The weights `name` of `[out, in]` quantized, in a form that products can be computed from, where there is one.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    fn quantized(&self, name: &str, shape: &[usize]) -> Result<Option<Arc<QuantizedMatrix>>> {
        let _ = (name, shape);
        Ok(None)
    }

    /// The weights `name` of `[out, in]` in any form that products can be computed from, where there is one: quantized,
    /// or with severed connections.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    fn constant(&self, name: &str, shape: &[usize]) -> Result<Option<Arc<dyn ConstantMatrix>>> {
        let quantized = self.quantized(name, shape)?;
        Ok(quantized.map(|matrix| matrix as Arc<dyn ConstantMatrix>))
    }
}
