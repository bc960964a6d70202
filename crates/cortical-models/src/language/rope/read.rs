//! Rotary positions from `rope_parameters` or `rope_scaling` and back, and from the keys of GGUF files.

use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::{Rope, RopeDefaults, Scaling};
use crate::error::{Error, Result};
use serde_json::{Value, json};

impl Rope {
    /// Reads `rope_scaling` with `rope_theta`, as models published until 2025 have them, or `rope_parameters`.
    pub(crate) fn read(fields: &mut JsonFields, defaults: RopeDefaults) -> Result<Self> {
        let theta = fields.positive("rope_theta")?.unwrap_or(defaults.theta);
        let original = fields.size("original_max_position_embeddings")?;
        let partial = read_partial(fields, defaults)?;
        fields.only("rope_interleaved", &[json!(false)])?;
        let new = fields.table("rope_parameters")?;
        // Where both are there, the older field wins, as it does in transformers.
        let table = fields.table("rope_scaling")?.or(new);
        let plain = Self {
            partial: partial.unwrap_or(1.0),
            ..Self::plain(theta, defaults.max_positions)
        };
        match table {
            None => plain.even(defaults.head_dim),
            Some(table) => Self::read_table(table, plain, original, defaults),
        }
    }

    /// Reads one object of rotary parameters; what it leaves out is that of `outer`.
    pub(crate) fn read_table(
        mut table: JsonFields,
        outer: Self,
        original: Option<usize>,
        defaults: RopeDefaults,
    ) -> Result<Self> {
        let max_positions = outer.max_positions;
        let theta = table.positive("rope_theta")?.unwrap_or(outer.theta);
        let partial = read_partial(&mut table, defaults)?.unwrap_or(outer.partial);
        let rope = Self {
            theta,
            partial,
            ..outer
        };
        let rope = rope.even(defaults.head_dim)?;
        let rotated = rope.rotated(defaults.head_dim);
        let old = table.text("type")?;
        let kind = table.text("rope_type")?.or(old);
        let inner = table.size("original_max_position_embeddings")?;
        let default = if defaults.phi { 4096 } else { max_positions };
        let original = inner.or(original).unwrap_or(default);
        let need = |value: Option<f64>, table: &JsonFields, name: &str| {
            value.ok_or_else(|| table.missing(name, "a number above 0"))
        };
        let scaling = match kind.as_deref().unwrap_or("default") {
            "default" | "mrope" if table.take("mrope_section").is_some() => {
                return Err(Error::UnsupportedConfig {
                    field: "rope_parameters.mrope_section".to_owned(),
                    got: "a list".to_owned(),
                    expected: "nothing: positions of pictures are not supported".to_owned(),
                });
            }
            "default" => {
                // A factor beside the default kind changes nothing there either.
                let _ = table.take("factor");
                Scaling::None
            }
            "linear" => {
                let factor = table.positive("factor")?;
                let factor = need(factor, &table, "factor")?;
                Scaling::Linear { factor }
            }
            "dynamic" => {
                let factor = table.positive("factor")?;
                let factor = need(factor, &table, "factor")?;
                Scaling::Dynamic { factor }
            }
            "llama3" => {
                let mut number = |name: &str| {
                    let value = table.positive(name)?;
                    need(value, &table, name)
                };
                Scaling::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor: number("low_freq_factor")?,
                    high_freq_factor: number("high_freq_factor")?,
                    original,
                }
            }
            // transformers takes both for LongRope in Phi-3, whose first configurations were older than the name.
            "su" | "yarn" if defaults.phi => {
                read_long(&mut table, max_positions, original, rotated)?
            }
            "yarn" => read_yarn(&mut table, max_positions, original)?,
            "longrope" => read_long(&mut table, max_positions, original, rotated)?,
            other => {
                return Err(Error::UnsupportedConfig {
                    field: "rope_parameters.rope_type".to_owned(),
                    got: format!("{other:?}"),
                    expected: "default, linear, dynamic, llama3, yarn or longrope".to_owned(),
                });
            }
        };
        table.finish("this kind of rotary positions")?;
        Ok(Self { scaling, ..rope })
    }

    fn even(self, head_dim: usize) -> Result<Self> {
        if self.rotated(head_dim).is_multiple_of(2) {
            return Ok(self);
        }
        Err(Error::Config {
            field: "partial_rotary_factor".to_owned(),
            expected: format!("an even number of the {head_dim} elements of a head"),
            got: self.partial.to_string(),
        })
    }

    /// Reads what a GGUF file says, for heads of `head_dim` elements.
    pub(crate) fn read_gguf(keys: &Keys<'_>, head_dim: usize, phi: bool) -> Result<Self> {
        let rotated = match keys.size("rope.dimension_count")? {
            Some(count) if phi => count,
            _ => {
                keys.only("rope.dimension_count", head_dim as f64)?;
                head_dim
            }
        };
        if rotated > head_dim || !rotated.is_multiple_of(2) {
            let value = keys.get("rope.dimension_count");
            let expected = format!("an even number up to {head_dim}");
            return Err(keys.wrong("rope.dimension_count", &expected, value));
        }
        let max_positions = keys.size("context_length")?.unwrap_or(2048);
        let factor = match keys.positive_or_zero("rope.scaling.factor")? {
            // The key of older files.
            None => keys.positive_or_zero("rope.scale_linear")?,
            factor => factor,
        };
        let factor = factor.unwrap_or(1.0);
        let original = keys
            .size("rope.scaling.original_context_length")?
            .unwrap_or(max_positions);
        let attention = keys
            .positive_or_zero("rope.scaling.attn_factor")?
            .unwrap_or(1.0);
        for (key, neutral) in [
            ("rope.scaling.yarn_ext_factor", 1.0),
            ("rope.scaling.yarn_attn_factor", 1.0),
            ("rope.scaling.yarn_log_multiplier", 0.0),
            ("rope.scaling.alpha", 0.0),
        ] {
            keys.only(key, neutral)?;
        }
        let factors = |name: &str| keys.factors(name, rotated / 2);
        let positive_or = |key: &str, default: f64| -> Result<f64> {
            Ok(keys.positive_or_zero(key)?.unwrap_or(default))
        };
        let long = |short, long, attention_factor| Scaling::LongRope {
            short,
            long,
            attention_factor,
            original,
        };
        // Llama 3.1 has one tensor of factors, Phi-3 two.
        let tensors = (
            factors("rope_freqs.weight")?,
            factors("rope_factors_short.weight")?,
            factors("rope_factors_long.weight")?,
        );
        let refuse = |key: &str, expected: &str| keys.wrong(key, expected, keys.get(key));
        let name = "rope.scaling.type";
        // llama.cpp reads a factor without a kind as a linear one.
        let kind = match keys.get(name) {
            None => "linear",
            Some(_) => keys.text(name).unwrap_or_default(),
        };
        let scales = matches!(kind, "none" | "linear") && tensors.1.is_none();
        if scales && attention != 1.0 {
            let expected = "1 without yarn or longrope";
            return Err(refuse("rope.scaling.attn_factor", expected));
        }
        let by = |all: &[f64], by: f64| all.iter().map(|f| f * by).collect::<Vec<f64>>();
        let scaling = match (kind, tensors) {
            ("none", (Some(all), ..)) => long(all.clone(), all, 1.0),
            ("linear", (Some(all), ..)) => long(by(&all, factor), by(&all, factor), 1.0),
            ("none" | "linear" | "longrope", (None, Some(short), Some(other))) => {
                let factor = if kind == "none" { 1.0 } else { factor };
                long(by(&short, factor), by(&other, factor), attention)
            }
            ("none", (None, ..)) => Scaling::None,
            ("linear", (None, ..)) if factor == 1.0 => Scaling::None,
            ("linear", (None, ..)) => Scaling::Linear { factor },
            ("longrope", _) => {
                let expected = "tensors of rope_factors_short and rope_factors_long beside it";
                return Err(refuse(name, expected));
            }
            ("yarn", (None, None, None)) => Scaling::Yarn {
                factor,
                attention_factor: attention * (1.0 + 0.1 * factor.max(1.0).ln()),
                beta_fast: positive_or("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: positive_or("rope.scaling.yarn_beta_slow", 1.0)?,
                original,
                truncate: true,
            },
            ("yarn", _) => {
                let expected = "linear or none beside tensors of rotary factors";
                return Err(refuse(name, expected));
            }
            _ => return Err(refuse(name, "none, linear, yarn or longrope")),
        };
        Ok(Self {
            theta: keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
            scaling,
            max_positions,
            partial: rotated as f64 / head_dim as f64,
        })
    }

    /// As `rope_parameters` has it.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = match &self.scaling {
            Scaling::None => json!({ "rope_type": "default" }),
            Scaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            Scaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
            Scaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original,
            }),
            Scaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original,
                truncate,
            } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "attention_factor": attention_factor,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "original_max_position_embeddings": original,
                "truncate": truncate,
            }),
            Scaling::LongRope {
                short,
                long,
                attention_factor,
                original,
            } => json!({
                "rope_type": "longrope",
                "short_factor": short,
                "long_factor": long,
                "attention_factor": attention_factor,
                "original_max_position_embeddings": original,
            }),
        };
        value["rope_theta"] = json!(self.theta);
        if self.partial != 1.0 {
            value["partial_rotary_factor"] = json!(self.partial);
        }
        value
    }
}

