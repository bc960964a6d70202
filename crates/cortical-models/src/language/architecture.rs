//! What an architecture has to say of itself, so that everything else in this folder works for it.
//!
//! A new one is a file in `architectures` and a line in the table there: an [`Architecture`], which reads a [`Config`],
//! which lists its tensors and builds a [`Model`]. A relative of Llama is less: a
//! [`Relative`](super::decoder::Relative).

use super::cache::{ModelCache, NextTokens};
use super::gguf_description::GgufDescription;
use super::head::Head;
use super::json::JsonFields;
use super::keys::Keys;
use super::parts::TensorSpec;
use super::table::TokenTable;
use super::widths::BlockWidths;
use crate::error::Result;
use candle_core::{Device, Tensor};
use cortical_attention::{Memory, TextRows};
use cortical_dense::Linear;
use cortical_neuron::{Description, Params, Pass};
use serde_json::Value;
use std::any::Any;
use std::fmt::Debug;

/// What an architecture and the parts of its models are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// `model_type` in `config.json`.
    pub(crate) model_type: &'static str,
    /// What the names of its classes in transformers begin with.
    pub(crate) class: &'static str,
    /// `general.architecture` in GGUF files, for those that are read.
    pub(crate) gguf: Option<&'static str>,
    /// What stands before the names of all tensors but the head's, in a model with a head.
    pub(crate) body: &'static str,
    /// What the name of its class for classes of texts begins with.
    pub(crate) classifier_class: &'static str,
    /// The head over classes of texts, and whether it has biases.
    pub(crate) classifier: (&'static str, bool),
}

/// An architecture: its names, and how its models are described in files.
pub(crate) trait Architecture: Debug + Send + Sync {
    fn names(&self) -> Names;

    /// Takes every field of a `config.json` that says something about the model.
    fn read(&'static self, fields: &mut JsonFields) -> Result<Box<dyn Config>>;

    /// What a GGUF file of the architecture says; for those that have a name there.
    fn read_gguf(&'static self, keys: &Keys<'_>, _head: Head) -> Result<Box<dyn Config>> {
        Err(keys.unsupported("an architecture that is read from GGUF files"))
    }

    /// Published models, by names in lower case.
    fn presets(&'static self) -> Vec<(&'static str, Box<dyn Config>)>;
}

/// Sizes that every model has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Tokens.
    pub(crate) vocab: usize,
    /// Width.
    pub(crate) hidden: usize,
    /// Blocks.
    pub(crate) layers: usize,
    /// Positions that the model was made for.
    pub(crate) positions: usize,
    /// Whether there is a table of positions, which ends there.
    pub(crate) position_table: bool,
    /// The standard deviation of first weights.
    pub(crate) init_std: f64,
}

/// What one model of an architecture is made of.
pub(crate) trait Config: Any + AnyConfig + Debug + Send + Sync {
    fn names(&self) -> Names;

    fn sizes(&self) -> Sizes;

    fn set_vocab_size(&mut self, tokens: usize);

    /// From now on the head has weights of its own; an architecture without a head has none to untie.
    fn untie(&mut self) {}

    /// Where the whole model has its scores from.
    fn head(&self) -> Head;

    /// What the scores are softly kept below.
    fn logit_softcap(&self) -> Option<f64> {
        None
    }

    /// What stands before the names of all tensors but the head's.
    fn prefix(&self) -> &'static str {
        self.names().body
    }

    /// Numbers that a block keeps of each position while the model writes; 0 for one that reads whole texts only.
    fn cache_width(&self) -> usize {
        0
    }

    /// Every tensor, in the order in which they are built.
    fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec>;

    /// What can be removed from its blocks; `None` where it does not say.
    fn widths(&self) -> Option<BlockWidths> {
        None
    }

    /// Sets how many heads of keys and values a block has, each with as many queries as before, and how wide its
    /// feed-forward part is; for those that say what can be removed.
    fn narrow(&mut self, _heads: usize, _inner: usize) {}

    fn build(&self, prefix: &str, params: &Params) -> Result<Box<dyn Model>>;

    /// The architecture's name in the GGUF files that are written.
    fn gguf_name(&self) -> Option<&'static str> {
        self.names().gguf
    }

    /// Adds what a GGUF file says of the model; what it cannot say is the error.
    fn describe_to(&self, out: &mut GgufDescription) -> std::result::Result<(), String>;

    /// The configuration as a `config.json` has it, where transformers has names for all of it.
    fn write(&self) -> Option<Value>;

    /// What shares or saves weights, in sentences.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Settles what a `config.json` leaves open by the names in the files beside it: the prefix before them, a head of
    /// its own.
    fn settle(&mut self, has: &dyn Fn(&str) -> bool) -> (&'static str, Head);

    /// Whether files may have this tensor though the model does not need it: masks and frequencies that are computed.
    fn is_spare(&self, name: &str) -> bool;

    /// Whether shorter texts may stand beside longer ones, followed by tokens that they do not see.
    fn pads(&self) -> bool;
}

