//! The loop of a language model's training.

#[cfg(test)]
mod classes_tests;
mod keep;
mod open;
#[cfg(test)]
mod tests;
mod tests_of;

use std::time::Instant;

use candle_core::{DType, Tensor};
use cortical_neuron::{Params, Pass};
use cortical_optim::{ModelEma, Optimizer, Schedule, clip_grad_value};
use cortical_tensor::{Rng, awake};
use serde_json::json;

use super::observe::{LanguageEvent, LanguageOutcome};
use super::task::{Task, Tested};
use crate::best::{Best, over_budget};
use crate::folder::RunFolder;
use crate::guard;
use crate::metrics::MetricsLog;
use crate::observe::{Stop, Warning};
use crate::recipe::{LanguageRecipe, OnNan};
use crate::{Error, Result};

/// The random streams: what batches are made of, and what is random inside steps.
const BATCHES: &str = "blocks";
const STEPS: &str = "train";

/// Somebody who watches.
type Observer<'o> = &'o mut dyn FnMut(LanguageEvent<'_>);

/// Trains the run to its end, from its newest checkpoint if it has one: a run that was stopped and continued writes the same model, byte for
/// byte, as one that was not. A new run that cannot begin leaves no folder behind.
///
/// # Errors
/// A text that cannot be read or is too short, a model that cannot be opened, a loss that is no number, files that cannot be written.
pub fn train_language(
    folder: RunFolder,
    recipe: &LanguageRecipe,
    stop: &dyn Stop,
    observer: Observer<'_>,
) -> Result<LanguageOutcome> {
    if let Some(report) = folder.paths().read_language_report()? {
        return Ok(LanguageOutcome::AlreadyFinished(report));
    }
    let error = match Session::new(&folder, recipe, observer) {
        Ok(session) => return session.run(stop, observer),
        Err(error) => error,
    };
    folder.discard_if_new();
    Err(error)
}

/// A training between two steps.
struct Session<'a> {
    folder: &'a RunFolder,
    recipe: &'a LanguageRecipe,
    task: Box<dyn Task + 'a>,
    params: Params,
    optimizer: Box<dyn Optimizer>,
    schedule: Schedule,
    average: Option<ModelEma>,
    /// Draws what batches are made of.
    batches: Rng,
    /// Draws what is random inside steps.
    steps: Rng,
    metrics: MetricsLog,
    /// Steps taken so far.
    step: u64,
    total_steps: u64,
    /// Seconds spent on steps since the run began, and tokens that were read.
    seconds: f64,
    tokens: u64,
    best: Best,
    /// Steps in a row that were left out.
    skips: u64,
    /// What the newest test found, and after which step.
    tested: Option<(u64, Tested)>,
}

/// What the batches of one step came to.
struct Accumulated {
    loss: f64,
    tokens: usize,
}

