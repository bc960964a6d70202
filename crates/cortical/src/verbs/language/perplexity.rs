//! `perplexity`

use std::fs::File;
use std::io::Read;

use cortical_text::check_length;
use serde_json::json;

use crate::cli_language::PerplexityArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::count;

/// `cortical perplexity`
pub(crate) fn perplexity(args: &PerplexityArgs, output: &Output) -> Result<Done> {
    super::exists(&args.file)?;
    let (loaded, tokenizer) = super::open_with_tokenizer(&args.model, output)?;
    let text = read(args)?;
    let ids = tokenizer.encode(&text)?;
    let window = match args.window {
        Some(window) => window,
        None => loaded.model.config().max_positions().min(512),
    };
    let read = window.min(ids.len());
    check_length(&loaded.model, read, args.model.beyond_context)?;
    // Half of a window is context; half of the text, where that is shorter.
    let skip = args.skip.unwrap_or(read / 2);
    let result = cortical_text::perplexity(&loaded.model, &ids, window, skip);
    let result = result.map_err(|why| Error::OfText {
        path: args.file.clone(),
        why,
    })?;
    let value = json!({
        "perplexity": result.value(),
        "loss": result.loss,
        "tokens": ids.len(),
        "counted": result.tokens,
        "bytes": text.len(),
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

/// The text, or as much of it as is asked for: a character that is cut there is left out.
fn read(args: &PerplexityArgs) -> Result<String> {
    let failed = |why| Error::File {
        path: args.file.clone(),
        why,
    };
    // Before it is opened, as opening a pipe waits for somebody who writes, and a device may never end.
    if !std::fs::metadata(&args.file).map_err(failed)?.is_file() {
        let path = args.file.clone();
        return Err(cortical_io::Error::NotAFile { path }.into());
    }
    let limit = args.bytes.unwrap_or(1 << 30) as u64;
    let mut file = File::open(&args.file).map_err(failed)?;
    let mut bytes = Vec::new();
    let read = (&mut file).take(limit).read_to_end(&mut bytes);
    read.map_err(failed)?;
    let is_cut = file.read(&mut [0]).map_err(failed)? > 0;
    if is_cut
        && let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    Ok(cortical_io::as_text(&args.file, &bytes)?.to_owned())
}
