//! How weights are read from files, whatever their format.

use candle_core::{DType, Tensor};
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use cortical_neuron::Adapters;
use std::sync::Arc;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// How weights lie in memory; as [`Weights::Stored`] by default.
    pub weights: Weights,
    /// Low-rank changes of projections; none by default. Quantized weights take none.
    pub adapters: Option<Adapters>,
    /// What new parameters are drawn from.
    pub seed: u64,
    /// Leave the head over tokens out, and any other head that the files have: for a model that gets a head of its own.
    pub headless: bool,
    /// Draw a head over classes anew where the files have one: for other classes than theirs.
    pub new_head: bool,
}

/// How a model's weights lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Quantized where the file has them quantized (GGUF), sparse where it has them sparse, else in single precision.
    #[default]
    Stored,
    /// In single precision, as training has them.
    Single,
    /// As `bf16` parameters, which can be trained too: half the memory, three digits.
    Bf16,
    /// Quantized like this.
    Quantized(Format),
}

/// `map_err` for a tensor that a source cannot give.
pub(crate) fn unreadable<E>(name: &str) -> impl FnOnce(E) -> cortical_neuron::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| cortical_neuron::Error::Source {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// Weights in single precision, quantized.
pub(crate) fn quantize(
    name: &str,
    tensor: &Tensor,
    format: Format,
) -> cortical_neuron::Result<Arc<QuantizedMatrix>> {
    let (rows, cols) = tensor.dims2()?;
    let weights = tensor
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let quantized = QuantizedMatrix::quantize(format, rows, cols, &weights);
    Ok(Arc::new(quantized.map_err(unreadable(name))?))
}
