//! Language models: Llama and its relatives, GPT-2, BERT.
//!
//! A [`LanguageConfig`] comes from a Hugging Face `config.json` ([`LanguageConfig::from_json`]), from a GGUF file or from a preset
//! ([`preset`]); it lists every tensor of its model by the name that the hub's files have ([`LanguageConfig::tensors`]), explains its
//! size part by part ([`Account`]) and is what a [`LanguageModel`] is built from. [`open`] does all of it for a folder or a file.
//!
//! A field of a configuration that would change the mathematics and is not supported is refused by its name.

mod account;
mod adapter;
mod bert;
mod classifier;
mod decoder;
mod gguf;
mod gpt2;
mod head;
mod json;
mod load;
mod parts;
mod presets;
mod rope;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use account::{Account, AccountLine};
pub use adapter::{load_adapter, merged_tensors, read_adapter_config, save_adapter};
pub use bert::BertConfig;
pub use classifier::{TextClassifier, read_classes};
pub use decoder::{DecoderConfig, Family};
pub use gpt2::Gpt2Config;
pub use load::{LoadOptions, Loaded, Weights, open};
pub use parts::{Part, TensorSpec};
pub use presets::{Preset, preset, presets};
pub use rope::{Rope, Scaling};

use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_attention::Cache;
use cortical_neuron::{Init, Params, Pass, Projection};
use head::TokenHead;
use json::JsonFields;
use serde_json::Value;
use table::TokenTable;

/// What a language model is made of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageConfig {
    /// Llama, Mistral, Qwen2, Qwen3.
    Decoder(DecoderConfig),
    /// GPT-2.
    Gpt2(Gpt2Config),
    /// BERT.
    Bert(BertConfig),
}

/// Where scores of tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Weights of its own.
    Own,
    /// The table of tokens.
    Tied,
    /// Nowhere: the model ends with its hidden state.
    None,
}

