//! `POST /v1/chat/completions`

use super::answer::{Chunks, Text, Usage, object, stream, whole};
use super::error::{ApiError, ApiResult};
use super::fields::{Fields, wrong};
use super::submit::{Wish, submit};
use super::tools::{Form, values};
use crate::app::App;
use crate::engine::{Event, Finish, TokenText, What};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most turns of a conversation.
const MOST_TURNS: usize = 10_000;

/// Answers it.
pub(crate) async fn chat(app: &Arc<App>, body: &[u8]) -> ApiResult<Response> {
    let mut fields = Fields::read(body)?;
    let wish = Wish::read(app, &mut fields)?;
    let messages = messages(fields.need("messages")?)?;
    let (tools, form) = tools(app, &mut fields)?;
    let shows = fields.flag("logprobs")?;
    let best = fields.whole("top_logprobs", 0..=20)?;
    if best.is_some() && !shows {
        let message = "top_logprobs is for logprobs = true";
        return Err(ApiError::field("top_logprobs", message));
    }
    fields.only("response_format", &[json!({ "type": "text" })])?;
    fields.only("modalities", &[json!(["text"])])?;
    fields.finish()?;
    let alternatives = shows.then(|| best.unwrap_or(0) as usize);
    let own = app.clone();
    let prompt = app
        .compute(move || {
            let language = own.language()?;
            let Some(template) = &language.template else {
                return Err(ApiError::not_here(
                    "this model has no chat template; use /v1/completions",
                ));
            };
            let prompt = template.encode(&language.tokenizer, &messages, tools.as_deref());
            prompt.map_err(|why| ApiError::field("messages", why.to_string()))
        })
        .await??;
    let ends = app.language()?.tokenizer.turn_ends();
    let submitted = submit(app, vec![prompt], &wish, &ends, alternatives)?;
    let head = Head {
        id: app.fresh_id("chatcmpl"),
        created: app.now(),
        model: app.options.name.clone(),
        form,
        probabilities: shows,
        streams: vec![Streamed::default(); submitted.choices],
    };
    if wish.stream {
        return Ok(stream(submitted, head, wish.usage));
    }
    let (texts, usage) = whole(submitted).await?;
    let choices: Vec<Value> = texts
        .into_iter()
        .enumerate()
        .map(|(at, text)| head.choice(at, text))
        .collect();
    let mut value = head.object("chat.completion", choices);
    value["usage"] = usage.value();
    Ok(object(&value))
}

/// The turns, as templates read them.
fn messages(value: Value) -> ApiResult<Vec<Value>> {
    let bad = |at: usize, what: &str| {
        ApiError::field("messages", format!("messages[{at}]: expected {what}"))
    };
    let Value::Array(all) = value else {
        return Err(wrong("messages", "a list of messages", &value));
    };
    if all.is_empty() || all.len() > MOST_TURNS {
        let message = format!("messages: expected 1 to {MOST_TURNS} messages");
        return Err(ApiError::field("messages", message));
    }
    let mut turns = Vec::with_capacity(all.len());
    for (at, message) in all.into_iter().enumerate() {
        let Value::Object(mut fields) = message else {
            return Err(bad(at, "an object with a role and a content"));
        };
        let role = match fields.get("role") {
            Some(Value::String(role)) => role.clone(),
            _ => return Err(bad(at, "a role such as \"user\"")),
        };
        // Newer clients call it so; templates do not.
        if role == "developer" {
            fields.insert("role".to_owned(), "system".into());
        }
        let content = match fields.remove("content") {
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => {
                let texts = parts.iter().map(|part| match part["type"].as_str() {
                    Some("text") => part["text"].as_str(),
                    _ => None,
                });
                let texts: Option<Vec<&str>> = texts.collect();
                texts
                    .ok_or_else(|| bad(at, "a content of text; this model reads nothing else"))?
                    .concat()
            }
            Some(Value::Null) | None if fields.contains_key("tool_calls") => String::new(),
            _ => return Err(bad(at, "a content, a text")),
        };
        fields.insert("content".to_owned(), content.into());
        if let Some(Value::Array(calls)) = fields.get_mut("tool_calls") {
            // Clients send arguments as text, templates want the object.
            for call in calls {
                if let Some(Value::String(text)) = call.pointer("/function/arguments")
                    && let Ok(object) = serde_json::from_str::<Value>(text)
                {
                    call["function"]["arguments"] = object;
                }
            }
        }
        turns.push(Value::Object(fields));
    }
    Ok(turns)
}

