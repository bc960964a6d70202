//! Rotary frequencies and their scalings to longer texts.

mod read;
mod write;

use cortical_attention::Rotary;
use cortical_kernels::rope::Pairs;
use std::f64::consts::PI;

/// How a model's rotary positions are scaled to longer texts, as the transformers library defines it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
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
pub(crate) struct Rope {
    /// The base of the frequencies, 10,000 in the first models.
    pub(crate) theta: f64,
    /// How they are scaled.
    pub(crate) scaling: Scaling,
    /// `max_position_embeddings`, which dynamic scaling starts from.
    pub(crate) max_positions: usize,
    /// The share of a head's elements that turn, the first ones; 1 in most models.
    pub(crate) partial: f64,
}

/// What rotary positions are where `config.json` does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RopeDefaults {
    pub(crate) theta: f64,
    pub(crate) max_positions: usize,
    /// The elements of a head.
    pub(crate) head_dim: usize,
    /// Whether a part of a head may turn, and LongRope has its first names, as in Phi-3.
    pub(crate) phi: bool,
}

impl Rope {
    /// Frequencies as they are in the paper.
    pub(crate) fn plain(theta: f64, max_positions: usize) -> Self {
        Self {
            theta,
            scaling: Scaling::None,
            max_positions,
            partial: 1.0,
        }
    }

    /// Whether a token's angles depend on how many tokens there are.
    pub(crate) fn depends_on_length(&self) -> bool {
        matches!(
            self.scaling,
            Scaling::Dynamic { .. } | Scaling::LongRope { .. }
        )
    }

    /// How many elements of a head turn.
    pub(crate) fn rotated(&self, head_dim: usize) -> usize {
        // A share that came from a division must not lose an element to rounding.
        (head_dim as f64 * self.partial + 1e-9) as usize
    }

    /// The frequencies for a head of `dim` elements and a text of `len` positions.
    pub(crate) fn frequencies(&self, dim: usize, len: usize) -> Vec<f64> {
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
                let scaled = |f: &f64| {
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
                base.iter().map(scaled).collect()
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
    pub(crate) fn rotary(&self, head_dim: usize) -> Rotary {
        let dim = self.rotated(head_dim);
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
