//! The beginning of a training: text, model, optimizer, and where the newest checkpoint stands.

use candle_core::{DType, Device};
use cortical_models::language::{
    self, LanguageConfig, LanguageModel, LoadOptions, Loaded, TextClassifier, Weights, preset,
};
use cortical_neuron::{Adapters, Params};
use cortical_optim::ModelEma;
use cortical_tensor::{Rng, Seed};
use cortical_text::Tokenizer;

use super::{BATCHES, Observer, STEPS, Session};
use crate::best::Best;
use crate::folder::RunFolder;
use crate::language::classes::{Classes, Examples};
use crate::language::next_token::NextToken;
use crate::language::observe::LanguageEvent;
use crate::language::task::{Task, check};
use crate::language::text::{self, Corpus};
use crate::metrics::MetricsLog;
use crate::observe::Warning;
use crate::recipe::{ClassifyRecipe, LanguageRecipe, StorageType};
use crate::{Error, Result, start};

/// The columns of `metrics.csv`, with a test's figure beside its loss.
const fn columns(figure: &'static str) -> [&'static str; 9] {
    [
        "event",
        "step",
        "loss",
        "lr",
        "grad_norm",
        "tokens_per_second",
        "test_loss",
        figure,
        "train_seconds",
    ]
}

/// Of the next token, and of classes.
const OF_TOKENS: &[&str] = &columns("perplexity");
const OF_CLASSES: &[&str] = &columns("test_accuracy");

impl<'a> Session<'a> {
    /// Reads the text, opens or draws the model, and goes to where the newest checkpoint was written.
    pub(super) fn new(
        folder: &'a RunFolder,
        recipe: &'a LanguageRecipe,
        observer: Observer<'_>,
    ) -> Result<Self> {
        let (task, params) = prepare(recipe)?;
        let paths = folder.paths();
        let latest = paths.checkpoints().latest_valid(&Device::Cpu)?;
        // What a checkpoint holds has begun from the other network already.
        if latest.checkpoint.is_none() {
            start::take_weights(&recipe.start, &params)?;
        }
        if recipe.lora.is_some() {
            for param in params.all() {
                let name = param.name();
                param.set_trainable(name.contains("lora_") || TextClassifier::is_head(name));
            }
        }
        start::freeze(&recipe.start, &params)?;
        let total_steps = total_steps(recipe, task.as_ref())?;
        let schedule = recipe.schedule.over(total_steps, recipe.optim.lr())?;
        schedule.validate()?;
        for skipped in &latest.skipped {
            let why = skipped.to_string();
            observer(LanguageEvent::Warning(&Warning::CheckpointSkipped { why }));
        }
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let seed = Seed(recipe.seed);
        let average = recipe.average.averaging();
        let columns = match recipe.classify {
            Some(_) => OF_CLASSES,
            None => OF_TOKENS,
        };
        let mut session = Self {
            metrics: MetricsLog::open(paths, &recipe.log, columns, step)?,
            optimizer: recipe.optim.config.build(&params, recipe.optim.groups())?,
            average: average.map(|a| ModelEma::new(&params, a)).transpose()?,
            batches: Rng::new(seed, BATCHES),
            steps: Rng::new(seed, STEPS),
            seconds: 0.0,
            tokens: 0,
            best: Best::default(),
            skips: 0,
            tested: None,
            folder,
            recipe,
            task,
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
        if let Some(text) = self.task.description() {
            write("config.json", &text)?;
        }
        let tokenizer = self.task.tokenizer().to_json().map_err(Error::text)?;
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
            config: self.task.config(),
            parameters: self.params.count(),
            trainable,
            bytes,
            material: self.task.material(),
            start_step: self.step,
            total_steps: self.total_steps,
        })
    }
}

/// The model and what it is trained for, from a preset or from files.
fn prepare<'r>(recipe: &'r LanguageRecipe) -> Result<(Box<dyn Task + 'r>, Params)> {
    let own = match preset(&recipe.model) {
        Some(_) => None,
        None => Tokenizer::open(&recipe.model).ok(),
    };
    match &recipe.classify {
        None => foresee(recipe, own),
        Some(classify) => tell_apart(recipe, classify, own),
    }
}

