//! The training loop.

mod keep;
mod open;
mod tests_of;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use candle_core::Tensor;
use cortical_data::{Batch, Position, Prefetch, Splits};
use cortical_io::Metadata;
use cortical_models::{Network, Plan};
use cortical_neuron::{Layer, Params, Pass};
use cortical_optim::{ModelEma, Optimizer, Plateau, Schedule, clip_grad_value};
use cortical_tensor::ops::{CrossEntropy, cross_entropy};
use cortical_tensor::{Rng, awake};

use crate::best::{Best, over_budget};
use crate::evaluate::{Evaluation, predicted};
use crate::folder::RunFolder;
use crate::guard::{self, Broken};
use crate::metrics::MetricsLog;
use crate::mix::Mix;
use crate::observe::{Event, Observer, Setup, StepMetrics, Stop};
use crate::recipe::{OnNan, Recipe};
use crate::report::Report;
use crate::{Error, Result};

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The last step is done, and the model is written.
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
/// the same `model.safetensors`, byte by byte, as one that was not. (With a time budget it depends on the clock where the run ends.)
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
    loader: Prefetch,
    plan: Plan,
    params: Params,
    network: Network,
    optimizer: Box<dyn Optimizer>,
    schedule: Schedule,
    plateau: Option<Plateau>,
    average: Option<ModelEma>,
    /// Draws what is random inside steps.
    rng: Rng,
    metadata: Metadata,
    metrics: MetricsLog,
    /// Steps taken so far.
    step: u64,
    total_steps: u64,
    sums: Sums,
    best: Best,
    /// The figures of the models in `best/`, by step.
    kept: BTreeMap<u64, f64>,
    /// Where the batches stand that are left out because of what they led to.
    left_out: BTreeSet<Position>,
    /// Steps in a row that were left out.
    skips: u64,
    /// Where the batches of the steps stand that were taken since the newest checkpoint.
    taken: Vec<Position>,
    /// Inputs of the newest of them.
    inputs: Option<Tensor>,
    /// How often the training went back to that checkpoint.
    roll_backs: u32,
    /// What the test after the newest step found, if there was one.
    tested: Option<(u64, Evaluation)>,
}

/// After so many steps in a row without a number the weights are taken to be spoilt, though all of them are numbers.
const USELESS: u64 = 3;

/// The name of the random stream inside steps.
const STREAM: &str = "train";

impl<'a> Session<'a> {
    /// The loop: every step of a training happens here.
    fn run(mut self, stop: &dyn Stop, observer: &mut dyn Observer) -> Result<Outcome> {
        observer.event(Event::Ready(self.setup()));
        let (train, every) = (&self.recipe.train, self.recipe.checkpoint.every_steps);
        let mut since_log = (Instant::now(), 0);
        while self.step < self.total_steps {
            if stop.is_requested() && (self.skips == 0 || self.recipe.guard.max_skips == 0) {
                return self.stop(observer);
            }
            if let Some(metrics) = self.step(observer)? {
                observer.event(Event::Step(&metrics));
                since_log.1 += metrics.samples;
                if is_due(self.step, self.recipe.log.every_steps) {
                    let seconds = since_log.0.elapsed().as_secs_f64();
                    self.metrics.step(&metrics, since_log.1 as f64 / seconds)?;
                    since_log = (Instant::now(), 0);
                }
            }
            let mut end = over_budget(train.time_budget_s, self.sums.train_seconds, self.step);
            if self.loader.position().batch == 0 {
                let metrics = self.end_epoch(observer)?;
                observer.event(Event::Epoch(&metrics));
                end = end.or(self.best.end(train.patience, self.step));
                since_log = (Instant::now(), 0);
            } else if is_due(self.step, train.validate_every) {
                self.test(observer)?;
                end = end.or(self.best.end(train.patience, self.step));
                since_log = (Instant::now(), 0);
            }
            let is_last = end.is_some() || self.step >= self.total_steps;
            if is_last
                && self.recipe.guard.on_nan == OnNan::Skip
                && let Some(place) = self.broken()?
            {
                self.roll_back(place, observer)?;
                continue;
            }
            if let Some(end) = end {
                if self.step < self.total_steps {
                    observer.event(Event::EarlyEnd(end));
                }
                break;
            }
            // At the very end the model itself takes the place of a checkpoint.
            // While steps lead to no number, the newest of those before may have to go.
            if is_due(self.step, every) && self.step < self.total_steps && self.skips == 0 {
                self.commit(observer)?;
            }
        }
        self.finish().map(Outcome::Finished)
    }

