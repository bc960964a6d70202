//! What a parameter is for, judged by its name and shape.

use cortical_models::language::Part;

/// The kind of module that a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Tables that tokens, positions or segments are looked up in.
    Embedding,
    /// Projections of attention.
    Attention,
    /// Feed-forward sublayers and other layers of neurons that read all inputs.
    FeedForward,
    /// Convolutions.
    Convolution,
    /// Layers through time.
    Recurrent,
    /// Scales and shifts of norms.
    Norm,
    /// What the scores come from.
    Head,
    /// Whatever its name does not tell.
    Other,
}

impl Kind {
    /// The kind in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::FeedForward => "feed-forward",
            Self::Convolution => "convolution",
            Self::Recurrent => "recurrent",
            Self::Norm => "norm",
            Self::Head => "head",
            Self::Other => "other",
        }
    }

    /// The kind of a part of a language model; `None` for biases, which belong to what they are added to.
    #[must_use]
    pub fn of_part(part: Part) -> Option<Self> {
        Some(match part {
            Part::Tokens | Part::Positions | Part::Segments => Self::Embedding,
            Part::Query | Part::Key | Part::Value | Part::QueryKeyValue | Part::Output => {
                Self::Attention
            }
            Part::Gate | Part::GateUp | Part::Up | Part::Down => Self::FeedForward,
            Part::Norm => Self::Norm,
            Part::Head | Part::Pooler => Self::Head,
            _ => return None,
        })
    }

    /// The kind of a parameter by its name, as PyTorch, Hugging Face or llama.cpp write it, and its shape.
    ///
    /// ```
    /// use cortical_explain::Kind;
    /// assert_eq!(Kind::of_name("model.layers.0.self_attn.q_proj.weight", &[64, 64]), Kind::Attention);
    /// assert_eq!(Kind::of_name("blk.0.ffn_up.weight", &[256, 64]), Kind::FeedForward);
    /// assert_eq!(Kind::of_name("conv1.weight", &[8, 1, 3, 3]), Kind::Convolution);
    /// ```
    #[must_use]
    pub fn of_name(name: &str, shape: &[usize]) -> Self {
        let name = name.to_lowercase();
        let segments: Vec<&str> = name.split('.').collect();
        let (tensor, modules) = segments.split_last().unwrap_or((&"", &[]));
        let any = |is: &dyn Fn(&str) -> bool| modules.iter().any(|segment| is(segment));
        let is_numbered = |segment: &str, stem: &str| {
            let rest = segment.strip_prefix(stem);
            rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
        };
        let is_norm = |s: &str| {
            s.contains("norm")
                || s.starts_with("ln_")
                || is_numbered(s, "ln")
                || is_numbered(s, "bn")
        };
        let is_table =
            |s: &str| s.contains("embed") || s.contains("embd") || s == "wte" || s == "wpe";
        let heads = [
            "lm_head",
            "classifier",
            "score",
            "pooler",
            "qa_outputs",
            "cls",
            "head",
        ];
        let is_recurrent = |s: &str| {
            ["lstm", "gru", "rnn"]
                .iter()
                .any(|kind| s.starts_with(kind))
        };
        let is_forward = |s: &str| {
            let parts = [
                "mlp",
                "ffn",
                "feed_forward",
                "intermediate",
                "dense",
                "linear",
            ];
            parts.iter().any(|part| s.contains(part)) || s.starts_with("fc")
        };
        if any(&is_norm) {
            Self::Norm
        } else if any(&is_table) {
            Self::Embedding
        } else if any(&|s| heads.contains(&s)) || modules == ["output"] {
            Self::Head
        } else if any(&|s| s.contains("attn") || s.contains("attention")) {
            Self::Attention
        } else if any(&is_recurrent) || tensor.contains("_ih") || tensor.contains("_hh") {
            Self::Recurrent
        } else if any(&|s| s.starts_with("conv")) || shape.len() >= 3 {
            Self::Convolution
        } else if any(&is_forward) {
            Self::FeedForward
        } else {
            Self::Other
        }
    }
}

/// Whether a tensor of a file is no parameter: statistics that a norm gathers, and what older files keep although it is
/// computed.
pub(crate) fn is_buffer(name: &str, shape: &[usize]) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let names = [
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "inv_freq",
        "position_ids",
        "masked_bias",
    ];
    let is_mask = last == "bias" && shape.len() == 4;
    names.contains(&last) || is_mask || name == "rope_freqs.weight"
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_models::language::presets;

    #[test]
    fn names_tell_what_the_parts_of_all_presets_are() {
        let mut checked = 0;
        for preset in presets() {
            for tensor in preset.config.tensors() {
                if let Some(kind) = Kind::of_part(tensor.part) {
                    assert_eq!(
                        Kind::of_name(&tensor.name, &tensor.shape),
                        kind,
                        "{}",
                        tensor.name
                    );
                    checked += 1;
                }
                assert_ne!(Kind::of_name(&tensor.name, &tensor.shape), Kind::Other);
                assert!(!is_buffer(&tensor.name, &tensor.shape), "{}", tensor.name);
            }
        }
        assert!(checked > 1000);
    }

    #[test]
    fn llama_cpps_names_are_understood() {
        for (name, kind) in [
            ("token_embd.weight", Kind::Embedding),
            ("output.weight", Kind::Head),
            ("output_norm.weight", Kind::Norm),
            ("blk.0.attn_output.weight", Kind::Attention),
            ("blk.11.attn_norm.weight", Kind::Norm),
            ("blk.1.ffn_down.bias", Kind::FeedForward),
            ("lstm.weight_ih_l0", Kind::Recurrent),
            ("bn1.weight", Kind::Norm),
            ("a", Kind::Other),
        ] {
            assert_eq!(Kind::of_name(name, &[2, 2]), kind, "{name}");
        }
        assert!(is_buffer("bn1.running_mean", &[3]) && is_buffer("h.0.attn.bias", &[1, 1, 4, 4]));
    }
}
