//! Mistral: a window of attention.

use super::super::architecture::Names;
use super::super::decoder::{DecoderConfig, Defaults, Form, GgufForm, Relative, read_window};
use super::super::json::JsonFields;
use super::super::rope::Rope;
use crate::error::Result;
use serde_json::{Value, json};

/// Jiang et al., "Mistral 7B" (2023).
#[derive(Debug)]
pub(super) struct Mistral;

impl Relative for Mistral {
    fn names(&self) -> Names {
        Names::of_relative("mistral", "Mistral", None)
    }

    fn form(&self) -> Form {
        Form {
            gguf: GgufForm::LLAMA,
            ..Form::LLAMA
        }
    }

    fn gguf_name(&self) -> Option<&'static str> {
        // Its GGUF files say that they are Llama's.
        Some("llama")
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            intermediate_size: 14_336,
            num_kv_heads: Some(8),
            max_positions: 131_072,
            ..Defaults::LLAMA
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        config.window = read_window(fields, Some(4096))?;
        config.windowed = vec![config.window.is_some(); config.num_layers];
        Ok(())
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["sliding_window"] = json!(config.window);
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let rope = Rope::plain(10_000.0, 32_768);
        let config = DecoderConfig::new(self, 32_000, [4096, 14_336], 32, [32, 8], rope);
        let config = DecoderConfig {
            window: Some(4096),
            windowed: vec![true; 32],
            ..config
        };
        vec![("mistral-7b", config)]
    }
}
