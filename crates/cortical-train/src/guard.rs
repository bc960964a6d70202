//! What is no number: where it came up first, and how the network is kept clean of it.

use candle_core::{DType, Tensor};
use cortical_neuron::{Buffer, Layer, Observer, Params, Pass};
use cortical_tensor::Rng;

use crate::{Error, Result};

/// The place of what is no number before the network has seen it.
pub(crate) const INPUTS: &str = "the inputs";

/// Why the batches of a step make no step.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The loss is infinite or no number.
    Loss(f64),
    /// Something else went wrong, which nothing can mend.
    Error(Box<Error>),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// Where a loss that is no number came up first: the step's first inputs go forward once more, with the same random numbers and somebody
/// looking on.
pub(crate) fn place(
    params: &Params,
    network: &impl Layer,
    rng: &Rng,
    inputs: &Tensor,
) -> Result<String> {
    if let Some(name) = broken_weight(params)? {
        return Ok(format!("the parameter {name}"));
    }
    if !is_finite(inputs)? {
        return Ok(INPUTS.to_owned());
    }
    let place = broken_output(network, inputs, Some(rng))?;
    Ok(place.unwrap_or_else(|| "the loss itself".to_owned()))
}

/// The first layer whose output is no number: in training with these random numbers, or in evaluation.
pub(crate) fn broken_output(
    network: &impl Layer,
    inputs: &Tensor,
    rng: Option<&Rng>,
) -> Result<Option<String>> {
    let mut first = First::default();
    let mut rng = rng.cloned();
    let pass = rng.as_mut().map_or_else(Pass::eval, Pass::train);
    network.forward(inputs, &mut pass.observed_by(&mut first))?;
    Ok(first.layer.map(|layer| format!("the output of {layer}")))
}

/// Remembers the first layer whose output is no number.
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

fn is_finite(tensor: &Tensor) -> Result<bool> {
    let wide = tensor.detach().to_dtype(DType::F32)?;
    let values = wide.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().all(|x| x.is_finite()))
}

/// The first parameter or buffer that holds something that is no number.
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
