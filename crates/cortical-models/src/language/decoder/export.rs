//! What llama.cpp is told of a Llama-like model, and what it could not be told.

use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::parts::activation_by_name;
use super::gguf::windows;
use super::relative::DecoderConfig;

/// Refuses what a GGUF file cannot say.
pub(crate) fn refuse(is_so: bool, what: &str) -> Result<(), String> {
    match is_so {
        true => Err(what.to_owned()),
        false => Ok(()),
    }
}

impl DecoderConfig {
    /// Adds what a GGUF file says of the model; what it cannot say is the error.
    pub(crate) fn describe_to(&self, out: &mut GgufDescription) -> Result<(), String> {
        let (defaults, form) = (self.relative.defaults(), self.relative.form());
        let usual = activation_by_name(defaults.activation.1);
        refuse(usual != Some(self.activation), "its activation function")?;
        let biases = form.gguf.biases;
        refuse(
            self.qkv_bias && !biases.queries,
            "biases of queries, keys and values",
        )?;
        refuse(
            self.out_bias && !biases.others,
            "the bias of attention's output",
        )?;
        refuse(
            self.mlp_bias && !biases.others,
            "biases of the feed-forward part",
        )?;
        out.size("vocab_size", self.vocab_size)?;
        out.size("context_length", self.rope.max_positions)?;
        out.size("embedding_length", self.hidden_size)?;
        out.size("block_count", self.num_layers)?;
        out.size("feed_forward_length", self.intermediate_size)?;
        out.size("attention.head_count", self.num_heads)?;
        out.size("attention.head_count_kv", self.num_kv_heads)?;
        out.size("attention.key_length", self.head_dim)?;
        out.size("attention.value_length", self.head_dim)?;
        out.number("attention.layer_norm_rms_epsilon", self.eps);
        self.rope.describe_to(out, self.head_dim, form.gguf)?;
        self.relative.describe_to(self, out)
    }

    /// Refuses caps and scales of attention, and blocks without positions, for relatives that have none of them.
    pub(crate) fn refuse_extras(&self) -> Result<(), String> {
        refuse(
            self.attention_softcap.is_some() || self.logit_softcap.is_some(),
            "a cap of scores",
        )?;
        self.refuse_other_scale(self.head_dim as f64)?;
        let every = (0..self.num_layers).all(|layer| self.is_rotated(layer));
        refuse(!every, "blocks without rotary positions")
    }

    /// Refuses scores of attention that are divided by the root of another number.
    pub(crate) fn refuse_other_scale(&self, usual: f64) -> Result<(), String> {
        let other = self.query_scalar.is_some_and(|scalar| scalar != usual);
        refuse(other, "its own scale of attention (query_pre_attn_scalar)")
    }

    /// Whether a block does not see all that came before.
    fn has_windows(&self) -> bool {
        let sees = |layer| self.window_of(layer).unwrap_or(usize::MAX);
        (0..self.num_layers).any(|layer| sees(layer) < self.rope.max_positions)
    }

    /// Adds a window of all blocks, which llama.cpp does not apply to this architecture.
    pub(crate) fn describe_window(&self, out: &mut GgufDescription) -> Result<(), String> {
        if !self.has_windows() {
            return Ok(());
        }
        let every = (0..self.num_layers).all(|layer| self.window_of(layer).is_some());
        refuse(!every, "a window of attention in some of its blocks")?;
        let window = self.window.unwrap_or(self.rope.max_positions);
        out.size("attention.sliding_window", window)?;
        let name = out.name();
        out.remark(format!(
            "llama.cpp computes models of the architecture {name} without a window of attention: behind {window} tokens its results differ"
        ));
        Ok(())
    }

    /// Refuses windows, for architectures of which llama.cpp and we read none.
    pub(crate) fn refuse_windows(&self) -> Result<(), String> {
        refuse(self.has_windows(), "a window of attention")
    }

    /// Adds windows that all of so many blocks in a row have but the last.
    pub(crate) fn describe_windows(&self, out: &mut GgufDescription) -> Result<(), String> {
        let layers = self.num_layers;
        let has: Vec<bool> = (0..layers)
            .map(|layer| self.window_of(layer).is_some())
            .collect();
        let period = (1..=layers + 1).find(|period| windows(layers, *period) == has);
        let period = period.ok_or("windows of attention that do not come in turns")?;
        let window = self.window.unwrap_or(self.rope.max_positions);
        out.size("attention.sliding_window", window)?;
        out.size("attention.sliding_window_pattern", period)
    }

    /// Refuses a head that llama.cpp does not have in this architecture.
    pub(crate) fn need_head(&self, out: &GgufDescription, head: Head) -> Result<(), String> {
        match (head, out.head() == head) {
            (_, true) => Ok(()),
            (Head::Tied, _) => Err("a head of its own".to_owned()),
            _ => Err("a head that uses the table of tokens".to_owned()),
        }
    }
}
