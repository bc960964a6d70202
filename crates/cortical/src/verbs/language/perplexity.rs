//! `perplexity`

use std::fs::File;
use std::io::Read;

use cortical_text::Tokenizer;
use serde_json::json;

use crate::cli_language::PerplexityArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::count;

/// `cortical perplexity`
pub(crate) fn perplexity(args: &PerplexityArgs, output: &Output) -> Result<Done> {
    super::exists(&args.file)?;
    let loaded = super::open(&args.model, output)?;
    let tokenizer = Tokenizer::open(&args.model.model)?;
    let limit = args.bytes.unwrap_or(1 << 30) as u64;
    let mut bytes = Vec::new();
    let read = File::open(&args.file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|why| Error::Input { why })?;
    // A character that the limit cuts is left out.
    let whole = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    let ids = tokenizer.encode(&String::from_utf8_lossy(&bytes[..whole]))?;
    let skip = args.skip.unwrap_or(args.window / 2);
    let result = cortical_text::perplexity(&loaded.model, &ids, args.window, skip)?;
    let value = json!({
        "perplexity": result.value(),
        "loss": result.loss,
        "tokens": ids.len(),
        "counted": result.tokens,
        "bytes": whole,
    });
    output.result(&value, |style| {
        format!(
            "  perplexity {} over {} of {} tokens ({:.4} nats a token)",
            style.bold(&format!("{:.4}", result.value())),
            count(result.tokens),
            count(ids.len()),
            result.loss
        )
    });
    Ok(Done::Finished)
}
