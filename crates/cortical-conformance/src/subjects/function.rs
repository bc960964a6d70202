//! Functions of `torch` and `torch.nn.functional`, and layers that only rearrange or resample.

use super::Made;
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{DType, Device, Tensor};
use cortical_kernels::matmul::Transposes;
use cortical_kernels::rope::{Pairs, frequencies};
use cortical_tensor::ops::{self, HeadOrder, Interpolation, PadMode, Resize};
use serde_json::json;

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    let x = given.input(0)?;
    let made = match reduction(name, config, x)? {
        Some(made) => made,
        None => match name {
            "matmul" => ops::matmul(x, given.input(1)?, Transposes::default())?,
            "split" => {
                let Some(sizes) = config.sizes("split_size_or_sections")? else {
                    return config.refuse("split_size_or_sections");
                };
                config.only("dim", json!(-1))?;
                let outputs = ops::split(x, &sizes)?;
                let buffers = Vec::new();
                return Ok(Some(Made { outputs, buffers }));
            }
            "rotary" => rotary(config, x)?,
            "pad" => pad(config, x)?,
            "Bilinear" => {
                for size in ["in1_features", "in2_features", "out_features"] {
                    config.size(size)?;
                }
                config.bool("bias", true)?;
                let bias = given.param_opt("bias").map(Into::into);
                ops::bilinear(x, given.input(1)?, given.param("weight")?, bias)?
            }
            "PixelShuffle" => ops::pixel_shuffle(x, config.size("upscale_factor")?)?,
            "PixelUnshuffle" => ops::pixel_unshuffle(x, config.size("downscale_factor")?)?,
            "AdaptiveAvgPool1d" => ops::adaptive_avg_pool1d(x, output_size::<1>(config, x)?[0])?,
            "AdaptiveAvgPool2d" => ops::adaptive_avg_pool2d(x, output_size(config, x)?)?,
            "AdaptiveAvgPool3d" => ops::adaptive_avg_pool3d(x, output_size(config, x)?)?,
            "AdaptiveMaxPool1d" => ops::adaptive_max_pool1d(x, output_size::<1>(config, x)?[0])?,
            "AdaptiveMaxPool2d" => ops::adaptive_max_pool2d(x, output_size(config, x)?)?,
            "AdaptiveMaxPool3d" => ops::adaptive_max_pool3d(x, output_size(config, x)?)?,
            "Upsample" | "UpsamplingNearest2d" | "UpsamplingBilinear2d" | "interpolate" => {
                let (resize, mode) = interpolation(name, config)?;
                ops::interpolate(x, &resize, mode)?
            }
            _ => return Ok(None),
        },
    };
    Ok(Some(made.into()))
}

/// Reductions, by torch's names and with its arguments.
fn reduction(name: &str, config: &Config<'_>, x: &Tensor) -> Result<Option<Tensor>, Stop> {
    let places = matches!(name, "argmax" | "argmin");
    let known = ["sum", "mean", "amax", "amin", "var", "logsumexp", "norm"];
    if !places && !known.contains(&name) {
        return Ok(None);
    }
    let keepdim = config.bool("keepdim", false)?;
    if places {
        let flat = x.flatten_all()?;
        // Without an axis the place is that among all elements.
        let (x, axis) = match config.i64("dim", i64::MIN)? {
            i64::MIN => (&flat, 0),
            axis => (x, axis as isize),
        };
        return Ok(Some(match name {
            "argmax" => ops::argmax(x, axis, keepdim)?,
            _ => ops::argmin(x, axis, keepdim)?,
        }));
    }
    let axes: Vec<isize> = match config.numbers("dim") {
        Ok(axes) => axes
            .unwrap_or_default()
            .iter()
            .map(|axis| *axis as isize)
            .collect(),
        Err(_) => vec![config.i64("dim", 0)? as isize],
    };
    Ok(Some(match name {
        "sum" => ops::sum(x, &axes, keepdim)?,
        "mean" => ops::mean(x, &axes, keepdim)?,
        "amax" => ops::max(x, &axes, keepdim)?,
        "amin" => ops::min(x, &axes, keepdim)?,
        "var" => ops::variance(x, &axes, config.usize("correction", 1)?, keepdim)?,
        "logsumexp" => ops::log_sum_exp(x, &axes, keepdim)?,
        _ => ops::norm(x, config.f64("p", 2.0)?, &axes, keepdim)?,
    }))
}

