//! A Llama-like model among all others: as an architecture and as a configuration.

use super::super::architecture::{Architecture, Config, Model, Names, Sizes};
use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::parts::{TensorSpec, grouped};
use super::super::rope::Rope;
use super::super::widths::BlockWidths;
use super::model::Decoder;
use super::relative::{DecoderConfig, Relative};
use crate::error::Result;
use cortical_neuron::Params;
use serde_json::Value;

impl<R: Relative> Architecture for R {
    fn names(&self) -> Names {
        Relative::names(self)
    }

    fn read(&'static self, fields: &mut JsonFields) -> Result<Box<dyn Config>> {
        Ok(Box::new(DecoderConfig::read(self, fields)?))
    }

    fn read_gguf(&'static self, keys: &Keys<'_>, head: Head) -> Result<Box<dyn Config>> {
        Ok(Box::new(DecoderConfig::read_gguf(self, keys, head)?))
    }

    fn presets(&'static self) -> Vec<(&'static str, Box<dyn Config>)> {
        let all = Relative::presets(self).into_iter();
        all.map(|(name, config)| (name, Box::new(config) as Box<dyn Config>))
            .collect()
    }
}

impl Config for DecoderConfig {
    fn names(&self) -> Names {
        self.relative.names()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab: self.vocab_size,
            hidden: self.hidden_size,
            layers: self.num_layers,
            positions: self.rope.max_positions,
            position_table: false,
            init_std: self.init_std,
        }
    }

    fn set_vocab_size(&mut self, tokens: usize) {
        // Other tokens: none of them is known to stand for padding.
        (self.vocab_size, self.pad_token) = (tokens, None);
    }

    fn untie(&mut self) {
        self.tied = false;
    }

    fn head(&self) -> Head {
        Head::tied(self.tied)
    }

    fn cache_width(&self) -> usize {
        2_usize
            .saturating_mul(self.num_kv_heads)
            .saturating_mul(self.head_dim)
    }

    fn logit_softcap(&self) -> Option<f64> {
        self.logit_softcap
    }

    fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        self.list(prefix, head)
    }

    fn widths(&self) -> Option<BlockWidths> {
        Self::widths(self)
    }

    fn narrow(&mut self, heads: usize, inner: usize) {
        self.num_heads = self.num_heads / self.num_kv_heads * heads;
        (self.num_kv_heads, self.intermediate_size) = (heads, inner);
    }

    fn build(&self, prefix: &str, params: &Params) -> Result<Box<dyn Model>> {
        Ok(Box::new(Decoder::build(self, prefix, params)?))
    }

    fn gguf_name(&self) -> Option<&'static str> {
        self.relative.gguf_name()
    }

    fn describe_to(&self, out: &mut GgufDescription) -> std::result::Result<(), String> {
        Self::describe_to(self, out)
    }

    fn write(&self) -> Option<Value> {
        self.to_value()
    }

    fn remarks(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.num_kv_heads < self.num_heads {
            let product = |heads: usize| {
                let sizes = [self.num_layers, self.hidden_size, heads, self.head_dim];
                sizes.into_iter().fold(2_usize, usize::saturating_mul)
            };
            let saved = product(self.num_heads).saturating_sub(product(self.num_kv_heads));
            all.push(format!(
                "grouped queries: {} heads of queries share {} of keys and values, which saves {} parameters and {}/{} of the cache",
                self.num_heads,
                self.num_kv_heads,
                grouped(saved),
                self.num_heads - self.num_kv_heads,
                self.num_heads
            ));
        } else {
            all.push(format!(
                "every one of the {} heads of queries has keys and values of its own",
                self.num_heads
            ));
        }
        all.push("rotary positions have no parameters: they are computed".to_owned());
        all
    }

    fn settle(&mut self, has: &dyn Fn(&str) -> bool) -> (&'static str, Head) {
        let prefix = match has("embed_tokens.weight") {
            true => "",
            false => self.prefix(),
        };
        // A head in the files is used even where the configuration would share the table, as transformers does.
        let head = match (has("lm_head.weight"), self.tied) {
            (true, _) => Head::Own,
            (false, true) => Head::Tied,
            (false, false) if prefix.is_empty() => Head::None,
            (false, false) => Head::Own,
        };
        (prefix, head)
    }

    fn is_spare(&self, name: &str) -> bool {
        name.ends_with("rotary_emb.inv_freq")
    }

    fn pads(&self) -> bool {
        // Some turn by angles that depend on how many tokens there are.
        !self.rope.depends_on_length()
            && !self
                .window_rope
                .as_ref()
                .is_some_and(Rope::depends_on_length)
    }
}
