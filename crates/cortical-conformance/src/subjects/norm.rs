//! Normalisation.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::{Given, numbers};
use candle_core::{Device, Tensor};
use cortical_neuron::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Params, RmsNorm};
use cortical_tensor::ops;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
) -> Result<Option<Forward>, Stop> {
    let root = params.root();
    let layer = match name {
        "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d" => simple(
            BatchNorm::config(config.size("num_features")?)
                .eps(config.f64("eps", 1e-5)?)
                .momentum(momentum(config)?)
                .affine(config.bool("affine", true)?)
                .track_running_stats(config.bool("track_running_stats", true)?)
                .build(&root)?,
        ),
        "InstanceNorm1d" | "InstanceNorm2d" | "InstanceNorm3d" => {
            let axes = match name {
                "InstanceNorm1d" => 1,
                "InstanceNorm2d" => 2,
                _ => 3,
            };
            simple(
                InstanceNorm::config(config.size("num_features")?)
                    .axes(axes)
                    .eps(config.f64("eps", 1e-5)?)
                    .momentum(momentum(config)?)
                    .affine(config.bool("affine", false)?)
                    .track_running_stats(config.bool("track_running_stats", false)?)
                    .build(&root)?,
            )
        }
        "GroupNorm" => {
            let layer = GroupNorm::config(config.size("num_groups")?, config.size("num_channels")?);
            let layer = layer.eps(config.f64("eps", 1e-5)?);
            simple(layer.affine(config.bool("affine", true)?).build(&root)?)
        }
        "LayerNorm" => simple(
            LayerNorm::config(&normalized_shape(config)?)
                .eps(config.f64("eps", 1e-5)?)
                .affine(config.bool("elementwise_affine", true)?)
                .bias(config.bool("bias", true)?)
                .build(&root)?,
        ),
        "RMSNorm" => simple(
            RmsNorm::config(&normalized_shape(config)?)
                .eps(rms_eps(config)?)
                .affine(config.bool("elementwise_affine", true)?)
                .build(&root)?,
        ),
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
    let (weight, bias) = (given.param_opt("weight"), given.param_opt("bias"));
    let (weight, bias) = (weight.map(Into::into), bias.map(Into::into));
    let made = match name {
        "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d" => {
            return batch_norm(config, given).map(Some);
        }
        "GroupNorm" => {
            config.size("num_channels")?;
            config.bool("affine", true)?;
            let groups = config.size("num_groups")?;
            ops::group_norm(x, groups, weight, bias, config.f64("eps", 1e-5)?)?
        }
        "LayerNorm" => {
            config.bool("elementwise_affine", true)?;
            config.bool("bias", true)?;
            let shape = normalized_shape(config)?;
            ops::layer_norm(x, &shape, weight, bias, config.f64("eps", 1e-5)?)?
        }
        "RMSNorm" => {
            config.bool("elementwise_affine", true)?;
            ops::rms_norm(x, &normalized_shape(config)?, weight, rms_eps(config)?)?
        }
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

fn normalized_shape(config: &Config<'_>) -> Result<Vec<usize>, Stop> {
    config
        .sizes("normalized_shape")?
        .ok_or_else(|| Stop::Malformed {
            what: "config.normalized_shape".to_string(),
        })
}

/// PyTorch's default is the distance from 1 to the next `f32`.
fn rms_eps(config: &Config<'_>) -> Result<f64, Stop> {
    config.f64("eps", f64::from(f32::EPSILON))
}

/// `null` asks for the plain average over all calls.
fn momentum(config: &Config<'_>) -> Result<Option<f64>, Stop> {
    if config.is_null("momentum") {
        return Ok(None);
    }
    config.f64("momentum", 0.1).map(Some)
}

/// Batch norm on plain variables, with the running statistics kept as the layer keeps them.
fn batch_norm(config: &Config<'_>, given: &Given) -> Result<Made, Stop> {
    let x = given.input(0)?;
    let (weight, bias) = (given.param_opt("weight"), given.param_opt("bias"));
    let (weight, bias) = (weight.map(Into::into), bias.map(Into::into));
    config.size("num_features")?;
    config.bool("affine", true)?;
    let (eps, momentum) = (config.f64("eps", 1e-5)?, momentum(config)?);
    let tracked = config.bool("track_running_stats", true)?;
    let running = (
        given.buffer_opt("running_mean"),
        given.buffer_opt("running_var"),
    );
    let (Some(mean), Some(var), true) = (running.0, running.1, tracked) else {
        return Ok(ops::batch_norm(x, weight, bias, eps)?.output.into());
    };
    if !given.train {
        return Ok(ops::batch_norm_eval(x, mean, var, weight, bias, eps)?.into());
    }
    let made = ops::batch_norm(x, weight, bias, eps)?;
    let calls = match given.buffer_opt("num_batches_tracked") {
        Some(calls) => numbers(calls)?[0] + 1.0,
        None => 1.0,
    };
    let share = momentum.unwrap_or(1.0 / calls);
    let mix = |old: &Tensor, new: &Tensor| (old * (1.0 - share))? + (new * share)?;
    let unbiased = (&made.var * (made.count as f64 / (made.count as f64 - 1.0)))?;
    Ok(Made {
        outputs: vec![made.output],
        buffers: vec![
            ("running_mean", mix(mean, &made.mean)?),
            ("running_var", mix(var, &unbiased)?),
            (
                "num_batches_tracked",
                Tensor::new(calls as i64, &Device::Cpu)?,
            ),
        ],
    })
}
