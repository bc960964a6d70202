//! What all models of a relative of Llama share, and what their configurations may leave out.

/// What all models of a relative share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Where the norms of a block stand.
    pub(crate) norms: NormPlaces,
    /// Whether norms multiply by one more than their parameters.
    pub(crate) norm_offset: bool,
    /// Norms of queries and keys.
    pub(crate) qk_norm: QkNorm,
    /// Whether queries, keys and values are one linear layer, and gate and up one.
    pub(crate) fused: bool,
    /// Whether vectors of tokens are multiplied by the root of the width.
    pub(crate) scaled_tokens: bool,
    /// Whether a part of a head may turn, and LongRope has its first names, as in Phi-3.
    pub(crate) phi_rope: bool,
    /// How GGUF files have it.
    pub(crate) gguf: GgufForm,
}

/// How GGUF files have a relative's models, and which of their tensors llama.cpp reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GgufForm {
    /// Whether rows of queries and keys have the two numbers of a rotated pair side by side.
    pub(crate) pairs: bool,
    /// The biases that it adds.
    pub(crate) biases: Biases,
    /// Whether it divides frequencies by a tensor of factors (Llama 3.1).
    pub(crate) factors: bool,
    /// Whether it has factors for short texts and others for long ones (Phi-3).
    pub(crate) long_factors: bool,
}

/// Biases of a block that llama.cpp adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Biases {
    /// Those of queries, keys and values.
    pub(crate) queries: bool,
    /// Those of attention's output and of the feed-forward part.
    pub(crate) others: bool,
}

impl GgufForm {
    /// What every relative has.
    pub(crate) const PLAIN: Self = Self {
        pairs: false,
        biases: Biases {
            queries: false,
            others: false,
        },
        factors: false,
        long_factors: false,
    };
    /// Llama's.
    pub(crate) const LLAMA: Self = Self {
        pairs: true,
        biases: Biases {
            queries: true,
            others: true,
        },
        factors: true,
        long_factors: false,
    };
}

impl Form {
    /// Llama's.
    pub(crate) const LLAMA: Self = Self {
        norms: NormPlaces::BEFORE,
        norm_offset: false,
        qk_norm: QkNorm::None,
        fused: false,
        scaled_tokens: false,
        phi_rope: false,
        gguf: GgufForm::PLAIN,
    };
}

/// Norms of queries and keys before they turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkNorm {
    /// None.
    None,
    /// Each head for itself (Qwen3, Gemma 3).
    Head,
    /// All heads together (OLMo 2).
    Width,
}

/// A name in Hugging Face's files and one in GGUF files.
type Pair = (&'static str, &'static str);

/// The norms of a block by their names, in the order in which they are used: before and behind attention, before and
/// behind the feed-forward part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormPlaces(pub(crate) [Option<Pair>; 4]);

impl NormPlaces {
    /// Their names in Hugging Face's files.
    pub(crate) fn names(self) -> [Option<&'static str>; 4] {
        self.0.map(|names| names.map(|(name, _)| name))
    }

    /// Before both parts, as Llama has them.
    pub(crate) const BEFORE: Self = Self([
        Some(("input_layernorm", "attn_norm")),
        None,
        Some(("post_attention_layernorm", "ffn_norm")),
        None,
    ]);
    /// Behind both parts (OLMo 2).
    pub(crate) const BEHIND: Self = Self([
        None,
        Some(("post_attention_layernorm", "post_attention_norm")),
        None,
        Some(("post_feedforward_layernorm", "post_ffw_norm")),
    ]);
    /// Before and behind both parts (Gemma 2 and 3).
    pub(crate) const AROUND: Self = Self([
        Some(("input_layernorm", "attn_norm")),
        Some(("post_attention_layernorm", "post_attention_norm")),
        Some(("pre_feedforward_layernorm", "ffn_norm")),
        Some(("post_feedforward_layernorm", "post_ffw_norm")),
    ]);
}

/// What `config.json` may leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_layers: usize,
    pub(crate) num_heads: usize,
    /// As many as heads of queries for `None`.
    pub(crate) num_kv_heads: Option<usize>,
    /// `hidden_size / num_heads` for `None`.
    pub(crate) head_dim: Option<usize>,
    /// The field of the activation, and its value.
    pub(crate) activation: (&'static str, &'static str),
    pub(crate) eps: f64,
    pub(crate) theta: f64,
    pub(crate) max_positions: usize,
    pub(crate) tied: bool,
    /// The token that stands for padding.
    pub(crate) pad_token: Option<u32>,
}

impl Defaults {
    /// Those of Llama.
    pub(crate) const LLAMA: Self = Self {
        vocab_size: 32_000,
        hidden_size: 4096,
        intermediate_size: 11_008,
        num_layers: 32,
        num_heads: 32,
        num_kv_heads: None,
        head_dim: None,
        activation: ("hidden_act", "silu"),
        eps: 1e-6,
        theta: 10_000.0,
        max_positions: 2048,
        tied: false,
        pad_token: None,
    };
}
