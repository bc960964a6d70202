//! Llama 2 and 3, and models of their form: TinyLlama, SmolLM2.

use super::super::architecture::Names;
use super::super::decoder::{
    DecoderConfig, Defaults, Form, GgufForm, Relative, read_attention_bias,
};
use super::super::json::JsonFields;
use super::super::rope::{Rope, Scaling};
use crate::error::Result;
use serde_json::{Value, json};

/// Touvron et al., "LLaMA: open and efficient foundation language models" (2023).
#[derive(Debug)]
pub(super) struct Llama;

impl Relative for Llama {
    fn names(&self) -> Names {
        Names::of_relative("llama", "Llama", Some("llama"))
    }

    fn form(&self) -> Form {
        Form {
            gguf: GgufForm::LLAMA,
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults::LLAMA
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        read_attention_bias(fields, config)?;
        config.mlp_bias = fields.flag("mlp_bias")?.unwrap_or(false);
        Ok(())
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["attention_bias"] = json!(config.qkv_bias);
        value["mlp_bias"] = json!(config.mlp_bias);
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let plain = move |theta: f64, positions: usize, vocab: usize| {
            move |widths, layers, heads| {
                let rope = Rope::plain(theta, positions);
                DecoderConfig::new(self, vocab, widths, layers, heads, rope)
            }
        };
        let tied = |config| DecoderConfig {
            tied: true,
            ..config
        };
        let scaled = |config: DecoderConfig, factor: f64| {
            let scaling = Scaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original: 8192,
            };
            let rope = Rope {
                scaling,
                max_positions: 131_072,
                ..config.rope
            };
            DecoderConfig { rope, ..config }
        };
        let small = |head_dim: usize, config: DecoderConfig| DecoderConfig {
            head_dim,
            ..tied(scaled(config, 32.0))
        };
        let llama2 = plain(10_000.0, 4096, 32_000);
        let llama3 = plain(500_000.0, 8192, 128_256);
        let smollm2 = move |theta: f64| plain(theta, 8192, 49_152);
        vec![
            // A model of about a million parameters that reads bytes.
            (
                "llama-tiny",
                tied(plain(10_000.0, 256, 256)([160, 432], 3, [5, 5])),
            ),
            // The one that training speed is compared with.
            (
                "llama-15m",
                plain(10_000.0, 256, 32_000)([288, 768], 6, [6, 6]),
            ),
            ("llama2-7b", llama2([4096, 11_008], 32, [32, 32])),
            ("llama2-13b", llama2([5120, 13_824], 40, [40, 40])),
            ("llama2-70b", llama2([8192, 28_672], 80, [64, 8])),
            ("llama3-8b", llama3([4096, 14_336], 32, [32, 8])),
            ("llama3-70b", llama3([8192, 28_672], 80, [64, 8])),
            (
                "llama3.1-8b",
                scaled(llama3([4096, 14_336], 32, [32, 8]), 8.0),
            ),
            ("llama3.2-1b", small(64, llama3([2048, 8192], 16, [32, 8]))),
            ("llama3.2-3b", small(128, llama3([3072, 8192], 28, [24, 8]))),
            (
                "tinyllama",
                plain(10_000.0, 2048, 32_000)([2048, 5632], 22, [32, 4]),
            ),
            (
                "smollm2-135m",
                tied(smollm2(100_000.0)([576, 1536], 30, [9, 3])),
            ),
            (
                "smollm2-360m",
                tied(smollm2(100_000.0)([960, 2560], 32, [15, 5])),
            ),
            (
                "smollm2-1.7b",
                tied(smollm2(130_000.0)([2048, 8192], 24, [32, 32])),
            ),
        ]
    }
}
