//! The functions of `torch.nn.functional`, by their names there.
//!
//! Tensors are the inputs in the order of PyTorch's signature, or further tensors under the argument's name.

use super::{Made, basic, loss};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{D, Tensor};
use cortical_kernels::activation::Activation;
use cortical_tensor::ops::{self, ConvOptions, ConvTransposeOptions};

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    if let Some(class) = module_of(name) {
        return basic::operation(class, config, given);
    }
    if let Some(class) = loss_of(name) {
        return loss::operation(class, config, given);
    }
    let made = match name {
        "conv1d" => conv::<1>(config, given)?,
        "conv2d" => conv::<2>(config, given)?,
        "conv3d" => conv::<3>(config, given)?,
        "conv_transpose1d" => transposed::<1>(config, given)?,
        "conv_transpose2d" => transposed::<2>(config, given)?,
        "conv_transpose3d" => transposed::<3>(config, given)?,
        "linear" | "prelu" | "embedding" | "one_hot" | "glu" => of_weights(name, config, given)?,
        "batch_norm" | "instance_norm" | "group_norm" | "layer_norm" | "rms_norm" => {
            norm(name, config, given)?
        }
        "normalize" | "cosine_similarity" | "pairwise_distance" | "CosineSimilarity"
        | "PairwiseDistance" => distance(name, config, given)?,
        "dropout"
        | "dropout1d"
        | "dropout2d"
        | "dropout3d"
        | "alpha_dropout"
        | "feature_alpha_dropout" => {
            let p = config.f64("p", 0.5)?;
            config.no_matter("inplace");
            if config.bool("training", true)? && p > 0.0 {
                return config.refuse("p");
            }
            given.input(0)?.clone()
        }
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

/// The module that does what a function of one tensor does.
fn module_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "relu" => "ReLU",
        "relu6" => "ReLU6",
        "leaky_relu" => "LeakyReLU",
        "elu" => "ELU",
        "selu" => "SELU",
        "celu" => "CELU",
        "gelu" => "GELU",
        "silu" => "SiLU",
        "mish" => "Mish",
        "sigmoid" => "Sigmoid",
        "tanh" => "Tanh",
        "softplus" => "Softplus",
        "softsign" => "Softsign",
        "hardswish" => "Hardswish",
        "hardsigmoid" => "Hardsigmoid",
        "hardtanh" => "Hardtanh",
        "logsigmoid" => "LogSigmoid",
        "tanhshrink" => "Tanhshrink",
        "hardshrink" => "Hardshrink",
        "softshrink" => "Softshrink",
        "threshold" => "Threshold",
        "softmax" => "Softmax",
        "log_softmax" => "LogSoftmax",
        "softmin" => "Softmin",
        _ => return None,
    })
}

/// The loss behind a function's name.
fn loss_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "mse_loss" => "MSELoss",
        "l1_loss" => "L1Loss",
        "smooth_l1_loss" => "SmoothL1Loss",
        "huber_loss" => "HuberLoss",
        "binary_cross_entropy" => "BCELoss",
        "binary_cross_entropy_with_logits" => "BCEWithLogitsLoss",
        "multilabel_soft_margin_loss" => "MultiLabelSoftMarginLoss",
        "multilabel_margin_loss" => "MultiLabelMarginLoss",
        "kl_div" => "KLDivLoss",
        "poisson_nll_loss" => "PoissonNLLLoss",
        "gaussian_nll_loss" => "GaussianNLLLoss",
        "soft_margin_loss" => "SoftMarginLoss",
        "hinge_embedding_loss" => "HingeEmbeddingLoss",
        "cross_entropy" => "CrossEntropyLoss",
        "nll_loss" => "NLLLoss",
        "multi_margin_loss" => "MultiMarginLoss",
        "margin_ranking_loss" => "MarginRankingLoss",
        "cosine_embedding_loss" => "CosineEmbeddingLoss",
        "triplet_margin_loss" => "TripletMarginLoss",
        "ctc_loss" => "CTCLoss",
        _ => return None,
    })
}

