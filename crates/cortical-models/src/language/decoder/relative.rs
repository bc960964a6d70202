//! What a relative of Llama says of itself, and what one of its models is made of.

use super::super::architecture::Names;
use super::super::gguf_description::GgufDescription;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::rope::{Rope, RopeDefaults};
use super::form::{Defaults, Form};
use crate::error::Result;
use cortical_kernels::activation::Activation;
use serde_json::Value;
use std::fmt::Debug;

/// A relative of Llama: its names, what all its models share, what differs from model to model, and published models.
pub(crate) trait Relative: Debug + Send + Sync + 'static {
    fn names(&self) -> Names;

    /// What no field of a configuration says, for all models have it.
    fn form(&self) -> Form {
        Form::LLAMA
    }

    /// What `config.json` may leave out.
    fn defaults(&self) -> Defaults;

    /// Reads the fields that not every relative has into a configuration that holds those which all have.
    fn read(&self, fields: &mut JsonFields, config: &mut DecoderConfig) -> Result<()>;

    /// Writes those fields.
    fn write(&self, config: &DecoderConfig, value: &mut Value);

    /// Reads rotary positions: those of all blocks, or others for blocks with a window.
    fn read_rope(&self, fields: &mut JsonFields, defaults: RopeDefaults) -> Result<Ropes> {
        Ok((Rope::read(fields, defaults)?, None))
    }

    /// Reads the keys of a GGUF file that not every relative has. A window is that of all blocks, where nothing else is
    /// said.
    fn read_gguf(&self, keys: &Keys<'_>, config: &mut DecoderConfig) -> Result<()> {
        config.window = keys.size("attention.sliding_window")?;
        config.windowed = vec![config.window.is_some(); config.num_layers];
        Ok(())
    }

    /// The architecture's name in the GGUF files that are written.
    fn gguf_name(&self) -> Option<&'static str> {
        self.names().gguf
    }

    /// Adds what a GGUF file says of a model and not of every relative; what it cannot say is the error.
    fn describe_to(
        &self,
        config: &DecoderConfig,
        out: &mut GgufDescription,
    ) -> std::result::Result<(), String> {
        config.refuse_extras()?;
        config.describe_window(out)
    }

    /// Published models, by names in lower case.
    fn presets(&'static self) -> Vec<(&'static str, DecoderConfig)> {
        Vec::new()
    }
}

/// Rotary positions of all blocks, and those of blocks with a window where they are others.
pub(crate) type Ropes = (Rope, Option<Rope>);

/// Two relatives are the same when their names are.
impl PartialEq for dyn Relative {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Names {
    /// Those of a relative of Llama, whose tensors and head over classes are called as Llama's.
    pub(crate) const fn of_relative(
        model_type: &'static str,
        class: &'static str,
        gguf: Option<&'static str>,
    ) -> Self {
        Self {
            model_type,
            class,
            gguf,
            body: "model.",
            classifier_class: class,
            classifier: ("score", false),
        }
    }
}

/// What a Llama-like model is made of, beside the form that all models of its relative share.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderConfig {
    /// Which relative of Llama.
    pub(crate) relative: &'static dyn Relative,
    /// Tokens.
    pub(crate) vocab_size: usize,
    /// Width.
    pub(crate) hidden_size: usize,
    /// Neurons of the feed-forward part.
    pub(crate) intermediate_size: usize,
    /// Blocks.
    pub(crate) num_layers: usize,
    /// Heads of queries.
    pub(crate) num_heads: usize,
    /// Heads of keys and values.
    pub(crate) num_kv_heads: usize,
    /// Elements of a head.
    pub(crate) head_dim: usize,
    /// What the gate does with its sum.
    pub(crate) activation: Activation,
    /// The `eps` of the norms.
    pub(crate) eps: f64,
    /// Rotary positions.
    pub(crate) rope: Rope,
    /// Rotary positions of the blocks with a window, where they are others.
    pub(crate) window_rope: Option<Rope>,
    /// Which blocks turn queries and keys; all for an empty list.
    pub(crate) rotated: Vec<bool>,
    /// Whether queries, keys and values have biases.
    pub(crate) qkv_bias: bool,
    /// Whether the output of attention has biases.
    pub(crate) out_bias: bool,
    /// Whether the feed-forward part has biases.
    pub(crate) mlp_bias: bool,
    /// How many positions a query sees, in the blocks that `windowed` names.
    pub(crate) window: Option<usize>,
    /// Which blocks have the window.
    pub(crate) windowed: Vec<bool>,
    /// The number whose root scores of attention are divided by; that of a head's elements for `None`.
    pub(crate) query_scalar: Option<f64>,
    /// What scores of attention are softly kept below.
    pub(crate) attention_softcap: Option<f64>,
    /// What scores of tokens are softly kept below.
    pub(crate) logit_softcap: Option<f64>,
    /// Whether the head uses the table of the tokens.
    pub(crate) tied: bool,
    /// The token that stands for padding, whose vector gets no gradient.
    pub(crate) pad_token: Option<u32>,
    /// The standard deviation of first weights.
    pub(crate) init_std: f64,
}

impl DecoderConfig {
    /// A plain model of a relative with what its other fields are by default.
    pub(crate) fn new(
        relative: &'static dyn Relative,
        vocab_size: usize,
        [hidden_size, intermediate_size]: [usize; 2],
        num_layers: usize,
        [num_heads, num_kv_heads]: [usize; 2],
        rope: Rope,
    ) -> Self {
        Self {
            relative,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim: hidden_size / num_heads.max(1),
            activation: Activation::Silu,
            eps: 1e-5,
            rope,
            window_rope: None,
            rotated: Vec::new(),
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            window: None,
            windowed: vec![false; num_layers],
            query_scalar: None,
            attention_softcap: None,
            logit_softcap: None,
            tied: false,
            pad_token: None,
            init_std: 0.02,
        }
    }

    /// The window of a block, if it has one.
    pub(crate) fn window_of(&self, layer: usize) -> Option<usize> {
        let windowed = self.windowed.get(layer).copied().unwrap_or(false);
        self.window.filter(|_| windowed)
    }

    /// Whether a block turns queries and keys.
    pub(crate) fn is_rotated(&self, layer: usize) -> bool {
        self.rotated.get(layer).copied().unwrap_or(true)
    }
}
