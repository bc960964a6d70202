//! OLMo 2: norms behind the sublayers, and of all queries and all keys together.

use super::super::architecture::Names;
use super::super::decoder::{
    DecoderConfig, Defaults, Form, NormPlaces, QkNorm, Relative, read_attention_bias,
};
use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::rope::Rope;
use crate::error::Result;
use serde_json::{Value, json};

/// Team OLMo, "2 OLMo 2 furious" (2024).
#[derive(Debug)]
pub(super) struct Olmo2;

impl Relative for Olmo2 {
    fn names(&self) -> Names {
        Names::of_relative("olmo2", "Olmo2", Some("olmo2"))
    }

    fn form(&self) -> Form {
        Form {
            norms: NormPlaces::BEHIND,
            qk_norm: QkNorm::Width,
            ..Form::LLAMA
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            vocab_size: 50_304,
            pad_token: Some(1),
            eps: 1e-5,
            ..Defaults::LLAMA
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        read_attention_bias(fields, config)
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        value["attention_bias"] = json!(config.qkv_bias);
    }

    fn read_gguf(&self, keys: &Keys<'_>, _config: &mut DecoderConfig) -> Result<()> {
        // With a window it is an OLMo 3, whose blocks turn in two ways.
        keys.only("attention.sliding_window", 0.0)
    }

    fn describe_to(
        &self,
        config: &DecoderConfig,
        out: &mut GgufDescription,
    ) -> std::result::Result<(), String> {
        config.refuse_extras()?;
        config.need_head(out, Head::Own)?;
        config.refuse_windows()
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let make = |widths, layers, heads| {
            let rope = Rope::plain(500_000.0, 4096);
            DecoderConfig {
                eps: 1e-6,
                ..DecoderConfig::new(self, 100_352, widths, layers, heads, rope)
            }
        };
        vec![
            ("olmo2-1b", make([2048, 8192], 16, [16, 16])),
            ("olmo2-7b", make([4096, 11_008], 32, [32, 32])),
            ("olmo2-13b", make([5120, 13_824], 40, [40, 40])),
        ]
    }
}
