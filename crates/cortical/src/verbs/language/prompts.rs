//! `generate --prompts`: many prompts, some of which the model goes on with together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use cortical_models::language::Loaded;
use cortical_text::{
    Batch, Progress, Request, Sampler, Stop, TextId, TextPieces, TextStreamOptions, Tokenizer,
    check_length,
};
use serde_json::{Map, Value, json};

use crate::cli::Common;
use crate::cli_language::GenerateArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{bytes, count};

/// The largest file of prompts.
const MAX_BYTES: u64 = 1 << 30;
/// The fields of a line.
const FIELDS: [&str; 5] = ["prompt", "ids", "id", "seed", "max_tokens"];

/// A line of the file.
struct Prompt {
    /// Its number.
    line: usize,
    /// Its name, where it has one.
    id: Option<Value>,
    text: Option<String>,
    ids: Vec<u32>,
    seed: u64,
    limit: usize,
}

impl Prompt {
    /// The positions that it may take.
    fn room(&self, loaded: &Loaded, beyond: bool) -> usize {
        let wanted = self.ids.len().saturating_add(self.limit);
        match beyond {
            true => wanted,
            false => wanted.min(loaded.model.config().max_positions()),
        }
    }
}

/// What becomes of one prompt.
struct Writing<'a> {
    /// Which one.
    at: usize,
    pieces: TextPieces<'a>,
    text: String,
    tokens: Vec<u32>,
}

/// Goes on with every prompt of the file, and prints a line of JSON for each, in their order.
pub(super) fn prompts(
    args: &GenerateArgs,
    path: &Path,
    loaded: &Loaded,
    tokenizer: &Tokenizer,
    common: &Common,
    output: &Output,
) -> Result<Done> {
    let prompts = read(args, path, loaded, tokenizer, common.seed.unwrap_or(0))?;
    let beyond = args.model.beyond_context;
    let room = |prompt: &Prompt| prompt.room(loaded, beyond);
    let mut rooms: Vec<usize> = prompts.iter().map(room).collect();
    rooms.sort_unstable_by(|a, b| b.cmp(a));
    let most = rooms.iter().take(args.together);
    let positions = most.fold(0_usize, |sum, room| sum.saturating_add(*room));
    let memory = loaded.model.config().cache_bytes(positions);
    output.remark(&format!(
        "{} prompts, {} at a time; keys and values take up to {}",
        count(prompts.len()),
        args.together.min(prompts.len()),
        memory.map_or("more than can be counted".to_owned(), |n| bytes(n as u64)),
    ));
    super::check_memory(memory, "a smaller --together or fewer --max-tokens")?;

    let began = Instant::now();
    let mut batch = Batch::new(&loaded.model);
    let mut waiting = prompts.iter().enumerate();
    let mut writing: BTreeMap<TextId, Writing<'_>> = BTreeMap::new();
    let mut done: BTreeMap<usize, Value> = BTreeMap::new();
    let (mut next, mut written, mut read) = (0, 0, 0);
    loop {
        while batch.len() < args.together
            && let Some((at, prompt)) = waiting.next()
        {
            let sampler = Sampler::new(args.sampling.sampling(), prompt.seed)?;
            let request = Request {
                cache: loaded.model.cache_with_room(room(prompt)),
                limit: prompt.limit,
                ends: tokenizer.eos().to_vec(),
                beyond_context: beyond,
                lookup: !args.no_lookup,
                ..Request::new(&loaded.model, &prompt.ids, sampler)
            };
            let options = TextStreamOptions {
                stop: args.sampling.stop.clone(),
            };
            read += prompt.ids.len();
            let of = Writing {
                at,
                pieces: TextPieces::new(tokenizer, &prompt.ids, options)?,
                text: String::new(),
                tokens: Vec::new(),
            };
            writing.insert(batch.join(request)?, of);
        }
        if batch.is_empty() {
            break;
        }
        for progress in batch.step()? {
            let Some(text) = writing.get_mut(&progress.text) else {
                continue;
            };
            if let Some(stop) = text.take(&progress)? {
                let tokens = text.tokens.len();
                written += tokens;
                done.insert(text.at, result(&prompts[text.at], text, stop));
                writing.remove(&progress.text);
                batch.leave(progress.text);
            }
        }
        while let Some(value) = done.remove(&next) {
            next += 1;
            if !output.json_line(&value) {
                return Ok(Done::Finished);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    output.remark(&output.err.dim(&format!(
        "{} tokens read and {} written in {seconds:.2} s, {:.1} a second",
        count(read),
        count(written),
        written as f64 / seconds.max(1e-9),
    )));
    Ok(Done::Finished)
}

impl Writing<'_> {
    /// Takes what a step wrote; why it ended, once it has.
    fn take(&mut self, progress: &Progress) -> Result<Option<&'static str>> {
        for token in &progress.written {
            self.tokens.push(token.token);
            self.text += &self.pieces.push(token.token)?;
            if self.pieces.is_stopped() {
                return Ok(Some(Stop::Text.name()));
            }
        }
        let stop = match &progress.end {
            None => return Ok(None),
            Some(Ok(stop)) => *stop,
            // The sampler's, for scores that are not numbers.
            Some(Err(_)) => return Err(cortical_text::Error::Scores.into()),
        };
        self.text += &self.pieces.end()?;
        Ok(Some(match self.pieces.is_stopped() {
            true => Stop::Text.name(),
            false => stop.name(),
        }))
    }
}

/// The line for a prompt that is done.
fn result(prompt: &Prompt, text: &Writing<'_>, stop: &str) -> Value {
    let mut value = json!({
        "line": prompt.line,
        "prompt": prompt.text,
        "prompt_tokens": prompt.ids.len(),
        "text": text.text,
        "ids": text.tokens,
        "tokens": text.tokens.len(),
        "stop": stop,
        "seed": prompt.seed,
    });
    if let Some(id) = &prompt.id {
        value["id"] = id.clone();
    }
    value
}

fn read(
    args: &GenerateArgs,
    path: &Path,
    loaded: &Loaded,
    tokenizer: &Tokenizer,
    seed: u64,
) -> Result<Vec<Prompt>> {
    super::exists(path)?;
    let text = cortical_io::read_text(path, MAX_BYTES)?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let limit = args.sampling.max_tokens;
            let prompt = parse(line, seed, limit).map_err(|why| Error::Prompt {
                path: path.to_owned(),
                line: at + 1,
                why,
            })?;
            let failed = |why| Error::PromptText {
                path: path.to_owned(),
                line: at + 1,
                why,
            };
            let ids = match &prompt.text {
                Some(text) => tokenizer.encode(text).map_err(failed)?,
                None => prompt.ids,
            };
            super::check_ids(&ids, loaded)?;
            if ids.is_empty() {
                return Err(failed(cortical_text::Error::EmptyPrompt));
            }
            let beyond = args.model.beyond_context;
            check_length(&loaded.model, ids.len(), beyond).map_err(failed)?;
            Ok(Prompt {
                line: at + 1,
                ids,
                ..prompt
            })
        })
        .collect()
}

