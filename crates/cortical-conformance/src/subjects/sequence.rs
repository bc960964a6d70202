//! Embedding, gated units, recurrence and attention.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{D, DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::{Gate, Packed};
use cortical_kernels::recurrent::Cell;
use cortical_neuron::{Embedding, Params};
use cortical_tensor::Input;
use cortical_tensor::ops::{self, Attention, RecurrentWeights, Time};
use serde_json::json;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
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
        "RNN" | "LSTM" | "GRU" => recurrent(name, config, given)?,
        "scaled_dot_product_attention" => dot_product_attention(config, given)?.into(),
        "MultiheadAttention" => {
            let heads = Heads::read(config, "num_heads", given)?;
            config.size("embed_dim")?;
            config.bool("bias", true)?;
            for key in ["kdim", "vdim"] {
                config.only(key, config_null())?;
            }
            for key in ["add_bias_kv", "add_zero_attn"] {
                config.only(key, json!(false))?;
            }
            let key = given.inputs.get(1).unwrap_or(x);
            let value = given.inputs.get(2).unwrap_or(key);
            heads.attend("", [x, key, value], given)?.into()
        }
        "TransformerEncoderLayer" => encoder_layer(config, given)?.into(),
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
        return Ok(ops::gated_packed(x, Gate::Sigmoid, Packed::GateLast)?);
    }
    let half = x.dim(dim)? / 2;
    let (value, gate) = (x.narrow(dim, 0, half)?, x.narrow(dim, half, half)?);
    Ok(ops::gated(&gate, &value, Gate::Sigmoid)?)
}

/// Every layer and direction in turn, as PyTorch stacks them.
fn recurrent(name: &str, config: &Config<'_>, given: &Given) -> Result<Made, Stop> {
    let cell = match (name, config.text("nonlinearity", "tanh")?) {
        ("LSTM", "tanh") => Cell::Lstm,
        ("GRU", "tanh") => Cell::Gru,
        ("RNN", "tanh") => Cell::RnnTanh,
        ("RNN", "relu") => Cell::RnnRelu,
        _ => return config.refuse("nonlinearity"),
    };
    config.size("input_size")?;
    config.bool("bias", true)?;
    let hidden = config.size("hidden_size")?;
    let layers = config.usize("num_layers", 1)?;
    let directions = 1 + usize::from(config.bool("bidirectional", false)?);
    let batch_first = config.bool("batch_first", false)?;
    if config.f64("dropout", 0.0)? > 0.0 && given.train && layers > 1 {
        return config.refuse("dropout");
    }
    config.only("proj_size", json!(0))?;
    let mut x = given.input(0)?.clone();
    if x.rank() != 3 {
        return config.refuse("batch_first");
    }
    let batch = x.dim(if batch_first { 0 } else { 1 })?;
    let first = |input: usize, i: usize| match given.inputs.get(input) {
        Some(state) => state.get(i),
        None => Tensor::zeros((batch, hidden), DType::F32, x.device()),
    };
    let starts = (0..layers * directions)
        .map(|i| Ok((first(1, i)?, first(2, i)?)))
        .collect::<Result<Vec<_>, Stop>>()?;
    let (mut h, mut c) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let mut sides = Vec::new();
        for direction in 0..directions {
            let (h_0, c_0) = &starts[layer * directions + direction];
            let suffix = format!("l{layer}{}", ["", "_reverse"][direction]);
            let param = |kind: &str| given.param(&format!("{kind}_{suffix}"));
            let bias = |kind: &str| {
                given
                    .param_opt(&format!("{kind}_{suffix}"))
                    .map(Input::from)
            };
            let weights = RecurrentWeights {
                w_ih: param("weight_ih")?.into(),
                w_hh: param("weight_hh")?.into(),
                b_ih: bias("bias_ih"),
                b_hh: bias("bias_hh"),
            };
            let time = Time {
                batch_first,
                reverse: direction == 1,
            };
            let c_0 = (cell == Cell::Lstm).then(|| c_0.into());
            let made = ops::recurrent(cell, &x, h_0, c_0, weights, time)?;
            sides.push(made.output);
            h.push(made.h);
            c.extend(made.c);
        }
        x = Tensor::cat(&sides, D::Minus1)?;
    }
    let mut outputs = vec![x, Tensor::stack(&h, 0)?];
    if !c.is_empty() {
        outputs.push(Tensor::stack(&c, 0)?);
    }
    Ok(Made {
        outputs,
        buffers: Vec::new(),
    })
}

