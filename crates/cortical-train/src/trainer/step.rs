//! One step: some batches forward, their losses backward, the weights updated; or left out.

use std::time::Instant;

use cortical_data::Position;
use cortical_kernels::parallel::keep_spinning;
use cortical_optim::clip_grad_value;
use cortical_tensor::Rng;

use super::Trainer;
use crate::guard::{self, Broken};
use crate::observe::{Event, Observer, StepMetrics, Warning};
use crate::recipe::OnNan;
use crate::task::{Batch, Task, number};
use crate::{Error, Result};

/// After so many non-finite steps in a row the weights are taken to be spoilt, though all of them are finite.
const USELESS: u64 = 3;

/// What the batches of one step came to.
#[derive(Clone, Copy, Debug, Default)]
struct Accumulated {
    samples: usize,
    units: usize,
    loss: f64,
    right: Option<f64>,
}

impl<'r, T: Task<'r>> Trainer<'_, 'r, T> {
    /// Takes a step. `None` if it was left out.
    pub(super) fn take_step(&mut self, observer: &mut dyn Observer) -> Result<Option<StepMetrics>> {
        let started = Instant::now();
        let batches = self.next_batches()?;
        let first = batches[0].position();
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
        let done = match keep_spinning(|| self.accumulate(&batches)) {
            Ok(done) => done,
            Err(Broken::Error(error)) => return Err(*error),
            Err(Broken::Loss(loss)) => {
                let place = self.place(&batches[0], &rng)?;
                guard::restore(buffers)?;
                self.params.zero_grad();
                return self.leave_out(first, loss, place, observer);
            }
        };
        if let Some(pruner) = &mut self.pruner {
            pruner.see_gradients()?;
        }
        let limit = self
            .recipe
            .optim
            .gradients
            .clip_norm
            .unwrap_or(f64::INFINITY);
        let norm = self.recipe.optim.norm();
        let grad_norm = match keep_spinning(|| self.optimizer.step_clipped(limit, norm)) {
            Ok(norm) => norm,
            Err(cortical_optim::Error::NotFinite { name, norm }) => {
                guard::restore(buffers)?;
                self.params.zero_grad();
                return self.leave_out(first, norm, format!("the gradient of {name}"), observer);
            }
            Err(error) => return Err(error.into()),
        };
        self.step += 1;
        self.skips = 0;
        self.taken.push(first);
        self.newest = batches.into_iter().next();
        if let Some(average) = &mut self.average
            && self.step > self.recipe.average.from_step
        {
            average.update()?;
        }
        let samples = done.samples as f64;
        self.sums.loss += done.loss * samples;
        self.sums.right += done.right.unwrap_or(0.0);
        self.sums.samples += samples;
        self.sums.seen += done.units as u64;
        self.sums.train_seconds += started.elapsed().as_secs_f64();
        Ok(Some(StepMetrics {
            step: self.step,
            epoch: first.epoch + 1,
            loss: done.loss,
            accuracy: done.right.map(|right| right / samples),
            lr,
            units: done.units,
            grad_norm,
        }))
    }

    /// The batches of the next step: as many as are accumulated, or as the epoch still has.
    fn next_batches(&mut self) -> Result<Vec<T::Batch>> {
        let mut batches = Vec::new();
        for _ in 0..self.recipe.train.accumulate {
            batches.push(self.task.next_batch()?);
            if self.task.position().batch == 0 {
                break;
            }
        }
        Ok(batches)
    }

    /// Forward and backward for each batch; each counts by its share of the samples, so that the gradients are those of
    /// one large batch.
    fn accumulate(&mut self, batches: &[T::Batch]) -> Result<Accumulated, Broken> {
        let samples: usize = batches.iter().map(Batch::samples).sum();
        let mut done = Accumulated {
            samples,
            ..Accumulated::default()
        };
        for batch in batches {
            let (mut loss, right) = self.task.loss(batch, &mut self.rng)?;
            let value = number(&loss)?;
            if !value.is_finite() {
                return Err(Broken::Loss(value));
            }
            let share = batch.samples() as f64 / samples as f64;
            if batches.len() > 1 {
                loss = loss.affine(share, 0.0).map_err(Error::from)?;
            }
            self.params.backward(&loss).map_err(Error::from)?;
            done.loss += value * share;
            done.units += batch.units();
            if let Some(right) = right {
                *done.right.get_or_insert(0.0) += right;
            }
        }
        if let Some(limit) = self.recipe.optim.gradients.clip_value {
            clip_grad_value(&self.params, limit).map_err(Error::from)?;
        }
        Ok(done)
    }

    /// The learning rate that the schedule starts from: the recipe's, or what a plateau has left of it.
    fn base_lr(&self) -> f64 {
        match &self.plateau {
            Some(plateau) => plateau.lr(),
            None => self.recipe.optim.lr(),
        }
    }

    /// Where a non-finite loss came up first: the step's first batch goes forward once more, with the same random
    /// numbers and somebody looking on.
    fn place(&self, batch: &T::Batch, rng: &Rng) -> Result<String> {
        if let Some(name) = guard::broken_weight(&self.params)? {
            return Ok(format!("the parameter {name}"));
        }
        let place = self.task.non_finite(batch, Some(rng))?;
        Ok(place.unwrap_or_else(|| guard::LOSS.to_owned()))
    }

    /// A step that led to something non-finite: the run ends, or the weights stay as they are and its batches are left
    /// out.
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
            // The step before has spoilt the weights already: it goes as well, and everything since the last checkpoint
            // is done again.
            self.roll_back(place, observer)?;
        } else {
            self.left_out.insert(at);
            let warning = Warning::StepLeftOut { step, place };
            observer.event(Event::Warning(&warning));
            self.step += 1;
        }
        Ok(None)
    }
}
