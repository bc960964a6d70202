//! Convolution, pooling and upsampling.

use super::function::interpolation;
use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_conv::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
    AdaptiveMaxPool3d, AvgPool, Conv, ConvTranspose, MaxPool, Padding, PaddingMode, PixelShuffle,
    PixelUnshuffle, Upsample,
};
use cortical_neuron::Params;
use cortical_tensor::ops::{
    self, AvgPoolOptions, ConvOptions, ConvTransposeOptions, MaxPoolOptions, Resize,
};
use serde_json::json;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
        "Conv1d" => conv_layer::<1>(config, params)?,
        "Conv2d" => conv_layer::<2>(config, params)?,
        "Conv3d" => conv_layer::<3>(config, params)?,
        "ConvTranspose1d" => transposed_layer::<1>(config, params)?,
        "ConvTranspose2d" => transposed_layer::<2>(config, params)?,
        "ConvTranspose3d" => transposed_layer::<3>(config, params)?,
        "MaxPool1d" => max_layer::<1>(config)?,
        "MaxPool2d" => max_layer::<2>(config)?,
        "MaxPool3d" => max_layer::<3>(config)?,
        "AvgPool1d" => avg_layer::<1>(config)?,
        "AvgPool2d" => avg_layer::<2>(config)?,
        "AvgPool3d" => avg_layer::<3>(config)?,
        "AdaptiveAvgPool1d" => simple(AdaptiveAvgPool1d::keeping(kept(config)?)?),
        "AdaptiveAvgPool2d" => simple(AdaptiveAvgPool2d::keeping(kept(config)?)?),
        "AdaptiveAvgPool3d" => simple(AdaptiveAvgPool3d::keeping(kept(config)?)?),
        "AdaptiveMaxPool1d" => simple(AdaptiveMaxPool1d::keeping(kept(config)?)?),
        "AdaptiveMaxPool2d" => simple(AdaptiveMaxPool2d::keeping(kept(config)?)?),
        "AdaptiveMaxPool3d" => simple(AdaptiveMaxPool3d::keeping(kept(config)?)?),
        "PixelShuffle" => simple(PixelShuffle::new(config.size("upscale_factor")?)?),
        "PixelUnshuffle" => simple(PixelUnshuffle::new(config.size("downscale_factor")?)?),
        "Upsample" | "UpsamplingNearest2d" | "UpsamplingBilinear2d" => {
            let (resize, mode) = interpolation(name, config)?;
            let layer = match resize {
                Resize::Size(size) => Upsample::to(&size),
                Resize::Factor(factor) => Upsample::times(&factor),
                Resize::FactorOfSizes(factor) => {
                    Upsample::times(&factor).recompute_scale_factor(true)
                }
            };
            simple(layer.mode(mode).build()?)
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
    // Only the layer pads with other elements than zeros.
    let is_conv = matches!(name, "Conv1d" | "Conv2d" | "Conv3d");
    if is_conv && padding_mode(config)? != PaddingMode::Zeros {
        return Ok(None);
    }
    let made = match name {
        "Conv1d" => conv::<1>(config, given)?,
        "Conv2d" => conv::<2>(config, given)?,
        "Conv3d" => conv::<3>(config, given)?,
        "ConvTranspose1d" => transposed::<1>(config, given)?,
        "ConvTranspose2d" => transposed::<2>(config, given)?,
        "ConvTranspose3d" => transposed::<3>(config, given)?,
        "MaxPool1d" => ops::max_pool(x, &max_options::<1>(config)?)?,
        "MaxPool2d" => ops::max_pool(x, &max_options::<2>(config)?)?,
        "MaxPool3d" => ops::max_pool(x, &max_options::<3>(config)?)?,
        "AvgPool1d" => ops::avg_pool(x, &avg_options::<1>(config)?)?,
        "AvgPool2d" => ops::avg_pool(x, &avg_options::<2>(config)?)?,
        "AvgPool3d" => ops::avg_pool(x, &avg_options::<3>(config)?)?,
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

/// An option that must be there, one for each axis; `null` keeps the input's size in PyTorch, which we leave to the
/// caller.
fn axes<const N: usize>(config: &Config<'_>, key: &'static str) -> Result<[usize; N], Stop> {
    match config.axes(key)? {
        Some(axes) => Ok(axes),
        None => config.refuse(key),
    }
}

/// The output's size along each axis, where `null` keeps the input's.
fn kept<const N: usize>(config: &Config<'_>) -> Result<[Option<usize>; N], Stop> {
    config.only("return_indices", json!(false))?;
    if config.is_null("output_size") {
        return Ok([None; N]);
    }
    match config.sizes_or_null("output_size")?[..] {
        [all] => Ok([all; N]),
        ref sizes => match sizes.try_into() {
            Ok(sizes) => Ok(sizes),
            Err(_) => config.refuse("output_size"),
        },
    }
}

/// What stands in the padding.
fn padding_mode(config: &Config<'_>) -> Result<PaddingMode, Stop> {
    Ok(match config.text("padding_mode", "zeros")? {
        "zeros" => PaddingMode::Zeros,
        "reflect" => PaddingMode::Reflect,
        "replicate" => PaddingMode::Replicate,
        "circular" => PaddingMode::Circular,
        _ => return config.refuse("padding_mode"),
    })
}

fn padding<const N: usize>(config: &Config<'_>) -> Result<Padding<N>, Stop> {
    if let Ok(text) = config.text("padding", "") {
        match text {
            "same" => return Ok(Padding::Same),
            "valid" | "" => return Ok(Padding::Both([0; N])),
            _ => return config.refuse("padding"),
        }
    }
    Ok(Padding::Both(config.axes("padding")?.unwrap_or([0; N])))
}

fn conv_layer<const N: usize>(config: &Config<'_>, params: &Params) -> Result<Forward, Stop> {
    let (i, o) = (config.size("in_channels")?, config.size("out_channels")?);
    let layer = Conv::<N>::config(i, o, axes::<N>(config, "kernel_size")?)
        .stride(config.axes("stride")?.unwrap_or([1; N]))
        .padding(padding::<N>(config)?)
        .padding_mode(padding_mode(config)?)
        .dilation(config.axes("dilation")?.unwrap_or([1; N]))
        .groups(config.usize("groups", 1)?)
        .bias(config.bool("bias", true)?);
    Ok(simple(layer.build(&params.root())?))
}

fn conv<const N: usize>(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    for size in ["in_channels", "out_channels"] {
        config.size(size)?;
    }
    config.bool("bias", true)?;
    let kernel: [usize; N] = axes(config, "kernel_size")?;
    let dilation = config.axes("dilation")?.unwrap_or([1; N]);
    let padding = match padding::<N>(config)? {
        Padding::Both(both) => both.map(|p| [p, p]),
        Padding::Sides(sides) => sides,
        _ => std::array::from_fn(|a| {
            let whole = dilation[a] * (kernel[a] - 1);
            [whole / 2, whole - whole / 2]
        }),
    };
    let options = ConvOptions {
        stride: config.axes("stride")?.unwrap_or([1; N]),
        padding,
        dilation,
        groups: config.usize("groups", 1)?,
        ..Default::default()
    };
    let bias = given.param_opt("bias").map(Into::into);
    Ok(ops::conv(
        given.input(0)?,
        given.param("weight")?,
        bias,
        &options,
    )?)
}

fn transposed_layer<const N: usize>(config: &Config<'_>, params: &Params) -> Result<Forward, Stop> {
    let (i, o) = (config.size("in_channels")?, config.size("out_channels")?);
    let options = transposed_options::<N>(config)?;
    let layer = ConvTranspose::<N>::config(i, o, axes::<N>(config, "kernel_size")?)
        .stride(options.stride)
        .padding(options.padding)
        .output_padding(options.output_padding)
        .dilation(options.dilation)
        .groups(options.groups)
        .bias(config.bool("bias", true)?);
    Ok(simple(layer.build(&params.root())?))
}

fn transposed<const N: usize>(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
    for size in ["in_channels", "out_channels"] {
        config.size(size)?;
    }
    axes::<N>(config, "kernel_size")?;
    config.bool("bias", true)?;
    let bias = given.param_opt("bias").map(Into::into);
    let options = transposed_options::<N>(config)?;
    Ok(ops::conv_transpose(
        given.input(0)?,
        given.param("weight")?,
        bias,
        &options,
    )?)
}

fn transposed_options<const N: usize>(
    config: &Config<'_>,
) -> Result<ConvTransposeOptions<N>, Stop> {
    config.only("padding_mode", json!("zeros"))?;
    Ok(ConvTransposeOptions {
        stride: config.axes("stride")?.unwrap_or([1; N]),
        padding: config.axes("padding")?.unwrap_or([0; N]),
        output_padding: config.axes("output_padding")?.unwrap_or([0; N]),
        dilation: config.axes("dilation")?.unwrap_or([1; N]),
        groups: config.usize("groups", 1)?,
        ..Default::default()
    })
}

fn max_options<const N: usize>(config: &Config<'_>) -> Result<MaxPoolOptions<N>, Stop> {
    config.only("return_indices", json!(false))?;
    let kernel_size = axes(config, "kernel_size")?;
    Ok(MaxPoolOptions {
        kernel_size,
        stride: config.axes("stride")?.unwrap_or(kernel_size),
        padding: config.axes("padding")?.unwrap_or([0; N]),
        dilation: config.axes("dilation")?.unwrap_or([1; N]),
        ceil_mode: config.bool("ceil_mode", false)?,
    })
}

fn max_layer<const N: usize>(config: &Config<'_>) -> Result<Forward, Stop> {
    let options = max_options::<N>(config)?;
    let layer = MaxPool::<N>::config(options.kernel_size)
        .stride(options.stride)
        .padding(options.padding)
        .dilation(options.dilation)
        .ceil_mode(options.ceil_mode);
    Ok(simple(layer.build()?))
}

fn avg_options<const N: usize>(config: &Config<'_>) -> Result<AvgPoolOptions<N>, Stop> {
    let kernel_size = axes(config, "kernel_size")?;
    Ok(AvgPoolOptions {
        kernel_size,
        stride: config.axes("stride")?.unwrap_or(kernel_size),
        padding: config.axes("padding")?.unwrap_or([0; N]),
        ceil_mode: config.bool("ceil_mode", false)?,
        count_include_pad: config.bool("count_include_pad", true)?,
        divisor_override: config.usize_opt("divisor_override")?,
    })
}

fn avg_layer<const N: usize>(config: &Config<'_>) -> Result<Forward, Stop> {
    let options = avg_options::<N>(config)?;
    let mut layer = AvgPool::<N>::config(options.kernel_size)
        .stride(options.stride)
        .padding(options.padding)
        .ceil_mode(options.ceil_mode)
        .count_include_pad(options.count_include_pad);
    if let Some(divisor) = options.divisor_override {
        layer = layer.divisor_override(divisor);
    }
    Ok(simple(layer.build()?))
}
