//! Rotary positions as the keys and tensors of GGUF files.

use super::super::decoder::GgufForm;
use super::super::gguf_description::GgufDescription;
use super::{Rope, Scaling};

/// YaRN's where nothing is said: where its ramp begins and ends, in turns.
const USUAL_BETAS: (f64, f64) = (32.0, 1.0);

impl Rope {
    /// Adds what a GGUF file says of them, for heads of `head_dim` elements; what it cannot say is the error.
    pub(crate) fn describe_to(
        &self,
        out: &mut GgufDescription,
        head_dim: usize,
        form: GgufForm,
    ) -> Result<(), String> {
        let rotated = self.rotated(head_dim);
        out.size("rope.dimension_count", rotated)?;
        out.number("rope.freq_base", self.theta);
        match &self.scaling {
            Scaling::None => {}
            Scaling::Linear { factor } => {
                out.text("rope.scaling.type", "linear");
                out.number("rope.scaling.factor", *factor);
            }
            Scaling::Llama3 { .. } if form.factors => {
                let plain = Self::plain(self.theta, self.max_positions);
                let (plain, scaled) = (plain.frequencies(rotated, 0), self.frequencies(rotated, 0));
                let factors: Vec<f64> = plain.iter().zip(&scaled).map(|(f, by)| f / by).collect();
                out.vector("rope_freqs.weight", &factors);
            }
            Scaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original,
                truncate: true,
            } => {
                out.text("rope.scaling.type", "yarn");
                out.number("rope.scaling.factor", *factor);
                out.size("rope.scaling.original_context_length", *original)?;
                out.number("rope.scaling.yarn_beta_fast", *beta_fast);
                out.number("rope.scaling.yarn_beta_slow", *beta_slow);
                if (*beta_fast, *beta_slow) != USUAL_BETAS {
                    out.remark(format!(
                        "llama.cpp takes YaRN's beta_fast and beta_slow from its own options: give it --yarn-beta-fast {beta_fast} --yarn-beta-slow {beta_slow}"
                    ));
                }
                // llama.cpp multiplies it by what follows from the factor.
                let usual = 1.0 + 0.1 * factor.max(1.0).ln();
                out.number("rope.scaling.attn_factor", attention_factor / usual);
            }
            Scaling::LongRope {
                short,
                long,
                attention_factor,
                original,
            } if form.long_factors => {
                out.text("rope.scaling.type", "longrope");
                out.size("rope.scaling.original_context_length", *original)?;
                out.number("rope.scaling.attn_factor", *attention_factor);
                out.vector("rope_factors_long.weight", long);
                out.vector("rope_factors_short.weight", short);
            }
            Scaling::Yarn { .. } => {
                return Err("YaRN whose ramp ends between dimensions (truncate = false)".to_owned());
            }
            Scaling::Llama3 { .. } => return Err("positions scaled as Llama 3.1's".to_owned()),
            Scaling::LongRope { .. } => return Err("positions scaled by LongRope".to_owned()),
            Scaling::Dynamic { .. } => return Err("positions scaled dynamically".to_owned()),
        }
        Ok(())
    }
}
