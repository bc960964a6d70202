//! The training loop.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::Device;
use cortical_data::{Loader, Position, Splits};
use cortical_io::{Checkpoint, Metadata, TrainingState};
use cortical_kernels::isa;
use cortical_models::{Network, Plan};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Layer, Params, Pass};
use cortical_optim::{
    AdamW, AdamWConfig, Norm, Optimizer, Schedule, Sgd, SgdConfig, clip_grad_norm,
};
use cortical_tensor::{Rng, Seed};

use crate::evaluate::{Evaluation, evaluate, predicted, rounded};
use crate::folder::RunFolder;
use crate::metrics::MetricsLog;
use crate::model_file;
use crate::observe::{EpochMetrics, Event, Observer, Setup, StepMetrics, Stop, Warning};
use crate::recipe::{DeviceRecipe, OptimRecipe, Recipe};
use crate::report::Report;
use crate::{Error, Result};

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The last epoch is complete, and the model is written.
    Finished(Report),
    /// It had been finished before; nothing was done.
    AlreadyFinished(Report),
    /// It was asked to stop, and everything that is needed to continue is saved.
    Stopped {
        /// Steps taken so far.
        step: u64,
        /// Steps of the whole run.
        total_steps: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Trains the run in `folder` to its end, from its newest checkpoint if it has one.
///
/// The way through a run, step by step, is a function of the recipe alone: a run that was stopped or killed and continued writes
/// the same `model.safetensors`, byte by byte, as one that was not.
///
/// # Errors
/// Data that cannot be opened, a network that does not fit it, a loss that is no number, files that cannot be written.
/// A new run that cannot begin leaves no folder behind.
pub fn train(
    folder: RunFolder,
    recipe: &Recipe,
    stop: &dyn Stop,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    if let Some(report) = folder.paths().read_report()? {
        return Ok(Outcome::AlreadyFinished(report));
    }
    match Session::new(&folder, recipe, observer) {
        Ok(session) => session.run(stop, observer),
        Err(error) => {
            folder.discard_if_new();
            Err(error)
        }
    }
}

/// Sums over the epoch so far, which a checkpoint keeps so that an epoch's line is the same after resuming.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    loss: f64,
    right: f64,
    samples: f64,
    /// Seconds spent on steps since the run began.
    train_seconds: f64,
}

/// A training between two steps.
struct Session<'a> {
    folder: &'a RunFolder,
    recipe: &'a Recipe,
    splits: Splits,
    loader: Loader,
    plan: Plan,
    params: Params,
    network: Network,
    optimizer: Box<dyn Optimizer>,
    schedule: Schedule,
    /// Draws what is random inside steps.
    rng: Rng,
    metadata: Metadata,
    metrics: MetricsLog,
    /// Steps taken so far.
    step: u64,
    total_steps: u64,
    sums: Sums,
    /// What the test after the last epoch found.
    tested: Option<Evaluation>,
}

/// The name of the random stream inside steps.
const STREAM: &str = "train";

impl<'a> Session<'a> {
    /// Opens the data, builds the network, and goes to where the newest checkpoint was written.
    fn new(folder: &'a RunFolder, recipe: &'a Recipe, observer: &mut dyn Observer) -> Result<Self> {
        let DeviceRecipe::Cpu = recipe.device;
        let device = Device::Cpu;
        let splits = recipe.data.open()?;
        let classes = splits.train.classes();
        let layers = recipe.model.layers();
        let plan = Plan::new(&layers, splits.train.input_shape(), classes.len())?;
        let params = Params::new(&device, Seed(recipe.seed));
        let network = Network::build(&plan, &params)?;
        let loader = Loader::config(recipe.train.batch_size)
            .shuffle(Seed(recipe.seed))
            .device(&device)
            .build(&splits.train)?;
        let (epochs, batches) = (recipe.train.epochs, loader.batches_per_epoch());
        let total_steps = epochs
            .checked_mul(batches)
            .ok_or(Error::TooManySteps { epochs, batches })?;
        let schedule = recipe.schedule.over(total_steps, recipe.optim.lr())?;
        schedule.validate()?;
        let preprocess = splits.train.preprocess();
        let metadata = model_file::metadata(recipe.model.kind(), &plan, preprocess, classes);

        let latest = folder.paths().checkpoints().latest_valid(&device)?;
        for skipped in &latest.skipped {
            let why = skipped.to_string();
            observer.event(Event::Warning(&Warning::CheckpointSkipped { why }));
        }
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let mut session = Self {
            metrics: MetricsLog::open(&folder.paths().metrics(), step)?,
            optimizer: optimizer(&recipe.optim, &params)?,
            rng: params.rng(STREAM),
            sums: Sums::default(),
            tested: None,
            folder,
            recipe,
            splits,
            loader,
            plan,
            params,
            network,
            schedule,
            metadata,
            step,
            total_steps,
        };
        if let Some(checkpoint) = latest.checkpoint {
            session.restore(&checkpoint, observer)?;
        }
        Ok(session)
    }

