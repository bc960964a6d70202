//! Dense layers, activations, softmax, dropout and flattening.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_dense::{Bilinear, Linear};
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout, Flatten, Identity,
    PRelu, Params, Pass, RRelu, Softmax, Unflatten,
};
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
        "Bilinear" => {
            let (i, j) = (config.size("in1_features")?, config.size("in2_features")?);
            let layer = Bilinear::config(i, j, config.size("out_features")?)
                .bias(config.bool("bias", true)?)
                .build(&params.root())?;
            Box::new(move |inputs: &[Tensor], pass: &mut Pass<'_>| match inputs {
                [a, b] => Ok(vec![layer.forward(a, b, pass)?]),
                _ => Err(Stop::Malformed {
                    what: "pair of inputs".to_string(),
                }),
            })
        }
        "Dropout"
        | "Dropout1d"
        | "Dropout2d"
        | "Dropout3d"
        | "AlphaDropout"
        | "FeatureAlphaDropout" => dropout(name, config, params, given)?,
        "Identity" => simple(Identity),
        "Flatten" => simple(Flatten::new(
            config.i64("start_dim", 1)?,
            config.i64("end_dim", -1)?,
        )),
        "Unflatten" => simple(Unflatten::new(
            config.i64("dim", 1)?,
            &config.whole_numbers("unflattened_size")?,
        )),
        "Softmax" => simple(Softmax::new(dim(config, given)?)),
        "LogSoftmax" => simple(Softmax::log(dim(config, given)?)),
        "Softmin" => simple(Softmax::min(dim(config, given)?)),
        "Softmax2d" => simple(Softmax::new(-3)),
        "PReLU" => {
            let slopes = config.usize("num_parameters", 1)?;
            simple(PRelu::new(
                slopes,
                config.f64("init", 0.25)?,
                &params.root(),
            )?)
        }
        "RReLU" => {
            config.no_matter("inplace");
            let bounds = (config.f64("lower", 0.125)?, config.f64("upper", 1.0 / 3.0)?);
            if given.train && bounds.0 < bounds.1 {
                return config.refuse("upper");
            }
            simple(RRelu::new(bounds.0, bounds.1, &params.at("rrelu"))?)
        }
        _ => match activation(name, config)? {
            Some(activation) => simple(activation),
            None => return Ok(None),
        },
    };
    Ok(Some(layer))
}

/// Every kind of dropout.
fn dropout(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Forward, Stop> {
    config.no_matter("inplace");
    let p = dropout_rate(config, given.train)?;
    let at = params.at("dropout");
    Ok(match name {
        "Dropout1d" => simple(Dropout1d::new(p, &at)?),
        "Dropout2d" => simple(Dropout2d::new(p, &at)?),
        "Dropout3d" => simple(Dropout3d::new(p, &at)?),
        "AlphaDropout" => simple(AlphaDropout::new(p, &at)?),
        "FeatureAlphaDropout" => simple(FeatureAlphaDropout::new(p, &at)?),
        _ => simple(Dropout::new(p, &at)?),
    })
}

/// PyTorch's `dim`; without one it is 0 for ranks 0, 1 and 3, otherwise 1.
fn dim(config: &Config<'_>, given: &Given) -> Result<i64, Stop> {
    let rank = given.input(0)?.rank();
    config.i64("dim", if matches!(rank, 0 | 1 | 3) { 0 } else { 1 })
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
        "Softmax" | "LogSoftmax" | "Softmin" => {
            let dim = axis(dim(config, given)?, x.rank())?;
            match name {
                "Softmax" => ops::softmax(x, dim)?,
                "LogSoftmax" => ops::log_softmax(x, dim)?,
                _ => ops::softmax(&x.neg()?, dim)?,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

/// A dimension that may count from the end.
pub(crate) fn axis(dim: i64, rank: usize) -> Result<usize, Stop> {
    let from_front = if dim < 0 { dim + rank as i64 } else { dim };
    let axis = usize::try_from(from_front).ok().filter(|axis| *axis < rank);
    axis.ok_or_else(|| Stop::Malformed {
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

pub(crate) fn activation(name: &str, config: &Config<'_>) -> Result<Option<Activation>, Stop> {
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
