//! Several texts that a model goes on with together.

use crate::error::{Error, Result};
use crate::lookup::Lookup;
use crate::sample::Sampler;
use crate::stop::{Stop, check_length};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::parallel::keep_spinning;
use cortical_kernels::quantized::FEW_ROWS;
use cortical_models::language::{LanguageModel, ModelCache, NextTokens};
use cortical_neuron::Pass;
use std::time::{Duration, Instant};

/// Tokens of a long prompt that are read at a time: enough for the matrix product to run at its speed, few enough for
/// the scores to stay small.
const CHUNK: usize = 512;
/// Rows of a step up to which guesses are read along: so many cost little more than one.
const GUESSED_ROWS: usize = 8;

/// A text that joins a [`Batch`].
#[derive(Debug)]
pub struct Request {
    /// Its tokens so far; the first ones may be in the cache already.
    pub prompt: Vec<u32>,
    /// What is read of it already, out of [`LanguageModel::cache`] or of another text that began in the same way.
    pub cache: ModelCache,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// The most tokens to write.
    pub limit: usize,
    /// The tokens that end the text, which are not given out.
    pub ends: Vec<u32>,
    /// Whether it may go on behind the positions that the model was made for, where they are computed and not looked up
    /// in a table.
    pub beyond_context: bool,
    /// How many of the likeliest tokens are told with each one that is written; `None` for no probabilities at all.
    pub alternatives: Option<usize>,
    /// Whether tokens that the text seems to repeat are read along as guesses, which are kept where the model would
    /// have written them itself. The text is the same; it comes faster where guesses are right.
    pub lookup: bool,
}

impl Request {
    /// A text that is written to its end by `sampler`, with nothing read.
    #[must_use]
    pub fn new(model: &LanguageModel, prompt: &[u32], sampler: Sampler) -> Self {
        Self {
            prompt: prompt.to_vec(),
            cache: model.cache(),
            sampler,
            limit: usize::MAX,
            ends: Vec::new(),
            beyond_context: false,
            alternatives: None,
            lookup: true,
        }
    }
}

/// Names a text of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextId(u64);

/// A token that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The token.
    pub token: u32,
    /// `ln p` of it before any temperature, where probabilities were asked for.
    pub log_probability: Option<f32>,
    /// The likeliest tokens in its place with their `ln p`, the likeliest first.
    pub alternatives: Vec<(u32, f32)>,
}

/// What a step did for one text.
#[derive(Debug)]
pub struct Progress {
    /// The text.
    pub text: TextId,
    /// What was written.
    pub written: Vec<Written>,
    /// Whether it is at its end, and why; it stays in the batch until it [leaves](Batch::leave).
    pub end: Option<Result<Stop>>,
}

/// How much of a text was read and written, and in what time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speeds {
    /// Tokens of the prompt that were read.
    pub read: (usize, Duration),
    /// Tokens behind the first that was written.
    pub written: (usize, Duration),
}

/// A text that has left.
#[derive(Debug)]
pub struct Left {
    /// What was read of it.
    pub cache: ModelCache,
    /// All tokens, those of the prompt first.
    pub tokens: Vec<u32>,
    /// How fast it went.
    pub speeds: Speeds,
}

/// Texts that a model goes on with together: they join and leave at any time, and each step reads the weights once for
/// the next tokens of all of them.
///
/// Every text has the tokens that it has alone. With quantized weights that is so bit for bit, as up to [`FEW_ROWS`]
/// rows at a time have each the bits of one; with other weights sums of a step may round otherwise. A long prompt is
/// read by itself, some tokens between two steps of the others.
///
/// ```
/// use candle_core::Device;
/// use cortical_models::language::{LanguageModel, preset};
/// use cortical_neuron::Params;
/// use cortical_tensor::Seed;
/// use cortical_text::{Batch, Request, Sampler, Sampling};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = preset("llama-tiny").expect("a preset").config;
/// let model = LanguageModel::build(&config, &Params::new(&Device::Cpu, Seed(1)))?;
/// let mut batch = Batch::new(&model);
/// for prompt in [&[65, 104][..], &[1, 2, 3]] {
///     let sampler = Sampler::new(Sampling::greedy(), 0)?;
///     batch.join(Request { limit: 4, ..Request::new(&model, prompt, sampler) })?;
/// }
/// let mut tokens = 0;
/// while !batch.is_empty() {
///     for progress in batch.step()? {
///         tokens += progress.written.len();
///         if progress.end.is_some() {
///             batch.leave(progress.text);
///         }
///     }
/// }
/// assert_eq!(tokens, 8);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch<'m> {
    model: &'m LanguageModel,
    texts: Vec<Text>,
    /// How many have joined so far.
    joined: u64,
    /// Rows that have the bits of one alone with this model.
    alike: usize,
}