/// The tools that the model may call, and how it writes that it does.
fn tools(app: &App, fields: &mut Fields) -> ApiResult<(Option<Vec<Value>>, Option<Form>)> {
    fields.only("tool_choice", &["auto".into(), "none".into()])?;
    let tools = match fields.take("tools") {
        None => return Ok((None, None)),
        Some(Value::Array(tools)) if tools.is_empty() => return Ok((None, None)),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong("tools", "a list of tools", &other)),
    };
    for tool in &tools {
        if tool["type"] != "function" || !tool["function"]["name"].is_string() {
            let expected = "tools of the type \"function\" with a name";
            return Err(wrong("tools", expected, tool));
        }
    }
    let template = app.language()?.template.as_ref();
    match template.and_then(|template| Form::of(template.source())) {
        Some(form) => Ok((Some(tools), Some(form))),
        None => Err(ApiError::not_here(
            "this model's chat template knows no tools, or writes calls in a form that is not known here",
        )),
    }
}

/// What all chunks of an answer say, and what was held back of each choice.
struct Head {
    id: String,
    created: u64,
    model: String,
    form: Option<Form>,
    probabilities: bool,
    streams: Vec<Streamed>,
}

/// How far a streamed choice is.
#[derive(Clone, Debug, Default)]
struct Streamed {
    begun: bool,
    /// Text that may be a call of a tool.
    held: String,
}

impl Head {
    fn object(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    /// A whole choice.
    fn choice(&self, at: usize, text: Text) -> Value {
        let calls = self.form.and_then(|form| form.read(&text.text));
        let id = format!("{}-{at}", self.id);
        let (message, finish) = match calls {
            Some((said, calls)) => (
                json!({
                    "role": "assistant",
                    "content": (!said.is_empty()).then_some(said),
                    "tool_calls": values(&calls, &id),
                }),
                Some("tool_calls"),
            ),
            None => (
                json!({ "role": "assistant", "content": text.text }),
                text.finish.map(Finish::name),
            ),
        };
        json!({
            "index": at,
            "message": message,
            "logprobs": self.probabilities.then(|| probabilities(&text.tokens)),
            "finish_reason": finish,
        })
    }

    /// A chunk of one choice.
    fn chunk(&self, at: usize, delta: Value, logprobs: Value, finish: Option<&str>) -> Value {
        let choice = json!({
            "index": at,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish,
        });
        self.object("chat.completion.chunk", vec![choice])
    }
}

impl Chunks for Head {
    fn chunks(&mut self, event: Event, out: &mut Vec<Value>) {
        let at = event.choice;
        if !self.streams[at].begun {
            self.streams[at].begun = true;
            let delta = json!({ "role": "assistant", "content": "" });
            out.push(self.chunk(at, delta, Value::Null, None));
        }
        match event.what {
            What::Text { piece, tokens } => {
                let text = match self.form {
                    None => piece,
                    Some(form) => {
                        let held = &mut self.streams[at].held;
                        held.push_str(&piece);
                        let rest = held.split_off(form.certain(held, false));
                        std::mem::replace(held, rest)
                    }
                };
                let logprobs = match self.probabilities {
                    true => probabilities(&tokens),
                    false => Value::Null,
                };
                if !text.is_empty() || self.probabilities {
                    out.push(self.chunk(at, json!({ "content": text }), logprobs, None));
                }
            }
            What::End { finish } => {
                let held = std::mem::take(&mut self.streams[at].held);
                let calls = self.form.and_then(|form| form.read(&held));
                let (delta, reason) = match calls {
                    Some((_, calls)) => {
                        let id = format!("{}-{at}", self.id);
                        let delta = json!({ "tool_calls": values(&calls, &id) });
                        (Some(delta), "tool_calls")
                    }
                    None if held.is_empty() => (None, finish.name()),
                    None => (Some(json!({ "content": held })), finish.name()),
                };
                if let Some(delta) = delta {
                    out.push(self.chunk(at, delta, Value::Null, None));
                }
                out.push(self.chunk(at, json!({}), Value::Null, Some(reason)));
            }
            What::Begun { .. } | What::Failed { .. } => {}
        }
    }

    fn usage(&self, usage: Usage) -> Value {
        let mut value = self.object("chat.completion.chunk", Vec::new());
        value["usage"] = usage.value();
        value
    }
}

/// The form that this path has for probabilities.
fn probabilities(tokens: &[TokenText]) -> Value {
    let token = |text: &str, p: Option<f32>| json!({ "token": text, "logprob": p, "bytes": text.as_bytes() });
    let each = tokens.iter().map(|own| {
        let mut value = token(&own.text, own.log_probability);
        let best = own.alternatives.iter();
        value["top_logprobs"] = best.map(|(text, p)| token(text, Some(*p))).collect();
        value
    });
    json!({ "content": each.collect::<Vec<_>>() })
}
