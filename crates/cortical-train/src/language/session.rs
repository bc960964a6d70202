//! The loop of a language model's training.

use super::text::{Corpus, cut};
use super::{LanguageRecipe, LanguageRun};
use crate::observe::Stop;
use crate::{Error, Result};
use candle_core::{DType, Device};
use cortical_io::{Checkpoint, TrainingState};
use cortical_kernels::isa;
use cortical_models::language::{
    self, LanguageConfig, LanguageModel, LoadOptions, Loaded, Weights, preset, save_adapter,
};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Adapters, Params, Pass};
use cortical_optim::{AdamW, AdamWConfig, Group, Norm, Optimizer, Schedule, clip_grad_norm};
use cortical_tensor::{Rng, Seed};
use cortical_text::{Generator, Sampler, Sampling, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The random streams: blocks, and what is random inside steps.
const BLOCKS: &str = "blocks";
const STEPS: &str = "train";

/// What happens in a training.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageEvent<'a> {
    /// Everything is ready for the first step.
    Ready {
        /// What the model is made of.
        config: &'a LanguageConfig,
        /// Its parameters.
        parameters: usize,
        /// Those of them that training changes.
        trainable: usize,
        /// Tokens to learn from.
        train_tokens: usize,
        /// Tokens to test on.
        test_tokens: usize,
        /// Steps taken earlier.
        start_step: u64,
        /// Steps of the run.
        total_steps: u64,
    },
    /// A step was taken.
    Step {
        /// Steps so far.
        step: u64,
        /// The loss in nats a token.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// Tokens of the step.
        tokens: usize,
    },
    /// The held-out text was foreseen, and a text was written.
    Test {
        /// Steps so far.
        step: u64,
        /// The loss in nats a token.
        loss: f64,
        /// What the model wrote.
        sample: &'a str,
    },
    /// A checkpoint is on the disk.
    Checkpoint {
        /// Its step.
        step: u64,
    },
}