impl LanguageConfig {
    /// Reads a Hugging Face `config.json`.
    ///
    /// ```
    /// use cortical_models::language::LanguageConfig;
    /// let config = LanguageConfig::from_json(r#"{"model_type": "gpt2"}"#)?;
    /// assert_eq!(config.parameters(), Some(124_439_808));
    /// let error = LanguageConfig::from_json(r#"{"model_type": "llama", "logit_scale": 0.5}"#).unwrap_err();
    /// assert!(error.to_string().starts_with("logit_scale is 0.5"));
    /// # Ok::<(), cortical_models::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::ModelType`], [`Error::Config`], [`Error::UnsupportedConfig`], [`Error::UnknownConfig`].
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|why| Error::Json { why })?;
        let Value::Object(map) = value else {
            return Err(Error::Config {
                field: "config.json".to_owned(),
                expected: "an object".to_owned(),
                got: json::short(&value),
            });
        };
        let mut fields = JsonFields::new("", map);
        for name in ["is_encoder_decoder", "tie_encoder_decoder"] {
            fields.only(name, &[false.into()])?;
        }
        for name in ["quantization_config", "cross_attention_hidden_size"] {
            fields.only(name, &[])?;
        }
        let kind = fields.text("model_type")?;
        let kind =
            kind.ok_or_else(|| fields.missing("model_type", "the name of an architecture"))?;
        let config = match kind.as_str() {
            "llama" => Self::Decoder(DecoderConfig::read(Family::Llama, &mut fields)?),
            "mistral" => Self::Decoder(DecoderConfig::read(Family::Mistral, &mut fields)?),
            "qwen2" => Self::Decoder(DecoderConfig::read(Family::Qwen2, &mut fields)?),
            "qwen3" => Self::Decoder(DecoderConfig::read(Family::Qwen3, &mut fields)?),
            "gpt2" => Self::Gpt2(Gpt2Config::read(&mut fields)?),
            "bert" => Self::Bert(BertConfig::read(&mut fields)?),
            _ => return Err(Error::ModelType { got: kind }),
        };
        fields.finish(&kind)?;
        Ok(config)
    }

    /// The architecture's name, as `model_type` has it.
    #[must_use]
    pub fn model_type(&self) -> &'static str {
        match self {
            Self::Decoder(config) => config.family.name(),
            Self::Gpt2(_) => "gpt2",
            Self::Bert(_) => "bert",
        }
    }

    /// How many tokens it knows.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Decoder(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
            Self::Bert(config) => config.vocab_size,
        }
    }

    /// The same with another number of tokens: for a model that is to be trained from nothing with a tokenizer of its own.
    #[must_use]
    pub fn with_vocab_size(mut self, tokens: usize) -> Self {
        match &mut self {
            Self::Decoder(config) => config.vocab_size = tokens,
            Self::Gpt2(config) => config.vocab_size = tokens,
            Self::Bert(config) => config.vocab_size = tokens,
        }
        self
    }

    /// The model's width.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Decoder(config) => config.hidden_size,
            Self::Gpt2(config) => config.n_embd,
            Self::Bert(config) => config.hidden_size,
        }
    }

    /// Blocks.
    #[must_use]
    pub fn layers(&self) -> usize {
        match self {
            Self::Decoder(config) => config.num_layers,
            Self::Gpt2(config) => config.n_layer,
            Self::Bert(config) => config.num_layers,
        }
    }

    /// How many positions the model was made for; a table of positions ends there, rotary positions go on.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        match self {
            Self::Decoder(config) => config.rope.max_positions,
            Self::Gpt2(config) => config.n_positions,
            Self::Bert(config) => config.max_positions,
        }
    }

    /// The number of positions that there is a table for, if there is one.
    #[must_use]
    pub fn table_positions(&self) -> Option<usize> {
        match self {
            Self::Decoder(_) => None,
            Self::Gpt2(config) => Some(config.n_positions),
            Self::Bert(config) => Some(config.max_positions),
        }
    }

    /// Where the whole model has its scores from.
    #[must_use]
    pub fn head(&self) -> Head {
        match self {
            Self::Decoder(DecoderConfig { tied, .. }) | Self::Gpt2(Gpt2Config { tied, .. }) => {
                if *tied {
                    Head::Tied
                } else {
                    Head::Own
                }
            }
            Self::Bert(_) => Head::None,
        }
    }

    /// What stands before the names of all tensors but the head's.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Decoder(_) => "model.",
            Self::Gpt2(_) => "transformer.",
            Self::Bert(_) => "",
        }
    }

    /// Every tensor of the whole model, by the names of Hugging Face's files, in the order in which they are built.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.tensors_as(self.prefix(), self.head())
    }

    pub(crate) fn tensors_as(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        match self {
            Self::Decoder(config) => config.tensors(prefix, head),
            Self::Gpt2(config) => config.tensors(prefix, head),
            Self::Bert(config) => config.tensors(prefix),
        }
    }

    /// How tables and heads begin in a model that is drawn.
    fn init(&self) -> Init {
        let std = match self {
            Self::Decoder(config) => config.init_std,
            Self::Gpt2(_) | Self::Bert(_) => 0.02,
        };
        Init::Normal { mean: 0.0, std }
    }

    /// How many parameters the whole model has: what "7B" counts. `None` when they cannot be counted.
    #[must_use]
    pub fn parameters(&self) -> Option<usize> {
        let tensors = self.tensors();
        let mut counts = tensors.iter().map(TensorSpec::count);
        counts.try_fold(0_usize, |sum, count| sum.checked_add(count?))
    }
}

/// Keys and values of every block, so that a text is read once.
#[derive(Clone, Debug, Default)]
pub struct ModelCache {
    pub(crate) layers: Vec<Cache>,
}

impl ModelCache {
    /// How many positions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, Cache::len)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blocks that it belongs to.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Forgets all positions but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        for layer in &mut self.layers {
            layer.truncate(len);
        }
    }
}

/// What every architecture does.
pub(crate) trait Model: std::fmt::Debug + Send + Sync {
    /// The hidden state `[batch, rows, hidden_size]` behind the last norm.
    fn hidden(
        &self,
        ids: &Tensor,
        cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor>;

    /// The table that tokens are looked up in.
    fn tokens(&self) -> &TokenTable;

    /// What BERT's pooler makes of the first token.
    fn pooled(
        &self,
        _hidden: &Tensor,
        _pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        Ok(None)
    }

    /// Every projection of the blocks.
    fn projections(&self) -> Vec<&Projection>;
}

/// A language model: tokens in, hidden states and scores of tokens out.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_models::language::{LanguageModel, preset};
/// use cortical_neuron::{Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = preset("llama-tiny").expect("a preset").config;
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let model = LanguageModel::build(&config, &params)?;
/// assert_eq!(Some(params.count()), config.parameters());
///
/// let ids = Tensor::new(&[[1_u32, 5, 7]], &Device::Cpu)?;
/// let whole = model.logits(&ids, None, &mut Pass::eval())?; // [1, 3, vocab_size]
/// let mut cache = model.cache();
/// model.logits(&ids.narrow(1, 0, 2)?, Some(&mut cache), &mut Pass::eval())?;
/// let last = model.logits(&ids.narrow(1, 2, 1)?, Some(&mut cache), &mut Pass::eval())?;
/// let difference = (last - whole.narrow(1, 2, 1)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
/// assert!(difference < 1e-5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LanguageModel {
    config: LanguageConfig,
    model: Box<dyn Model>,
    head: Option<TokenHead>,
}