/// The task of the next token.
fn foresee<'r>(
    recipe: &'r LanguageRecipe,
    own: Option<Tokenizer>,
) -> Result<(Box<dyn Task + 'r>, Params)> {
    let corpus = Corpus::open(&recipe.data, own)?;
    let (block, tokens) = (recipe.train.block, corpus.train.len());
    if tokens <= block + 1 {
        return Err(Error::ShortText { tokens, block });
    }
    let (model, params) = match drawn(recipe, &corpus.tokenizer) {
        Some((config, params)) => (LanguageModel::build(&config, &params)?, params),
        None => {
            let Loaded { model, params, .. } = language::open(&recipe.model, &options(recipe))?;
            (model, params)
        }
    };
    let all = corpus.train.iter().chain(&corpus.test);
    check(all, model.config(), block)?;
    Ok((Box::new(NextToken::new(recipe, corpus, model)), params))
}

/// The task of classes of texts.
fn tell_apart<'r>(
    recipe: &'r LanguageRecipe,
    classify: &ClassifyRecipe,
    own: Option<Tokenizer>,
) -> Result<(Box<dyn Task + 'r>, Params)> {
    let examples = Examples::open(recipe, classify)?;
    let tokenizer = text::tokenizer(&recipe.data.tokenizer, own, &examples.train.texts)?;
    let classes = examples.classes.len();
    let (classifier, params) = match drawn(recipe, &tokenizer) {
        Some((config, params)) => (TextClassifier::build(&config, classes, &params)?, params),
        None => {
            // Other classes need another head.
            let own = language::read_classes(&recipe.model)?;
            let options = LoadOptions {
                new_head: own.is_some_and(|own| own != examples.classes),
                ..options(recipe)
            };
            TextClassifier::open(&recipe.model, classes, &options)?
        }
    };
    let task = Classes::new(recipe, classifier, tokenizer, examples)?;
    Ok((Box::new(task), params))
}

/// The sizes of a preset with a place for its parameters, if the recipe names one: a fresh model learns the tokens that there are.
fn drawn(recipe: &LanguageRecipe, tokenizer: &Tokenizer) -> Option<(LanguageConfig, Params)> {
    let config = preset(&recipe.model)?.config;
    let tokens = tokenizer.vocab_size().max(config.vocab_size());
    let dtype = match recipe.train.dtype {
        StorageType::F32 => DType::F32,
        StorageType::Bf16 => DType::BF16,
    };
    let params = Params::with_dtype(&Device::Cpu, Seed(recipe.seed), dtype);
    params.adapt(adapters(recipe));
    Some((config.with_vocab_size(tokens), params))
}

/// How the recipe opens a model that is there.
fn options(recipe: &LanguageRecipe) -> LoadOptions {
    LoadOptions {
        weights: match recipe.train.dtype {
            StorageType::F32 => Weights::Single,
            StorageType::Bf16 => Weights::Bf16,
        },
        adapters: adapters(recipe),
        seed: recipe.seed,
        ..Default::default()
    }
}

fn adapters(recipe: &LanguageRecipe) -> Option<Adapters> {
    recipe.lora.as_ref().map(|lora| Adapters {
        rank: lora.rank,
        alpha: lora.alpha,
        targets: lora.targets.clone(),
        dora: lora.dora,
    })
}

/// How many steps a run has: those of its epochs, or fewer if they are limited.
fn total_steps(recipe: &LanguageRecipe, task: &dyn Task) -> Result<u64> {
    let train = &recipe.train;
    let (epochs, batches) = (train.epochs, task.steps_of_epoch(train.accumulate).max(1));
    let steps = epochs
        .checked_mul(batches)
        .ok_or(Error::TooManySteps { epochs, batches })?;
    Ok(match (steps, train.max_steps) {
        (0, most) => most,
        (steps, 0) => steps,
        (steps, most) => steps.min(most),
    })
}
