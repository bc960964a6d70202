//! `tokens`

use cortical_io::printable;
use cortical_text::Tokenizer;
use serde_json::json;

use crate::cli_language::TokensArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;

/// `cortical tokens`
pub(crate) fn tokens(args: &TokensArgs, output: &Output) -> Result<Done> {
    super::exists(&args.model)?;
    let tokenizer = Tokenizer::open(&args.model)?;
    let Some(text) = &args.text else {
        let text = tokenizer.decode(&args.ids)?;
        output.result(&json!({ "ids": args.ids, "text": text }), |_| text.clone());
        return Ok(Done::Finished);
    };
    let ids = tokenizer.encode(text)?;
    let pieces: Vec<String> = ids
        .iter()
        .map(|id| tokenizer.piece(*id).unwrap_or_default())
        .collect();
    let value = json!({ "ids": ids, "pieces": pieces, "vocab_size": tokenizer.vocab_size() });
    output.remark(&format!(
        "{} tokens: {}",
        ids.len(),
        output.err.dim(&printable(&pieces.join(" "), usize::MAX))
    ));
    output.result(&value, |_| {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        ids.join(",")
    });
    Ok(Done::Finished)
}
