//! Qwen3: norms of queries and keys.

use super::super::architecture::Names;
use super::super::decoder::{DecoderConfig, Defaults, Form, QkNorm, Relative, read_attention_bias};
use super::super::json::JsonFields;
use super::super::rope::Rope;
use super::qwen2;
use crate::error::Result;
use serde_json::{Value, json};

/// Yang et al., "Qwen3 technical report" (2025).
#[derive(Debug)]
pub(super) struct Qwen3;

impl Relative for Qwen3 {
    fn names(&self) -> Names {
        Names::of_relative("qwen3", "Qwen3", Some("qwen3"))
    }

    fn form(&self) -> Form {
        Form {
            qk_norm: QkNorm::Head,
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            head_dim: Some(128),
            ..qwen2::DEFAULTS
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        read_attention_bias(fields, config)?;
        qwen2::read_windows(fields, config)
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["attention_bias"] = json!(config.qkv_bias);
        qwen2::write_windows(config, value);
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let make = |widths, layers, heads, tied| {
            let rope = Rope::plain(1_000_000.0, 40_960);
            DecoderConfig {
                tied,
                eps: 1e-6,
                head_dim: 128,
                ..DecoderConfig::new(self, 151_936, widths, layers, heads, rope)
            }
        };
        vec![
            ("qwen3-0.6b", make([1024, 3072], 28, [16, 8], true)),
            ("qwen3-8b", make([4096, 12_288], 36, [32, 8], false)),
        ]
    }
}