#[derive(Debug)]
struct Text {
    id: TextId,
    request: Request,
    lookup: Lookup,
    /// Whether its prompt is read.
    is_begun: bool,
    is_over: bool,
    speeds: Speeds,
}

impl Text {
    /// Tokens that the model has not read.
    fn unread(&self) -> &[u32] {
        &self.request.prompt[self.request.cache.len()..]
    }

    /// What keeps it from going on, if something does.
    fn end(&self, model: &LanguageModel) -> Option<Stop> {
        if self.request.limit == 0 {
            return Some(Stop::Length);
        }
        let (tokens, beyond) = (self.request.prompt.len(), self.request.beyond_context);
        let fits = check_length(model, tokens, beyond).is_ok();
        (!fits).then_some(Stop::Positions)
    }

    /// Adds the time of a pass over its prompt, or of one that wrote what stands behind.
    fn count(&mut self, of_prompt: bool, tokens: usize, spent: Duration) {
        let total = match of_prompt {
            true => &mut self.speeds.read,
            false => &mut self.speeds.written,
        };
        total.0 += tokens;
        total.1 += spent;
    }

    /// Guesses up to `limit` tokens and puts them behind the text; returns how many.
    fn guess(&mut self, model: &LanguageModel, limit: usize) -> usize {
        let Request {
            prompt,
            limit: left,
            beyond_context,
            lookup,
            ..
        } = &mut self.request;
        if !*lookup || !self.is_begun {
            return 0;
        }
        let guess = self.lookup.guess(prompt, limit.min(*left - 1));
        let len = prompt.len() + guess.len();
        if guess.is_empty() || check_length(model, len, *beyond_context).is_err() {
            return 0;
        }
        prompt.extend(&guess);
        guess.len()
    }
}

