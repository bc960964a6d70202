//! The training loop: one for every task.

mod keep;
mod open;
mod step;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use cortical_data::Position;
use cortical_neuron::Params;
use cortical_optim::{ModelEma, Optimizer, Plateau, Schedule};
use cortical_tensor::Rng;

use crate::Result;
use crate::best::{Best, over_budget};
use crate::folder::RunFolder;
use crate::measured::Measured;
use crate::metrics::MetricsLog;
use crate::observe::{Event, Observer, Stop};
use crate::pruner::Pruner;
use crate::recipe::{OnNan, Recipe, TaskKind};
use crate::report::Report;
use crate::sources::Sources;
use crate::task::{Classification, NextToken, Task, TextClasses};

/// Lines about steps that even a short run has, if it has so many steps.
const SHORT_RUN: u64 = 50;

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
/// The way through a run, step by step, is a function of the recipe alone: a run that was stopped or killed and
/// continued writes the same `model.safetensors`, byte by byte, as one that was not. (With a time budget it depends on
/// the clock where the run ends.)
///
/// # Errors
/// Data that cannot be opened, a model that does not fit it, a loss that is non-finite, files that cannot be written.
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
    match recipe.kind() {
        TaskKind::Classification => run::<Classification<'_>>(folder, recipe, stop, observer),
        TaskKind::NextToken => run::<NextToken<'_>>(folder, recipe, stop, observer),
        TaskKind::TextClassification => run::<TextClasses<'_>>(folder, recipe, stop, observer),
    }
}

fn run<'r, T: Task<'r>>(
    folder: RunFolder,
    recipe: &'r Recipe,
    stop: &dyn Stop,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    match Trainer::<T>::open(&folder, recipe, observer) {
        Ok(trainer) => trainer.run(stop, observer),
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
    /// Of samples that were classified rightly, where classes are learned.
    right: f64,
    samples: f64,
    /// Seconds spent on steps since the run began.
    train_seconds: f64,
    /// Samples or tokens that were learned from since the run began.
    seen: u64,
}

/// A training between two steps.
struct Trainer<'f, 'r, T: Task<'r>> {
    folder: &'f RunFolder,
    recipe: &'r Recipe,
    /// What the files hold that it learns from.
    sources: Sources,
    task: T,
    params: Params,
    optimizer: Box<dyn Optimizer>,
    schedule: Schedule,
    plateau: Option<Plateau>,
    average: Option<ModelEma>,
    pruner: Option<Pruner>,
    /// Draws what is random inside steps.
    rng: Rng,
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
    /// The first batch of the newest of them.
    newest: Option<T::Batch>,
    /// How often the training went back to that checkpoint.
    roll_backs: u32,
    /// What the validation after the newest step found, if there was one.
    validated: Option<(u64, Option<Measured>)>,
}

impl<'r, T: Task<'r>> Trainer<'_, 'r, T> {
    /// The loop: every step of a training happens here.
    fn run(mut self, stop: &dyn Stop, observer: &mut dyn Observer) -> Result<Outcome> {
        observer.event(Event::Ready(self.setup()?));
        let (train, every) = (&self.recipe.train, self.recipe.checkpoint.every_steps);
        let log_every = log_every(self.recipe.log.every_steps, self.total_steps);
        let mut since_log = (Instant::now(), 0);
        while self.step < self.total_steps {
            if stop.is_requested() && (self.skips == 0 || self.recipe.guard.max_skips == 0) {
                return self.stop(observer);
            }
            self.prune()?;
            if let Some(metrics) = self.take_step(observer)? {
                observer.event(Event::Step(&metrics));
                since_log.1 += metrics.units;
                if is_due(self.step, log_every) {
                    let seconds = since_log.0.elapsed().as_secs_f64();
                    self.metrics.step(&metrics, since_log.1 as f64 / seconds)?;
                    since_log = (Instant::now(), 0);
                }
            }
            let mut end = over_budget(train.time_budget_s, self.sums.train_seconds, self.step);
            if self.task.position().batch == 0 || is_due(self.step, train.validate_every) {
                self.end_phase(observer)?;
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
            // While steps lead to something non-finite, the newest of those before may have to go.
            if is_due(self.step, every) && self.step < self.total_steps && self.skips == 0 {
                self.commit(observer)?;
            }
        }
        if self.total_steps == 0 {
            self.prune()?;
        }
        self.finish().map(Outcome::Finished)
    }

    /// Prunes what is to be pruned before the next step.
    fn prune(&mut self) -> Result<()> {
        let step = self.step;
        self.pruner
            .as_mut()
            .map_or(Ok(()), |pruner| pruner.before_step(step))
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
}

/// Steps between two lines about steps: those of the recipe or, in a run that is short, fewer, so that there is a curve
/// to look at.
fn log_every(every: u64, total_steps: u64) -> u64 {
    match every {
        0 => 0,
        _ => every.min((total_steps / SHORT_RUN).max(1)),
    }
}

/// Whether something that happens every so many steps happens at this one.
fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