/// What every configuration can do that can be cloned and compared.
pub(crate) trait AnyConfig {
    fn copy(&self) -> Box<dyn Config>;

    fn equals(&self, other: &dyn Config) -> bool;
}

impl<C: Config + Clone + PartialEq> AnyConfig for C {
    fn copy(&self) -> Box<dyn Config> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Config) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<C>() == Some(self)
    }
}

/// A model that was built.
pub(crate) trait Model: Debug + Send + Sync {
    /// What the first block reads, `[batch, rows, hidden_size]`, of tokens whose columns have these positions.
    fn embed(
        &self,
        ids: &Tensor,
        positions: &[u32],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor>;

    /// How many blocks it has.
    fn blocks(&self) -> usize;

    /// What a block makes of what it reads.
    fn block(
        &self,
        index: usize,
        x: &Tensor,
        memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor>;

    /// What becomes of the last block's output.
    fn finish(&self, x: Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor>;

    /// The hidden state `[batch, rows, hidden_size]` behind the last block.
    fn hidden(
        &self,
        ids: &Tensor,
        mut cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let before = cache.as_ref().map_or(0, |cache| cache.len()) as u32;
        let positions: Vec<u32> = (before..before + ids.dim(1)? as u32).collect();
        let mut x = self.embed(ids, &positions, pass)?;
        for i in 0..self.blocks() {
            let cache = cache.as_mut().and_then(|cache| cache.layers.get_mut(i));
            x = self.block(i, &x, cache.into(), pass)?;
        }
        self.finish(x, pass)
    }

    /// As [`Model::hidden`] of the next tokens of several texts, `[1, rows, hidden_size]`, those of one behind those of
    /// another.
    fn hidden_of_texts(
        &self,
        texts: &mut [NextTokens<'_>],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for text in texts.iter() {
            let before = text.cache.len() as u32;
            ids.extend_from_slice(text.tokens);
            positions.extend(before..before + text.tokens.len() as u32);
        }
        let ids = Tensor::from_slice(&ids, (1, ids.len()), &Device::Cpu)?;
        let mut x = self.embed(&ids, &positions, pass)?;
        for i in 0..self.blocks() {
            let mut rows: Vec<TextRows<'_>> = texts
                .iter_mut()
                .filter_map(|text| {
                    let (cache, rows) = (text.cache.layers.get_mut(i)?, text.tokens.len());
                    Some(TextRows { cache, rows })
                })
                .collect();
            x = self.block(i, &x, Memory::Texts(&mut rows), pass)?;
        }
        self.finish(x, pass)
    }

    /// What its layers are made of and cost for a text of so many tokens, in the order in which they run, without the
    /// head; every block is a [`BLOCK`](super::describe::BLOCK).
    fn describe(&self, rows: usize) -> cortical_neuron::Result<Vec<Description>>;

    /// The table that tokens are looked up in.
    fn tokens(&self) -> &TokenTable;

    /// What a model that sees the whole text makes of it: its pooler's output, or the state of the first token.
    fn summary(
        &self,
        _hidden: &Tensor,
        _pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        Ok(None)
    }

    /// Whether earlier keys turn by other angles when a text grows, so that what was read one by one is not what is
    /// read at once.
    fn turns_with_length(&self) -> bool {
        false
    }

    /// Every linear layer of the blocks.
    fn projections(&self) -> Vec<&Linear>;
}