    /// One step: some batches forward, their losses backward, the weights updated. `None` if it was left out.
    fn step(&mut self, observer: &mut dyn Observer) -> Result<Option<StepMetrics>> {
        let started = Instant::now();
        let batches = self.next_batches()?;
        let first = batches[0].position;
        if self.left_out.contains(&first) {
            self.step += 1;
            return Ok(None);
        }
        let lr = self.schedule.lr(self.step, self.base_lr());
        self.optimizer.set_lr(lr)?;
        if let Some(momentum) = self.schedule.momentum(self.step) {
            self.optimizer.set_momentum(momentum)?;
        }
        let (rng, buffers) = (self.rng.clone(), guard::buffers(&self.params));
        let mut done = match awake(|| self.accumulate(&batches)) {
            Ok(done) => done,
            Err(Broken::Error(error)) => return Err(*error),
            Err(Broken::Loss(loss)) => {
                let place = guard::place(&self.params, &self.network, &rng, &batches[0].inputs)?;
                guard::restore(buffers)?;
                self.params.zero_grad();
                return self.leave_out(first, loss, place, observer);
            }
        };
        let limit = self.recipe.optim.clip_norm.unwrap_or(f64::INFINITY);
        let norm = self.recipe.optim.norm();
        match awake(|| self.optimizer.step_clipped(limit, norm)) {
            Ok(norm) => done.grad_norm = norm,
            Err(cortical_optim::Error::NotFinite { name, norm }) => {
                guard::restore(buffers)?;
                self.params.zero_grad();
                return self.leave_out(first, norm, format!("the gradient of {name}"), observer);
            }
            Err(error) => return Err(error.into()),
        }
        self.step += 1;
        self.skips = 0;
        self.taken.push(first);
        self.inputs = Some(batches[0].inputs.clone());
        if let Some(average) = &mut self.average
            && self.step > self.recipe.average.from_step
        {
            average.update()?;
        }
        let samples = done.samples as f64;
        self.sums.loss += done.loss * samples;
        self.sums.right += done.right;
        self.sums.samples += samples;
        self.sums.train_seconds += started.elapsed().as_secs_f64();
        Ok(Some(StepMetrics {
            step: self.step,
            epoch: first.epoch + 1,
            loss: done.loss,
            accuracy: done.right / samples,
            lr,
            samples: done.samples,
            grad_norm: done.grad_norm,
        }))
    }

    /// The batches of the next step: as many as are accumulated, or as the epoch still has.
    fn next_batches(&mut self) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for _ in 0..self.recipe.train.accumulate {
            batches.push(self.loader.next_batch()?);
            if self.loader.position().batch == 0 {
                break;
            }
        }
        Ok(batches)
    }

    /// Forward and backward for each batch; each counts by its share of the samples, so that the gradients are those of one large batch.
    fn accumulate(&mut self, batches: &[Batch]) -> Result<Accumulated, Broken> {
        let samples: usize = batches.iter().map(Batch::len).sum();
        let mut done = Accumulated {
            samples,
            ..Accumulated::default()
        };
        for batch in batches {
            let labels = batch.labels.to_vec1::<u32>().map_err(Error::from)?;
            let (inputs, targets) = self.mixed(batch, &labels)?;
            let mut pass = Pass::train(&mut self.rng);
            let logits = self
                .network
                .forward(&inputs, &mut pass)
                .map_err(Error::from)?;
            let mut loss = self.loss(&logits, &targets)?;
            let value = f64::from(loss.to_scalar::<f32>().map_err(Error::from)?);
            if !value.is_finite() {
                return Err(Broken::Loss(value));
            }
            let share = batch.len() as f64 / samples as f64;
            if batches.len() > 1 {
                loss = loss.affine(share, 0.0).map_err(Error::from)?;
            }
            self.params.backward(&loss).map_err(Error::from)?;
            done.loss += value * share;
            let classes = predicted(&logits.detach())?;
            let right = labels.iter().zip(classes);
            done.right += right.filter(|(y, class)| **y as usize == *class).count() as f64;
        }
        if let Some(limit) = self.recipe.optim.clip_value {
            clip_grad_value(&self.params, limit).map_err(Error::from)?;
        }
        Ok(done)
    }

    /// A batch as the network is to see it, with its labels or, mixed with others, their shares.
    fn mixed(&mut self, batch: &Batch, labels: &[u32]) -> Result<(Tensor, Tensor)> {
        let mix = Mix {
            mixup: self.recipe.train.mixup,
            cutmix: self.recipe.train.cutmix,
        };
        if mix.is_none() {
            return Ok((batch.inputs.clone(), batch.labels.clone()));
        }
        mix.apply(&mut self.rng, &batch.inputs, labels, self.plan.classes())
    }

    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let options = CrossEntropy {
            label_smoothing: self.recipe.train.label_smoothing,
            ..CrossEntropy::default()
        };
        Ok(cross_entropy(logits, targets, &options).map_err(cortical_neuron::Error::from)?)
    }

    /// The learning rate that the schedule starts from: the recipe's, or what a plateau has left of it.
    fn base_lr(&self) -> f64 {
        match &self.plateau {
            Some(plateau) => plateau.lr(),
            None => self.recipe.optim.lr(),
        }
    }

    /// A step that led to no number: the run ends, or the weights stay as they are and its batches are left out.
    fn leave_out(
        &mut self,
        at: Position,
        loss: f64,
        place: String,
        observer: &mut dyn Observer,
    ) -> Result<Option<StepMetrics>> {
        let (step, epoch) = (self.step + 1, at.epoch + 1);
        let limit = self.recipe.guard.max_skips;
        let too_many = limit > 0 && self.skips >= limit;
        if self.recipe.guard.on_nan == OnNan::Stop || too_many {
            return Err(Error::Diverged {
                step,
                epoch,
                loss,
                place,
            });
        }
        self.skips += 1;
        let is_useless = self.skips >= USELESS && !self.taken.is_empty() && place != guard::INPUTS;
        if is_useless || guard::broken_weight(&self.params)?.is_some() {
            // The step before has spoilt the weights already: it goes as well, and everything since the last checkpoint is done again.
            self.roll_back(place, observer)?;
        } else {
            self.left_out.insert(at);
            let warning = crate::Warning::StepLeftOut { step, place };
            observer.event(Event::Warning(&warning));
            self.step += 1;
        }
        Ok(None)
    }

    /// Saves everything, because somebody asked to stop.
    fn stop(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let checkpoint = self.commit(observer)?;
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
}

/// What the batches of one step came to.
#[derive(Clone, Copy, Debug, Default)]
struct Accumulated {
    samples: usize,
    loss: f64,
    right: f64,
    grad_norm: f64,
}

/// Whether something that happens every so many steps happens at this one.
fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