/// What a finished training found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageReport {
    /// Always `language`.
    pub kind: String,
    /// Steps of the run.
    pub steps: u64,
    /// Tokens that the model read.
    pub tokens: u64,
    /// Seconds spent on steps.
    pub train_seconds: f64,
    /// Parameters of the model.
    pub parameters: usize,
    /// Those of them that training changed.
    pub trainable: usize,
    /// The loss on the held-out text in nats a token; `null` where none was held out.
    pub test_loss: Option<f64>,
    /// `e` to its power.
    pub perplexity: Option<f64>,
    /// What the model writes at the end.
    pub sample: String,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageOutcome {
    /// The last step is done, and the model is written.
    Finished(LanguageReport),
    /// It had been finished before.
    AlreadyFinished(LanguageReport),
    /// It was asked to stop, and everything is saved.
    Stopped {
        /// Steps taken so far.
        step: u64,
        /// Steps of the run.
        total_steps: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Trains the run to its end, from its newest checkpoint if it has one: a run that was stopped and continued writes the same model, byte for
/// byte, as one that was not.
///
/// # Errors
/// A text that cannot be read or is too short, a model that cannot be opened, a loss that is no number, files that cannot be written.
pub fn train_language(
    run: &LanguageRun,
    stop: &dyn Stop,
    observer: &mut dyn FnMut(LanguageEvent<'_>),
) -> Result<LanguageOutcome> {
    let path = run.paths().report();
    if let Ok(text) = std::fs::read_to_string(&path) {
        let report = serde_json::from_str(&text).map_err(|why| Error::BadReport { path, why })?;
        return Ok(LanguageOutcome::AlreadyFinished(report));
    }
    Session::new(run)?.run(stop, observer)
}

struct Session<'a> {
    run: &'a LanguageRun,
    recipe: &'a LanguageRecipe,
    corpus: Corpus,
    model: LanguageModel,
    params: Params,
    optimizer: AdamW,
    schedule: Schedule,
    blocks: Rng,
    steps: Rng,
    metrics: File,
    step: u64,
    seconds: f64,
}

/// The model to train, from a preset or from files.
fn model(recipe: &LanguageRecipe) -> Result<(LanguageModel, Params, Option<Tokenizer>)> {
    let adapters = recipe.lora.as_ref().map(|lora| Adapters {
        rank: lora.rank,
        alpha: lora.alpha,
        targets: lora.targets.clone(),
        dora: lora.dora,
    });
    if let Some(preset) = preset(&recipe.model) {
        let params = Params::new(&Device::Cpu, Seed(recipe.seed));
        params.adapt(adapters);
        return Ok((LanguageModel::build(&preset.config, &params)?, params, None));
    }
    let options = LoadOptions {
        weights: Weights::Single,
        adapters,
        seed: recipe.seed,
    };
    let Loaded { model, params, .. } = language::open(&recipe.model, &options)?;
    let tokenizer = Tokenizer::open(&recipe.model).ok();
    Ok((model, params, tokenizer))
}

impl<'a> Session<'a> {
    fn new(run: &'a LanguageRun) -> Result<Self> {
        let recipe = run.recipe();
        let (model, params, own) = model(recipe)?;
        let corpus = Corpus::open(&recipe.data, own)?;
        let block = recipe.train.block;
        if corpus.train.len() <= block + 1 {
            return Err(Error::LanguageRecipe {
                field: "train.block",
                expected: "less than the tokens of the text",
            });
        }
        if corpus.tokenizer.vocab_size() > model.config().vocab_size() {
            return Err(Error::LanguageRecipe {
                field: "data.tokenizer",
                expected: "one with no more tokens than the model has",
            });
        }
        if recipe.lora.is_some() {
            for param in params.all() {
                param.set_trainable(param.name().contains("lora_"));
            }
        }
        let optim = &recipe.optim;
        let config = AdamWConfig {
            lr: optim.lr,
            betas: optim.betas.into(),
            weight_decay: optim.weight_decay,
            ..Default::default()
        };
        let schedule = Schedule::WarmupCosine {
            warmup_steps: optim.warmup,
            total_steps: recipe.train.steps,
            min_factor: optim.min_factor,
        };
        schedule.validate()?;
        let latest = run.paths().checkpoints().latest_valid(&Device::Cpu)?;
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let seed = Seed(recipe.seed);
        let mut session = Self {
            optimizer: AdamW::with_groups(&params, config, vec![Group::without_decay()])?,
            blocks: Rng::new(seed, BLOCKS),
            steps: Rng::new(seed, STEPS),
            metrics: metrics(&run.paths().metrics(), step)?,
            step,
            seconds: 0.0,
            run,
            recipe,
            corpus,
            model,
            params,
            schedule,
        };
        if let Some(checkpoint) = latest.checkpoint {
            session.restore(&checkpoint)?;
        }
        session.describe()?;
        Ok(session)
    }

    /// Writes what makes the folder a model that others open: the configuration and the tokenizer.
    fn describe(&self) -> Result<()> {
        let root = self.run.paths().root();
        let write = |name: &str, text: &str| -> Result<()> {
            Ok(cortical_io::write_atomic(root.join(name), |file| {
                file.write_all(text.as_bytes())
            })?)
        };
        if let Some(text) = self.model.config().to_json() {
            write("config.json", &text)?;
        }
        write(
            "tokenizer.json",
            &self.corpus.tokenizer.to_json().map_err(Error::text)?,
        )
    }

    /// The loop: every step happens here.
    fn run(
        mut self,
        stop: &dyn Stop,
        observer: &mut dyn FnMut(LanguageEvent<'_>),
    ) -> Result<LanguageOutcome> {
        let train = &self.recipe.train;
        let trainable = self.params.trainable().iter().map(|p| p.count()).sum();
        observer(LanguageEvent::Ready {
            config: self.model.config(),
            parameters: self.params.count(),
            trainable,
            train_tokens: self.corpus.train.len(),
            test_tokens: self.corpus.test.len(),
            start_step: self.step,
            total_steps: train.steps,
        });
        while self.step < train.steps {
            if stop.is_requested() {
                let checkpoint = self.save(observer)?;
                return Ok(LanguageOutcome::Stopped {
                    step: self.step,
                    total_steps: train.steps,
                    checkpoint,
                });
            }
            self.take_step(observer)?;
            let step = self.step;
            let due = |every: u64| every > 0 && step < train.steps && step.is_multiple_of(every);
            if due(train.eval_every) {
                self.test(observer)?;
            }
            if due(train.checkpoint_every) {
                self.save(observer)?;
            }
        }
        let (test_loss, sample) = self.test(observer)?;
        let report = LanguageReport {
            kind: "language".to_owned(),
            steps: self.step,
            tokens: self.step * (train.batch * train.block) as u64,
            train_seconds: (self.seconds * 1e3).round() / 1e3,
            parameters: self.params.count(),
            trainable,
            test_loss,
            perplexity: test_loss.map(f64::exp),
            sample,
        };
        self.finish(&report)?;
        Ok(LanguageOutcome::Finished(report))
    }

    /// One step: blocks forward, the loss of every next token backward, the weights updated.
    fn take_step(&mut self, observer: &mut dyn FnMut(LanguageEvent<'_>)) -> Result<()> {
        let began = Instant::now();
        let (train, optim) = (&self.recipe.train, &self.recipe.optim);
        let lr = self.schedule.lr(self.step, optim.lr);
        self.optimizer.set_lr(lr)?;
        let (ids, labels) = self
            .corpus
            .batch(train.batch, train.block, &mut self.blocks)?;
        let mut pass = Pass::train(&mut self.steps);
        let scores = self.model.logits(&ids, None, &mut pass)?.flatten_to(1)?;
        let loss = cross_entropy(&scores, &labels)?;
        // A token that is in no block leaves its row of the table without a gradient of its own, but the table has one.
        self.params.backward(&loss)?;
        if optim.clip_norm > 0.0 {
            clip_grad_norm(&self.params, optim.clip_norm, Norm::Two)?;
        }
        let loss = f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        self.step += 1;
        if !loss.is_finite() {
            let (step, epoch) = (self.step, 1);
            let place = "the loss".to_owned();
            return Err(Error::Diverged {
                step,
                epoch,
                loss,
                place,
            });
        }
        self.optimizer.step()?;
        let seconds = began.elapsed().as_secs_f64();
        self.seconds += seconds;
        let tokens = train.batch * train.block;
        if train.log_every > 0 && self.step.is_multiple_of(train.log_every) {
            self.line(&json!({
                "event": "step", "step": self.step, "loss": loss, "lr": lr,
                "tokens_per_second": (tokens as f64 / seconds).round(),
            }))?;
        }
        observer(LanguageEvent::Step {
            step: self.step,
            loss,
            lr,
            tokens,
        });
        Ok(())
    }

    /// How well the model foresees the held-out text, and what it writes.
    fn test(
        &mut self,
        observer: &mut dyn FnMut(LanguageEvent<'_>),
    ) -> Result<(Option<f64>, String)> {
        let train = &self.recipe.train;
        let starts = self.corpus.test_starts(train.eval_blocks, train.block);
        let mut sum = 0.0;
        for part in starts.chunks(train.batch) {
            let (ids, labels) = cut(&self.corpus.test, part, train.block)?;
            let scores = self.model.logits(&ids, None, &mut Pass::eval())?;
            let loss = cross_entropy(&scores.flatten_to(1)?, &labels)?;
            sum += f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?) * part.len() as f64;
        }
        let loss = (!starts.is_empty()).then(|| sum / starts.len() as f64);
        let sample = self.sample()?;
        self.line(&json!({
            "event": "test", "step": self.step, "test_loss": loss,
            "perplexity": loss.map(f64::exp), "sample": sample,
        }))?;
        observer(LanguageEvent::Test {
            step: self.step,
            loss: loss.unwrap_or(f64::NAN),
            sample: &sample,
        });
        Ok((loss, sample))
    }

    /// A text that the model goes on with from the first token of the held-out one; the same draws at every test.
    fn sample(&self) -> Result<String> {
        let tokens = self.recipe.train.sample_tokens;
        let first = self.corpus.test.first().or(self.corpus.train.first());
        let Some(first) = first.filter(|_| tokens > 0) else {
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
        self.corpus
            .tokenizer
            .decode(generator.text())
            .map_err(Error::text)
    }

    fn line(&mut self, line: &Value) -> Result<()> {
        let written = self.metrics.write_all(format!("{line}\n").as_bytes());
        written.map_err(Error::file(self.run.paths().metrics()))
    }

    fn save(&self, observer: &mut dyn FnMut(LanguageEvent<'_>)) -> Result<PathBuf> {
        let synced = self.metrics.sync_data();
        synced.map_err(Error::file(self.run.paths().metrics()))?;
        let random = [(BLOCKS, &self.blocks), (STEPS, &self.steps)];
        let state = TrainingState {
            step: self.step,
            random: random
                .map(|(name, rng)| (name.to_owned(), rng.state()))
                .into(),
            schedule: [("lr".to_owned(), self.optimizer.lr())].into(),
            metrics: [("train_seconds".to_owned(), self.seconds)].into(),
            instruction_set: isa::current().name().to_owned(),
            recipe_hash: hash(&self.recipe.to_toml()),
            ..TrainingState::default()
        };
        let checkpoints = self.run.paths().checkpoints();
        let path = checkpoints.save(&Checkpoint {
            state,
            model: self.params.named_tensors(),
            metadata: cortical_io::model_metadata(&Default::default()),
            optimizer: self.optimizer.state()?,
            average: Vec::new(),
        })?;
        checkpoints.prune(self.recipe.train.keep.max(1))?;
        observer(LanguageEvent::Checkpoint { step: self.step });
        Ok(path)
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let (state, step) = (&checkpoint.state, checkpoint.state.step);
        if state.recipe_hash != hash(&self.recipe.to_toml()) {
            let path = self.run.paths().recipe();
            return Err(Error::RecipeChanged { path, step });
        }
        let stream = |name: &str| {
            let state = state.random.get(name).copied();
            let what = "random state";
            state
                .map(Rng::from_state)
                .ok_or(Error::CheckpointLacks { step, what })
        };
        (self.blocks, self.steps) = (stream(BLOCKS)?, stream(STEPS)?);
        self.seconds = state.metrics.get("train_seconds").copied().unwrap_or(0.0);
        checkpoint.restore_model(&self.params)?;
        self.optimizer.load_state(&checkpoint.optimizer)?;
        Ok(())
    }

    /// Writes the model or its changes and, last, the report.
    fn finish(&self, report: &LanguageReport) -> Result<()> {
        let paths = self.run.paths();
        let synced = self.metrics.sync_data();
        synced.map_err(Error::file(paths.metrics()))?;
        match &self.recipe.lora {
            Some(_) => save_adapter(
                paths.root(),
                &self.params,
                self.model.config(),
                &self.recipe.model,
            )?,
            None => cortical_io::save(paths.model(), &self.params)?,
        }
        let path = paths.report();
        let text = serde_json::to_string_pretty(report).map_err(|why| Error::BadReport {
            path: path.clone(),
            why,
        })?;
        cortical_io::write_atomic(&path, |file| file.write_all(format!("{text}\n").as_bytes()))?;
        Ok(())
    }
}

/// FNV-1a over the recipe's text, so that a run is not continued with another one.
fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The metrics' file, open at its end, without lines about later steps than `step`.
fn metrics(path: &Path, step: u64) -> Result<File> {
    if let Ok(file) = File::open(path) {
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let early = |line: &String| {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            value["step"].as_u64().is_some_and(|of| of <= step)
        };
        let kept: String = lines.filter(early).map(|line| line + "\n").collect();
        cortical_io::write_atomic(path, |file| file.write_all(kept.as_bytes()))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Asks to stop after some steps.
    struct After(AtomicU64);

    impl Stop for After {
        fn is_requested(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 0
        }
    }

    fn recipe(folder: &Path) -> LanguageRecipe {
        let text = folder.join("text.txt");
        std::fs::write(
            &text,
            "the sea, the open sea, and the white whale in it. ".repeat(40),
        )
        .unwrap();
        let mut recipe = LanguageRecipe::new("llama-tiny");
        recipe.data.text = text.display().to_string();
        (recipe.train.steps, recipe.train.batch, recipe.train.block) = (6, 2, 16);
        (recipe.train.eval_every, recipe.train.sample_tokens) = (3, 5);
        recipe.train.checkpoint_every = 4;
        recipe.optim.warmup = 2;
        recipe
    }

    #[test]
    fn a_run_that_was_stopped_ends_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path());
        let whole = LanguageRun::create(&folder.path().join("whole"), &recipe).unwrap();
        let mut losses = Vec::new();
        let outcome = train_language(&whole, &(), &mut |event| {
            if let LanguageEvent::Step { loss, .. } = event {
                losses.push(loss);
            }
        });
        let LanguageOutcome::Finished(report) = outcome.unwrap() else {
            panic!("nobody asked it to stop");
        };
        assert!(
            losses[5] < losses[0] && report.test_loss.unwrap() < 6.0,
            "{losses:?}"
        );
        let root = folder.path().join("parts");
        let parts = LanguageRun::create(&root, &recipe).unwrap();
        for stop in [2, 3] {
            let outcome =
                train_language(&parts, &After(AtomicU64::new(stop)), &mut |_| ()).unwrap();
            assert!(matches!(outcome, LanguageOutcome::Stopped { .. }));
        }
        train_language(&parts, &(), &mut |_| ()).unwrap();
        let bytes = |run: &LanguageRun| std::fs::read(run.paths().model()).unwrap();
        assert!(bytes(&whole) == bytes(&parts), "the same model");
        drop(parts);
        let again = LanguageRun::open(&root).unwrap().unwrap();
        let again = train_language(&again, &(), &mut |_| ()).unwrap();
        assert!(matches!(again, LanguageOutcome::AlreadyFinished(_)));
        // The folder is a model like any other.
        let loaded = language::open(&root, &LoadOptions::default()).unwrap();
        assert_eq!(Some(report.parameters), loaded.model.config().parameters());
        assert_eq!(Tokenizer::open(&root).unwrap().vocab_size(), 256);
    }

    #[test]
    fn low_rank_changes_are_trained_alone_and_saved_for_peft() {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = recipe(folder.path());
        recipe.lora = Some(Default::default());
        let run = LanguageRun::create(&folder.path().join("lora"), &recipe).unwrap();
        let mut share = (0, 0);
        let outcome = train_language(&run, &(), &mut |event| {
            if let LanguageEvent::Ready {
                parameters,
                trainable,
                ..
            } = event
            {
                share = (trainable, parameters);
            }
        });
        assert!(matches!(outcome.unwrap(), LanguageOutcome::Finished(_)));
        assert!(share.0 > 0 && share.0 * 10 < share.1, "{share:?}");
        let adapter = language::read_adapter_config(run.paths().root()).unwrap();
        assert_eq!(adapter.rank, 8);
    }
}