impl LanguageModel {
    /// Builds the whole model with its parameters in `params`, under the names of Hugging Face's files.
    ///
    /// # Errors
    /// A name that is taken in `params`, sizes that do not fit.
    pub fn build(config: &LanguageConfig, params: &Params) -> Result<Self> {
        Self::build_as(config, config.prefix(), config.head(), params)
    }

    pub(crate) fn build_as(
        config: &LanguageConfig,
        prefix: &str,
        head: Head,
        params: &Params,
    ) -> Result<Self> {
        let model: Box<dyn Model> = match config {
            LanguageConfig::Decoder(c) => Box::new(decoder::Decoder::build(c, prefix, params)?),
            LanguageConfig::Gpt2(c) => Box::new(gpt2::Gpt2::build(c, prefix, params)?),
            LanguageConfig::Bert(c) => Box::new(bert::Bert::build(c, prefix, params)?),
        };
        let head = TokenHead::build(head, model.tokens(), config.init(), params)?;
        Ok(Self {
            config: config.clone(),
            model,
            head,
        })
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &LanguageConfig {
        &self.config
    }

    /// An empty cache for this model.
    #[must_use]
    pub fn cache(&self) -> ModelCache {
        ModelCache {
            layers: vec![Cache::new(); self.config.layers()],
        }
    }

    /// The hidden state `[batch, rows, hidden_size]` of tokens `[batch, rows]` behind the last norm; with a cache, the tokens go on after those that it
    /// holds.
    ///
    /// # Errors
    /// [`Error::NoTokens`], [`Error::TooLong`] behind the end of a table of positions, and what an operation refuses, such as a
    /// token that the table does not have.
    pub fn hidden(
        &self,
        ids: &Tensor,
        cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let &[_, rows] = ids.dims() else {
            return Err(Error::NoTokens {
                got: ids.dims().to_vec(),
            });
        };
        if ids.elem_count() == 0 {
            return Err(Error::NoTokens {
                got: ids.dims().to_vec(),
            });
        }
        let before = cache.as_ref().map_or(0, |cache| cache.len());
        if let Some(limit) = self.config.table_positions()
            && before.saturating_add(rows) > limit
        {
            let got = before.saturating_add(rows);
            return Err(Error::TooLong { limit, got });
        }
        Ok(self.model.hidden(ids, cache, pass)?)
    }

    /// The scores `[batch, rows, vocab_size]` of a hidden state.
    ///
    /// # Errors
    /// [`Error::NoHead`], and what an operation refuses.
    pub fn scores(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        Ok(self.head()?.scores(hidden, pass)?)
    }

    /// The scores `[batch, rows, vocab_size]` of the token behind each of `ids`.
    ///
    /// # Errors
    /// Those of [`LanguageModel::hidden`] and [`LanguageModel::scores`].
    pub fn logits(
        &self,
        ids: &Tensor,
        cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let hidden = self.hidden(ids, cache, pass)?;
        self.scores(&hidden, pass)
    }

    /// The mean of `−ln p` in nats a token: how badly `ids` `[batch, rows]` foresee `labels` of the same shape, the token behind each. The scores are never
    /// there all at once.
    ///
    /// # Errors
    /// Those of [`LanguageModel::logits`]; labels of another shape, or that are no tokens.
    pub fn loss(&self, ids: &Tensor, labels: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let head = self.head()?;
        let hidden = self.hidden(ids, None, pass)?;
        Ok(head.loss(&hidden, labels, pass)?)
    }

    fn head(&self) -> Result<&TokenHead> {
        self.head.as_ref().ok_or(Error::NoHead {
            model: self.config.model_type(),
        })
    }

    /// Whether the model scores tokens; encoders end with a hidden state.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// What BERT's pooler makes of the first token's hidden state: `[batch, hidden_size]`.
    ///
    /// # Errors
    /// What an operation refuses.
    pub fn pooled(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Option<Tensor>> {
        Ok(self.model.pooled(hidden, pass)?)
    }

    /// Every projection of the blocks, and of the head where it has weights of its own: what low-rank changes are made of.
    #[must_use]
    pub fn projections(&self) -> Vec<&Projection> {
        let mut all = self.model.projections();
        all.extend(self.head.as_ref().and_then(TokenHead::projection));
        all
    }
}
