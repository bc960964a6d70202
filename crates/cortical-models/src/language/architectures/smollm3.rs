//! SmolLM3: blocks without positions.

use super::super::architecture::Names;
use super::super::decoder::{
    DecoderConfig, Defaults, Form, GgufForm, Relative, layer_types, read_attention_bias,
    read_layer_types, read_window, refuse, windows,
};
use super::super::gguf_description::GgufDescription;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::rope::Rope;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// Bakouch et al., "SmolLM3: smol, multilingual, long-context reasoner" (2025).
#[derive(Debug)]
pub(super) struct SmolLm3;

/// Of how many blocks in a row the last does not turn queries and keys.
const PERIOD: usize = 4;

impl Relative for SmolLm3 {
    fn names(&self) -> Names {
        Names::of_relative("smollm3", "SmolLM3", Some("smollm3"))
    }

    fn form(&self) -> Form {
        Form {
            gguf: GgufForm {
                pairs: true,
                ..GgufForm::PLAIN
            },
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            vocab_size: 128_256,
            hidden_size: 2048,
            num_layers: 36,
            num_heads: 16,
            num_kv_heads: Some(4),
            theta: 2_000_000.0,
            max_positions: 32_768,
            tied: true,
            pad_token: Some(128_004),
            ..Defaults::LLAMA
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        read_attention_bias(fields, config)?;
        config.mlp_bias = fields.flag("mlp_bias")?.unwrap_or(false);
        // Published configurations have it from Qwen; transformers does not read it.
        let _ = fields.take("max_window_layers");
        let layers = config.num_layers;
        let period = fields.size_or("no_rope_layer_interval", PERIOD)?;
        config.rotated = match fields.flags("no_rope_layers")? {
            None => windows(layers, period),
            Some(rotated) if rotated.len() == layers => rotated,
            Some(other) => {
                return Err(Error::Config {
                    field: "no_rope_layers".to_owned(),
                    expected: format!("one entry for each of {layers} layers"),
                    got: format!("{} entries", other.len()),
                });
            }
        };
        let used = fields.flag("use_sliding_window")?.unwrap_or(false);
        config.window = read_window(fields, None)?.filter(|_| used);
        let types = read_layer_types(fields, layers, config.window)?;
        let has_window = config.window.is_some();
        let unrotated = || config.rotated.iter().map(|turns| has_window && !turns);
        config.windowed = types.unwrap_or_else(|| unrotated().collect());
        Ok(())
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        let layers = 0..config.num_layers;
        let rotated = layers.map(|layer| u8::from(config.is_rotated(layer)));
        value["no_rope_layers"] = rotated.collect();
        value["attention_bias"] = json!(config.qkv_bias);
        value["mlp_bias"] = json!(config.mlp_bias);
        value["use_sliding_window"] = json!(config.window.is_some());
        value["sliding_window"] = json!(config.window);
        value["layer_types"] = layer_types(config);
    }

    fn read_gguf(&self, keys: &Keys<'_>, config: &mut DecoderConfig) -> Result<()> {
        // llama.cpp has no key for it.
        config.rotated = windows(config.num_layers, PERIOD);
        keys.only("attention.sliding_window", 0.0)
    }

    fn describe_to(
        &self,
        config: &DecoderConfig,
        out: &mut GgufDescription,
    ) -> std::result::Result<(), String> {
        let _ = out;
        // llama.cpp takes it that every fourth block does not turn.
        let layers = config.num_layers;
        let usual = windows(layers, PERIOD);
        let is_usual = (0..layers).all(|layer| config.is_rotated(layer) == usual[layer]);
        refuse(!is_usual, "its choice of blocks without rotary positions")?;
        config.refuse_windows()
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let rope = Rope::plain(5_000_000.0, 65_536);
        let config = DecoderConfig::new(self, 128_256, [2048, 11_008], 36, [16, 4], rope);
        let config = DecoderConfig {
            rotated: windows(36, PERIOD),
            tied: true,
            eps: 1e-6,
            ..config
        };
        vec![("smollm3-3b", config)]
    }
}
