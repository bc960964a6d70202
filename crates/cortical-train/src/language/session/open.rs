//! The beginning of a training: text, model, optimizer, and where the newest checkpoint stands.

use candle_core::{DType, Device};
use cortical_models::language::{
    self, LanguageConfig, LanguageModel, LoadOptions, Loaded, Weights, preset,
};
use cortical_neuron::{Adapters, Params};
use cortical_optim::ModelEma;
use cortical_tensor::{Rng, Seed};
use cortical_text::Tokenizer;

use super::{BLOCKS, Observer, STEPS, Session};
use crate::best::Best;
use crate::folder::RunFolder;
use crate::language::observe::LanguageEvent;
use crate::language::text::Corpus;
use crate::metrics::MetricsLog;
use crate::observe::Warning;
use crate::recipe::{LanguageRecipe, StorageType};
use crate::{Error, Result, start};

/// The columns of `metrics.csv`.
const COLUMNS: &[&str] = &[
    "event",
    "step",
    "loss",
    "lr",
    "grad_norm",
    "tokens_per_second",
    "test_loss",
    "perplexity",
    "train_seconds",
];

impl<'a> Session<'a> {
    /// Reads the text, opens or draws the model, and goes to where the newest checkpoint was written.
    pub(super) fn new(
        folder: &'a RunFolder,
        recipe: &'a LanguageRecipe,
        observer: Observer<'_>,
    ) -> Result<Self> {
        let (corpus, model, params) = prepare(recipe)?;
        let paths = folder.paths();
        let latest = paths.checkpoints().latest_valid(&Device::Cpu)?;
        // What a checkpoint holds has begun from the other network already.
        if latest.checkpoint.is_none() {
            start::take_weights(&recipe.start, &params)?;
        }
        if recipe.lora.is_some() {
            for param in params.all() {
                param.set_trainable(param.name().contains("lora_"));
            }
        }
        start::freeze(&recipe.start, &params)?;
        let total_steps = total_steps(recipe, corpus.train.len())?;
        let schedule = recipe.schedule.over(total_steps, recipe.optim.lr())?;
        schedule.validate()?;
        for skipped in &latest.skipped {
            let why = skipped.to_string();
            observer(LanguageEvent::Warning(&Warning::CheckpointSkipped { why }));
        }
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let seed = Seed(recipe.seed);
        let average = recipe.average.averaging();
        let mut session = Self {
            metrics: MetricsLog::open(paths, &recipe.log, COLUMNS, step)?,
            optimizer: recipe.optim.config.build(&params, recipe.optim.groups())?,
            average: average.map(|a| ModelEma::new(&params, a)).transpose()?,
            blocks: Rng::new(seed, BLOCKS),
            steps: Rng::new(seed, STEPS),
            seconds: 0.0,
            best: Best::default(),
            skips: 0,
            tested: None,
            folder,
            recipe,
            corpus,
            model,
            params,
            schedule,
            step,
            total_steps,
        };
        if let Some(checkpoint) = latest.checkpoint {
            session.restore(&checkpoint, observer)?;
        }
        session.describe()?;
        Ok(session)
    }

    /// Writes what makes the folder a model that others open: the configuration and the tokenizer.
    fn describe(&self) -> Result<()> {
        let root = self.folder.paths().root();
        let write = |name: &str, text: &str| -> Result<()> {
            Ok(cortical_io::write_atomic(root.join(name), |file| {
                file.write_all(text.as_bytes())
            })?)
        };
        if let Some(text) = self.model.config().to_json() {
            write("config.json", &text)?;
        }
        let tokenizer = self.corpus.tokenizer.to_json().map_err(Error::text)?;
        write("tokenizer.json", &tokenizer)
    }

