//! `eval`

use std::path::Path;

use candle_core::Device;
use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{Dataset, catalog, open_features};
use cortical_train::{Recipe, RunPaths, TrainedModel, evaluate, in_pool};
use serde_json::{Map, Value, json};

use crate::Done;
use crate::cli::{Common, EvalArgs};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::verbs::load_model;

/// Samples at a time where no recipe says how many.
const BATCH_SIZE: usize = 256;

/// `cortical eval`
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Done> {
    if let Some(done) = super::language::eval::eval(args, common, output)? {
        return Ok(done);
    }
    let evaluation = in_pool(common.threads, || -> Result<_> {
        let (model, run) = load_model(&args.run)?;
        let (dataset, batch_size) = dataset(args, &model, run.as_ref())?;
        Ok(evaluate(
            model.network(),
            &dataset,
            batch_size,
            &Device::Cpu,
        )?)
    })??;
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.extend(scores::to_json(&evaluation));
    output.result(&Value::Object(object), |style| {
        let details = scores::details(&evaluation, style);
        format!("{details}\n{}", scores::headline(&evaluation, style))
    });
    Ok(Done::Finished)
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
    let batch_size = recipe
        .as_ref()
        .map_or(BATCH_SIZE, |recipe| recipe.train.eval_batch_size);
    let dataset = match (&args.data, recipe) {
        (None, Some(recipe)) => recipe.data.open()?.test,
        (None, None) => {
            return Err(Error::NoData {
                path: args.run.clone(),
            });
        }
        (Some(name), recipe) => named(name, args, model, recipe)?,
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
    recipe: Option<Recipe>,
) -> Result<Dataset> {
    let path = Path::new(name);
    let is_known = catalog().iter().any(|entry| entry.name == name);
    let label = match (&args.label, recipe) {
        (Some(label), _) => Some(LabelColumn::parse(label)),
        (None, Some(recipe)) => recipe.data.label,
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
    let mut data = Recipe::for_data(name).data;
    if path.is_dir() {
        // Pictures come in any size.
        data.input_shape = Some(model.preprocess().input_shape().to_vec());
    }
    let test = data.open()?.test;
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
