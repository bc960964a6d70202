//! Gemma 2: norms on both sides of every sublayer, soft caps, a window in every other block.

use super::super::architecture::Names;
use super::super::decoder::{
    DecoderConfig, Defaults, Form, NormPlaces, Relative, layer_types, read_attention_bias,
    read_gguf_windows, read_layer_types, read_window, windows,
};
use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::rope::Rope;
use crate::error::Result;
use cortical_kernels::activation::Activation;
use serde_json::{Value, json};

/// Gemma Team, "Gemma 2: improving open language models at a practical size" (2024).
#[derive(Debug)]
pub(super) struct Gemma2;

impl Relative for Gemma2 {
    fn names(&self) -> Names {
        Names::of_relative("gemma2", "Gemma2", Some("gemma2"))
    }

    fn form(&self) -> Form {
        FORM
    }

    fn defaults(&self) -> Defaults {
        DEFAULTS
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        config.logit_softcap = softcap(fields, "final_logit_softcapping", Some(30.0))?;
        config.attention_softcap = softcap(fields, "attn_logit_softcapping", Some(50.0))?;
        read_gemma(fields, config, 2)
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["attn_logit_softcapping"] = json!(config.attention_softcap);
        write_gemma(config, value);
    }

    fn read_gguf(&self, keys: &Keys<'_>, config: &mut DecoderConfig) -> Result<()> {
        config.query_scalar = Some(query_scalar(config, LARGE));
        read_gguf_windows(keys, config, 4096, 2)
    }

    fn describe_to(
        &self,
        config: &DecoderConfig,
        out: &mut GgufDescription,
    ) -> std::result::Result<(), String> {
        config.need_head(out, Head::Tied)?;
        config.refuse_other_scale(query_scalar(config, LARGE))?;
        // Without them llama.cpp takes those of the published models.
        let caps = config.attention_softcap.zip(config.logit_softcap);
        let (attention, logits) = caps.ok_or("scores without caps")?;
        out.number("attn_logit_softcapping", attention);
        out.number("final_logit_softcapping", logits);
        config.describe_windows(out)
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let make = |widths, layers, heads, head_dim, scalar| {
            let rope = Rope::plain(10_000.0, 8192);
            DecoderConfig {
                head_dim,
                attention_softcap: Some(50.0),
                logit_softcap: Some(30.0),
                query_scalar: Some(scalar),
                window: Some(4096),
                windowed: windows(layers, 2),
                ..gemma(DecoderConfig::new(
                    self, 256_000, widths, layers, heads, rope,
                ))
            }
        };
        vec![
            ("gemma2-2b", make([2304, 9216], 26, [8, 4], 256, 256.0)),
            ("gemma2-9b", make([3584, 14_336], 42, [16, 8], 256, 256.0)),
            ("gemma2-27b", make([4608, 36_864], 46, [32, 16], 128, 144.0)),
        ]
    }
}

/// Blocks of the 27B.
const LARGE: usize = 46;

/// What GGUF files leave unsaid: the model of so many blocks divides by another number than its heads' elements.
pub(super) fn query_scalar(config: &DecoderConfig, large: usize) -> f64 {
    match config.num_layers == large {
        true => (config.hidden_size / config.num_heads) as f64,
        false => config.head_dim as f64,
    }
}

/// What Gemmas share.
pub(super) const FORM: Form = Form {
    norms: NormPlaces::AROUND,
    norm_offset: true,
    scaled_tokens: true,
    ..Form::LLAMA
};

/// What a Gemma may leave out.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_layers: 26,
    num_heads: 8,
    num_kv_heads: Some(4),
    head_dim: Some(256),
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    max_positions: 8192,
    tied: true,
    pad_token: Some(0),
    ..Defaults::LLAMA
};

/// What all published Gemmas have.
pub(super) fn gemma(config: DecoderConfig) -> DecoderConfig {
    DecoderConfig {
        activation: Activation::GeluTanh,
        eps: 1e-6,
        tied: true,
        ..config
    }
}

/// A cap that has a value of its own where it is not there, another than null.
pub(super) fn softcap(
    fields: &mut JsonFields,
    name: &str,
    default: Option<f64>,
) -> Result<Option<f64>> {
    let given = fields.has(name);
    let cap = fields.positive(name)?;
    Ok(if given { cap } else { default })
}

/// Reads what Gemmas share; of `period` blocks in a row all but the last have a window.
pub(super) fn read_gemma(
    fields: &mut JsonFields,
    config: &mut DecoderConfig,
    period: usize,
) -> Result<()> {
    read_attention_bias(fields, config)?;
    fields.only("use_bidirectional_attention", &[json!(false)])?;
    // Published configurations have an older name of the activation, which transformers does not read, and say how to
    // keep a cache.
    for unread in ["hidden_act", "cache_implementation", "sliding_window_size"] {
        let _ = fields.take(unread);
    }
    config.query_scalar = Some(fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0));
    config.window = read_window(fields, Some(4096))?;
    let (layers, window) = (config.num_layers, config.window);
    let types = read_layer_types(fields, layers, window)?;
    config.windowed = types.unwrap_or_else(|| windows(layers, period));
    Ok(())
}

pub(super) fn write_gemma(config: &DecoderConfig, value: &mut Value) {
    let scalar = config.query_scalar.unwrap_or(config.head_dim as f64);
    // transformers wants a whole number.
    value["query_pre_attn_scalar"] = match scalar.fract() == 0.0 {
        true => json!(scalar as u64),
        false => json!(scalar),
    };
    value["final_logit_softcapping"] = json!(config.logit_softcap);
    value["attention_bias"] = json!(config.qkv_bias);
    value["sliding_window"] = json!(config.window);
    value["layer_types"] = layer_types(config);
}
