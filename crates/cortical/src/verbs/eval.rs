//! `eval`

use std::path::Path;

use candle_core::Device;
use cortical_data::csv::LabelColumn;
use cortical_train::{
    Measure, Measured, Outputs, RunPaths, TaskKind, TextModel, evaluate, evaluate_labels,
    evaluate_numbers, evaluate_run, evaluate_text, in_pool,
};
use serde_json::{Map, Value, json};

use crate::cli::{Common, EvalArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::scores;
use crate::verbs::load_model;
use crate::verbs::test_data::TestData;

/// `cortical eval`
pub(crate) fn eval(args: &EvalArgs, common: &Common, output: &Output) -> Result<Done> {
    let (measure, found) = in_pool(common.threads, || evaluation(args, output))??;
    let found = found.as_ref();
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.extend(scores::to_json(measure, found));
    if measure == Measure::Perplexity {
        let tokens = found.map_or(0, |found| found.count);
        object.insert("tokens".to_owned(), json!(tokens));
    }
    output.result(&Value::Object(object), |style| {
        let headline = scores::headline(measure, found, style);
        if let Some(labels) = found.and_then(|found| found.labels.as_ref()) {
            return format!("{}\n{headline}", scores::label_details(labels, style));
        }
        let numbers = found.and_then(|found| found.numbers.as_ref());
        if let Some(targets) = numbers.and_then(|found| scores::target_details(found, style)) {
            return format!("{targets}\n{headline}");
        }
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
        if !Path::new(data).exists() {
            return Err(Error::NotFound { path: data.into() });
        }
        let mut options = model.options();
        if let Some(label) = &args.label {
            options.label = LabelColumn::parse(label);
        }
        let found = model.evaluate(Path::new(data), &options)?;
        return Ok((Measure::Accuracy, Some(found.into())));
    }
    let is_text = paths.is_run() && paths.read_recipe()?.kind() == TaskKind::NextToken;
    if is_text {
        if args.label.is_some() {
            return Err(Error::NoTable { data: data.clone() });
        }
        return Ok((Measure::Perplexity, evaluate_text(&paths, data)?));
    }
    let (model, run) = load_model(&args.run)?;
    let data = TestData {
        run: &args.run,
        data: args.data.as_deref(),
        label: args.label.as_deref(),
    };
    let (dataset, batch_size) = data.open(&model, run.as_ref(), output)?;
    if let Outputs::Labels(labels) = model.outputs() {
        let all = (batch_size, 0);
        let found = evaluate_labels(model.network(), &dataset, labels, all, &Device::Cpu)?;
        return Ok((Measure::AveragePrecision, Some(found.into())));
    }
    if let Outputs::Numbers(numbers) = model.outputs() {
        let all = (batch_size, 0);
        let found = evaluate_numbers(model.network(), &dataset, numbers, all, &Device::Cpu)?;
        return Ok((Measure::R2, Some(found.into())));
    }
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
