//! What a case may be about, by PyTorch's names: how its layer is built and how its operation is called.
//!
//! Every family says `None` for a name that is not its own. An argument of PyTorch's constructor that a family does not
//! read makes the case skipped by name, so a family reads all that it knows.

mod attention;
mod basic;
mod conv;
mod function;
mod functional;
mod fused;
mod loss;
mod more;
mod norm;
mod sequence;

use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_neuron::{Layer, Params, Pass};

/// A layer's forward pass over a case's inputs.
pub(crate) type Forward = Box<dyn Fn(&[Tensor], &mut Pass<'_>) -> Result<Vec<Tensor>, Stop>>;

/// What an operation has made: outputs, and buffers after the call.
pub(crate) struct Made {
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) buffers: Vec<(&'static str, Tensor)>,
}

impl From<Tensor> for Made {
    fn from(output: Tensor) -> Self {
        Self {
            outputs: vec![output],
            buffers: Vec::new(),
        }
    }
}

/// The forward pass of a layer with one input and one output.
fn simple(layer: impl Layer + 'static) -> Forward {
    Box::new(move |inputs, pass| match inputs {
        [x] => Ok(vec![layer.forward(x, pass)?]),
        _ => Err(Stop::Malformed {
            what: "single input".to_string(),
        }),
    })
}

/// The layer of this name, built with the parameters of a whole model.
pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Option<Forward>, Stop> {
    if let Some(layer) = basic::layer(name, config, params, given)? {
        return Ok(Some(layer));
    }
    if let Some(layer) = conv::layer(name, config, params)? {
        return Ok(Some(layer));
    }
    if let Some(layer) = norm::layer(name, config, params)? {
        return Ok(Some(layer));
    }
    if let Some(layer) = attention::layer(name, config, params, given)? {
        return Ok(Some(layer));
    }
    sequence::layer(name, config, params, given)
}

/// What the operation of this name makes of what is given.
pub(crate) fn operation(
    kind: &str,
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    if kind == "loss" {
        return loss::operation(name, config, given);
    }
    let is_distance = matches!(name, "CosineSimilarity" | "PairwiseDistance");
    if (kind == "function" || is_distance)
        && let Some(made) = functional::operation(name, config, given)?
    {
        return Ok(Some(made));
    }
    for family in [
        basic::operation,
        conv::operation,
        norm::operation,
        sequence::operation,
        function::operation,
        fused::operation,
        more::operation,
    ] {
        if let Some(made) = family(name, config, given)? {
            return Ok(Some(made));
        }
    }
    Ok(None)
}
