//! Tokens that end a turn or a text, known by what they are called.

use super::{Kind, Tokenizer};

/// What models end a turn of a conversation with.
const TURN_ENDS: [&str; 20] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
];

/// What models end a text with.
const TEXT_ENDS: [&str; 3] = ["</s>", "<eos>", "<|eos|>"];

/// Whether a token is called as one that ends a turn.
pub(super) fn is_turn_end(token: &str) -> bool {
    TURN_ENDS.contains(&token)
}

impl Tokenizer {
    /// The tokens that a model ends its turn of a conversation with: those of [`Tokenizer::eos`], and those that the
    /// vocabulary has for it, be they named as an end or not. Many files name one only, or none.
    #[must_use]
    pub fn turn_ends(&self) -> Vec<u32> {
        let mut ends = self.eos.clone();
        ends.extend(self.named(&TURN_ENDS));
        // Where these two end a turn, that one only ends what the model says to itself.
        if let ([Some(_), Some(_)], Some(part)) = (
            ["<|return|>", "<|call|>"].map(|text| self.added(text)),
            self.added("<|end|>"),
        ) {
            ends.retain(|end| *end != part);
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The tokens that end a text where no file says which do.
    pub(super) fn text_ends(&self) -> Vec<u32> {
        let mut ends = self.turn_ends();
        ends.extend(self.named(&TEXT_ENDS));
        ends
    }

    fn named(&self, texts: &[&str]) -> impl Iterator<Item = u32> {
        texts.iter().filter_map(|text| self.added(text))
    }

    /// The token of this text, if it is one beside those that texts are made of.
    fn added(&self, text: &str) -> Option<u32> {
        match &self.kind {
            Kind::Hub(hub) => hub.get_added_vocabulary().get_vocab().get(text).copied(),
            _ => None,
        }
    }
}