/// An argument of a function that must be there.
fn argument<'a>(given: &'a Given, i: usize, name: &str) -> Result<&'a Tensor, Stop> {
    given.argument_opt(i, name).ok_or_else(|| Stop::Malformed {
        what: format!("input.{i} ({name})"),
    })
}

fn conv<const N: usize>(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let (x, weight) = (given.input(0)?, argument(given, 1, "weight")?);
    let bias = given.argument_opt(2, "bias").map(Into::into);
    let stride = config.axes("stride")?.unwrap_or([1; N]);
    let dilation = config.axes("dilation")?.unwrap_or([1; N]);
    let padding = match config.text("padding", "") {
        Ok("same") => {
            let kernel = &weight.dims()[2..];
            std::array::from_fn(|a| {
                let whole = dilation[a] * kernel.get(a).map_or(0, |k| k.saturating_sub(1));
                [whole / 2, whole - whole / 2]
            })
        }
        Ok("valid" | "") => [[0; 2]; N],
        Ok(_) => return config.refuse("padding"),
        Err(_) => config.axes("padding")?.unwrap_or([0; N]).map(|p| [p, p]),
    };
    let options = ConvOptions {
        stride,
        padding,
        dilation,
        groups: config.usize("groups", 1)?,
        ..Default::default()
    };
    Ok(ops::conv(x, weight, bias, &options)?)
}

fn transposed<const N: usize>(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let (x, weight) = (given.input(0)?, argument(given, 1, "weight")?);
    let bias = given.argument_opt(2, "bias").map(Into::into);
    let options = ConvTransposeOptions {
        stride: config.axes("stride")?.unwrap_or([1; N]),
        padding: config.axes("padding")?.unwrap_or([0; N]),
        output_padding: config.axes("output_padding")?.unwrap_or([0; N]),
        dilation: config.axes("dilation")?.unwrap_or([1; N]),
        groups: config.usize("groups", 1)?,
        ..Default::default()
    };
    Ok(ops::conv_transpose(x, weight, bias, &options)?)
}

fn of_weights(name: &str, config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let x = given.input(0)?;
    Ok(match name {
        "linear" => {
            let bias = given.argument_opt(2, "bias").map(Into::into);
            ops::linear(x, argument(given, 1, "weight")?, bias, Activation::Identity)?
        }
        "prelu" => ops::prelu(x, argument(given, 1, "weight")?)?,
        "glu" => {
            let dim = basic::axis(config.i64("dim", -1)?, x.rank())?;
            let half = x.dim(dim)? / 2;
            let (value, gate) = (x.narrow(dim, 0, half)?, x.narrow(dim, half, half)?);
            ops::gated(&gate, &value, Activation::Sigmoid)?
        }
        "one_hot" => {
            let labels = x
                .flatten_all()?
                .to_dtype(candle_core::DType::I64)?
                .to_vec1::<i64>()?;
            let most = labels.iter().copied().max().map_or(0, |label| label + 1);
            let classes = match config.i64("num_classes", -1)? {
                -1 => most,
                classes => classes,
            };
            if labels.iter().any(|label| !(0..classes).contains(label)) {
                return config.refuse("num_classes");
            }
            let rows = labels.iter();
            let hot: Vec<i64> = rows
                .flat_map(|label| (0..classes).map(move |c| i64::from(c == *label)))
                .collect();
            let mut shape = x.dims().to_vec();
            shape.push(usize::try_from(classes).unwrap_or(0));
            Tensor::from_vec(hot, shape, x.device())?
        }
        _ => {
            let weight = argument(given, 1, "weight")?;
            let rows = weight.dim(0)? as i64;
            let padding = match config.i64("padding_idx", i64::MIN)? {
                i64::MIN => None,
                row => u32::try_from(if row < 0 { row + rows } else { row }).ok(),
            };
            config.only("max_norm", serde_json::Value::Null)?;
            config.only("scale_grad_by_freq", false.into())?;
            config.no_matter("norm_type");
            config.no_matter("sparse");
            ops::embedding(x, weight, padding)?
        }
    })
}

