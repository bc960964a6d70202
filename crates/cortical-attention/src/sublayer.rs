//! What the sublayers of a decoder block share: the norm's scale, and showing the inside to an observer.

use candle_core::Tensor;
use cortical_neuron::{Error, Param, Pass, Result, RmsNorm};
use cortical_tensor::ops::Sublayer;

/// The scale of a norm that stands before a sublayer, as a fused operation takes it.
pub(crate) fn scale(norm: &RmsNorm) -> Result<&Param> {
    norm.weight().ok_or_else(|| Error::Option {
        option: "norm",
        expected: "a norm with a scale",
        got: format!("none at {}", norm.name()),
    })
}

/// Shows the observer what the norm and the layer behind it have computed, and returns the sublayer's output.
pub(crate) fn show(
    sublayer: Sublayer,
    norm: &str,
    layer: &str,
    pass: &mut Pass<'_>,
) -> Result<Tensor> {
    for (name, inside) in [(norm, sublayer.normed), (layer, sublayer.branch)] {
        if let Some(inside) = inside {
            pass.observe(name, inside)?;
        }
    }
    Ok(sublayer.output)
}