    /// The loop: every step of a training happens here.
    fn run(mut self, stop: &dyn Stop, observer: &mut dyn Observer) -> Result<Outcome> {
        observer.event(Event::Ready(self.setup()));
        let every = self.recipe.checkpoint.every_steps;
        let mut since_log = (Instant::now(), 0);
        while self.step < self.total_steps {
            if stop.is_requested() {
                return self.stop(observer);
            }
            let metrics = self.step()?;
            observer.event(Event::Step(&metrics));

            since_log.1 += metrics.samples;
            if is_due(self.step, self.recipe.log.every_steps) {
                let seconds = since_log.0.elapsed().as_secs_f64();
                self.metrics.step(&metrics, since_log.1 as f64 / seconds)?;
                since_log = (Instant::now(), 0);
            }
            if self.loader.position().batch == 0 {
                let metrics = self.end_epoch()?;
                observer.event(Event::Epoch(&metrics));
                since_log = (Instant::now(), 0);
            }
            // At the very end the model itself takes the place of a checkpoint.
            if is_due(self.step, every) && self.step < self.total_steps {
                self.save_checkpoint(observer)?;
            }
        }
        self.finish().map(Outcome::Finished)
    }

    /// One step: a batch forward, its loss backward, the weights updated.
    fn step(&mut self) -> Result<StepMetrics> {
        let started = Instant::now();
        let batch = self.loader.next_batch()?;
        let lr = self.schedule.lr(self.step, self.recipe.optim.lr());
        self.optimizer.set_lr(lr)?;

        let logits = self
            .network
            .forward(&batch.inputs, &mut Pass::train(&mut self.rng))?;
        let loss = cross_entropy(&logits, &batch.labels)?;
        self.params.backward(&loss)?;
        if let Some(max_norm) = self.recipe.optim.clip_norm() {
            clip_grad_norm(&self.params, max_norm, Norm::Two)?;
        }
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let epoch = batch.position.epoch + 1;
        if !loss.is_finite() {
            let step = self.step + 1;
            return Err(Error::Diverged { step, epoch, loss });
        }
        self.optimizer.step()?;

        let labels = batch.labels.to_vec1::<u32>()?;
        let classes = predicted(&logits.detach())?;
        let right = labels
            .iter()
            .zip(classes)
            .filter(|(label, class)| **label as usize == *class);
        let (right, samples) = (right.count() as f64, batch.len());
        self.step += 1;
        self.sums.loss += loss * samples as f64;
        self.sums.right += right;
        self.sums.samples += samples as f64;
        self.sums.train_seconds += started.elapsed().as_secs_f64();
        Ok(StepMetrics {
            step: self.step,
            epoch,
            loss,
            accuracy: right / samples as f64,
            lr,
            samples,
        })
    }

    /// Tests the network after an epoch and writes the epoch's line.
    fn end_epoch(&mut self) -> Result<EpochMetrics> {
        let test = self.evaluate()?;
        let metrics = EpochMetrics {
            step: self.step,
            epoch: self.loader.position().epoch,
            train_loss: self.sums.loss / self.sums.samples,
            train_accuracy: self.sums.right / self.sums.samples,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            train_seconds: self.sums.train_seconds,
        };
        self.tested = Some(test);
        self.metrics.epoch(&metrics)?;
        self.sums = Sums {
            train_seconds: self.sums.train_seconds,
            ..Sums::default()
        };
        Ok(metrics)
    }

    fn evaluate(&self) -> Result<Evaluation> {
        let batch_size = self.recipe.train.eval_batch_size;
        evaluate(
            &self.network,
            &self.splits.test,
            batch_size,
            self.params.device(),
        )
    }

    /// Writes the model and, last, the report that says that the run is finished.
    fn finish(mut self) -> Result<Report> {
        let test = match self.tested.take() {
            Some(test) => test,
            None => self.evaluate()?,
        };
        let paths = self.folder.paths();
        cortical_io::save_with(paths.model(), &self.params, &self.metadata)?;
        self.metrics.sync()?;
        let report = Report {
            steps: self.step,
            epochs: self.recipe.train.epochs,
            train_seconds: rounded(self.sums.train_seconds),
            parameters: self.params.count(),
            test,
        };
        let path = paths.report();
        let mut json = serde_json::to_vec_pretty(&report).map_err(|why| Error::BadReport {
            path: path.clone(),
            why,
        })?;
        json.push(b'\n');
        cortical_io::write_atomic(&path, |file| file.write_all(&json))?;
        Ok(report)
    }