fn norm(name: &str, config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let x = given.input(0)?;
    // Running statistics stand before weights in PyTorch's signatures of batch and instance norm.
    let running = matches!(name, "batch_norm" | "instance_norm");
    let first = if running { 3 } else { 1 };
    let weight = given.argument_opt(first, "weight").map(Into::into);
    let bias = given.argument_opt(first + 1, "bias").map(Into::into);
    let moments = match running {
        true => given
            .argument_opt(1, "running_mean")
            .zip(given.argument_opt(2, "running_var")),
        false => None,
    };
    let eps = |default: f64| config.f64("eps", default);
    Ok(match name {
        "batch_norm" => {
            config.no_matter("momentum");
            match (config.bool("training", false)?, moments) {
                (true, _) => ops::batch_norm(x, weight, bias, eps(1e-5)?)?.output,
                (false, Some((mean, var))) => {
                    ops::batch_norm_eval(x, mean, var, weight, bias, eps(1e-5)?)?
                }
                (false, None) => return config.refuse("training"),
            }
        }
        "instance_norm" => {
            config.no_matter("momentum");
            match (config.bool("use_input_stats", true)?, moments) {
                (false, Some((mean, var))) => {
                    ops::batch_norm_eval(x, mean, var, weight, bias, eps(1e-5)?)?
                }
                (false, None) => return config.refuse("use_input_stats"),
                (true, _) => ops::group_norm(x, x.dim(1)?, weight, bias, eps(1e-5)?)?,
            }
        }
        "group_norm" => ops::group_norm(x, config.size("num_groups")?, weight, bias, eps(1e-5)?)?,
        _ => {
            let shape = config.sizes("normalized_shape")?.unwrap_or_default();
            match name {
                "layer_norm" => ops::layer_norm(x, &shape, weight, bias, eps(1e-5)?)?,
                _ => ops::rms_norm(x, &shape, weight, eps(f64::from(f32::EPSILON))?)?,
            }
        }
    })
}

/// Lengths of vectors and the angles between them, from candle's operations.
fn distance(name: &str, config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    let x = given.input(0)?;
    let length = |x: &Tensor, p: f64, dim: usize| -> Result<Tensor, Stop> {
        let powers = match p {
            1.0 => x.abs()?,
            2.0 => x.sqr()?,
            _ if p.is_finite() && p > 0.0 => x.abs()?.powf(p)?,
            _ => return config.refuse("p"),
        };
        let sum = powers.sum_keepdim(dim)?;
        Ok(match p {
            1.0 => sum,
            2.0 => sum.sqrt()?,
            _ => sum.powf(1.0 / p)?,
        })
    };
    let dim = |default: i64| basic::axis(config.i64("dim", default)?, x.rank());
    Ok(match name {
        "normalize" => {
            let length = length(x, config.f64("p", 2.0)?, dim(1)?)?;
            x.broadcast_div(&length.maximum(config.f64("eps", 1e-12)?)?)?
        }
        "cosine_similarity" | "CosineSimilarity" => {
            let (y, dim, eps) = (given.input(1)?, dim(1)?, config.f64("eps", 1e-8)?);
            let product = x.broadcast_mul(y)?.sum_keepdim(dim)?;
            let lengths = [x, y].map(|t| Ok::<_, Stop>(length(t, 2.0, dim)?.maximum(eps)?));
            let [a, b] = lengths;
            product
                .broadcast_div(&a?.broadcast_mul(&b?)?)?
                .squeeze(dim)?
        }
        _ => {
            let apart = (x.broadcast_sub(given.input(1)?)? + config.f64("eps", 1e-6)?)?;
            let length = length(&apart, config.f64("p", 2.0)?, apart.rank() - 1)?;
            match config.bool("keepdim", false)? {
                true => length,
                false => length.squeeze(D::Minus1)?,
            }
        }
    })
}
