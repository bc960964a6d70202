//! Layers that normalise: each set of elements gets mean 0 and variance 1, then a scale and shift of each channel.
//!
//! [`LayerNorm`] and [`RmsNorm`] normalise each row, [`BatchNorm`] each channel over the batch, [`GroupNorm`] groups of
//! channels in each sample, [`InstanceNorm`] each channel in each sample.

mod batch;
mod group;
mod instance;
mod rows;

pub use batch::{BatchNorm, BatchNormConfig};
pub use group::{GroupNorm, GroupNormConfig};
pub use instance::{InstanceNorm, InstanceNormConfig};
pub use rows::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};

use crate::description::{product, wrong_sample};
use crate::{Description, Init, Param, Pass, Result, Scope};
use candle_core::Tensor;
use cortical_tensor::Input;

/// Refuses an input whose second dimension is not a layer's channels.
fn check_channels(op: &'static str, x: &Tensor, channels: usize) -> Result<()> {
    if x.rank() >= 2 && x.dims()[1] == channels {
        return Ok(());
    }
    Err(cortical_tensor::Error::Shape {
        op,
        argument: "x",
        expected: format!("[n, {channels}, …]"),
        got: x.dims().to_vec(),
    }
    .into())
}

/// The scale and shift of each channel, where a layer has them.
#[derive(Clone, Debug, Default)]
struct Affine {
    weight: Option<Param>,
    bias: Option<Param>,
}

impl Affine {
    /// Makes `weight` of ones and `bias` of zeros, each if asked for.
    fn build(scope: &Scope, shape: &[usize], weight: bool, bias: bool) -> Result<Self> {
        Self::build_from(scope, shape, weight.then_some(1.0), bias)
    }

    /// As [`Self::build`], with a weight that begins at a number.
    fn build_from(scope: &Scope, shape: &[usize], weight: Option<f64>, bias: bool) -> Result<Self> {
        let make = |name: &str, value: Option<f64>| {
            value
                .map(|value| scope.param(name, shape, Init::Constant(value)))
                .transpose()
        };
        Ok(Self {
            weight: make("weight", weight)?,
            bias: make("bias", bias.then_some(0.0))?,
        })
    }

    /// A norm in numbers: `sample` must have as many channels at this place as there are.
    fn describe(
        &self,
        kind: &'static str,
        name: &str,
        sample: &[usize],
        (at, channels): (usize, usize),
        reads: &str,
    ) -> Result<Description> {
        if sample.get(at) != Some(&channels) {
            let expected = format!("[{channels}, …], a channel for each weight");
            return Err(wrong_sample("norm", expected, sample));
        }
        let description = self.described(kind, name, sample, reads);
        Ok(match at {
            0 => description.channels_first(),
            _ => description,
        })
    }

    fn described(
        &self,
        kind: &'static str,
        name: &str,
        sample: &[usize],
        reads: &str,
    ) -> Description {
        let formula = match (&self.weight, &self.bias) {
            (Some(w), Some(_)) => format!("a scale and a shift each = 2·{}", w.count()),
            (Some(w), None) => format!("a scale each = {}", w.count()),
            _ => String::new(),
        };
        let elements = product(sample);
        Description::new(kind, name, sample)
            .reads(reads)
            .parameters(self.weight.iter().chain(&self.bias), formula)
            .costs(elements, 0)
    }

    fn inputs(&self, pass: &Pass<'_>) -> [Option<Input<'_>>; 2] {
        [&self.weight, &self.bias].map(|p| p.as_ref().map(|p| p.input(pass)))
    }
}

#[cfg(test)]
mod tests;
