//! `POST /v1/completions`

use super::answer::{Chunks, Text, Usage, object, stream, whole};
use super::error::{ApiError, ApiResult};
use super::fields::{Fields, wrong};
use super::submit::{MOST_CHOICES, Wish, submit};
use crate::app::App;
use crate::engine::{Event, Finish, TokenText, What};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers it.
pub(crate) async fn completions(app: &Arc<App>, body: &[u8]) -> ApiResult<Response> {
    let mut fields = Fields::read(body)?;
    let wish = Wish::read(app, &mut fields)?;
    let prompts = prompts(fields.need("prompt")?)?;
    let alternatives = fields.whole("logprobs", 0..=20)?.map(|n| n as usize);
    fields.only("echo", &[false.into()])?;
    fields.only("best_of", &[1.into()])?;
    fields.only("suffix", &["".into()])?;
    fields.finish()?;
    let encoder = app.clone();
    let prompts = app
        .compute(move || {
            let prompts = prompts.into_iter();
            prompts
                .map(|prompt| encoder.tokens_of(prompt))
                .collect::<ApiResult<Vec<_>>>()
        })
        .await??;
    let language = app.language()?;
    let submitted = submit(app, prompts, &wish, language.tokenizer.eos(), alternatives)?;
    let head = Head {
        id: app.fresh_id("cmpl"),
        created: app.now(),
        model: app.options.name.clone(),
        offsets: vec![0; submitted.choices],
        probabilities: alternatives.is_some(),
    };
    if wish.stream {
        return Ok(stream(submitted, head, wish.usage));
    }
    let (texts, usage) = whole(submitted).await?;
    let choices: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| head.choice(at, text, 0))
        .collect();
    let mut value = head.object(choices);
    value["usage"] = usage.value();
    Ok(object(&value))
}

/// A prompt as clients may give it.
#[derive(Debug)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// One or several prompts, as texts or tokens.
pub(crate) fn prompts(value: Value) -> ApiResult<Vec<Prompt>> {
    let expected = format!("a text, tokens, or up to {MOST_CHOICES} of either");
    let tokens = |all: &[Value]| -> Option<Vec<u32>> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        all.iter().map(id).collect()
    };
    let found = match &value {
        Value::String(text) => return Ok(vec![Prompt::Text(text.clone())]),
        Value::Array(all) => all,
        _ => return Err(wrong("prompt", &expected, &value)),
    };
    if !found.is_empty()
        && let Some(tokens) = tokens(found)
    {
        return Ok(vec![Prompt::Tokens(tokens)]);
    }
    if found.is_empty() || found.len() > MOST_CHOICES as usize {
        return Err(wrong("prompt", &expected, &value));
    }
    let one = |value: &Value| match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(all) => tokens(all).map(Prompt::Tokens),
        _ => None,
    };
    let all: Option<Vec<Prompt>> = found.iter().map(one).collect();
    all.ok_or_else(|| wrong("prompt", &expected, &value))
}

/// What all chunks of an answer say.
struct Head {
    id: String,
    created: u64,
    model: String,
    /// Where the text of each choice has got to, in characters.
    offsets: Vec<usize>,
    probabilities: bool,
}

impl Head {
    fn object(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn choice(&self, at: usize, text: &Text, offset: usize) -> Value {
        json!({
            "index": at,
            "text": text.text,
            "logprobs": self.probabilities.then(|| probabilities(&text.tokens, offset)),
            "finish_reason": text.finish.map(Finish::name),
        })
    }
}

impl Chunks for Head {
    fn chunks(&mut self, event: Event, out: &mut Vec<Value>) {
        let at = event.choice;
        let text = match event.what {
            What::Text { piece, tokens } => Text {
                text: piece,
                tokens,
                finish: None,
            },
            What::End { finish } => Text {
                finish: Some(finish),
                ..Text::default()
            },
            What::Begun { .. } | What::Failed { .. } => return,
        };
        let choice = self.choice(at, &text, self.offsets[at]);
        let chars = text.tokens.iter().map(|token| token.text.chars().count());
        self.offsets[at] += chars.sum::<usize>();
        out.push(self.object(vec![choice]));
    }

    fn usage(&self, usage: Usage) -> Value {
        let mut value = self.object(Vec::new());
        value["usage"] = usage.value();
        value
    }
}

/// The form that this path has for probabilities.
fn probabilities(tokens: &[TokenText], mut offset: usize) -> Value {
    let (mut texts, mut own, mut best, mut offsets) = (vec![], vec![], vec![], vec![]);
    for token in tokens {
        offsets.push(offset);
        offset += token.text.chars().count();
        texts.push(token.text.clone());
        own.push(token.log_probability);
        let pairs = token.alternatives.iter();
        let pairs: Map<String, Value> = pairs.map(|(t, p)| (t.clone(), json!(p))).collect();
        best.push(pairs);
    }
    json!({ "tokens": texts, "token_logprobs": own, "top_logprobs": best, "text_offset": offsets })
}

impl App {
    /// The tokens of a prompt.
    pub(crate) fn tokens_of(&self, prompt: Prompt) -> ApiResult<Vec<u32>> {
        let language = self.language()?;
        let tokens = match prompt {
            Prompt::Text(text) => language.tokenizer.encode(&text),
            Prompt::Tokens(tokens) => Ok(tokens),
        };
        let tokens = tokens.map_err(|why| ApiError::field("prompt", why.to_string()))?;
        let below = language.model.config().vocab_size();
        match tokens.iter().find(|token| **token as usize >= below) {
            Some(found) => Err(ApiError::field(
                "prompt",
                format!("{found} is no token of this model, whose tokens are below {below}"),
            )),
            None => Ok(tokens),
        }
    }
}
