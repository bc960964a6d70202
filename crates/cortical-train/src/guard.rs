//! What is non-finite: where it came up first, and how the network is kept clean of it.

use candle_core::{DType, Tensor};
use cortical_neuron::{Buffer, Observer, Params, Pass};
use cortical_tensor::Rng;

use crate::Result;

/// The place of what is non-finite before the network has seen it.
pub(crate) const INPUTS: &str = "the inputs";

/// The place of what comes up nowhere before.
pub(crate) const LOSS: &str = "the loss itself";

/// Where something non-finite comes up first on the way that `forward` goes to a loss or to scores: in training with
/// these random numbers, or in evaluation.
pub(crate) fn broken_output(
    rng: Option<&Rng>,
    forward: impl FnOnce(&mut Pass<'_>) -> Result<Tensor>,
) -> Result<Option<String>> {
    let mut first = First::default();
    let mut rng = rng.cloned();
    let pass = rng.as_mut().map_or_else(Pass::eval, Pass::train);
    let end = forward(&mut pass.observed_by(&mut first))?;
    Ok(match first.layer {
        Some(layer) => Some(format!("the output of {layer}")),
        None => (!is_finite(&end)?).then(|| LOSS.to_owned()),
    })
}

/// Remembers the first layer whose output is non-finite.
#[derive(Default)]
struct First {
    layer: Option<String>,
}

impl Observer for First {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        if self.layer.is_none() && !is_finite(output).unwrap_or(true) {
            self.layer = Some(layer.to_owned());
        }
    }
}

pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    let wide = tensor.detach().to_dtype(DType::F32)?;
    let values = wide.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().all(|x| x.is_finite()))
}

/// The first parameter or buffer that holds something non-finite.
pub(crate) fn broken_weight(params: &Params) -> Result<Option<String>> {
    for (name, tensor) in params.named_tensors() {
        if tensor.dtype().is_float() && !is_finite(&tensor)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The buffers (running statistics) as they are: a forward pass replaces them, so that these stay as they were.
pub(crate) fn buffers(params: &Params) -> Vec<(Buffer, Tensor)> {
    let buffers = params.buffers().into_iter();
    buffers
        .map(|buffer| {
            let tensor = buffer.tensor();
            (buffer, tensor)
        })
        .collect()
}

/// Puts buffers back.
pub(crate) fn restore(buffers: Vec<(Buffer, Tensor)>) -> Result<()> {
    for (buffer, tensor) in buffers {
        buffer.set(&tensor)?;
    }
    Ok(())
}
