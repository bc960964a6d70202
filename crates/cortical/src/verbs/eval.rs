//! `eval`

use std::path::Path;

use candle_core::Device;
use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{CsvDefect, Dataset, Place, catalog, open_features};
use cortical_train::{
    Evaluation, Measured, Recipe, RunPaths, SampleRecipe, TaskKind, TextModel, TextScores,
    TrainedModel, evaluate, evaluate_stopped, evaluate_text, in_pool,
};
use serde_json::{Map, Value, json};

use crate::cli::{Common, EvalArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::style::count;
use crate::verbs::load_model;

/// Samples at a time where no recipe says how many.
const BATCH_SIZE: usize = 256;

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
    let (dataset, batch_size) = dataset(args, &model, run.as_ref(), output)?;
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
    let mut options = model.options();
    if let Some(label) = &args.label {
        options.label = LabelColumn::parse(label);
    }
    Ok(model.evaluate(Path::new(data), &options)?)
}

/// The samples to test on, preprocessed as the model's training data were, and how many at a time.
fn dataset(
    args: &EvalArgs,
    model: &TrainedModel,
    run: Option<&RunPaths>,
    output: &Output,
) -> Result<(Dataset, usize)> {
    let recipe = match run {
        Some(run) if run.is_run() => Some(run.read_recipe()?),
        _ => None,
    };
    let samples = recipe.as_ref().map(Recipe::samples).transpose()?;
    let batch_size = samples.map_or(BATCH_SIZE, |samples| samples.train.eval_batch_size);
    let dataset = match (&args.data, &recipe) {
        (None, Some(recipe)) => recipe.open_samples(model.preprocess().columns())?.test,
        (None, None) => {
            return Err(Error::NoData {
                path: args.run.clone(),
            });
        }
        (Some(name), _) => named(name, args, model, samples)?,
    };
    let dataset = dataset.in_classes(model.classes())?;
    for note in &dataset.about().notes {
        output.remark(note);
    }
    let shape = model.preprocess().input_shape();
    if dataset.input_shape() != shape {
        let error = cortical_train::Error::SampleShape {
            expected: shape.to_vec(),
            found: dataset.input_shape().to_vec(),
        };
        return Err(error.into());
    }
    Ok((dataset.preprocessed(model.preprocess())?, batch_size))
}

/// Data that the person names: every row of a CSV file, the test part of anything else.
fn named(
    name: &str,
    args: &EvalArgs,
    model: &TrainedModel,
    trained: Option<&SampleRecipe>,
) -> Result<Dataset> {
    let path = Path::new(name);
    let is_known = catalog().iter().any(|entry| entry.name == name);
    let label = match (&args.label, trained) {
        (Some(label), _) => Some(LabelColumn::parse(label)),
        // Models of older versions do not keep the columns of their table.
        (None, Some(trained)) if model.preprocess().columns().is_empty() => {
            trained.data.label.clone()
        }
        (None, _) => None,
    };
    if !is_known && path.is_file() {
        let options = CsvOptions {
            label,
            classes: Some(model.classes().to_vec()),
            ..CsvOptions::default()
        };
        let features = open_features(path, model.preprocess(), &options)?;
        let labels: Option<Vec<u32>> = features.labels.and_then(|all| all.into_iter().collect());
        let labels = labels.ok_or_else(|| Error::NoLabels {
            path: path.to_owned(),
        })?;
        return Ok(Dataset::new(
            features.inputs,
            labels,
            model.classes().to_vec(),
        )?);
    }
    if let Some(label) = &args.label {
        return Err(no_columns(path, label));
    }
    let recipe = Recipe::for_data(name);
    let mut options = recipe.samples()?.options(&recipe.data);
    if path.is_dir() {
        // Pictures come in any size.
        options.input_shape = Some(model.preprocess().input_shape().to_vec());
    }
    Ok(cortical_data::open(name, &options)?.test)
}

/// The error for a label column of what has none.
fn no_columns(path: &Path, label: &str) -> Error {
    let defect = CsvDefect::NoColumn {
        what: "label column",
        expected: format!("{label:?}"),
        found: "data without columns; leave --label out".to_owned(),
    };
    cortical_data::Error::Csv {
        path: path.to_owned(),
        place: Place::File,
        defect: Box::new(defect),
    }
    .into()
}
