//! The verbs for language models.

pub(crate) mod chat;
pub(crate) mod generate;
pub(crate) mod logits;
pub(crate) mod merge;
pub(crate) mod perplexity;
mod prompts;
pub(crate) mod tokens;

use std::path::Path;
use std::time::{Duration, Instant};

use cortical_models::language::{self, LoadOptions, Loaded};
use cortical_text::Tokenizer;
use serde_json::{Value, json};

use crate::cli_language::ModelArgs;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{bytes, count, duration};

/// Opens a model with its tokenizer and says what it is. The tokenizer comes first: reading it takes memory for a
/// moment, which the weights take next.
fn open_with_tokenizer(args: &ModelArgs, output: &Output) -> Result<(Loaded, Tokenizer)> {
    let tokenizer = Tokenizer::open(&args.model);
    // What is wrong with the model is told before what is wrong with its tokenizer.
    let loaded = open(args, output)?;
    Ok((loaded, tokenizer?))
}

/// Opens a model and says what it is.
fn open(args: &ModelArgs, output: &Output) -> Result<Loaded> {
    exists(&args.model)?;
    if language::read_classes(&args.model)?.is_some() {
        return Err(Error::PredictsClasses {
            path: args.model.clone(),
        });
    }
    let began = Instant::now();
    let options = LoadOptions {
        weights: args.weights(),
        ..Default::default()
    };
    let loaded = language::open(&args.model, &options)?;
    let config = loaded.model.config();
    let parameters = config.parameters().unwrap_or(usize::MAX);
    output.remark(&format!(
        "{} with {} parameters, {} on the disk, opened in {}",
        output.err.bold(config.model_type()),
        count(parameters),
        bytes(loaded.stored_bytes),
        duration(began.elapsed().as_secs_f64()),
    ));
    Ok(loaded)
}

fn exists(path: &Path) -> Result<()> {
    match path.exists() {
        true => Ok(()),
        false => Err(Error::NotFound {
            path: path.to_owned(),
        }),
    }
}

/// That all numbers that a person gives are tokens of the model.
fn check_ids(ids: &[u32], loaded: &Loaded) -> Result<()> {
    let size = loaded.model.config().vocab_size();
    match ids.iter().find(|id| **id as usize >= size) {
        Some(&found) => Err(Error::NoToken {
            found,
            last: size.saturating_sub(1),
        }),
        None => Ok(()),
    }
}

/// Refuses keys and values that this machine has no memory for.
pub(crate) fn check_memory(needed: Option<usize>, mend: &'static str) -> Result<()> {
    let taken = cortical_io::resident_memory().unwrap_or(0);
    let available = cortical_io::machine_memory().map(|whole| whole.saturating_sub(taken));
    match (needed.map(|needed| needed as u64), available) {
        (Some(needed), Some(available)) if needed > available => Err(Error::ShortMemory {
            needed: bytes(needed),
            available: bytes(available),
            mend,
        }),
        (None, _) => Err(Error::ShortMemory {
            needed: "more bytes than can be counted".to_owned(),
            available: available.map_or("less".to_owned(), bytes),
            mend,
        }),
        _ => Ok(()),
    }
}

/// Tokens a second; `None` where there was nothing to measure.
fn rate((tokens, time): (usize, Duration)) -> Option<f64> {
    let seconds = time.as_secs_f64();
    (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
}

/// Speeds for machines.
fn speeds(prompt: (usize, Duration), written: (usize, Duration)) -> Value {
    let rounded = |rate: Option<f64>| rate.map(|rate| (rate * 100.0).round() / 100.0);
    json!({ "prompt_per_second": rounded(rate(prompt)), "tokens_per_second": rounded(rate(written)) })
}

/// Speeds for people.
fn speeds_text(prompt: (usize, Duration), written: (usize, Duration)) -> String {
    let text = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    format!(
        "{} tokens read at {} a second, {} written at {} a second",
        count(prompt.0),
        text(rate(prompt)),
        count(written.0),
        text(rate(written))
    )
}