impl Session<'_> {
    /// The loop: every step happens here.
    fn run(mut self, stop: &dyn Stop, observer: Observer<'_>) -> Result<LanguageOutcome> {
        observer(self.ready()?);
        while self.step < self.total_steps {
            if stop.is_requested() {
                let checkpoint = self.save(observer)?;
                return Ok(LanguageOutcome::Stopped {
                    step: self.step,
                    total_steps: self.total_steps,
                    checkpoint,
                });
            }
            self.take_step(observer)?;
            let train = &self.recipe.train;
            let mut end = over_budget(train.time_budget_s, self.seconds, self.step);
            let due = |every: u64| every > 0 && self.step.is_multiple_of(every);
            let (tests, saves) = (
                due(self.recipe.train.validate_every),
                due(self.recipe.checkpoint.every_steps),
            );
            if tests && self.step < self.total_steps {
                self.test(observer)?;
                end = end.or(self.best.end(train.patience, self.step));
            }
            if let Some(end) = end {
                if self.step < self.total_steps {
                    observer(LanguageEvent::EarlyEnd(end));
                }
                break;
            }
            if saves && self.step < self.total_steps {
                self.save(observer)?;
            }
        }
        self.finish(observer).map(LanguageOutcome::Finished)
    }

    /// One step: batches forward, their losses backward, the weights updated.
    fn take_step(&mut self, observer: Observer<'_>) -> Result<()> {
        let began = Instant::now();
        let lr = self.schedule.lr(self.step, self.recipe.optim.lr());
        self.optimizer.set_lr(lr)?;
        if let Some(momentum) = self.schedule.momentum(self.step) {
            self.optimizer.set_momentum(momentum)?;
        }
        let done = awake(|| self.accumulate())?;
        if !done.loss.is_finite() {
            let place = match guard::broken_weight(&self.params)? {
                Some(name) => format!("the parameter {name}"),
                None => "the loss itself".to_owned(),
            };
            return self.leave_out(done.loss, place, observer);
        }
        let optim = &self.recipe.optim;
        if let Some(limit) = optim.clip_value {
            clip_grad_value(&self.params, limit)?;
        }
        let limit = optim.clip_norm.unwrap_or(f64::INFINITY);
        let grad_norm = match awake(|| self.optimizer.step_clipped(limit, optim.norm())) {
            Ok(norm) => norm,
            Err(cortical_optim::Error::NotFinite { name, norm }) => {
                return self.leave_out(norm, format!("the gradient of {name}"), observer);
            }
            Err(error) => return Err(error.into()),
        };
        self.step += 1;
        self.skips = 0;
        if let Some(average) = &mut self.average
            && self.step > self.recipe.average.from_step
        {
            average.update()?;
        }
        let seconds = began.elapsed().as_secs_f64();
        self.seconds += seconds;
        self.tokens += done.tokens as u64;
        let every = self.recipe.log.every_steps;
        if every > 0 && self.step.is_multiple_of(every) {
            self.metrics.record(&json!({
                "event": "step", "step": self.step, "loss": done.loss, "lr": lr, "grad_norm": grad_norm,
                "tokens_per_second": (done.tokens as f64 / seconds).round(),
            }))?;
        }
        observer(LanguageEvent::Step {
            step: self.step,
            loss: done.loss,
            lr,
            grad_norm,
            tokens: done.tokens,
        });
        Ok(())
    }

    /// Forward and backward for each batch of a step. All count alike, so that the gradients are those of one large batch.
    fn accumulate(&mut self) -> Result<Accumulated> {
        let batches = self.recipe.train.accumulate;
        let share = 1.0 / batches as f64;
        let mut done = Accumulated {
            loss: 0.0,
            tokens: 0,
        };
        for batch in 0..batches {
            let batch = self.step * batches + batch;
            let mut pass = Pass::train(&mut self.steps);
            let (mut loss, tokens) = self.task.loss(batch, &mut self.batches, &mut pass)?;
            done.tokens += tokens;
            done.loss += number(&loss)? * share;
            if !done.loss.is_finite() {
                break;
            }
            if batches > 1 {
                loss = loss.affine(share, 0.0)?;
            }
            self.params.backward(&loss)?;
        }
        Ok(done)
    }

    /// A step that led to no number: the run ends, or the weights stay as they are and its batches are left out.
    fn leave_out(&mut self, loss: f64, place: String, observer: Observer<'_>) -> Result<()> {
        self.params.zero_grad();
        let (step, limit) = (self.step + 1, self.recipe.guard.max_skips);
        let too_many = limit > 0 && self.skips >= limit;
        let is_spoilt = guard::broken_weight(&self.params)?.is_some();
        if self.recipe.guard.on_nan == OnNan::Stop || too_many || is_spoilt {
            let epoch = 1;
            return Err(Error::Diverged {
                step,
                epoch,
                loss,
                place,
            });
        }
        self.step += 1;
        self.skips += 1;
        observer(LanguageEvent::Warning(&Warning::StepLeftOut {
            step,
            place,
        }));
        Ok(())
    }
}

/// A loss as a number.
fn number(loss: &Tensor) -> Result<f64> {
    Ok(f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
