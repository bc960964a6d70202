//! Tests between steps: how well the model foresees the held-out text, and what it writes.

use cortical_text::{Generator, Sampler, Sampling};
use serde_json::json;

use super::{Observer, Session};
use crate::language::evaluate::foresee;
use crate::language::observe::LanguageEvent;
use crate::{Error, Result};

/// What a test found.
#[derive(Clone, Debug)]
pub(super) struct Tested {
    /// The mean loss in nats a token; `None` where no text was held out.
    pub(super) loss: Option<f64>,
    /// What the model writes.
    pub(super) sample: String,
}

impl Session<'_> {
    /// Tests the model, with averaged weights where there are any, and writes the test's line.
    pub(super) fn test(&mut self, observer: Observer<'_>) -> Result<Tested> {
        let mut average = self.average.take();
        let tested = match &mut average {
            Some(average) if average.updates() > 0 => average.during(|| self.foresee())?,
            _ => self.foresee(),
        };
        self.average = average;
        let tested = tested?;
        self.metrics.record(&json!({
            "event": "test", "step": self.step, "test_loss": tested.loss,
            "perplexity": tested.loss.map(f64::exp), "train_seconds": self.seconds, "sample": tested.sample,
        }))?;
        let loss = tested.loss.unwrap_or(f64::NAN);
        self.best.note(loss, false);
        observer(LanguageEvent::Test {
            step: self.step,
            loss,
            sample: &tested.sample,
        });
        self.tested = Some((self.step, tested.clone()));
        Ok(tested)
    }

    fn foresee(&self) -> Result<Tested> {
        let train = &self.recipe.train;
        let shape = (train.batch_size, train.block);
        let found = foresee(&self.model, &self.corpus.test, train.eval_blocks, shape)?;
        Ok(Tested {
            loss: found.map(|found| found.loss),
            sample: self.sample()?,
        })
    }

    /// A text that the model goes on with from the first token of the held-out one; the same draws at every test.
    fn sample(&self) -> Result<String> {
        let tokens = self.recipe.train.sample_tokens;
        let first = self.corpus.test.first().or(self.corpus.train.first());
        let Some(first) = first.filter(|_| tokens > 0 && self.model.has_head()) else {
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
        // A model may have more tokens than its tokenizer, and an untrained one writes them.
        let known = self.corpus.tokenizer.vocab_size();
        let text: Vec<u32> = generator
            .text()
            .iter()
            .copied()
            .filter(|id| (*id as usize) < known)
            .collect();
        self.corpus.tokenizer.decode(&text).map_err(Error::text)
    }
}
