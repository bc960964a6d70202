//! Convolution, pooling and upsampling.

use super::{Forward, Made, simple};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_conv::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AvgPool, Conv, ConvTranspose, MaxPool, Padding, Upsample,
};
use cortical_neuron::Params;
use cortical_tensor::ops::{
    self, AvgPoolOptions, ConvOptions, ConvTransposeOptions, MaxPoolOptions,
};
use serde_json::json;

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
        "Conv1d" => conv_layer::<1>(config, params)?,
        "Conv2d" => conv_layer::<2>(config, params)?,
        "Conv3d" => conv_layer::<3>(config, params)?,
        "ConvTranspose1d" => transposed_layer::<1>(config, params)?,
        "ConvTranspose2d" => transposed_layer::<2>(config, params)?,
        "MaxPool1d" => max_layer::<1>(config)?,
        "MaxPool2d" => max_layer::<2>(config)?,
        "AvgPool1d" => avg_layer::<1>(config)?,
        "AvgPool2d" => avg_layer::<2>(config)?,
        "AdaptiveAvgPool1d" => {
            let [size] = axes(config, "output_size")?;
            simple(AdaptiveAvgPool1d::new(size)?)
        }
        "AdaptiveAvgPool2d" => simple(AdaptiveAvgPool2d::new(axes::<2>(config, "output_size")?)?),
        "Upsample" | "UpsamplingNearest2d" | "UpsamplingBilinear2d" => {
            let Some((height, width)) = plane(given.input(0)?) else {
                return Ok(None);
            };
            let (size, mode) = match resampling(name, config, [height, width]) {
                // What the layer lacks the operation may have.
                Err(stop) if stop.is_skip() => return Ok(None),
                resampling => resampling?,
            };
            let config = Upsample::to(size);
            simple(match mode {
                None => config.build()?,
                Some(align_corners) => config.bilinear(align_corners).build()?,
            })
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

/// An option that must be there, one for each axis; `null` keeps the input's size in PyTorch, which we leave to the caller.
fn axes<const N: usize>(config: &Config<'_>, key: &'static str) -> Result<[usize; N], Stop> {
    match config.axes(key)? {
        Some(axes) => Ok(axes),
        None => config.refuse(key),
    }
}

fn padding<const N: usize>(config: &Config<'_>) -> Result<Padding<N>, Stop> {
    config.only("padding_mode", json!("zeros"))?;
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

/// Height and width of a batch of pictures.
fn plane(x: &Tensor) -> Option<(usize, usize)> {
    match x.dims() {
        &[_, _, height, width] => Some((height, width)),
        _ => None,
    }
}

/// The size to resample to, and for bilinear resampling whether corners are aligned.
fn resampling(
    name: &str,
    config: &Config<'_>,
    [height, width]: [usize; 2],
) -> Result<([usize; 2], Option<bool>), Stop> {
    config.only("recompute_scale_factor", json!(false))?;
    config.only("antialias", json!(false))?;
    let bilinear_by_name = name == "UpsamplingBilinear2d";
    let mode = if bilinear_by_name {
        "bilinear"
    } else {
        "nearest"
    };
    let mode = match config.text("mode", mode)? {
        "nearest" => None,
        "bilinear" => Some(config.bool("align_corners", bilinear_by_name)?),
        _ => return config.refuse("mode"),
    };
    config.no_matter("align_corners");
    if let Some(size) = config.axes::<2>("size")? {
        config.no_matter("scale_factor");
        return Ok((size, mode));
    }
    let factors = match config.numbers("scale_factor") {
        Ok(Some(factors)) => factors,
        _ => vec![config.f64("scale_factor", f64::NAN)?],
    };
    let (down, across) = match factors[..] {
        [both] => (both, both),
        [down, across] => (down, across),
        _ => return config.refuse("scale_factor"),
    };
    // PyTorch samples by the factor itself, and we by the ratio of the sizes: the same only for whole results.
    let size = [height as f64 * down, width as f64 * across];
    if size.iter().any(|s| !(*s >= 1.0 && s.fract() == 0.0)) {
        return config.refuse("scale_factor");
    }
    Ok((size.map(|s| s as usize), mode))
}
