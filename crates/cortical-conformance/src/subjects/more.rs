//! Further names for operations that are held to PyTorch under another name already: padding layers, single steps of
//! recurrent layers, products, and the functions behind layers of windows.

use super::{Made, conv, function};
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::Tensor;
use cortical_kernels::matmul::Transposes;
use cortical_kernels::recurrent::Cell;
use cortical_tensor::ops::{self, PadMode, RecurrentWeights, Time};

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    if let Some(class) = class_of(name) {
        let made = conv::operation(class, config, given)?;
        return match made {
            Some(made) => Ok(Some(made)),
            None => function::operation(class, config, given),
        };
    }
    let x = given.input(0)?;
    let made = match name {
        "mm" | "bmm" => ops::matmul(x, given.input(1)?, Transposes::default())?,
        "bilinear" => {
            let weight = given.argument_opt(2, "weight");
            let weight = weight.ok_or_else(|| Stop::Malformed {
                what: "input.2 (weight)".to_string(),
            })?;
            let bias = given.argument_opt(3, "bias").map(Into::into);
            ops::bilinear(x, given.input(1)?, weight, bias)?
        }
        "std" => {
            let axes = [config.i64("dim", -1)? as isize];
            let correction = match config.bool("unbiased", true)? {
                true => config.usize("correction", 1)?,
                false => 0,
            };
            ops::variance(x, &axes, correction, config.bool("keepdim", false)?)?.sqrt()?
        }
        "RNNCell" | "GRUCell" | "LSTMCell" => return Ok(Some(cell(name, config, given)?)),
        _ => match padding_layer(name) {
            Some((axes, mode)) => padded(config, x, axes, mode)?,
            None => return Ok(None),
        },
    };
    Ok(Some(made.into()))
}

/// The layer that does what a function does.
fn class_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "max_pool1d" => "MaxPool1d",
        "max_pool2d" => "MaxPool2d",
        "max_pool3d" => "MaxPool3d",
        "avg_pool1d" => "AvgPool1d",
        "avg_pool2d" => "AvgPool2d",
        "avg_pool3d" => "AvgPool3d",
        "adaptive_avg_pool1d" => "AdaptiveAvgPool1d",
        "adaptive_avg_pool2d" => "AdaptiveAvgPool2d",
        "adaptive_avg_pool3d" => "AdaptiveAvgPool3d",
        "adaptive_max_pool1d" => "AdaptiveMaxPool1d",
        "adaptive_max_pool2d" => "AdaptiveMaxPool2d",
        "adaptive_max_pool3d" => "AdaptiveMaxPool3d",
        "pixel_shuffle" => "PixelShuffle",
        "pixel_unshuffle" => "PixelUnshuffle",
        _ => return None,
    })
}

/// How many axes a padding layer is about, and what it pads with.
fn padding_layer(name: &str) -> Option<(usize, PadMode)> {
    let (kind, axes) = name.strip_suffix('d')?.split_at_checked(name.len() - 2)?;
    let mode = match kind {
        "ReflectionPad" => PadMode::Reflect,
        "ReplicationPad" => PadMode::Replicate,
        "CircularPad" => PadMode::Circular,
        "ZeroPad" | "ConstantPad" => PadMode::Constant(0.0),
        _ => return None,
    };
    Some((axes.parse().ok()?, mode))
}

fn padded(config: &Config<'_>, x: &Tensor, axes: usize, mode: PadMode) -> Result<Tensor, Stop> {
    let mode = match mode {
        PadMode::Constant(_) => PadMode::Constant(config.f64("value", 0.0)?),
        mode => mode,
    };
    // One number is for both sides of every axis, several are counted from the last axis on.
    let sizes = match config.sizes("padding") {
        Ok(Some(sizes)) => sizes,
        _ => return config.refuse("padding"),
    };
    let mut sizes: Vec<[usize; 2]> = match sizes[..] {
        [one] => vec![[one; 2]; axes],
        _ => sizes.as_chunks::<2>().0.to_vec(),
    };
    sizes.reverse();
    Ok(ops::pad(x, &sizes, mode)?)
}

/// One step of a recurrent layer.
fn cell(name: &str, config: &Config<'_>, given: &Given) -> Result<Made, Stop> {
    let kind = match (name, config.text("nonlinearity", "tanh")?) {
        ("RNNCell", "tanh") => Cell::RnnTanh,
        ("RNNCell", "relu") => Cell::RnnRelu,
        ("GRUCell", "tanh") => Cell::Gru,
        ("LSTMCell", "tanh") => Cell::Lstm,
        _ => return config.refuse("nonlinearity"),
    };
    config.size("input_size")?;
    let hidden = config.size("hidden_size")?;
    config.bool("bias", true)?;
    let x = given.input(0)?;
    let zeros = Tensor::zeros((x.dim(0)?, hidden), x.dtype(), x.device())?;
    let state = |i: usize| given.inputs.get(i).unwrap_or(&zeros);
    let weights = RecurrentWeights {
        w_ih: given.param("weight_ih")?.into(),
        w_hh: given.param("weight_hh")?.into(),
        b_ih: given.param_opt("bias_ih").map(Into::into),
        b_hh: given.param_opt("bias_hh").map(Into::into),
    };
    let c_0 = (kind == Cell::Lstm).then(|| state(2).into());
    let sequence = x.unsqueeze(0)?;
    let run = ops::recurrent(kind, &sequence, state(1), c_0, weights, Time::default())?;
    Ok(Made {
        outputs: std::iter::once(run.h).chain(run.c).collect(),
        buffers: Vec::new(),
    })
}
