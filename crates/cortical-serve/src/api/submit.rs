//! From a request to jobs, and from their events to an answer.

use super::error::{ApiError, ApiResult};
use super::fields::Fields;
use crate::app::App;
use crate::engine::{Event, Job};
use axum::http::StatusCode;
use cortical_text::{Sampler, Sampling};
use serde_json::json;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The most texts that one request may ask for.
pub(crate) const MOST_CHOICES: u64 = 16;

/// What chat and completions have in common.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    pub(crate) stop: Vec<String>,
    pub(crate) limit: Option<usize>,
    /// Texts for each prompt.
    pub(crate) choices: usize,
    pub(crate) stream: bool,
    /// Whether a stream ends with what was used.
    pub(crate) usage: bool,
}

impl Wish {
    /// Reads those fields.
    pub(crate) fn read(app: &App, fields: &mut Fields) -> ApiResult<Self> {
        app.check_model(fields)?;
        for name in ["frequency_penalty", "presence_penalty"] {
            fields.only(name, &[json!(0), json!(0.0)])?;
        }
        fields.only("logit_bias", &[json!({})])?;
        let most = fields.whole("max_tokens", 1..=u64::from(u32::MAX))?;
        let most = fields
            .whole("max_completion_tokens", 1..=u64::from(u32::MAX))?
            .or(most);
        let sampling = Sampling {
            temperature: fields.number("temperature", 1.0)?,
            top_p: fields.number("top_p", 1.0)?,
            top_k: fields.whole("top_k", 0..=1 << 20)?.unwrap_or(0) as usize,
            min_p: fields.number("min_p", 0.0)?,
            repetition_penalty: fields.number("repetition_penalty", 1.0)?,
        };
        let stream = fields.flag("stream")?;
        let mut usage = false;
        if let Some(options) = fields.take("stream_options") {
            usage = options["include_usage"] == true;
        }
        Ok(Self {
            sampling,
            seed: match fields.seed()? {
                Some(seed) => seed,
                None => app.fresh_seed(),
            },
            stop: fields.texts("stop", 16)?,
            limit: most.map(|most| most as usize),
            choices: fields.whole("n", 1..=MOST_CHOICES)?.unwrap_or(1) as usize,
            stream,
            usage,
        })
    }
}

/// Texts on their way.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) events: UnboundedReceiver<Event>,
    /// Tokens of all prompts, each once.
    pub(crate) prompt_tokens: usize,
    /// How many texts come.
    pub(crate) choices: usize,
}

/// Hands every prompt to the engine, as often as is wished.
pub(crate) fn submit(
    app: &App,
    prompts: Vec<Vec<u32>>,
    wish: &Wish,
    ends: &[u32],
    alternatives: Option<usize>,
) -> ApiResult<Submitted> {
    let context = app.options.context;
    for prompt in &prompts {
        if prompt.is_empty() {
            let message = "there is nothing to go on from: the prompt has no token";
            return Err(ApiError::field("prompt", message));
        }
        if prompt.len() >= context {
            let message = format!(
                "the prompt has {} tokens, and a text may have {context} with what is written; shorten it",
                prompt.len()
            );
            return Err(ApiError::field("prompt", message).code("context_length_exceeded"));
        }
    }
    let choices = prompts.len() * wish.choices;
    let (sender, events) = unbounded_channel();
    let prompt_tokens = prompts.iter().map(Vec::len).sum();
    let mut jobs = Vec::with_capacity(choices);
    for (at, prompt) in prompts.into_iter().enumerate() {
        for copy in 0..wish.choices {
            // Each of several texts of a prompt draws from a stream of its own.
            let seed = wish.seed.wrapping_add(copy as u64);
            let sampler = Sampler::new(wish.sampling.clone(), seed);
            let sampler =
                sampler.map_err(|why| ApiError::new(StatusCode::BAD_REQUEST, why.to_string()))?;
            let most = wish.limit.unwrap_or(app.options.max_tokens);
            let limit = most.min(app.options.max_tokens).min(context - prompt.len());
            jobs.push(Job {
                prompt: prompt.clone(),
                sampler,
                limit,
                ends: ends.to_vec(),
                stop: wish.stop.clone(),
                alternatives,
                choice: at * wish.choices + copy,
                events: sender.clone(),
                deadline: Instant::now() + app.options.timeout,
                place: app.place()?,
            });
        }
    }
    for job in jobs {
        if app.jobs.send(Some(job)).is_err() {
            return Err(ApiError::failed("the model's thread has ended"));
        }
    }
    Ok(Submitted {
        events,
        prompt_tokens,
        choices,
    })
}
