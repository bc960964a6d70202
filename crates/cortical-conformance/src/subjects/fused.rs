//! Operations that join several, under their own names: PyTorch has them only in parts (`case_fused.py`).

use super::Made;
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{DType, Device, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::rope::{Pairs, frequencies};
use cortical_tensor::ops::{
    self, AttentionSublayer, BatchNormOptions, CrossEntropy, FeedForward, Reduction, SublayerRotary,
};

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    let made = match name {
        "residual" => ops::residual(given.input(0)?, given.input(1)?, activation(config)?)?,
        "batch_norm_with" => {
            ops::batch_norm_with(given.input(0)?, &with_branch(config, given)?)?.output
        }
        "batch_norm_eval_with" => {
            let (mean, var) = (
                moment(given, "running_mean")?,
                moment(given, "running_var")?,
            );
            let options = with_branch(config, given)?;
            ops::batch_norm_eval_with(given.input(0)?, mean, var, &options)?
        }
        "feed_forward" => feed_forward(config, given)?,
        "attention_half" => attention_sublayer(config, given)?,
        "linear_cross_entropy" => linear_cross_entropy(config, given)?,
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

fn activation(config: &Config<'_>) -> Result<Activation, Stop> {
    Ok(match config.text("activation", "relu")? {
        "none" => Activation::Identity,
        "relu" => Activation::Relu,
        "silu" => Activation::Silu,
        "gelu" => Activation::Gelu,
        "tanh" => Activation::Tanh,
        _ => return config.refuse("activation"),
    })
}

fn moment<'a>(given: &'a Given, name: &str) -> Result<&'a Tensor, Stop> {
    given.extra(name).ok_or_else(|| Stop::Malformed {
        what: format!("extra.{name}"),
    })
}

fn with_branch<'a>(config: &Config<'_>, given: &'a Given) -> Result<BatchNormOptions<'a>, Stop> {
    Ok(BatchNormOptions {
        weight: Some(given.input(1)?.into()),
        bias: Some(given.input(2)?.into()),
        branch: Some(given.input(3)?.into()),
        eps: config.f64("eps", 1e-5)?,
        activation: activation(config)?,
    })
}

fn feed_forward(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let activation = match config.text("activation", "silu")? {
        "silu" => Activation::Silu,
        "gelu" => Activation::Gelu,
        _ => return config.refuse("activation"),
    };
    let sublayer = FeedForward {
        norm: given.input(1)?.into(),
        gate: given.input(2)?.into(),
        up: given.input(3)?.into(),
        down: given.input(4)?.into(),
        eps: config.f64("eps", 1e-5)?,
        activation,
        shows: false,
    };
    Ok(ops::feed_forward(given.input(0)?, sublayer)?.output)
}

fn attention_sublayer(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let x = given.input(0)?;
    let pairs = match config.bool("interleaved", false)? {
        true => Pairs::Neighbours,
        false => Pairs::Halves,
    };
    let base = config.f64("base", 10_000.0)?;
    let angles = match config.usize_opt("rotary_dim")? {
        Some(dim) => {
            let rows = 0..x.dim(1)?;
            let frequencies = frequencies(dim, base);
            Some(ops::rotary_angles(
                rows,
                &frequencies,
                DType::F32,
                &Device::Cpu,
            )?)
        }
        None => None,
    };
    let bias = match given.inputs.get(6..9) {
        Some([q, k, v]) => Some([q.into(), k.into(), v.into()]),
        _ => None,
    };
    let sublayer = AttentionSublayer {
        norm: given.input(1)?.into(),
        qkv: [
            given.input(2)?.into(),
            given.input(3)?.into(),
            given.input(4)?.into(),
        ],
        bias,
        out: given.input(5)?.into(),
        heads: config.size("heads")?,
        kv_heads: config.size("kv_heads")?,
        rotary: (angles.as_ref()).map(|(cos, sin)| SublayerRotary { cos, sin, pairs }),
        causal: config.bool("causal", true)?,
        eps: config.f64("eps", 1e-5)?,
        shows: false,
    };
    Ok(ops::attention_sublayer(x, sublayer)?.output)
}

fn linear_cross_entropy(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let options = CrossEntropy {
        weight: given.extra("class_weight").cloned(),
        ignore_index: Some(config.i64("ignore_index", -100)?),
        label_smoothing: config.f64("label_smoothing", 0.0)?,
        reduction: match config.text("reduction", "mean")? {
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            _ => return config.refuse("reduction"),
        },
    };
    let (x, labels, weight) = (given.input(0)?, given.input(1)?, given.input(2)?);
    let bias = given.inputs.get(3).map(Into::into);
    Ok(ops::linear_cross_entropy(
        x, weight, bias, labels, &options,
    )?)
}
