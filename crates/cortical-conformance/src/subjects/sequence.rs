//! Embedding, gated units and recurrence.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::Packed;
use cortical_neuron::{Embedding, Glu, Params};
use cortical_recurrent::{Gru, Lstm, Rnn, State};
use cortical_tensor::ops;
use serde_json::json;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
        "RNN" | "LSTM" | "GRU" => recurrent(name, config, params, given)?,
        "GLU" => simple(Glu::new(config.i64("dim", -1)?)),
        "Embedding" => {
            embedding_options(config)?;
            let sizes = (
                config.size("num_embeddings")?,
                config.size("embedding_dim")?,
            );
            let mut layer = Embedding::config(sizes.0, sizes.1);
            if let Some(row) = padding(config, sizes.0)? {
                layer = layer.padding_idx(row);
            }
            simple(layer.build(&params.root())?)
        }
        _ => return Ok(None),
    };
    Ok(Some(layer))
}

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    let x = given.input(0)?;
    let made = match name {
        "Embedding" => {
            embedding_options(config)?;
            config.size("embedding_dim")?;
            let rows = config.size("num_embeddings")?;
            ops::embedding(x, given.param("weight")?, padding(config, rows)?)?.into()
        }
        "GLU" => glu(x, config.i64("dim", -1)?)?.into(),
        "scaled_dot_product_attention" => super::attention::dot_product(config, given)?.into(),
        _ => return Ok(None),
    };
    Ok(Some(made))
}

fn config_null() -> serde_json::Value {
    serde_json::Value::Null
}

/// Options of PyTorch's embedding that we do not have.
fn embedding_options(config: &Config<'_>) -> Result<(), Stop> {
    config.only("max_norm", config_null())?;
    config.only("scale_grad_by_freq", json!(false))?;
    config.only("sparse", json!(false))?;
    config.no_matter("norm_type");
    Ok(())
}

fn padding(config: &Config<'_>, rows: usize) -> Result<Option<u32>, Stop> {
    match config.i64("padding_idx", i64::MIN)? {
        i64::MIN => Ok(None),
        row => {
            let row = if row < 0 { row + rows as i64 } else { row };
            u32::try_from(row)
                .map(Some)
                .or_else(|_| config.refuse("padding_idx"))
        }
    }
}

/// PyTorch's GLU: the first half of a dimension, gated by σ of the second.
fn glu(x: &Tensor, dim: i64) -> Result<Tensor, Stop> {
    let rank = x.rank() as i64;
    let dim = if dim < 0 { dim + rank } else { dim } as usize;
    if dim + 1 == x.rank() {
        return Ok(ops::gated_packed(x, Activation::Sigmoid, Packed::GateLast)?);
    }
    let half = x.dim(dim)? / 2;
    let (value, gate) = (x.narrow(dim, 0, half)?, x.narrow(dim, half, half)?);
    Ok(ops::gated(&gate, &value, Activation::Sigmoid)?)
}

/// RNN, LSTM or GRU: the sequence, then the states it begins with; lengths beside them.
fn recurrent(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Forward, Stop> {
    let sizes = (config.size("input_size")?, config.size("hidden_size")?);
    let made = match (name, config.text("nonlinearity", "tanh")?) {
        ("LSTM", "tanh") => Lstm::config(sizes.0, sizes.1),
        ("GRU", "tanh") => Gru::config(sizes.0, sizes.1),
        ("RNN", "tanh") => Rnn::config(sizes.0, sizes.1),
        ("RNN", "relu") => Rnn::config(sizes.0, sizes.1).relu(),
        _ => return config.refuse("nonlinearity"),
    };
    let layers = config.usize("num_layers", 1)?;
    if config.f64("dropout", 0.0)? > 0.0 && given.train && layers > 1 {
        return config.refuse("dropout");
    }
    let layer = made
        .num_layers(layers)
        .bias(config.bool("bias", true)?)
        .batch_first(config.bool("batch_first", false)?)
        .bidirectional(config.bool("bidirectional", false)?)
        .proj_size(config.usize("proj_size", 0)?)
        .dropout(config.f64("dropout", 0.0)?)
        .build(&params.root())?;
    let lengths = given.extra("lengths").cloned();
    let is_lstm = name == "LSTM";
    Ok(Box::new(move |inputs, pass| {
        let missing = || Stop::Malformed {
            what: "input.0".to_string(),
        };
        let x = inputs.first().ok_or_else(missing)?;
        let state = inputs.get(1).map(|h| State {
            h: h.clone(),
            c: inputs.get(2).cloned(),
        });
        if is_lstm && inputs.len() == 2 {
            return Err(Stop::Malformed {
                what: "input.2, the cells of the state".to_string(),
            });
        }
        let run = match &lengths {
            Some(lengths) => layer.run_packed_by(x, lengths, state.as_ref(), pass)?,
            None => layer.run(x, state.as_ref(), pass)?,
        };
        let outputs = [run.output, run.state.h].into_iter();
        Ok(outputs.chain(run.state.c).collect())
    }))
}
