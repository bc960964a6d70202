//! Validations between steps, what follows from them, and the one test at the end.

use super::{Sums, Trainer};
use crate::measured::Measured;
use crate::observe::{Event, Observer, PhaseMetrics, Validation};
use crate::scores::rounded;
use crate::task::{Part, Task};
use crate::{Error, Report, Result, guard, pruner};

impl<'r, T: Task<'r>> Trainer<'_, 'r, T> {
    /// Validates after an epoch or between two, notes what follows, and writes the line about it.
    pub(super) fn end_phase(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let valid = self.validate()?;
        let position = self.task.position();
        let (sums, measure) = (&self.sums, self.recipe.kind().measure());
        let metrics = PhaseMetrics {
            step: self.step,
            epoch: (position.batch == 0).then_some(position.epoch),
            train_loss: sums.loss / sums.samples,
            train_accuracy: measure.is_share().then(|| sums.right / sums.samples),
            valid,
            train_seconds: sums.train_seconds,
        };
        if metrics.epoch.is_some() || metrics.valid.is_some() {
            self.metrics.phase(&metrics)?;
            observer.event(Event::Phase(&metrics));
        }
        if metrics.epoch.is_some() {
            self.sums = Sums {
                train_seconds: self.sums.train_seconds,
                seen: self.sums.seen,
                ..Sums::default()
            };
        }
        Ok(())
    }

    /// Validates, and notes what follows: the best figure so far, the plateau's learning rate, the models in `best/`.
    fn validate(&mut self) -> Result<Option<Validation>> {
        let found = self.evaluate(Part::Valid)?;
        let valid = found.as_ref().map(|found| Validation {
            loss: found.loss,
            figure: found.figure,
            sample: found.sample.clone(),
        });
        let monitored = found.as_ref().and_then(|found| {
            Some(match self.recipe.train.monitor.measure() {
                None => (found.loss?, false),
                Some(measure) => (found.figure?, measure.larger_is_better()),
            })
        });
        if let Some((figure, larger)) = monitored {
            self.best.note(figure, larger);
            self.keep_if_best(figure, larger)?;
            if let Some(plateau) = &mut self.plateau {
                plateau.observe(figure);
            }
        }
        self.validated = Some((self.step, found));
        Ok(valid)
    }

    /// The model on a part that is held out: with averaged weights, where there are any.
    fn evaluate(&mut self, part: Part) -> Result<Option<Measured>> {
        let task = &self.task;
        match &mut self.average {
            Some(average) if average.updates() > 0 => average.during(|| task.evaluate(part))?,
            _ => task.evaluate(part),
        }
    }

    /// Tests, for the only time, writes the model and, last, the report that says that the run is finished.
    pub(super) fn finish(mut self) -> Result<Report> {
        let valid = match self.validated.take() {
            Some((step, found)) if step == self.step => found,
            _ => self.evaluate(Part::Valid)?,
        };
        if let Some(name) = guard::broken_weight(&self.params)? {
            return Err(self.diverged(format!("the parameter {name}")));
        }
        let test = self.evaluate(Part::Test)?;
        let loss = test.as_ref().and_then(|test| test.loss);
        if loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(self.diverged("the loss of the test".to_owned()));
        }
        self.save_model()?;
        self.metrics.finish()?;
        let trainable = self.params.trainable();
        let mut report = Report {
            task: self.recipe.kind(),
            steps: self.step,
            epochs: self.task.position().epoch,
            seen: self.sums.seen,
            train_seconds: rounded(self.sums.train_seconds),
            parameters: self.params.count(),
            trainable: Some(trainable.iter().map(|param| param.count()).sum()),
            pruned: pruner::count(&self.params)?,
            valid_loss: valid.as_ref().and_then(|valid| valid.loss),
            valid_figure: valid.as_ref().and_then(|valid| valid.figure),
            test_loss: None,
            test: None,
            numbers: None,
            labels: None,
            perplexity: None,
            sample: String::new(),
            mistakes: Vec::new(),
        };
        if let Some(test) = test {
            report.set_test(test);
        }
        self.folder.paths().write_report(&report)?;
        Ok(report)
    }

    pub(super) fn diverged(&self, place: String) -> Error {
        Error::Diverged {
            step: self.step,
            epoch: self.task.position().epoch + 1,
            loss: f64::NAN,
            place,
        }
    }
}