impl<'m> Batch<'m> {
    /// An empty batch of texts for this model.
    #[must_use]
    pub fn new(model: &'m LanguageModel) -> Self {
        Self {
            model,
            texts: Vec::new(),
            joined: 0,
            alike: model.rows_alike(),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'m LanguageModel {
        self.model
    }

    /// How many texts are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Takes a text in. Nothing is read of it before the next step.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] when there is no token behind those that the cache holds, [`Error::LongText`].
    pub fn join(&mut self, request: Request) -> Result<TextId> {
        if request.prompt.len() <= request.cache.len() {
            return Err(Error::EmptyPrompt);
        }
        check_length(self.model, request.prompt.len(), request.beyond_context)?;
        let id = TextId(self.joined);
        self.joined += 1;
        self.texts.push(Text {
            id,
            request,
            lookup: Lookup::default(),
            is_begun: false,
            is_over: false,
            speeds: Speeds::default(),
        });
        Ok(id)
    }

    /// Takes a text out, at its end or before it.
    pub fn leave(&mut self, text: TextId) -> Option<Left> {
        let at = self.texts.iter().position(|own| own.id == text)?;
        let text = self.texts.remove(at);
        Some(Left {
            cache: text.request.cache,
            tokens: text.request.prompt,
            speeds: text.speeds,
        })
    }

    /// The tokens of a text so far, and how many of them are read.
    #[must_use]
    pub fn tokens(&self, text: TextId) -> Option<(&[u32], usize)> {
        let text = self.texts.iter().find(|own| own.id == text)?;
        Some((&text.request.prompt, text.request.cache.len()))
    }

    /// What is read of the text that begins most like `prompt`, in memory of its own with room for `positions`; `None`
    /// where that are fewer than `least` tokens.
    ///
    /// # Errors
    /// When memory is short.
    pub fn fork(
        &self,
        prompt: &[u32],
        least: usize,
        positions: usize,
    ) -> Result<Option<ModelCache>> {
        let alike = |text: &Text| {
            let read = &text.request.prompt[..text.request.cache.len()];
            alike(read, prompt).min(prompt.len().saturating_sub(1))
        };
        let best = self.texts.iter().max_by_key(|text| alike(text));
        match best.map(|text| (text, alike(text))) {
            Some((text, len)) if len >= least => Ok(Some(text.request.cache.fork(len, positions)?)),
            _ => Ok(None),
        }
    }

    /// How fast a text goes.
    #[must_use]
    pub fn speeds(&self, text: TextId) -> Option<Speeds> {
        let text = self.texts.iter().find(|own| own.id == text)?;
        Some(text.speeds)
    }

    /// Reads the next tokens of a text with a long prompt, and writes one more of every other text.
    ///
    /// # Errors
    /// When the model refuses; what is wrong with one text is told in its [`Progress`].
    pub fn step(&mut self) -> Result<Vec<Progress>> {
        let mut all = Vec::new();
        for text in self.texts.iter_mut().filter(|text| !text.is_over) {
            if let Some(stop) = text.end(self.model) {
                text.is_over = true;
                all.push(Progress {
                    text: text.id,
                    written: Vec::new(),
                    end: Some(Ok(stop)),
                });
            }
        }
        let long = |text: &Text| !text.is_over && text.unread().len() > FEW_ROWS;
        // Those that came first are read first.
        if let Some(at) = self.texts.iter().position(long) {
            self.read(at)?;
        }
        let mut turns: Vec<usize> = (0..self.texts.len())
            .filter(|at| !self.texts[*at].is_over && !long(&self.texts[*at]))
            .collect();
        while !turns.is_empty() {
            let mut rows = 0;
            let fit = turns.iter().take_while(|at| {
                rows += self.texts[**at].unread().len();
                rows <= FEW_ROWS
            });
            let count = fit.count().max(1);
            let group: Vec<usize> = turns.drain(..count).collect();
            all.extend(self.write(&group)?);
        }
        Ok(all)
    }

    /// Reads some tokens of one long prompt. The last one is left for a step with the others: so it is read in the same
    /// way whether the others before it were known or not.
    fn read(&mut self, at: usize) -> Result<()> {
        let began = Instant::now();
        let text = &mut self.texts[at];
        let known = text.request.cache.len();
        let end = (text.request.prompt.len() - 1).min(known + CHUNK);
        let part = &text.request.prompt[known..end];
        let ids = Tensor::from_slice(part, (1, part.len()), &Device::Cpu)?;
        let (model, cache) = (self.model, &mut text.request.cache);
        keep_spinning(|| model.hidden(&ids, Some(cache), &mut Pass::eval()))?;
        text.count(true, end - known, began.elapsed());
        Ok(())
    }

    /// Reads what is left of some texts together and writes a token of each.
    fn write(&mut self, group: &[usize]) -> Result<Vec<Progress>> {
        let began = Instant::now();
        let model = self.model;
        let is_turn = |at: &usize| group.contains(at);
        let texts = self.texts.iter_mut().enumerate();
        let mut texts: Vec<&mut Text> = texts
            .filter(|(at, _)| is_turn(at))
            .map(|(_, text)| text)
            .collect();
        // What each has to read, and what is guessed behind that while there is room for guesses of all.
        let unread: Vec<usize> = texts.iter().map(|text| text.unread().len()).collect();
        let room = GUESSED_ROWS
            .min(self.alike)
            .saturating_sub(unread.iter().sum());
        let each = room / texts.len().max(1);
        let guessed: Vec<usize> = texts.iter_mut().map(|t| t.guess(model, each)).collect();
        let mut next: Vec<NextTokens<'_>> = texts
            .iter_mut()
            .map(|text| {
                let Request { prompt, cache, .. } = &mut text.request;
                NextTokens {
                    tokens: &prompt[cache.len()..],
                    cache,
                }
            })
            .collect();
        let scores = keep_spinning(|| -> Result<_> {
            let mut pass = Pass::eval();
            let hidden = model.hidden_of_texts(&mut next, &mut pass)?;
            let last = last_rows(&hidden, &unread, &guessed)?;
            rows_of(&model.scores(&last, &mut pass)?)
        })?;
        let spent = began.elapsed();
        let mut scores = scores.as_slice();
        let mut all = Vec::with_capacity(texts.len());
        for ((text, unread), guessed) in texts.into_iter().zip(unread).zip(guessed) {
            let (own, rest) = scores.split_at(guessed + 1);
            scores = rest;
            let of_prompt = !text.is_begun;
            let progress = choose(text, guessed, own);
            let tokens = match of_prompt {
                true => unread,
                false => progress.written.len(),
            };
            text.count(of_prompt, tokens, spent);
            all.push(progress);
        }
        Ok(all)
    }
}

/// Of each text's rows the last that it has to read, and those of its guesses: `[1, rows, width]`.
fn last_rows(hidden: &Tensor, unread: &[usize], guessed: &[usize]) -> Result<Tensor> {
    if unread.iter().all(|count| *count == 1) {
        return Ok(hidden.clone());
    }
    let mut end = 0;
    let mut rows: Vec<u32> = Vec::new();
    for (unread, guessed) in unread.iter().zip(guessed) {
        let last = end + unread - 1;
        end = last + guessed + 1;
        rows.extend(last as u32..end as u32);
    }
    let rows = Tensor::new(rows, hidden.device())?;
    Ok(hidden.index_select(&rows, 1)?)
}

/// Rows of scores in single precision; those of a model in half precision are narrow.
fn rows_of(scores: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(scores.to_dtype(DType::F32)?.squeeze(0)?.to_vec2::<f32>()?)
}

/// How many tokens two texts have in common at their beginning.
fn alike(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The next tokens of a text with so many guesses at its end, which have a row of scores each behind the first: those
/// that are what is chosen, and the one behind them.
fn choose(text: &mut Text, guessed: usize, scores: &[Vec<f32>]) -> Progress {
    let mut progress = Progress {
        text: text.id,
        written: Vec::with_capacity(guessed + 1),
        end: None,
    };
    let request = &mut text.request;
    let start = request.prompt.len() - guessed;
    let guesses = request.prompt.split_off(start);
    let mut right = 0;
    for scores in scores {
        match choose_one(request, scores) {
            Ok(written) => {
                let token = written.token;
                progress.written.push(written);
                if guesses.get(right) != Some(&token) {
                    break;
                }
                right += 1;
            }
            Err(end) => {
                progress.end = Some(end);
                text.is_over = true;
                break;
            }
        }
    }
    // Of what was read, the text has no more than the guesses that were right.
    request.cache.truncate(start + right);
    text.lookup.learn(guessed, right);
    text.is_begun = true;
    progress
}

/// Chooses a token and puts it behind the text, or says why there is none.
fn choose_one(request: &mut Request, scores: &[f32]) -> Result<Written, Result<Stop>> {
    let token = request.sampler.next(scores, &request.prompt);
    let token = token.map_err(Err)?;
    if request.ends.contains(&token) {
        return Err(Ok(Stop::End));
    }
    let (log_probability, alternatives) = match request.alternatives {
        None => (None, Vec::new()),
        Some(count) => {
            let norm = log_sum(scores);
            let score = scores.get(token as usize).copied().unwrap_or(f32::NAN);
            (Some(score - norm), likeliest(scores, norm, count))
        }
    };
    request.prompt.push(token);
    request.limit -= 1;
    Ok(Written {
        token,
        log_probability,
        alternatives,
    })
}

/// `ln Σ exp(score)`.
fn log_sum(scores: &[f32]) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|s| f64::from((s - most).exp())).sum();
    most + sum.ln() as f32
}

/// So many of the likeliest tokens, the first of equals first.
fn likeliest(scores: &[f32], norm: f32, count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (token, score) in (0_u32..).zip(scores) {
        if score.is_nan() || (best.len() == count && best.last().is_none_or(|b| b.1 >= *score)) {
            continue;
        }
        let at = best.partition_point(|(_, other)| other >= score);
        best.insert(at, (token, *score));
        best.truncate(count);
    }
    best.into_iter().map(|(t, s)| (t, s - norm)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let scores = [1.0, 3.0, f32::NAN, 2.0, 3.0];
        let clean = [1.0, 3.0, 2.0, 3.0_f32];
        let norm = log_sum(&clean);
        let total: f32 = clean.iter().map(|s| (s - norm).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
        let best = likeliest(&scores, norm, 3);
        let tokens: Vec<u32> = best.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [1, 4, 3]);
        assert!(likeliest(&scores, norm, 0).is_empty());
        assert_eq!(likeliest(&scores, norm, 9).len(), 4);
    }
}
