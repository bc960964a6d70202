//! Gemma 3 without its pictures: norms of queries and keys, five blocks with a window before each without, and other
//! rotary positions in them.

use super::super::architecture::Names;
use super::super::decoder::{
    DecoderConfig, Defaults, FULL, Form, QkNorm, Relative, Ropes, SLIDING, read_gguf_windows,
    refuse, windows,
};
use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::rope::{Rope, RopeDefaults, Scaling};
use super::gemma2::{self, gemma, query_scalar, read_gemma, softcap, write_gemma};
use crate::error::Result;
use serde_json::{Value, json};

/// Gemma Team, "Gemma 3 technical report" (2025).
#[derive(Debug)]
pub(super) struct Gemma3;

/// Of how many blocks in a row the last has no window.
const PERIOD: usize = 6;
/// Blocks of the 27B.
const LARGE: usize = 62;
/// The bases of the frequencies in blocks without and with a window.
const THETAS: [f64; 2] = [1_000_000.0, 10_000.0];

impl Relative for Gemma3 {
    fn names(&self) -> Names {
        Names {
            classifier_class: "Gemma3Text",
            ..Names::of_relative("gemma3_text", "Gemma3", Some("gemma3"))
        }
    }

    fn form(&self) -> Form {
        Form {
            qk_norm: QkNorm::Head,
            ..gemma2::FORM
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            vocab_size: 262_208,
            max_positions: 131_072,
            theta: THETAS[0],
            ..gemma2::DEFAULTS
        }
    }

    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()> {
        config.logit_softcap = softcap(fields, "final_logit_softcapping", None)?;
        // transformers reads a cap for attention and does not apply it.
        fields.only("attn_logit_softcapping", &[])?;
        let period = fields.size("_sliding_window_pattern")?;
        let period = fields.size("sliding_window_pattern")?.or(period);
        read_gemma(fields, config, period.unwrap_or(PERIOD))
    }

    fn read_rope(&self, fields: &mut JsonFields, defaults: RopeDefaults) -> Result<Ropes> {
        let theta = fields.positive("rope_local_base_freq")?;
        let plain = |theta| Rope::plain(theta, defaults.max_positions);
        let mut local = plain(theta.unwrap_or(THETAS[1]));
        let Some(mut kinds) = fields.table("rope_parameters")? else {
            return Ok((Rope::read(fields, defaults)?, Some(local)));
        };
        let mut global = plain(fields.positive("rope_theta")?.unwrap_or(defaults.theta));
        for (kind, rope) in [(FULL, &mut global), (SLIDING, &mut local)] {
            if let Some(table) = kinds.table(kind)? {
                *rope = Rope::read_table(table, rope.clone(), None, defaults)?;
            }
        }
        kinds.finish("this kind of rotary positions")?;
        Ok((global, Some(local)))
    }

    fn write(&self, config: &DecoderConfig, value: &mut Value) {
        write_gemma(config, value);
        let local = config.window_rope.as_ref().unwrap_or(&config.rope);
        value["rope_parameters"] = json!({
            FULL: config.rope.to_value(),
            SLIDING: local.to_value(),
        });
    }

    fn read_gguf(&self, keys: &Keys<'_>, config: &mut DecoderConfig) -> Result<()> {
        config.query_scalar = Some(query_scalar(config, LARGE));
        let theta = keys.positive("rope.freq_base_swa")?.unwrap_or(THETAS[1]);
        config.window_rope = Some(Rope::plain(theta, config.rope.max_positions));
        read_gguf_windows(keys, config, 1024, PERIOD)
    }

    fn describe_to(
        &self,
        config: &DecoderConfig,
        out: &mut GgufDescription,
    ) -> std::result::Result<(), String> {
        config.need_head(out, Head::Tied)?;
        config.refuse_other_scale(query_scalar(config, LARGE))?;
        refuse(config.logit_softcap.is_some(), "a cap of scores")?;
        if let Some(local) = &config.window_rope {
            let is_plain = local.scaling == Scaling::None;
            refuse(!is_plain, "scaled positions in blocks with a window")?;
            out.number("rope.freq_base_swa", local.theta);
        }
        config.describe_windows(out)
    }

    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        let make = |widths, layers| {
            let ropes = THETAS.map(|theta| Rope::plain(theta, 32_768));
            let [global, local] = ropes;
            DecoderConfig {
                head_dim: 256,
                window_rope: Some(local),
                query_scalar: Some(256.0),
                window: Some(512),
                windowed: windows(layers, PERIOD),
                ..gemma(DecoderConfig::new(
                    self,
                    262_144,
                    widths,
                    layers,
                    [4, 1],
                    global,
                ))
            }
        };
        vec![
            ("gemma3-270m", make([640, 2048], 18)),
            ("gemma3-1b", make([1152, 6912], 26)),
        ]
    }
}
