//! `eval`

use std::path::Path;

use candle_core::Device;
use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{Dataset, catalog, open_features};
use cortical_train::{
    Measure, Measured, Recipe, RunPaths, SampleRecipe, TaskKind, TextModel, TrainedModel, evaluate,
    evaluate_run, evaluate_text, in_pool,
};
use serde_json::{Map, Value, json};

use crate::cli::{Common, EvalArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::verbs::load_model;

/// Samples at a time where no recipe says how many.
const BATCH_SIZE: usize = 256;

/// `cortical eval`
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Done> {
    let (measure, found) = in_pool(common.threads, || evaluation(args, output))??;
    let found = found.as_ref();
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.extend(scores::to_json(measure, found));
    if !measure.is_share() {
        let tokens = found.map_or(0, |found| found.count);
        object.insert("tokens".to_owned(), json!(tokens));
    }
    output.result(&Value::Object(object), |style| {
        let headline = scores::headline(measure, found, style);
        match found.and_then(|found| found.classes.as_ref()) {
            Some(classes) => format!("{}\n{headline}", scores::details(classes, style)),
            None if found.is_none() && args.data.is_some() => {
                "the text is shorter than a block".to_owned()
            }
            None => headline,
        }
    });
    Ok(Done::Finished)
}

/// What is measured, and what was found; `None` where there is nothing to test on.
type Found = (Measure, Option<Measured>);

fn evaluation(args: &EvalArgs, output: &Output) -> Result<Found> {
    let paths = RunPaths::new(&args.run);
    let Some(data) = &args.data else {
        return of_run(&paths, args, output);
    };
    if args.run.is_dir()
        && let Some(model) = TextModel::open(&args.run)?
    {
        let mut options = model.options();
        if let Some(label) = &args.label {
            options.label = LabelColumn::parse(label);
        }
        let found = model.evaluate(Path::new(data), &options)?;
        return Ok((Measure::Accuracy, Some(found.into())));
    }
    let is_text = paths.is_run() && paths.read_recipe()?.kind() == TaskKind::NextToken;
    let is_known = catalog().iter().any(|entry| entry.name == data);
    if args.label.is_some() && (is_text || is_known || Path::new(data).is_dir()) {
        return Err(Error::NoTable { data: data.clone() });
    }
    if is_text {
        return Ok((Measure::Perplexity, evaluate_text(&paths, data)?));
    }
    let (model, run) = load_model(&args.run)?;
    let (dataset, batch_size) = dataset(args, &model, run.as_ref())?;
    let found = evaluate(model.network(), &dataset, batch_size, &Device::Cpu)?;
    Ok((Measure::Accuracy, Some(found.into())))
}

/// How good the model of a run is on what the run held out, as the training itself tests it.
fn of_run(paths: &RunPaths, args: &EvalArgs, output: &Output) -> Result<Found> {
    if !paths.is_run() {
        // What cannot be read at all is said first.
        if !args.run.is_dir() || TextModel::open(&args.run)?.is_none() {
            load_model(&args.run)?;
        }
        return Err(Error::NoData {
            path: args.run.clone(),
        });
    }
    if !args.changed_data {
        paths.check_data()?;
    }
    let (step, found) = evaluate_run(paths)?;
    if let Some(step) = step {
        output.remark(&format!(
            "the run is not finished: this is its checkpoint of step {step}"
        ));
    }
    Ok((paths.read_recipe()?.kind().measure(), found))
}

/// The samples to test on, preprocessed as the model's training data were, and how many at a time.
fn dataset(
    args: &EvalArgs,
    model: &TrainedModel,
    run: Option<&RunPaths>,
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
    if dataset.classes() != model.classes() {
        let list = |classes: &[String]| {
            let shown = classes
                .iter()
                .take(12)
                .map(String::as_str)
                .collect::<Vec<_>>();
            let more = if classes.len() > 12 { ", ..." } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        let error = cortical_train::Error::Classes {
            expected: list(model.classes()),
            found: list(dataset.classes()),
        };
        return Err(error.into());
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
        (None, Some(trained)) => trained.data.label.clone(),
        (None, None) => None,
    };
    if !is_known && path.is_file() {
        let options = CsvOptions {
            label,
            classes: Some(model.classes().to_vec()),
            ..CsvOptions::default()
        };
        let features = open_features(path, model.preprocess(), &options)?;
        let labels = features.labels.ok_or_else(|| Error::NoLabels {
            path: path.to_owned(),
        })?;
        return Ok(Dataset::new(
            features.inputs,
            labels,
            model.classes().to_vec(),
        )?);
    }
    let recipe = Recipe::for_data(name);
    let mut options = recipe.samples()?.options(&recipe.data);
    if path.is_dir() {
        // Pictures come in any size.
        options.input_shape = Some(model.preprocess().input_shape().to_vec());
    }
    let test = cortical_data::open(name, &options)?.test;
    if !is_known && test.classes().len() == model.classes().len() {
        // A folder of IDX files numbers its classes and does not name them.
        let labels = test.labels().to_vec();
        return Ok(Dataset::new(
            test.inputs().clone(),
            labels,
            model.classes().to_vec(),
        )?);
    }
    Ok(test)
}
