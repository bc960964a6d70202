//! Qwen2: biases of queries, keys and values.

use super::super::architecture::Names;
use super::super::decoder::{
    Biases, DecoderConfig, Defaults, Form, GgufForm, Relative, layer_types, read_layer_types,
    read_window,
};
use super::super::json::JsonFields;
use super::super::rope::Rope;
use crate::error::Result;
use serde_json::{Value, json};

/// Yang et al., "Qwen2 technical report" (2024).
#[derive(Debug)]
pub(super) struct Qwen2;

impl Relative for Qwen2 {
    fn names(&self) -> Names {
        Names::of_relative("qwen2", "Qwen2", Some("qwen2"))
    }

    fn form(&self) -> Form {
        Form {
            gguf: GgufForm {
                biases: Biases {
                    queries: true,
                    others: false,
                },
                ..GgufForm::PLAIN
            },
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        DEFAULTS
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        config.qkv_bias = true;
        read_windows(fields, config)
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        write_windows(config, value);
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let make = |vocab, widths, layers, heads, tied| {
            let rope = Rope::plain(1_000_000.0, 131_072);
            DecoderConfig {
                tied,
                eps: 1e-6,
                qkv_bias: true,
                ..DecoderConfig::new(self, vocab, widths, layers, heads, rope)
            }
        };
        vec![
            ("qwen2-0.5b", make(151_936, [896, 4864], 24, [14, 2], true)),
            ("qwen2-1.5b", make(151_936, [1536, 8960], 28, [12, 2], true)),
            (
                "qwen2-7b",
                make(152_064, [3584, 18_944], 28, [28, 4], false),
            ),
        ]
    }
}

/// What a Qwen may leave out.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    intermediate_size: 22_016,
    num_kv_heads: Some(32),
    max_positions: 32_768,
    ..Defaults::LLAMA
};

/// A window that has a switch of its own, for blocks by their kinds or from a number on.
pub(super) fn read_windows(fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
    let used = fields.flag("use_sliding_window")?.unwrap_or(false);
    config.window = read_window(fields, Some(4096))?.filter(|_| used);
    let from = fields.whole("max_window_layers")?.unwrap_or(28);
    let (layers, window) = (config.num_layers, config.window);
    config.windowed = match read_layer_types(fields, layers, window)? {
        None => (0..layers).map(|i| window.is_some() && i >= from).collect(),
        Some(types) => types,
    };
    Ok(())
}

pub(super) fn write_windows(config: &DecoderConfig, value: &mut Value) {
    value["use_sliding_window"] = json!(config.window.is_some());
    value["sliding_window"] = json!(config.window);
    value["layer_types"] = layer_types(config);
}