/// A line: an object, or the prompt itself as a JSON string.
fn parse(line: &str, seed: u64, limit: usize) -> std::result::Result<Prompt, String> {
    let value: Value = serde_json::from_str(line).map_err(|why| why.to_string())?;
    let plain = |text: Option<String>, ids| Prompt {
        line: 0,
        id: None,
        text,
        ids,
        seed,
        limit,
    };
    let object: Map<String, Value> = match value {
        Value::String(text) => return Ok(plain(Some(text), Vec::new())),
        Value::Object(object) => object,
        other => return Err(format!("expected an object with a prompt, found {other}")),
    };
    if let Some(found) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!(
            "found the field {found:?}; known are {}",
            FIELDS.join(", ")
        ));
    }
    let number = |name: &str, default: u64| match object.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| format!("{name}: expected a whole number, found {value}")),
    };
    let wrong_ids = || "ids: expected a list of tokens by their numbers".to_owned();
    let id_of = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(wrong_ids)
    };
    let (text, ids) = match (object.get("prompt"), object.get("ids")) {
        (Some(Value::String(text)), None) => (Some(text.clone()), Vec::new()),
        (None, Some(Value::Array(ids))) => (None, ids.iter().map(id_of).collect::<Result<_, _>>()?),
        (None, Some(_)) => return Err(wrong_ids()),
        (Some(_), Some(_)) => return Err("expected either prompt or ids, found both".to_owned()),
        (found, None) => {
            return Err(match found {
                Some(other) => format!("prompt: expected a text, found {other}"),
                None => "expected the field prompt, a text, or ids".to_owned(),
            });
        }
    };
    Ok(Prompt {
        id: object.get("id").cloned(),
        seed: number("seed", seed)?,
        limit: usize::try_from(number("max_tokens", limit as u64)?).unwrap_or(usize::MAX),
        ..plain(text, ids)
    })
}
