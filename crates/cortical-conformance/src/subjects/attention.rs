//! Attention: the function, the layer with several heads, and PyTorch's blocks.

use super::Forward;
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{DType, Tensor};
use cortical_attention::{
    Attend, DecoderMasks, MultiHeadAttention, TransformerDecoderLayer, TransformerEncoderLayer,
};
use cortical_kernels::activation::Activation;
use cortical_neuron::Params;
use cortical_tensor::ops::{self, Attention};

pub(crate) fn layer(
    name: &str,
    config: &Config<'_>,
    params: &Params,
    given: &Given,
) -> Result<Option<Forward>, Stop> {
    let layer = match name {
        "MultiheadAttention" => multi_head(config, params, given)?,
        "TransformerEncoderLayer" => encoder(config, params, given)?,
        "TransformerDecoderLayer" => decoder(config, params, given)?,
        _ => return Ok(None),
    };
    Ok(Some(layer))
}

/// PyTorch's boolean masks say where a query may not attend; ours say where it may.
fn mask(given: &Given, name: &str) -> Result<Option<Tensor>, Stop> {
    Ok(match given.extra(name) {
        Some(mask) if mask.dtype() == DType::U8 => Some(mask.eq(0_u8)?),
        mask => mask.cloned(),
    })
}

fn no_dropout(config: &Config<'_>, given: &Given, default: f64) -> Result<f64, Stop> {
    let p = config.f64("dropout", default)?;
    if given.train && p > 0.0 {
        return config.refuse("dropout");
    }
    Ok(p)
}

fn multi_head(config: &Config<'_>, params: &Params, given: &Given) -> Result<Forward, Stop> {
    let mut layer =
        MultiHeadAttention::config(config.size("embed_dim")?, config.size("num_heads")?)
            .bias(config.bool("bias", true)?)
            .batch_first(config.bool("batch_first", false)?)
            .bias_kv(config.bool("add_bias_kv", false)?)
            .zero_attn(config.bool("add_zero_attn", false)?)
            .dropout(no_dropout(config, given, 0.0)?);
    if let Some(width) = config.usize_opt("kdim")? {
        layer = layer.kdim(width);
    }
    if let Some(width) = config.usize_opt("vdim")? {
        layer = layer.vdim(width);
    }
    let layer = layer.build(&params.root())?;
    let average = config.bool("average_attn_weights", true)?;
    // A case without this argument says by its outputs whether weights were asked for. A causal call comes with its
    // mask.
    let weighed = config.bool("need_weights", given.outputs > 1)?;
    config.bool("is_causal", false)?;
    let (seen, keys) = (mask(given, "attn_mask")?, mask(given, "key_padding_mask")?);
    Ok(Box::new(move |inputs, pass| {
        let Some((x, others)) = inputs.split_first() else {
            return Err(Stop::Malformed {
                what: "input.0".to_string(),
            });
        };
        let attend = Attend {
            memory: others.first(),
            values: others.get(1),
            mask: seen.as_ref(),
            key_mask: keys.as_ref(),
        };
        if weighed {
            let (y, weights) = layer.attend_weighed(x, attend, average, pass)?;
            return Ok(vec![y, weights]);
        }
        Ok(vec![layer.attend(x, attend, pass)?])
    }))
}

fn activation(config: &Config<'_>) -> Result<Activation, Stop> {
    match config.text("activation", "relu")? {
        "relu" => Ok(Activation::Relu),
        "gelu" => Ok(Activation::Gelu),
        _ => config.refuse("activation"),
    }
}

/// The options that encoder and decoder share, set on either's configuration.
macro_rules! block {
    ($layer:ident, $config:ident, $params:ident, $given:ident) => {
        $layer::config($config.size("d_model")?, $config.size("nhead")?)
            .dim_feedforward($config.usize("dim_feedforward", 2048)?)
            .dropout(no_dropout($config, $given, 0.1)?)
            .activation(activation($config)?)
            .layer_norm_eps($config.f64("layer_norm_eps", 1e-5)?)
            .batch_first($config.bool("batch_first", false)?)
            .norm_first($config.bool("norm_first", false)?)
            .bias($config.bool("bias", true)?)
            .build(&$params.root())?
    };
}

fn encoder(config: &Config<'_>, params: &Params, given: &Given) -> Result<Forward, Stop> {
    let layer = block!(TransformerEncoderLayer, config, params, given);
    // Causal calls come with their mask.
    config.bool("is_causal", false)?;
    let seen = match mask(given, "src_mask")? {
        Some(mask) => Some(mask),
        None => mask(given, "mask")?,
    };
    let keys = mask(given, "src_key_padding_mask")?;
    Ok(Box::new(move |inputs, pass| match inputs {
        [x] => Ok(vec![layer.run_masked(
            x,
            seen.as_ref(),
            keys.as_ref(),
            pass,
        )?]),
        _ => Err(Stop::Malformed {
            what: "single input".to_string(),
        }),
    }))
}

fn decoder(config: &Config<'_>, params: &Params, given: &Given) -> Result<Forward, Stop> {
    let layer = block!(TransformerDecoderLayer, config, params, given);
    for hint in ["tgt_is_causal", "memory_is_causal"] {
        config.bool(hint, false)?;
    }
    let masks = [
        mask(given, "tgt_mask")?,
        mask(given, "tgt_key_padding_mask")?,
        mask(given, "memory_mask")?,
        mask(given, "memory_key_padding_mask")?,
    ];
    Ok(Box::new(move |inputs, pass| {
        let [target, memory] = inputs else {
            return Err(Stop::Malformed {
                what: "pair of inputs".to_string(),
            });
        };
        let [target_seen, target_keys, memory_seen, memory_keys] = &masks;
        let masks = DecoderMasks {
            target: target_seen.as_ref(),
            target_keys: target_keys.as_ref(),
            memory: memory_seen.as_ref(),
            memory_keys: memory_keys.as_ref(),
        };
        Ok(vec![layer.run(target, memory, masks, pass)?])
    }))
}

/// PyTorch's function: leading dimensions may be one or two, masks broadcast.
pub(crate) fn dot_product(config: &Config<'_>, given: &Given) -> Result<Tensor, Stop> {
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
        2 => t.unsqueeze(0)?.unsqueeze(0),
        // All batches are one.
        rank => t.flatten(0, rank - 4),
    };
    let mask = given
        .argument_opt(3, "attn_mask")
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
        2 => y.squeeze(0)?.squeeze(0)?,
        _ => y.reshape([&q.dims()[..rank - 3], &y.dims()[1..]].concat())?,
    })
}
