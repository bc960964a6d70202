//! A language model that was built, whatever its architecture.

use super::architecture::Model;
use super::cache::{ModelCache, NextTokens, names};
use super::config::LanguageConfig;
use super::head::{Head, TokenHead};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_attention::{Cache, Memory};
use cortical_dense::Linear;
use cortical_kernels::parallel;
use cortical_neuron::{Description, Init, Params, Pass};

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

/// A block of a [`LanguageModel`], and what it reads.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    model: &'a dyn Model,
    index: usize,
    x: &'a Tensor,
}

impl Block<'_> {
    /// What it makes of that, `[batch, rows, hidden_size]`.
    ///
    /// # Errors
    /// What an operation refuses.
    pub fn run(&self, pass: &mut Pass<'_>) -> Result<Tensor> {
        Ok(self.model.block(self.index, self.x, Memory::None, pass)?)
    }
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
        let inner = config.inner();
        let model = inner.build(prefix, params)?;
        let std = inner.sizes().init_std;
        let init = Init::Normal { mean: 0.0, std };
        let softcap = inner.logit_softcap();
        let head = TokenHead::build(head, model.tokens(), init, softcap, params)?;
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
        self.cache_with_room(0)
    }

    /// An empty cache that takes memory for so many positions at once, when the first one comes: what
    /// [`LanguageConfig::cache_bytes`] says for single precision.
    #[must_use]
    pub fn cache_with_room(&self, positions: usize) -> ModelCache {
        ModelCache::of(self.config.layers(), positions)
    }

    /// A cache of `len` positions out of [`ModelCache::tensors`]. `load` finds one by its name and gives it away, with
    /// as many positions behind its own as there is to be room for, and says how many its own are.
    ///
    /// # Errors
    /// Those of `load`; [`Error::CacheLength`] for other positions, and what a layer refuses.
    pub fn cache_from(
        &self,
        len: usize,
        load: impl Fn(&str) -> Result<(Tensor, usize)> + Sync + Send,
    ) -> Result<ModelCache> {
        let read = |layer: usize| -> Result<Cache> {
            let [k, v] = names(layer).map(|name| {
                let (tensor, got) = load(&name)?;
                match got == len {
                    true => Ok(tensor.unsqueeze(0)?),
                    false => Err(Error::CacheLength { expected: len, got }),
                }
            });
            Ok(Cache::of(k?, v?, len)?)
        };
        let layers = parallel::map(self.config.layers(), read).into_iter();
        Ok(ModelCache {
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// The hidden state `[1, rows, hidden_size]` of the next tokens of several texts, those of one behind those of
    /// another. It is how texts of different lengths are read together: each goes on after what its own cache holds,
    /// and sees itself only. Weights are read once for all rows.
    ///
    /// # Errors
    /// Those of [`LanguageModel::hidden`], for each text; [`Error::NoCache`] for a model that sees whole texts only.
    pub fn hidden_of_texts(
        &self,
        texts: &mut [NextTokens<'_>],
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        if self.config.cache_width() == 0 {
            let model = self.config.model_type();
            return Err(Error::NoCache { model });
        }
        for text in texts.iter() {
            self.check_count(text.tokens.len(), text.cache.len())?;
        }
        self.check_count(texts.len(), 0)?;
        Ok(self.model.hidden_of_texts(texts, pass)?)
    }

    /// The hidden state `[batch, rows, hidden_size]` of tokens `[batch, rows]` behind the last norm; with a cache, the
    /// tokens go on after those that it holds.
    ///
    /// # Errors
    /// [`Error::NoTokens`], [`Error::TooLong`] behind the end of a table of positions, and what an operation refuses,
    /// such as a token that the table does not have.
    pub fn hidden(
        &self,
        ids: &Tensor,
        cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        self.check(ids, cache.as_ref().map_or(0, |cache| cache.len()))?;
        Ok(self.model.hidden(ids, cache, pass)?)
    }

    /// Runs tokens `[batch, rows]` through the blocks, one after the other: what `run` makes of a block and what it
    /// reads is what the next one reads. So the same input may go through a block more than once.
    ///
    /// # Errors
    /// Those of [`LanguageModel::hidden`], and of `run`.
    pub fn block_by_block<E: From<Error>>(
        &self,
        ids: &Tensor,
        mut run: impl FnMut(Block<'_>) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<(), E> {
        self.check(ids, 0)?;
        let positions: Vec<u32> = (0..ids.dims()[1] as u32).collect();
        let first = self.model.embed(ids, &positions, &mut Pass::eval());
        let mut x = first.map_err(Error::from)?;
        for index in 0..self.model.blocks() {
            x = run(Block {
                model: self.model.as_ref(),
                index,
                x: &x,
            })?;
        }
        Ok(())
    }

    fn check(&self, ids: &Tensor, before: usize) -> Result<()> {
        match ids.dims() {
            &[_, rows] if ids.elem_count() > 0 => self.check_count(rows, before),
            other => {
                let got = other.to_vec();
                Err(Error::NoTokens { got })
            }
        }
    }

    fn check_count(&self, rows: usize, before: usize) -> Result<()> {
        if rows == 0 {
            return Err(Error::NoTokens { got: vec![1, 0] });
        }
        let got = before.saturating_add(rows);
        match self.config.table_positions() {
            Some(limit) if got > limit => Err(Error::TooLong { limit, got }),
            _ => Ok(()),
        }
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

    /// The mean of `−ln p` in nats a token: how badly `ids` `[batch, rows]` predict `labels` of the same shape, the
    /// token behind each. The scores are never there all at once.
    ///
    /// # Errors
    /// Those of [`LanguageModel::logits`]; labels of another shape, or that are no tokens.
    pub fn loss(&self, ids: &Tensor, labels: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let head = self.head()?;
        let hidden = self.hidden(ids, None, pass)?;
        Ok(head.loss(&hidden, labels, pass)?)
    }

    /// What its layers are made of and cost for a text of so many tokens, without the head.
    pub(crate) fn describe(&self, rows: usize) -> Result<Vec<Description>> {
        Ok(self.model.describe(rows)?)
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

    /// What a model that sees the whole text makes of it, `[batch, hidden_size]`: BERT's pooler, or the state of the
    /// first token.
    pub(crate) fn summary(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Option<Tensor>> {
        Ok(self.model.summary(hidden, pass)?)
    }

    /// Up to so many rows of [`LanguageModel::hidden_of_texts`] together, each row and its scores have the bits that
    /// they have alone: 32 with quantized weights, fewer with others.
    #[must_use]
    pub fn rows_alike(&self) -> usize {
        if self.model.turns_with_length() {
            return 1;
        }
        let head = self.head.as_ref().map(TokenHead::rows_alike);
        let layers = self.model.projections().into_iter();
        let all = layers.map(Linear::rows_alike).chain(head);
        all.min().unwrap_or(1)
    }

    /// Every projection of the blocks, and of the head where it has weights of its own: what low-rank changes are made
    /// of.
    #[must_use]
    pub fn projections(&self) -> Vec<&Linear> {
        let mut all = self.model.projections();
        all.extend(self.head.as_ref().and_then(TokenHead::projection));
        all
    }
}
