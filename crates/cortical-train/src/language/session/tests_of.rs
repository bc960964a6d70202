//! Tests between steps.

use serde_json::json;

use super::{Observer, Session};
use crate::Result;
use crate::language::observe::LanguageEvent;
use crate::language::task::Tested;

impl Session<'_> {
    /// Tests the model, with averaged weights where there are any, and writes the test's line.
    pub(super) fn test(&mut self, observer: Observer<'_>) -> Result<Tested> {
        let mut average = self.average.take();
        let tested = match &mut average {
            Some(average) if average.updates() > 0 => average.during(|| self.task.test())?,
            _ => self.task.test(),
        };
        self.average = average;
        let tested = tested?;
        let mut line = json!({
            "event": "test", "step": self.step, "test_loss": tested.loss, "train_seconds": self.seconds,
        });
        let accuracy = tested.classes.as_ref().map(|found| found.accuracy);
        match self.recipe.classify {
            Some(_) => line["test_accuracy"] = json!(accuracy),
            None => {
                line["perplexity"] = json!(tested.loss.map(f64::exp));
                line["sample"] = json!(tested.sample);
            }
        }
        self.metrics.record(&line)?;
        let loss = tested.loss.unwrap_or(f64::NAN);
        self.best.note(loss, false);
        observer(LanguageEvent::Test {
            step: self.step,
            loss,
            sample: &tested.sample,
            accuracy,
        });
        self.tested = Some((self.step, tested.clone()));
        Ok(tested)
    }
}
