//! The task that needs no labels: the label of each token is the token that comes next.

use std::path::Path;

use candle_core::Tensor;
use cortical_data::Position;
use cortical_models::language::{self, LanguageModel, Loaded, merged_tensors};
use cortical_neuron::{Params, Pass};
use cortical_tensor::{Rng, Seed};
use cortical_text::{Generator, Sampler, Sampling};

use super::text::{Corpus, Origin, check, cut, describe, save_changes, starts, train_changes_only};
use super::{Batch, Batches, Part, Task, number};
use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::observe::DataSize;
use crate::recipe::{Recipe, TextRecipe};
use crate::{Error, Result, guard};

/// The random stream that places of blocks are drawn from.
const BLOCKS: &str = "blocks";

/// A model that learns to continue a text.
pub(crate) struct NextToken<'r> {
    recipe: &'r Recipe,
    text: &'r TextRecipe,
    corpus: Corpus,
    model: LanguageModel,
    /// Draws the places of blocks.
    places: Rng,
    batches: Batches,
}

/// Blocks of text: what the model reads, and what comes next at every position.
pub(crate) struct Blocks {
    position: Position,
    ids: Tensor,
    labels: Tensor,
}

impl Batch for Blocks {
    fn position(&self) -> Position {
        self.position
    }

    fn samples(&self) -> usize {
        self.ids.dims()[0]
    }

    fn units(&self) -> usize {
        self.ids.elem_count()
    }
}

impl<'r> Task<'r> for NextToken<'r> {
    type Batch = Blocks;

    fn open(recipe: &'r Recipe, finished: Option<&RunPaths>) -> Result<(Self, Params)> {
        let text = recipe.text()?;
        let origin = Origin::new(recipe, text, finished)?;
        let (name, own) = origin.tokenizer()?;
        let corpus = Corpus::open(&recipe.data, name, own)?;
        let (block, tokens) = (text.train.block, corpus.train.len());
        if tokens <= block + 1 {
            return Err(Error::ShortText { tokens, block });
        }
        let (model, params) = match origin.drawn(&corpus.tokenizer) {
            Some((config, params)) => (LanguageModel::build(&config, &params)?, params),
            None => {
                let Loaded { model, params, .. } =
                    language::open(origin.path(), &origin.options())?;
                (model, params)
            }
        };
        let all = corpus.train.iter().chain(&corpus.valid).chain(&corpus.test);
        check(all, model.config(), block)?;
        if finished.is_none() {
            train_changes_only(text, model.config(), &params)?;
        }
        let of_batch = recipe.train.batch_size.saturating_mul(block);
        let task = Self {
            places: Rng::new(Seed(recipe.seed), BLOCKS),
            batches: Batches::new(&recipe.train, tokens, of_batch),
            recipe,
            text,
            corpus,
            model,
        };
        Ok((task, params))
    }

    fn data_size(&self) -> DataSize {
        DataSize {
            unit: self.recipe.kind().unit(),
            train: self.corpus.train.len(),
            valid: self.corpus.valid.len(),
            test: self.corpus.test.len(),
            classes: None,
            targets: 0,
            shape: Vec::new(),
            understood: Vec::new(),
        }
    }

    fn model(&self) -> String {
        self.model.config().model_type().to_owned()
    }

    fn batches_per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    fn position(&self) -> Position {
        self.batches.position()
    }

    fn seek(&mut self, position: Position, random: Option<&Rng>) -> Result<()> {
        self.batches.seek(position);
        if let Some(places) = random {
            self.places = places.clone();
        }
        Ok(())
    }

    fn random(&self) -> Option<(&'static str, &Rng)> {
        Some((BLOCKS, &self.places))
    }

    fn next_batch(&mut self) -> Result<Blocks> {
        let (_, position) = self.batches.take();
        if self.recipe.train.overfit_batches > 0 && position.batch == 0 {
            // The same few batches again.
            self.places = Rng::new(Seed(self.recipe.seed), BLOCKS);
        }
        let (batch, block) = (self.recipe.train.batch_size, self.text.train.block);
        let (ids, labels) = self.corpus.batch(batch, block, &mut self.places)?;
        Ok(Blocks {
            position,
            ids,
            labels,
        })
    }

    fn loss(&mut self, batch: &Blocks, rng: &mut Rng) -> Result<(Tensor, Option<f64>)> {
        let mut pass = Pass::train(rng);
        Ok((self.model.loss(&batch.ids, &batch.labels, &mut pass)?, None))
    }

    fn evaluate(&self, part: Part) -> Result<Option<Measured>> {
        let tokens = match part {
            Part::Valid => &self.corpus.valid,
            Part::Test => &self.corpus.test,
        };
        let shape = (self.recipe.train.batch_size, self.text.train.block);
        let found = text_scores(&self.model, tokens, self.text.train.eval_blocks, shape)?;
        let sample = self.sample()?;
        if found.is_none() && sample.is_empty() {
            return Ok(None);
        }
        Ok(Some(Measured {
            sample,
            ..found.unwrap_or_default()
        }))
    }

    fn non_finite(&self, batch: &Blocks, rng: Option<&Rng>) -> Result<Option<String>> {
        guard::broken_output(rng, |pass| {
            Ok(self.model.loss(&batch.ids, &batch.labels, pass)?)
        })
    }

    fn describe(&self, paths: &RunPaths) -> Result<()> {
        describe(paths, self.model.config().to_json(), &self.corpus.tokenizer)
    }

    fn save_weights(&self, path: &Path, params: &Params) -> Result<()> {
        if params.adapters().is_none() {
            return Ok(cortical_io::save(path, params)?);
        }
        // Changes of a model that was drawn for this run, or one with changes that is trained on as a whole: a whole
        // model comes of it.
        let tensors = merged_tensors(&self.model, params)?;
        let metadata = cortical_io::model_metadata(&Default::default());
        Ok(cortical_io::save_tensors(path, &tensors, &metadata)?)
    }

    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()> {
        match save_changes(paths, self.text, self.model.config(), params)? {
            true => Ok(()),
            false => self.save_weights(&paths.model(), params),
        }
    }
}

impl NextToken<'_> {
    /// A text that the model continues from the first token of what is held out; the same draws each time.
    fn sample(&self) -> Result<String> {
        let (corpus, tokens) = (&self.corpus, self.text.train.sample_tokens);
        let held = corpus.test.first().or(corpus.valid.first());
        let first = held.or(corpus.train.first());
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
        let known = corpus.tokenizer.vocab_size();
        let text: Vec<u32> = generator
            .text()
            .iter()
            .copied()
            .filter(|id| (*id as usize) < known)
            .collect();
        corpus.tokenizer.decode(&text).map_err(Error::text)
    }
}

/// The mean loss over so many blocks, evenly spread, or all of them for 0; a batch of them at a time. `None` for a text
/// without a whole block.
pub(crate) fn text_scores(
    model: &LanguageModel,
    tokens: &[u32],
    blocks: usize,
    (batch, block): (usize, usize),
) -> Result<Option<Measured>> {
    let starts = starts(tokens.len(), blocks, block);
    let mut sum = 0.0;
    for part in starts.chunks(batch) {
        let (ids, labels) = cut(tokens, part, block)?;
        let loss = model.loss(&ids, &labels, &mut Pass::eval())?;
        sum += number(&loss)? * part.len() as f64;
    }
    Ok((!starts.is_empty()).then(|| {
        let loss = sum / starts.len() as f64;
        Measured {
            loss: Some(loss),
            figure: Some(loss.exp()),
            count: (starts.len() * block) as u64,
            ..Measured::default()
        }
    }))
}