    /// What there is to train.
    pub(super) fn ready(&self) -> Result<LanguageEvent<'_>> {
        let (mut bytes, mut trainable) = (0, 0);
        for param in self.params.all() {
            let of_it = (param.count() * param.dtype().size_in_bytes()) as u64;
            bytes += of_it;
            if param.is_trainable() {
                // Its gradient is as large as itself.
                bytes += of_it;
                trainable += param.count();
            }
        }
        let state = self.optimizer.state()?;
        let of_tensor =
            |t: &candle_core::Tensor| (t.elem_count() * t.dtype().size_in_bytes()) as u64;
        bytes += state
            .iter()
            .map(|(_, tensor)| of_tensor(tensor))
            .sum::<u64>();
        Ok(LanguageEvent::Ready {
            config: self.model.config(),
            parameters: self.params.count(),
            trainable,
            bytes,
            train_tokens: self.corpus.train.len(),
            test_tokens: self.corpus.test.len(),
            start_step: self.step,
            total_steps: self.total_steps,
        })
    }
}

/// The text and the model to train on it, from a preset or from files.
pub(in crate::language) fn prepare(
    recipe: &LanguageRecipe,
) -> Result<(Corpus, LanguageModel, Params)> {
    let preset = preset(&recipe.model);
    let own = match preset {
        Some(_) => None,
        None => Tokenizer::open(&recipe.model).ok(),
    };
    let corpus = Corpus::open(&recipe.data, own)?;
    let (block, tokens) = (recipe.train.block, corpus.train.len());
    if tokens <= block + 1 {
        return Err(Error::ShortText { tokens, block });
    }
    let adapters = recipe.lora.as_ref().map(|lora| Adapters {
        rank: lora.rank,
        alpha: lora.alpha,
        targets: lora.targets.clone(),
        dora: lora.dora,
    });
    let (dtype, weights) = match recipe.train.dtype {
        StorageType::F32 => (DType::F32, Weights::Single),
        StorageType::Bf16 => (DType::BF16, Weights::Half),
    };
    let words = corpus.tokenizer.vocab_size();
    let (model, params) = match preset {
        Some(preset) => {
            // A fresh model learns the tokens that there are.
            let tokens = words.max(preset.config.vocab_size());
            let config = preset.config.with_vocab_size(tokens);
            let params = Params::with_dtype(&Device::Cpu, Seed(recipe.seed), dtype);
            params.adapt(adapters);
            (LanguageModel::build(&config, &params)?, params)
        }
        None => {
            let options = LoadOptions {
                weights,
                adapters,
                seed: recipe.seed,
                ..Default::default()
            };
            let Loaded { model, params, .. } = language::open(&recipe.model, &options)?;
            (model, params)
        }
    };
    check(&corpus, model.config(), block)?;
    Ok((corpus, model, params))
}

/// Refuses a text that the model cannot read.
fn check(corpus: &Corpus, config: &LanguageConfig, block: usize) -> Result<()> {
    let all = corpus.train.iter().chain(&corpus.test);
    let (largest, tokens) = (all.max().copied().unwrap_or(0), config.vocab_size());
    if largest as usize >= tokens {
        return Err(Error::UnknownToken {
            token: largest,
            tokens,
        });
    }
    match config.table_positions() {
        Some(positions) if block > positions => Err(Error::LongBlock { block, positions }),
        _ => Ok(()),
    }
}

/// How many steps a run has: those of its epochs, or fewer if they are limited.
fn total_steps(recipe: &LanguageRecipe, tokens: usize) -> Result<u64> {
    let train = &recipe.train;
    let of_step = (train.batch_size * train.block) as u64 * train.accumulate;
    let in_epoch = (tokens as u64).div_ceil(of_step).max(1);
    let (epochs, batches) = (train.epochs, in_epoch);
    let steps = epochs
        .checked_mul(batches)
        .ok_or(Error::TooManySteps { epochs, batches })?;
    Ok(match (steps, train.max_steps) {
        (0, most) => most,
        (steps, 0) => steps,
        (steps, most) => steps.min(most),
    })
}
