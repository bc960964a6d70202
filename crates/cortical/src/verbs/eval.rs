//! `eval`

use std::path::Path;

use candle_core::Device;
use cortical_data::csv::LabelColumn;
use cortical_train::{
    Evaluation, Measured, RunPaths, TaskKind, TextModel, TextScores, evaluate, evaluate_stopped,
    evaluate_text, in_pool,
};
use serde_json::{Map, Value, json};

use crate::cli::{Common, EvalArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::style::count;
use crate::verbs::load_model;
use crate::verbs::test_data::TestData;

/// `cortical eval`
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Done> {
    let evaluation = in_pool(common.threads, || evaluation(args, output))??;
    match evaluation {
        Found::Classes(found) => {
            let mut object = Map::new();
            object.insert("run".to_owned(), json!(args.run.display().to_string()));
            object.extend(scores::to_json(&found));
            output.result(&Value::Object(object), |style| {
                let details = scores::details(&found, style);
                format!("{details}\n{}", scores::headline(&found, style))
            });
        }
        Found::Text(found) => {
            let loss = found.as_ref().and_then(|found| found.loss);
            let perplexity = found.as_ref().and_then(TextScores::perplexity);
            let tokens = found.as_ref().map_or(0, |found| found.tokens);
            let value = json!({
                "run": args.run.display().to_string(),
                "test_loss": loss,
                "perplexity": perplexity,
                "tokens": tokens,
            });
            output.result(&value, |style| match (loss, perplexity) {
                (Some(loss), Some(perplexity)) => format!(
                    "loss {} nats a token, perplexity {perplexity:.2}, over {} tokens",
                    style.bold(&format!("{loss:.4}")),
                    count(tokens)
                ),
                _ => "the text is shorter than a block".to_owned(),
            });
        }
    }
    Ok(Done::Finished)
}

/// What an evaluation found.
enum Found {
    Classes(Evaluation),
    Text(Option<TextScores>),
}

fn evaluation(args: &EvalArgs, output: &Output) -> Result<Found> {
    let paths = RunPaths::new(&args.run);
    let is_own = args.data.is_none() && paths.is_run();
    if is_own && !args.changed_data {
        paths.check_data()?;
    }
    if is_own && paths.read_report()?.is_none() {
        return of_stopped(&paths, output);
    }
    if args.run.is_dir()
        && let Some(model) = TextModel::open(&args.run)?
    {
        return of_texts(&model, args).map(Found::Classes);
    }
    if paths.is_run() && paths.read_recipe()?.kind() == TaskKind::NextToken {
        return Ok(Found::Text(evaluate_text(&paths, args.data.as_deref())?));
    }
    let (model, run) = load_model(&args.run)?;
    let data = TestData {
        run: &args.run,
        data: args.data.as_deref(),
        label: args.label.as_deref(),
    };
    let (dataset, batch_size) = data.open(&model, run.as_ref(), output)?;
    let found = evaluate(model.network(), &dataset, batch_size, &Device::Cpu)?;
    Ok(Found::Classes(found))
}

/// How good the newest checkpoint of a run is that was stopped or is still being trained.
fn of_stopped(paths: &RunPaths, output: &Output) -> Result<Found> {
    let (step, found) = evaluate_stopped(paths)?;
    output.remark(&format!(
        "the run is not finished: this is its checkpoint of step {step}"
    ));
    match found {
        Some(Measured::Text(scores)) => Ok(Found::Text(Some(scores))),
        Some(Measured::Classes(found) | Measured::Texts { classes: found, .. }) => {
            Ok(Found::Classes(found))
        }
        _ => Ok(Found::Text(None)),
    }
}

/// How well a model recognises classes of texts: those that its run held out, or those of a table.
fn of_texts(model: &TextModel, args: &EvalArgs) -> Result<Evaluation> {
    let Some(data) = &args.data else {
        let found = model.evaluate_held_out(&args.run)?;
        return found.ok_or_else(|| Error::NoData {
            path: args.run.clone(),
        });
    };
    if !Path::new(data).exists() {
        return Err(Error::NotFound { path: data.into() });
    }
    let mut options = model.options();
    if let Some(label) = &args.label {
        options.label = LabelColumn::parse(label);
    }
    Ok(model.evaluate(Path::new(data), &options)?)
}
