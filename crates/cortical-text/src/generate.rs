//! Going on from a prompt, token by token.

use crate::batch::{Batch, Request, Speeds, TextId};
use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::stop::Stop;
use cortical_models::language::{LanguageModel, ModelCache};
use std::collections::VecDeque;
use std::time::Duration;

/// An iterator over the tokens that a model goes on with: a [`Batch`] of one text.
///
/// The prompt is read when the first token is asked for; what was read stays in the cache. A token that ends the text
/// is not given out.
///
/// ```
/// use candle_core::Device;
/// use cortical_models::language::{LanguageModel, preset};
/// use cortical_neuron::Params;
/// use cortical_tensor::Seed;
/// use cortical_text::{Generator, Sampler, Sampling};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = preset("llama-tiny").expect("a preset").config;
/// let model = LanguageModel::build(&config, &Params::new(&Device::Cpu, Seed(1)))?;
/// let sampler = Sampler::new(Sampling::with_temperature(0.8), 7)?;
/// let tokens: Vec<u32> = Generator::new(&model, model.cache(), &[65, 104], sampler)?
///     .limit(5)
///     .collect::<Result<_, _>>()?;
/// assert_eq!(tokens.len(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Generator<'a> {
    model: &'a LanguageModel,
    /// The text in a batch of its own, once something was asked for.
    batch: Option<(Batch<'a>, TextId)>,
    /// What joins that batch.
    request: Option<Request>,
    /// All tokens that were given out, those of the prompt first.
    text: Vec<u32>,
    /// Tokens that were written and not given out yet, and why there are no more behind them.
    next: VecDeque<u32>,
    end: Option<Stop>,
    stop: Option<Stop>,
}

impl<'a> Generator<'a> {
    /// Goes on from `prompt`, whose first tokens may be in `cache` already.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] when there is no token behind those that the cache holds.
    pub fn new(
        model: &'a LanguageModel,
        cache: ModelCache,
        prompt: &[u32],
        sampler: Sampler,
    ) -> Result<Self> {
        if prompt.len() <= cache.len() {
            return Err(Error::EmptyPrompt);
        }
        let request = Request {
            cache,
            ..Request::new(model, prompt, sampler)
        };
        Ok(Self {
            model,
            batch: None,
            request: Some(request),
            text: prompt.to_vec(),
            next: VecDeque::new(),
            end: None,
            stop: None,
        })
    }

    /// Changes the request, which it is too late for once something was asked for.
    fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        if let Some(request) = &mut self.request {
            change(request);
        }
        self
    }

    /// At most so many tokens.
    #[must_use]
    pub fn limit(self, tokens: usize) -> Self {
        self.with(|request| request.limit = tokens)
    }

    /// Goes on behind the positions that the model was made for, where they are computed and not looked up in a table.
    #[must_use]
    pub fn beyond_context(self, beyond: bool) -> Self {
        self.with(|request| request.beyond_context = beyond)
    }

    /// Whether tokens that the text seems to repeat are read along as guesses; see [`Request::lookup`].
    #[must_use]
    pub fn lookup(self, lookup: bool) -> Self {
        self.with(|request| request.lookup = lookup)
    }

    /// The tokens that end the text.
    #[must_use]
    pub fn ends(self, tokens: &[u32]) -> Self {
        self.with(|request| request.ends = tokens.to_vec())
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// All tokens, those of the prompt first.
    #[must_use]
    pub fn text(&self) -> &[u32] {
        &self.text
    }

    /// The cache and the text, for a conversation that goes on.
    #[must_use]
    pub fn into_parts(self) -> (ModelCache, Vec<u32>) {
        let read = match (self.batch, self.request) {
            (Some((mut batch, id)), _) => batch.leave(id).map(|left| left.cache),
            (None, request) => request.map(|request| request.cache),
        };
        let mut cache = read.unwrap_or_default();
        cache.truncate(self.text.len());
        (cache, self.text)
    }

    /// How many tokens of the prompt were read, and in what time.
    #[must_use]
    pub fn prompt_speed(&self) -> (usize, Duration) {
        self.speeds().read
    }

    /// How many tokens behind the first were written, and in what time.
    #[must_use]
    pub fn speed(&self) -> (usize, Duration) {
        self.speeds().written
    }

    fn speeds(&self) -> Speeds {
        let batch = self.batch.as_ref();
        batch
            .and_then(|(batch, id)| batch.speeds(*id))
            .unwrap_or_default()
    }

    fn step(&mut self) -> Result<Option<u32>> {
        if let Some(request) = self.request.take() {
            if request.limit == 0 {
                self.request = Some(request);
                self.stop = Some(Stop::Length);
                return Ok(None);
            }
            let mut batch = Batch::new(self.model);
            let id = batch.join(request).inspect_err(|error| {
                // What came with the prompt was never read, and nobody would know.
                let is_long = matches!(error, Error::LongText { .. });
                self.stop = is_long.then_some(Stop::Positions);
            })?;
            self.batch = Some((batch, id));
        }
        while self.next.is_empty() && self.end.is_none() {
            let Some((batch, _)) = &mut self.batch else {
                return Err(Error::EmptyPrompt);
            };
            for progress in batch.step()? {
                self.next
                    .extend(progress.written.iter().map(|written| written.token));
                self.end = progress.end.transpose()?;
            }
        }
        match self.next.pop_front() {
            Some(token) => {
                self.text.push(token);
                Ok(Some(token))
            }
            None => {
                self.stop = self.end;
                Ok(None)
            }
        }
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stop.is_some() {
            return None;
        }
        self.step().transpose()
    }
}