fn read_partial(fields: &mut JsonFields, defaults: RopeDefaults) -> Result<Option<f64>> {
    let name = "partial_rotary_factor";
    if !defaults.phi {
        fields.only(name, &[json!(1.0), json!(1)])?;
        return Ok(None);
    }
    match fields.positive(name)? {
        Some(share) if share > 1.0 => Err(Error::Config {
            field: name.to_owned(),
            expected: "at most 1".to_owned(),
            got: share.to_string(),
        }),
        share => Ok(share),
    }
}

fn read_yarn(table: &mut JsonFields, max_positions: usize, original: usize) -> Result<Scaling> {
    let factor = table.positive("factor")?;
    let factor = factor.unwrap_or(max_positions as f64 / original as f64);
    let scale = |by: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * by * factor.ln() + 1.0
        }
    };
    let (one, all) = (table.positive("mscale")?, table.positive("mscale_all_dim")?);
    let attention_factor = match (table.positive("attention_factor")?, one, all) {
        (Some(given), ..) => given,
        (None, Some(one), Some(all)) => scale(one) / scale(all),
        _ => scale(1.0),
    };
    Ok(Scaling::Yarn {
        factor,
        attention_factor,
        beta_fast: table.positive("beta_fast")?.unwrap_or(32.0),
        beta_slow: table.positive("beta_slow")?.unwrap_or(1.0),
        original,
        truncate: table.flag("truncate")?.unwrap_or(true),
    })
}

fn read_long(
    table: &mut JsonFields,
    max_positions: usize,
    original: usize,
    rotated: usize,
) -> Result<Scaling> {
    let mut factors = |name: &'static str| {
        let list = table.positives(name)?;
        let list = list.ok_or_else(|| table.missing(name, "a list of numbers above 0"))?;
        if list.len() != rotated / 2 {
            return Err(Error::Config {
                field: format!("rope_parameters.{name}"),
                expected: format!("{} numbers, one for each pair of a head", rotated / 2),
                got: format!("{} numbers", list.len()),
            });
        }
        Ok(list)
    };
    let (short, long) = (factors("short_factor")?, factors("long_factor")?);
    let factor = table.positive("factor")?;
    let factor = factor.unwrap_or(max_positions as f64 / original as f64);
    let by_length = if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / (original as f64).ln()).sqrt()
    };
    let attention_factor = table.positive("attention_factor")?.unwrap_or(by_length);
    Ok(Scaling::LongRope {
        short,
        long,
        attention_factor,
        original,
    })
}
