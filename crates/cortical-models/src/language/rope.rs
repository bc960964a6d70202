//! Rotary frequencies and their stretchings to longer texts, from `rope_parameters` or `rope_scaling`.

use super::json::JsonFields;
use crate::error::{Error, Result};
use cortical_attention::Rotary;
use cortical_kernels::rope::Pairs;
use serde_json::json;
use std::f64::consts::PI;

/// How far a model's rotary positions are stretched, as the transformers library defines it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor (Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// The base grows with the text (NTK-aware, "dynamic").
    Dynamic {
        /// The factor.
        factor: f64,
    },
    /// High frequencies stay, low ones are divided, those between are mixed (Llama 3.1).
    Llama3 {
        /// The factor for low frequencies.
        factor: f64,
        /// Where low frequencies end, in turns over the original length.
        low_freq_factor: f64,
        /// Where high frequencies begin, in turns over the original length.
        high_freq_factor: f64,
        /// The length the model was trained for.
        original: usize,
    },
    /// The same idea with a ramp over dimensions, and scaled attention (Peng et al. 2023).
    Yarn {
        /// The factor for low frequencies.
        factor: f64,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Turns over the original length from which a frequency stays.
        beta_fast: f64,
        /// Turns up to which a frequency is divided.
        beta_slow: f64,
        /// The length the model was trained for.
        original: usize,
        /// Whether the ends of the ramp are whole dimensions.
        truncate: bool,
    },
    /// A factor for each frequency, others for long texts than for short ones (Ding et al. 2024).
    LongRope {
        /// Factors up to the original length.
        short: Vec<f64>,
        /// Factors beyond it.
        long: Vec<f64>,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// The length the model was trained for.
        original: usize,
    },
}

/// The rotary positions of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the frequencies, 10,000 in the first models.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: Scaling,
    /// `max_position_embeddings`, which dynamic stretching starts from.
    pub max_positions: usize,
}

impl Rope {
    /// Frequencies as they are in the paper.
    #[must_use]
    pub fn plain(theta: f64, max_positions: usize) -> Self {
        Self {
            theta,
            scaling: Scaling::None,
            max_positions,
        }
    }

    /// Reads `rope_scaling` with `rope_theta`, as models published until 2025 have them, or `rope_parameters`.
    pub(crate) fn read(
        fields: &mut JsonFields,
        max_positions: usize,
        head_dim: usize,
    ) -> Result<Self> {
        let theta = fields.positive("rope_theta")?.unwrap_or(10_000.0);
        let outer_original = fields.size("original_max_position_embeddings")?;
        fields.only("partial_rotary_factor", &[json!(1.0), json!(1)])?;
        fields.only("rope_interleaved", &[json!(false)])?;
        let new = fields.table("rope_parameters")?;
        // Where both are there, the older field wins, as it does in transformers.
        let table = fields.table("rope_scaling")?.or(new);
        let Some(mut table) = table else {
            return Ok(Self::plain(theta, max_positions));
        };
        let theta = table.positive("rope_theta")?.unwrap_or(theta);
        table.only("partial_rotary_factor", &[json!(1.0), json!(1)])?;
        let old = table.text("type")?;
        let kind = table.text("rope_type")?.or(old);
        let original = table.size("original_max_position_embeddings")?;
        let original = original.or(outer_original).unwrap_or(max_positions);
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
            "yarn" => read_yarn(&mut table, max_positions, original)?,
            "longrope" => read_long(&mut table, max_positions, original, head_dim)?,
            other => {
                return Err(Error::UnsupportedConfig {
                    field: "rope_parameters.rope_type".to_owned(),
                    got: format!("{other:?}"),
                    expected: "default, linear, dynamic, llama3, yarn or longrope".to_owned(),
                });
            }
        };
        table.finish("this kind of rotary positions")?;
        Ok(Self {
            theta,
            scaling,
            max_positions,
        })
    }

    /// The frequencies for a head of `dim` elements and a text of `len` positions.
    #[must_use]
    pub fn frequencies(&self, dim: usize, len: usize) -> Vec<f64> {
        let plain = |base: f64| -> Vec<f64> {
            (0..dim / 2)
                .map(|i| base.powf(-2.0 * i as f64 / dim as f64))
                .collect()
        };
        let base = plain(self.theta);
        match &self.scaling {
            Scaling::None => base,
            Scaling::Linear { factor } => base.iter().map(|f| f / factor).collect(),
            Scaling::Dynamic { factor } => {
                let (len, max) = (
                    len.max(self.max_positions) as f64,
                    self.max_positions as f64,
                );
                let grown = factor * len / max - (factor - 1.0);
                plain(self.theta * grown.powf(dim as f64 / (dim as f64 - 2.0)))
            }
            Scaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original,
            } => {
                let original = *original as f64;
                let stretched = |f: &f64| {
                    let wave = 2.0 * PI / f;
                    if wave < original / high {
                        *f
                    } else if wave > original / low {
                        f / factor
                    } else {
                        let share = (original / wave - low) / (high - low);
                        (1.0 - share) * f / factor + share * f
                    }
                };
                base.iter().map(stretched).collect()
            }
            Scaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                original,
                truncate,
                ..
            } => {
                let edge = |turns: f64| {
                    dim as f64 * (*original as f64 / (turns * 2.0 * PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (edge(*beta_fast), edge(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                let mixed = |(i, f): (usize, &f64)| f / factor * ramp(i) + f * (1.0 - ramp(i));
                base.iter().enumerate().map(mixed).collect()
            }
            Scaling::LongRope {
                short,
                long,
                original,
                ..
            } => {
                let factors = if len > *original { long } else { short };
                base.iter().zip(factors).map(|(f, by)| f / by).collect()
            }
        }
    }

    /// What turns queries and keys of heads of `dim` elements.
    #[must_use]
    pub fn rotary(&self, dim: usize) -> Rotary {
        let pairs = Pairs::Halves;
        let rotary = match self.scaling {
            Scaling::LongRope {
                ref short,
                ref long,
                ..
            } if short == long => Rotary::with_frequencies(self.frequencies(dim, 0), pairs),
            Scaling::Dynamic { .. } | Scaling::LongRope { .. } => {
                let rope = self.clone();
                Rotary::by_length(move |len| rope.frequencies(dim, len), pairs)
            }
            _ => Rotary::with_frequencies(self.frequencies(dim, 0), pairs),
        };
        match self.scaling {
            Scaling::Yarn {
                attention_factor, ..
            }
            | Scaling::LongRope {
                attention_factor, ..
            } => rotary.scaled(attention_factor),
            _ => rotary,
        }
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
    head_dim: usize,
) -> Result<Scaling> {
    let mut factors = |name: &'static str| {
        let list = table.positives(name)?;
        let list = list.ok_or_else(|| table.missing(name, "a list of numbers above 0"))?;
        if list.len() != head_dim / 2 {
            return Err(Error::Config {
                field: format!("rope_parameters.{name}"),
                expected: format!("{} numbers, one for each pair of a head", head_dim / 2),
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