/// PyTorch's function: leading dimensions may be one or two, masks broadcast.
fn dot_product_attention(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let (q, k, v) = (given.input(0)?, given.input(1)?, given.input(2)?);
    if given.train && config.f64("dropout_p", 0.0)? > 0.0 {
        return config.refuse("dropout_p");
    }
    config.no_matter("dropout_p");
    // Shared keys are seen from the shapes.
    config.bool("enable_gqa", false)?;
    let rank = q.rank();
    let four = |t: &Tensor| match t.rank() {
        4 => Ok(t.clone()),
        3 => t.unsqueeze(1),
        _ => t.unsqueeze(0)?.unsqueeze(0),
    };
    let mask = given
        .extra("attn_mask")
        .map(|mask| match (mask.rank(), rank) {
            (3, 3) => mask.unsqueeze(1),
            (3, _) => mask.unsqueeze(0),
            _ => four(mask),
        });
    let mask = mask.transpose()?;
    let options = Attention {
        scale: config.f64_opt("scale")?,
        causal: config.bool("is_causal", false)?.then_some(0),
        mask: mask.as_ref(),
        ..Default::default()
    };
    let y = ops::attention(&four(q)?, &four(k)?, &four(v)?, options)?;
    Ok(match rank {
        4 => y,
        3 => y.squeeze(1)?,
        _ => y.squeeze(0)?.squeeze(0)?,
    })
}

/// Multi-head attention from linear operations and attention, with PyTorch's packed parameters.
struct Heads {
    heads: usize,
    batch_first: bool,
}

impl Heads {
    fn read(config: &Config<'_>, key: &'static str, given: &Given) -> Result<Self, Stop> {
        if given.train && config.f64("dropout", 0.0)? > 0.0 {
            return config.refuse("dropout");
        }
        config.no_matter("dropout");
        Ok(Self {
            heads: config.size(key)?,
            batch_first: config.bool("batch_first", false)?,
        })
    }

    fn attend(&self, prefix: &str, inputs: [&Tensor; 3], given: &Given) -> Result<Tensor, Stop> {
        let param = |name: &str| given.param(&format!("{prefix}{name}"));
        let param_opt = |name: &str| given.param_opt(&format!("{prefix}{name}"));
        let (weight, bias) = (param("in_proj_weight")?, param_opt("in_proj_bias"));
        let embed = weight.dim(1)?;
        let mut projected = Vec::new();
        for (i, x) in inputs.into_iter().enumerate() {
            let x = if self.batch_first {
                x.clone()
            } else {
                x.transpose(0, 1)?
            };
            let weight = weight.narrow(0, i * embed, embed)?;
            let bias = bias.map(|b| b.narrow(0, i * embed, embed)).transpose()?;
            let y = ops::linear(
                &x,
                &weight,
                bias.as_ref().map(Into::into),
                Activation::Identity,
            )?;
            let (batch, steps, _) = y.dims3()?;
            let split = y.reshape((batch, steps, self.heads, embed / self.heads))?;
            projected.push(split.transpose(1, 2)?);
        }
        let y = ops::attention(
            &projected[0],
            &projected[1],
            &projected[2],
            Attention::default(),
        )?;
        let y = y.transpose(1, 2)?.contiguous()?.flatten_from(2)?;
        let bias = param_opt("out_proj.bias").map(Into::into);
        let y = ops::linear(&y, param("out_proj.weight")?, bias, Activation::Identity)?;
        Ok(if self.batch_first {
            y
        } else {
            y.transpose(0, 1)?
        })
    }
}

fn encoder_layer(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let heads = Heads::read(config, "nhead", given)?;
    config.size("d_model")?;
    config.usize("dim_feedforward", 2048)?;
    config.bool("bias", true)?;
    if given.train && config.f64("dropout", 0.1)? > 0.0 {
        return config.refuse("dropout");
    }
    let eps = config.f64("layer_norm_eps", 1e-5)?;
    let activation = match config.text("activation", "relu")? {
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        _ => return config.refuse("activation"),
    };
    let norm = |name: &str, x: &Tensor| -> Result<Tensor, Stop> {
        let weight = given.param(&format!("{name}.weight"))?;
        let bias = given.param_opt(&format!("{name}.bias")).map(Into::into);
        Ok(ops::layer_norm(
            x,
            weight.dims(),
            Some(weight.into()),
            bias,
            eps,
        )?)
    };
    let linear = |name: &str, x: &Tensor, activation| -> Result<Tensor, Stop> {
        let bias = given.param_opt(&format!("{name}.bias")).map(Into::into);
        Ok(ops::linear(
            x,
            given.param(&format!("{name}.weight"))?,
            bias,
            activation,
        )?)
    };
    let attend = |x: &Tensor| heads.attend("self_attn.", [x, x, x], given);
    let feed = |x: &Tensor| {
        let wide = linear("linear1", x, activation)?;
        linear("linear2", &wide, Activation::Identity)
    };
    let x = given.input(0)?;
    if config.bool("norm_first", false)? {
        let x = (x + attend(&norm("norm1", x)?)?)?;
        return Ok((&x + feed(&norm("norm2", &x)?)?)?);
    }
    let x = norm("norm1", &(x + attend(x)?)?)?;
    norm("norm2", &(&x + feed(&x)?)?)
}
