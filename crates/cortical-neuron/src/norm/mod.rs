//! Layers that normalise: each set of elements gets mean 0 and variance 1, then a scale and shift of each channel.
//!
//! [`LayerNorm`] and [`RmsNorm`] normalise each row, [`BatchNorm`] each channel over the batch, [`GroupNorm`] groups of channels in each
//! sample, [`InstanceNorm`] each channel in each sample.

mod batch;
mod group;
mod rows;

pub use batch::{BatchNorm, BatchNormConfig};
pub use group::{GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig};
pub use rows::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};

use crate::{Init, Param, Pass, Result, Scope};
use cortical_tensor::Input;

/// The scale and shift of each channel, where a layer has them.
#[derive(Clone, Debug, Default)]
struct Affine {
    weight: Option<Param>,
    bias: Option<Param>,
}

impl Affine {
    /// Makes `weight` of ones and `bias` of zeros, each if asked for.
    fn build(scope: &Scope, shape: &[usize], weight: bool, bias: bool) -> Result<Self> {
        let make = |wanted: bool, name: &str, value: f64| {
            wanted
                .then(|| scope.param(name, shape, Init::Constant(value)))
                .transpose()
        };
        Ok(Self {
            weight: make(weight, "weight", 1.0)?,
            bias: make(bias, "bias", 0.0)?,
        })
    }

    fn inputs(&self, pass: &Pass<'_>) -> [Option<Input<'_>>; 2] {
        [&self.weight, &self.bias].map(|p| p.as_ref().map(|p| p.input(pass)))
    }
}

#[cfg(test)]
mod tests;
