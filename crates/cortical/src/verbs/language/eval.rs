//! `eval` of language models.

use std::path::Path;

use cortical_data::csv::LabelColumn;
use cortical_train::{RunPaths, TextModel, evaluate_language, in_pool};
use serde_json::{Map, json};

use crate::Done;
use crate::cli::{Common, EvalArgs};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::style::count;

/// `cortical eval`, if the run is one of a language model.
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Option<Done>> {
    if args.run.is_dir()
        && let Some(model) = TextModel::open(&args.run)?
    {
        return of_classes(&model, args, common, output).map(Some);
    }
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

/// How well a model tells classes of texts apart: those that its run held out, or those of a table.
fn of_classes(
    model: &TextModel,
    args: &EvalArgs,
    common: &Common,
    output: &Output,
) -> Result<Done> {
    let evaluation = in_pool(common.threads, || -> Result<_> {
        let Some(data) = &args.data else {
            let found = model.evaluate_held_out(&args.run)?;
            return found.ok_or_else(|| Error::NoData {
                path: args.run.clone(),
            });
        };
        let mut options = model.options();
        if let Some(label) = &args.label {
            options.label = LabelColumn::parse(label);
        }
        Ok(model.evaluate(Path::new(data), &options)?)
    })??;
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.extend(scores::to_json(&evaluation));
    output.result(&object.into(), |style| {
        let details = scores::details(&evaluation, style);
        format!("{details}\n{}", scores::headline(&evaluation, style))
    });
    Ok(Done::Finished)
}
