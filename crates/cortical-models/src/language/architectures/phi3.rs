//! Phi-3 and Phi-4: one linear layer for queries, keys and values, one for gate and up, heads of which a part may turn.

use super::super::architecture::Names;
use super::super::decoder::{DecoderConfig, Defaults, Form, GgufForm, Relative, read_window};
use super::super::json::JsonFields;
use super::super::rope::Rope;
use crate::error::Result;
use serde_json::{Value, json};

/// Abdin et al., "Phi-3 technical report" (2024) and "Phi-4 technical report" (2024).
#[derive(Debug)]
pub(super) struct Phi3;

impl Relative for Phi3 {
    fn names(&self) -> Names {
        Names::of_relative("phi3", "Phi3", Some("phi3"))
    }

    fn form(&self) -> Form {
        Form {
            fused: true,
            phi_rope: true,
            gguf: GgufForm {
                long_factors: true,
                ..GgufForm::PLAIN
            },
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            vocab_size: 32_064,
            pad_token: Some(32_000),
            hidden_size: 3072,
            intermediate_size: 8192,
            eps: 1e-5,
            max_positions: 4096,
            ..Defaults::LLAMA
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        // Phi-4 has these fields for relatives that were not published.
        for one in ["full_attn_mod", "interpolate_factor"] {
            fields.only(one, &[json!(1)])?;
        }
        config.window = read_window(fields, None)?;
        config.windowed = vec![config.window.is_some(); config.num_layers];
        Ok(())
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["sliding_window"] = json!(config.window);
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let rope = Rope::plain(10_000.0, 4096);
        let mini = DecoderConfig::new(self, 32_064, [3072, 8192], 32, [32, 32], rope);
        let rope = Rope::plain(250_000.0, 16_384);
        let phi4 = DecoderConfig::new(self, 100_352, [5120, 17_920], 40, [40, 10], rope);
        let mini = DecoderConfig {
            window: Some(2047),
            windowed: vec![true; 32],
            ..mini
        };
        vec![("phi3-mini", mini), ("phi4", phi4)]
    }
}