/// Rotary positions from `start` on over `[batch, heads, rows, dim]`.
fn rotary(config: &Config<'_>, x: &Tensor) -> Result<Tensor, Stop> {
    let (_, _, rows, _) = x.dims4()?;
    let start = config.usize("start", 0)?;
    let frequencies = frequencies(config.size("rotary_dim")?, config.f64("base", 10_000.0)?);
    let pairs = match config.bool("interleaved", false)? {
        true => Pairs::Neighbours,
        false => Pairs::Halves,
    };
    let (cos, sin) =
        ops::rotary_angles(start..start + rows, &frequencies, DType::F32, &Device::Cpu)?;
    Ok(ops::rotary(x, &cos, &sin, pairs, HeadOrder::Outside)?)
}

/// Padding, which PyTorch counts from the last axis on.
fn pad(config: &Config<'_>, x: &Tensor) -> Result<Tensor, Stop> {
    let mode = match config.text("mode", "constant")? {
        "constant" => PadMode::Constant(config.f64("value", 0.0)?),
        "reflect" => PadMode::Reflect,
        "replicate" => PadMode::Replicate,
        "circular" => PadMode::Circular,
        _ => return config.refuse("mode"),
    };
    let Some(flat) = config.sizes("pad")? else {
        return config.refuse("pad");
    };
    let mut sizes: Vec<[usize; 2]> = flat.as_chunks::<2>().0.to_vec();
    sizes.reverse();
    Ok(ops::pad(x, &sizes, mode)?)
}

/// The output's size, where `null` keeps the input's.
fn output_size<const N: usize>(config: &Config<'_>, x: &Tensor) -> Result<[usize; N], Stop> {
    config.only("return_indices", json!(false))?;
    let keeps = x
        .dims()
        .len()
        .checked_sub(N)
        .map(|at| x.dims()[at..].to_vec());
    let keeps = keeps.ok_or_else(|| Stop::Malformed {
        what: "input.0".to_string(),
    })?;
    if config.is_null("output_size") {
        return Ok(std::array::from_fn(|i| keeps[i]));
    }
    match config.sizes_or_null("output_size")? {
        sizes if sizes.len() == 1 => Ok(std::array::from_fn(|i| sizes[0].unwrap_or(keeps[i]))),
        sizes if sizes.len() == N => Ok(std::array::from_fn(|i| sizes[i].unwrap_or(keeps[i]))),
        _ => config.refuse("output_size"),
    }
}

/// The options of `nn.Upsample` and `nn.functional.interpolate`.
pub(crate) fn interpolation(
    name: &str,
    config: &Config<'_>,
) -> Result<(Resize, Interpolation), Stop> {
    let bilinear = name == "UpsamplingBilinear2d";
    let by_name = if bilinear { "bilinear" } else { "nearest" };
    let align_corners = config.bool("align_corners", bilinear)?;
    let antialias = config.bool("antialias", false)?;
    let mode = match config.text("mode", by_name)? {
        "nearest" => Interpolation::Nearest,
        "nearest-exact" => Interpolation::NearestExact,
        "area" => Interpolation::Area,
        "linear" | "bilinear" | "trilinear" => Interpolation::Linear {
            align_corners,
            antialias,
        },
        "bicubic" => Interpolation::Cubic {
            align_corners,
            antialias,
        },
        _ => return config.refuse("mode"),
    };
    let recompute = config.bool("recompute_scale_factor", false)?;
    if let Some(size) = config.sizes("size")? {
        config.no_matter("scale_factor");
        return Ok((Resize::Size(size), mode));
    }
    let factors = match config.numbers("scale_factor") {
        Ok(Some(factors)) => factors,
        _ => vec![config.f64("scale_factor", f64::NAN)?],
    };
    let resize = match recompute {
        true => Resize::FactorOfSizes(factors),
        false => Resize::Factor(factors),
    };
    Ok((resize, mode))
}
