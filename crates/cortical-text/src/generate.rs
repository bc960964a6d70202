//! Going on from a prompt, token by token.

use crate::error::{Error, Result};
use crate::sample::Sampler;
use candle_core::{DType, Device, Tensor};
use cortical_kernels::parallel::keep_spinning;
use cortical_models::language::{LanguageModel, ModelCache};
use cortical_neuron::Pass;
use std::time::{Duration, Instant};

/// Prompt tokens that are read at a time: enough for the matrix product to run at its speed, few enough for the scores
/// to stay small.
const CHUNK: usize = 512;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model said that the text is at its end.
    End,
    /// As many tokens came as were asked for.
    Length,
    /// The positions that the model was made for are used up.
    Positions,
    /// A stop string came.
    Text,
}

impl Stop {
    /// The reason in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Length => "length",
            Self::Positions => "positions",
            Self::Text => "stop",
        }
    }
}

/// An iterator over the tokens that a model goes on with.
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
    cache: ModelCache,
    /// All tokens of the text, of which the cache holds the first ones.
    text: Vec<u32>,
    sampler: Sampler,
    ends: Vec<u32>,
    left: usize,
    beyond: bool,
    /// Whether nothing was asked for yet.
    is_new: bool,
    stop: Option<Stop>,
    read: (usize, Duration),
    written: (usize, Duration),
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
        Ok(Self {
            model,
            cache,
            text: prompt.to_vec(),
            sampler,
            ends: Vec::new(),
            left: usize::MAX,
            beyond: false,
            is_new: true,
            stop: None,
            read: (0, Duration::ZERO),
            written: (0, Duration::ZERO),
        })
    }

    /// At most so many tokens.
    #[must_use]
    pub fn limit(mut self, tokens: usize) -> Self {
        self.left = tokens;
        self
    }

    /// Goes on behind the positions that the model was made for, where they are computed and not looked up in a table.
    #[must_use]
    pub fn beyond_context(mut self, beyond: bool) -> Self {
        self.beyond = beyond;
        self
    }

    /// The tokens that end the text.
    #[must_use]
    pub fn ends(mut self, tokens: &[u32]) -> Self {
        self.ends = tokens.to_vec();
        self
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
        (self.cache, self.text)
    }

    /// How many tokens of the prompt were read, and in what time.
    #[must_use]
    pub fn prompt_speed(&self) -> (usize, Duration) {
        self.read
    }

    /// How many tokens behind the first were written, and in what time.
    #[must_use]
    pub fn speed(&self) -> (usize, Duration) {
        self.written
    }

    /// The scores of the token behind the text.
    fn scores(&mut self) -> Result<Vec<f32>> {
        let began = Instant::now();
        let known = self.cache.len();
        let new = &self.text[known..];
        let count = new.len();
        let mut pass = Pass::eval();
        let mut last = None;
        for part in new.chunks(CHUNK) {
            let ids = Tensor::from_slice(part, (1, part.len()), &Device::Cpu)?;
            let hidden = self.model.hidden(&ids, Some(&mut self.cache), &mut pass)?;
            last = Some(hidden.narrow(1, part.len() - 1, 1)?);
        }
        let last = last.ok_or(Error::EmptyPrompt)?;
        let scores = self.model.scores(&last, &mut pass)?;
        // Those of a model in half precision are narrow.
        let scores = scores.to_dtype(DType::F32)?.flatten_all()?;
        let scores = scores.to_vec1::<f32>()?;
        let spent = began.elapsed();
        let total = if self.read.0 == 0 {
            &mut self.read
        } else {
            &mut self.written
        };
        total.0 += count;
        total.1 += spent;
        Ok(scores)
    }

    fn step(&mut self) -> Result<Option<u32>> {
        if self.left == 0 {
            self.stop = Some(Stop::Length);
            return Ok(None);
        }
        if let Err(error) = check_length(self.model, self.text.len(), self.beyond) {
            self.stop = Some(Stop::Positions);
            // What came with the prompt was never read, and nobody would know.
            return match self.is_new {
                true => Err(error),
                false => Ok(None),
            };
        }
        self.is_new = false;
        // Hundreds of small products a token: no thread should have to be woken for each.
        let scores = keep_spinning(|| self.scores())?;
        let token = self.sampler.next(&scores, &self.text)?;
        if self.ends.contains(&token) {
            self.stop = Some(Stop::End);
            return Ok(None);
        }
        self.text.push(token);
        self.left -= 1;
        Ok(Some(token))
    }
}

/// Refuses a text of so many tokens that is longer than what a model was made for; with `beyond`, only one that it has
/// no positions for.
///
/// # Errors
/// [`Error::LongText`].
pub fn check_length(model: &LanguageModel, tokens: usize, beyond: bool) -> Result<()> {
    let config = model.config();
    let table = config.table_positions();
    let limit = match beyond {
        true => table,
        false => Some(table.unwrap_or(config.max_positions())),
    };
    match limit {
        Some(positions) if tokens > positions => Err(Error::LongText {
            got: tokens,
            positions,
            computed: table.is_none(),
        }),
        _ => Ok(()),
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
