//! Tests between steps: how good the network is, and what follows from that.

use super::{Session, Sums};
use crate::evaluate::{Evaluation, evaluate_batches, rounded};
use crate::observe::{EpochMetrics, Event, Observer, TestMetrics};
use crate::recipe::Monitor;
use crate::{Report, Result};

impl Session<'_> {
    /// Tests the network after an epoch and writes the epoch's line.
    pub(super) fn end_epoch(&mut self, observer: &mut dyn Observer) -> Result<EpochMetrics> {
        let test = self.test(observer)?;
        let metrics = EpochMetrics {
            step: self.step,
            epoch: self.loader.position().epoch,
            train_loss: self.sums.loss / self.sums.samples,
            train_accuracy: self.sums.right / self.sums.samples,
            test_loss: test.test_loss,
            test_accuracy: test.test_accuracy,
            train_seconds: self.sums.train_seconds,
        };
        self.metrics.epoch(&metrics)?;
        self.sums = Sums {
            train_seconds: self.sums.train_seconds,
            ..Sums::default()
        };
        Ok(metrics)
    }

    /// Tests the network, and notes what follows: the best figure so far, the plateau's learning rate, the models in `best/`.
    pub(super) fn test(&mut self, observer: &mut dyn Observer) -> Result<TestMetrics> {
        let test = self.evaluate()?;
        let metrics = TestMetrics {
            step: self.step,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
        };
        let (figure, larger) = match self.recipe.train.monitor {
            Monitor::TestLoss => (test.loss, false),
            Monitor::TestAccuracy => (test.accuracy, true),
        };
        self.best.note(figure, larger);
        self.keep_if_best(figure, larger)?;
        if let Some(plateau) = &mut self.plateau {
            plateau.observe(figure);
        }
        self.tested = Some((self.step, test));
        if self.loader.position().batch != 0 {
            self.metrics.test(&metrics)?;
        }
        observer.event(Event::Test(&metrics));
        Ok(metrics)
    }

    /// The network on the test samples: with averaged weights, where there are any.
    pub(super) fn evaluate(&mut self) -> Result<Evaluation> {
        let train = &self.recipe.train;
        let (network, params) = (&self.network, &self.params);
        let run = || {
            evaluate_batches(
                network,
                &self.splits.test,
                train.eval_batch_size,
                train.limit_eval_batches,
                params.device(),
            )
        };
        match &mut self.average {
            Some(average) if average.updates() > 0 => average.during(run)?,
            _ => run(),
        }
    }

    /// Writes the model and, last, the report that says that the run is finished.
    pub(super) fn finish(mut self) -> Result<Report> {
        let test = match self.tested.take() {
            Some((step, test)) if step == self.step => test,
            _ => self.evaluate()?,
        };
        self.refuse_broken(&test)?;
        let paths = self.folder.paths();
        self.save_model(&paths.model())?;
        self.metrics.finish()?;
        let report = Report {
            steps: self.step,
            epochs: self.loader.position().epoch,
            train_seconds: rounded(self.sums.train_seconds),
            parameters: self.params.count(),
            test,
        };
        paths.write_report(&report)?;
        Ok(report)
    }
}
