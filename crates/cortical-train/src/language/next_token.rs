//! The task that needs no labels: the next token.

use candle_core::Tensor;
use cortical_models::language::{LanguageConfig, LanguageModel, merged_tensors};
use cortical_neuron::{Params, Pass};
use cortical_tensor::Rng;
use cortical_text::{Generator, Sampler, Sampling, Tokenizer};

use super::evaluate::foresee;
use super::observe::Material;
use super::task::{Task, Tested};
use super::text::Corpus;
use crate::folder::RunPaths;
use crate::recipe::LanguageRecipe;
use crate::{Error, Result};

/// A model that learns to foresee a text.
#[derive(Debug)]
pub(super) struct NextToken<'r> {
    recipe: &'r LanguageRecipe,
    corpus: Corpus,
    model: LanguageModel,
}

impl<'r> NextToken<'r> {
    pub(super) fn new(recipe: &'r LanguageRecipe, corpus: Corpus, model: LanguageModel) -> Self {
        Self {
            recipe,
            corpus,
            model,
        }
    }

    /// A text that the model goes on with from the first token of the held-out one; the same draws at every test.
    fn sample(&self) -> Result<String> {
        let tokens = self.recipe.train.sample_tokens;
        let first = self.corpus.test.first().or(self.corpus.train.first());
        let Some(first) = first.filter(|_| tokens > 0 && self.model.has_head()) else {
            return Ok(String::new());
        };
        let sampling = Sampling {
            top_k: 40,
            ..Sampling::with_temperature(0.8)
        };
        let sampler = Sampler::new(sampling, self.recipe.seed).map_err(Error::text)?;
        let generator = Generator::new(&self.model, self.model.cache(), &[*first], sampler);
        let mut generator = generator.map_err(Error::text)?.limit(tokens);
        for token in &mut generator {
            token.map_err(Error::text)?;
        }
        // A model may have more tokens than its tokenizer, and an untrained one writes them.
        let known = self.corpus.tokenizer.vocab_size();
        let text: Vec<u32> = generator
            .text()
            .iter()
            .copied()
            .filter(|id| (*id as usize) < known)
            .collect();
        self.corpus.tokenizer.decode(&text).map_err(Error::text)
    }
}

impl Task for NextToken<'_> {
    fn config(&self) -> &LanguageConfig {
        self.model.config()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.corpus.tokenizer
    }

    fn material(&self) -> Material {
        Material::Tokens {
            train: self.corpus.train.len(),
            test: self.corpus.test.len(),
        }
    }

    fn steps_of_epoch(&self, batches: u64) -> u64 {
        let train = &self.recipe.train;
        let of_step = (train.batch_size * train.block) as u64 * batches;
        (self.corpus.train.len() as u64).div_ceil(of_step)
    }

    fn loss(
        &mut self,
        _number: u64,
        draws: &mut Rng,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, usize)> {
        let (batch, block) = (self.recipe.train.batch_size, self.recipe.train.block);
        let (ids, labels) = self.corpus.batch(batch, block, draws)?;
        let loss = self.model.loss(&ids, &labels, pass)?;
        Ok((loss, batch * block))
    }

    fn test(&self) -> Result<Tested> {
        let train = &self.recipe.train;
        let shape = (train.batch_size, train.block);
        let found = foresee(&self.model, &self.corpus.test, train.eval_blocks, shape)?;
        Ok(Tested {
            loss: found.map(|found| found.loss),
            sample: self.sample()?,
            ..Tested::default()
        })
    }

    fn description(&self) -> Option<String> {
        self.model.config().to_json()
    }

    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()> {
        if params.adapters().is_none() {
            return Ok(cortical_io::save(paths.model(), params)?);
        }
        // Trained on from a model with low-rank changes, as a whole: a whole model comes of it.
        let tensors = merged_tensors(&self.model, params)?;
        let metadata = cortical_io::model_metadata(&Default::default());
        Ok(cortical_io::save_tensors(
            paths.model(),
            &tensors,
            &metadata,
        )?)
    }
}
