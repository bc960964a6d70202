//! Dense layers, activations, softmax, dropout and flattening.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Dropout, Params};
use cortical_tensor::ops;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
        "Linear" => {
            let sizes = (config.size("in_features")?, config.size("out_features")?);
            let bias = config.bool("bias", true)?;
            simple(
                Linear::config(sizes.0, sizes.1)
                    .bias(bias)
                    .build(&params.root())?,
            )
        }
        "Dropout" => {
            config.no_matter("inplace");
            let p = dropout_rate(config, given.train)?;
            simple(Dropout::new(p, &params.at("dropout"))?)
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
    if let Some(activation) = activation(name, config)? {
        return Ok(Some(ops::activate(given.input(0)?, activation)?.into()));
    }
    let x = given.input(0)?;
    let made = match name {
        "Linear" => {
            for size in ["in_features", "out_features"] {
                config.size(size)?;
            }
            config.bool("bias", true)?;
            let bias = given.param_opt("bias").map(Into::into);
            ops::linear(x, given.param("weight")?, bias, Activation::Identity)?
        }
        "PReLU" => {
            config.usize("num_parameters", 1)?;
            config.no_matter("init");
            ops::prelu(x, given.param("weight")?)?
        }
        "Softmax" => ops::softmax(x, axis(config, x.rank())?)?,
        "LogSoftmax" => ops::log_softmax(x, axis(config, x.rank())?)?,
        "Softmin" => ops::softmax(&x.neg()?, axis(config, x.rank())?)?,
        "Flatten" => {
            let rank = x.rank() as i64;
            let from_end = |dim: i64| if dim < 0 { dim + rank } else { dim };
            let (start, end) = (config.i64("start_dim", 1)?, config.i64("end_dim", -1)?);
            x.flatten(from_end(start) as usize, from_end(end) as usize)?
        }
        "Identity" => x.clone(),
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

/// PyTorch's `dim`, which must be there and may count from the end.
fn axis(config: &Config<'_>, rank: usize) -> Result<usize, Stop> {
    let dim = config.i64("dim", i64::MIN)?;
    let from_end = if dim < 0 { dim + rank as i64 } else { dim };
    usize::try_from(from_end).map_err(|_| Stop::Malformed {
        what: "config.dim".to_string(),
    })
}

/// The probability of dropping; while training it must be zero, as no two libraries drop the same elements.
pub(crate) fn dropout_rate(config: &Config<'_>, train: bool) -> Result<f64, Stop> {
    let p = config.f64("p", 0.5)?;
    if train && p > 0.0 {
        return config.refuse("p");
    }
    Ok(p)
}

fn activation(name: &str, config: &Config<'_>) -> Result<Option<Activation>, Stop> {
    let activation = match name {
        "ReLU" => Activation::Relu,
        "ReLU6" => Activation::Relu6,
        "LeakyReLU" => Activation::LeakyRelu {
            slope: config.f64("negative_slope", 0.01)?,
        },
        "ELU" => Activation::Elu {
            alpha: config.f64("alpha", 1.0)?,
        },
        "SELU" => Activation::Selu,
        "CELU" => Activation::Celu {
            alpha: config.f64("alpha", 1.0)?,
        },
        "GELU" => match config.text("approximate", "none")? {
            "none" => Activation::Gelu,
            "tanh" => Activation::GeluTanh,
            _ => return config.refuse("approximate"),
        },
        "SiLU" => Activation::Silu,
        "Mish" => Activation::Mish,
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus {
            beta: config.f64("beta", 1.0)?,
            threshold: config.f64("threshold", 20.0)?,
        },
        "Softsign" => Activation::Softsign,
        "Hardswish" => Activation::Hardswish,
        "Hardsigmoid" => Activation::Hardsigmoid,
        "Hardtanh" => Activation::Hardtanh {
            low: config.f64("min_val", -1.0)?,
            high: config.f64("max_val", 1.0)?,
        },
        "LogSigmoid" => Activation::LogSigmoid,
        "Tanhshrink" => Activation::Tanhshrink,
        "Hardshrink" => Activation::Hardshrink {
            lambda: config.f64("lambd", 0.5)?,
        },
        "Softshrink" => Activation::Softshrink {
            lambda: config.f64("lambd", 0.5)?,
        },
        "Threshold" => Activation::Threshold {
            threshold: required(config, "threshold")?,
            value: required(config, "value")?,
        },
        _ => return Ok(None),
    };
    config.no_matter("inplace");
    Ok(Some(activation))
}

/// A number without which the subject cannot be made.
fn required(config: &Config<'_>, key: &'static str) -> Result<f64, Stop> {
    config.f64_opt(key)?.ok_or_else(|| Stop::Malformed {
        what: format!("config.{key}"),
    })
}