    /// Saves everything, because somebody asked to stop.
    fn stop(self, observer: &mut dyn Observer) -> Result<Outcome> {
        let checkpoint = self.save_checkpoint(observer)?;
        Ok(Outcome::Stopped {
            step: self.step,
            total_steps: self.total_steps,
            checkpoint,
        })
    }

    fn setup(&self) -> Setup<'_> {
        Setup {
            run: self.folder.paths().root(),
            recipe: self.recipe,
            plan: &self.plan,
            train_samples: self.splits.train.len(),
            test_samples: self.splits.test.len(),
            start_step: self.step,
            total_steps: self.total_steps,
        }
    }

    /// Writes a checkpoint of this moment.
    fn save_checkpoint(&self, observer: &mut dyn Observer) -> Result<PathBuf> {
        // The lines about the steps so far must be there when the checkpoint says that they are.
        self.metrics.sync()?;
        let position = self.loader.position();
        let sums = [
            ("loss", self.sums.loss),
            ("right", self.sums.right),
            ("samples", self.sums.samples),
            ("train_seconds", self.sums.train_seconds),
        ];
        let state = TrainingState {
            step: self.step,
            epoch: position.epoch,
            position: position.batch,
            random: [(STREAM.to_owned(), self.rng.state())].into(),
            // The learning rate is a function of the step.
            schedule: [("lr".to_owned(), self.optimizer.lr())].into(),
            metrics: sums.map(|(name, sum)| (name.to_owned(), sum)).into(),
            instruction_set: isa::current().name().to_owned(),
            recipe_hash: self.recipe.hash(),
            ..TrainingState::default()
        };
        let checkpoints = self.folder.paths().checkpoints();
        let path = checkpoints.save(&Checkpoint {
            state,
            model: self.params.named_tensors(),
            metadata: cortical_io::model_metadata(&self.metadata),
            optimizer: self.optimizer.state()?,
        })?;
        checkpoints.prune(self.recipe.checkpoint.keep)?;
        observer.event(Event::Checkpoint {
            step: self.step,
            path: &path,
        });
        Ok(path)
    }

    /// Goes to the moment at which a checkpoint was written.
    fn restore(&mut self, checkpoint: &Checkpoint, observer: &mut dyn Observer) -> Result<()> {
        let state = &checkpoint.state;
        let step = state.step;
        if state.recipe_hash != self.recipe.hash() {
            let path = self.folder.paths().recipe();
            return Err(Error::RecipeChanged { path, step });
        }
        let current = isa::current().name();
        if state.instruction_set != current {
            observer.event(Event::Warning(&Warning::InstructionSet {
                written: state.instruction_set.clone(),
                current: current.to_owned(),
            }));
        }
        let random = state.random.get(STREAM);
        let what = "random state";
        self.rng = Rng::from_state(*random.ok_or(Error::CheckpointLacks { step, what })?);
        let sum = |name: &str, what| {
            let sum = state.metrics.get(name).copied();
            sum.ok_or(Error::CheckpointLacks { step, what })
        };
        self.sums = Sums {
            loss: sum("loss", "sum of losses")?,
            right: sum("right", "count of right answers")?,
            samples: sum("samples", "count of samples")?,
            train_seconds: sum("train_seconds", "time of training")?,
        };
        self.loader.seek(Position {
            epoch: state.epoch,
            batch: state.position,
        })?;
        checkpoint.restore_model(&self.params)?;
        self.optimizer.load_state(&checkpoint.optimizer)?;
        Ok(())
    }
}

/// Whether something that happens every so many steps happens at this one.
fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// The optimizer that a recipe asks for.
fn optimizer(recipe: &OptimRecipe, params: &Params) -> Result<Box<dyn Optimizer>> {
    Ok(match *recipe {
        OptimRecipe::AdamW {
            lr,
            betas,
            eps,
            weight_decay,
            ..
        } => {
            let config = AdamWConfig {
                lr,
                betas: betas.into(),
                eps,
                weight_decay,
                ..AdamWConfig::default()
            };
            Box::new(AdamW::new(params, config)?)
        }
        OptimRecipe::Sgd {
            lr,
            momentum,
            nesterov,
            weight_decay,
            ..
        } => {
            let config = SgdConfig {
                lr,
                momentum,
                nesterov,
                weight_decay,
                ..SgdConfig::default()
            };
            Box::new(Sgd::new(params, config)?)
        }
    })
}
