//! `eval` of language models.

use cortical_train::{RunPaths, evaluate_language, in_pool};
use serde_json::json;

use crate::Done;
use crate::cli::{Common, EvalArgs};
use crate::error::Result;
use crate::output::Output;
use crate::style::count;

/// `cortical eval`, if the run is one of a language model.
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Option<Done>> {
    let paths = RunPaths::new(&args.run);
    if !paths.is_run() || paths.read_language_recipe()?.is_none() {
        return Ok(None);
    }
    let found = in_pool(common.threads, || {
        evaluate_language(&paths, args.data.as_deref())
    })??;
    let value = json!({
        "run": args.run.display().to_string(),
        "test_loss": found.map(|found| found.loss),
        "perplexity": found.map(|found| found.perplexity()),
        "tokens": found.map_or(0, |found| found.tokens),
    });
    output.result(&value, |style| match found {
        Some(found) => format!(
            "loss {} nats a token, perplexity {:.2}, over {} tokens",
            style.bold(&format!("{:.4}", found.loss)),
            found.perplexity(),
            count(found.tokens)
        ),
        None => "the text is shorter than a block".to_owned(),
    });
    Ok(Some(Done::Finished))
}
