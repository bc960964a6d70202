//! A decoder's configuration from a `config.json` and back.

use super::super::json::JsonFields;
use super::super::parts::{activation, activation_name, check_divides, check_layers};
use super::super::rope::{RopeDefaults, Scaling};
use super::relative::{DecoderConfig, Relative};
use crate::error::{Error, Result};
use serde_json::{Value, json};

impl DecoderConfig {
    pub(crate) fn read(relative: &'static dyn Relative, fields: &mut JsonFields) -> Result<Self> {
        let (defaults, form) = (relative.defaults(), relative.form());
        let hidden_size = fields.size_or("hidden_size", defaults.hidden_size)?;
        let intermediate = fields.size_or("intermediate_size", defaults.intermediate_size)?;
        let num_layers = fields.size_or("num_hidden_layers", defaults.num_layers)?;
        let num_heads = fields.size_or("num_attention_heads", defaults.num_heads)?;
        let kv_given = fields.has("num_key_value_heads");
        let num_kv_heads = fields.size("num_key_value_heads")?;
        // An explicit null means as many as there are heads.
        let num_kv_heads = match (num_kv_heads, kv_given) {
            (Some(heads), _) => heads,
            (None, true) => num_heads,
            (None, false) => defaults.num_kv_heads.unwrap_or(num_heads),
        };
        check_layers(num_layers)?;
        let head_dim = match fields.size("head_dim")?.or(defaults.head_dim) {
            Some(dim) => dim,
            None => {
                check_divides("num_attention_heads", num_heads, "hidden_size", hidden_size)?;
                hidden_size / num_heads
            }
        };
        let name = "num_key_value_heads";
        check_divides(name, num_kv_heads, "num_attention_heads", num_heads)?;
        if !head_dim.is_multiple_of(2) {
            return Err(Error::Config {
                field: "head_dim".to_owned(),
                expected: "an even number, for rotary positions turn pairs".to_owned(),
                got: head_dim.to_string(),
            });
        }
        let rope = RopeDefaults {
            theta: defaults.theta,
            max_positions: fields.size_or("max_position_embeddings", defaults.max_positions)?,
            head_dim,
            phi: form.phi_rope,
        };
        let (rope, window_rope) = relative.read_rope(fields, rope)?;
        let vocab = fields.size_or("vocab_size", defaults.vocab_size)?;
        let heads = [num_heads, num_kv_heads];
        let (field, value) = defaults.activation;
        let mut config = Self {
            head_dim,
            window_rope,
            activation: activation(fields, field, value)?,
            eps: fields.positive("rms_norm_eps")?.unwrap_or(defaults.eps),
            tied: fields.flag("tie_word_embeddings")?.unwrap_or(defaults.tied),
            pad_token: fields.token("pad_token_id", defaults.pad_token)?,
            ..Self::new(
                relative,
                vocab,
                [hidden_size, intermediate],
                num_layers,
                heads,
                rope,
            )
        };
        relative.read(fields, &mut config)?;
        Ok(config)
    }

    pub(crate) fn to_value(&self) -> Option<Value> {
        let (names, defaults) = (self.relative.names(), self.relative.defaults());
        let mut value = json!({
            "architectures": [format!("{}ForCausalLM", names.class)],
            "model_type": names.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            defaults.activation.0: activation_name(self.activation)?,
            "rms_norm_eps": self.eps,
            "max_position_embeddings": self.rope.max_positions,
            "rope_parameters": self.rope.to_value(),
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
        });
        if let Scaling::LongRope { original, .. } = self.rope.scaling {
            // Where transformers' Phi-3 looks for it.
            value["original_max_position_embeddings"] = json!(original);
        }
        if self.pad_token != defaults.pad_token {
            value["pad_token_id"] = json!(self.pad_token);
        }
        self.relative.write(self, &mut value);
        Some(value)
    }
}

/// Reads `attention_bias`, which is for queries, keys, values and the output alike.
pub(crate) fn read_attention_bias(
    fields: &mut JsonFields,
    config: &mut DecoderConfig,
) -> Result<()> {
    let bias = fields.flag("attention_bias")?.unwrap_or(false);
    (config.qkv_bias, config.out_bias) = (bias, bias);
    Ok(())
}

/// Reads `sliding_window`; a field that is not there has a value of its own, another than null.
pub(crate) fn read_window(
    fields: &mut JsonFields,
    default: Option<usize>,
) -> Result<Option<usize>> {
    let given = fields.has("sliding_window");
    let window = fields.size("sliding_window")?;
    Ok(if given { window } else { default })
}

/// Reads `layer_types`, if it is there: which blocks have the window.
pub(crate) fn read_layer_types(
    fields: &mut JsonFields,
    layers: usize,
    window: Option<usize>,
) -> Result<Option<Vec<bool>>> {
    let Some(types) = fields.texts("layer_types")? else {
        return Ok(None);
    };
    let wrong = |expected: String, got: String| Error::Config {
        field: "layer_types".to_owned(),
        expected,
        got,
    };
    if types.len() != layers {
        let got = format!("{} entries", types.len());
        return Err(wrong(format!("one entry for each of {layers} layers"), got));
    }
    let windowed = |kind: &String| match (kind.as_str(), window) {
        (FULL, _) => Ok(false),
        (SLIDING, Some(_)) => Ok(true),
        (SLIDING, None) => Err(wrong(
            "use_sliding_window and sliding_window beside sliding_attention".to_owned(),
            "neither".to_owned(),
        )),
        (other, _) => Err(wrong(
            format!("{FULL} or {SLIDING}"),
            json!(other).to_string(),
        )),
    };
    types.iter().map(windowed).collect::<Result<_>>().map(Some)
}

/// `layer_types` as transformers has them.
pub(crate) fn layer_types(config: &DecoderConfig) -> Value {
    let layers = 0..config.num_layers;
    let kind = |layer: usize| match config.window_of(layer) {
        Some(_) => SLIDING,
        None => FULL,
    };
    layers.map(kind).collect()
}

/// The names of blocks without a window and with one.
pub(crate) const FULL: &str = "full_attention";
pub(crate) const SLIDING: &str = "sliding_attention";
