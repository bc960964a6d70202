//! `predict`

use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::open_features;
use cortical_train::in_pool;
use serde_json::{Map, Value, json};

use crate::Done;
use crate::cli::{Common, PredictArgs};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{count, percent};
use crate::table::{Align, Table};
use crate::verbs::load_model;

/// Samples at a time.
const BATCH_SIZE: usize = 256;

/// `cortical predict`
pub(crate) fn predict(args: &PredictArgs, common: &Common, output: &Output) -> Result<Done> {
    let (predictions, features, classes) = in_pool(common.threads, || -> Result<_> {
        let (model, _) = load_model(&args.run)?;
        if !args.file.exists() {
            return Err(Error::NotFound {
                path: args.file.clone(),
            });
        }
        let options = CsvOptions {
            label: args.label.as_deref().map(LabelColumn::parse),
            classes: Some(model.classes().to_vec()),
            ..CsvOptions::default()
        };
        let features = open_features(&args.file, model.preprocess(), &options)?;
        let predictions = model.predict(&features.inputs, BATCH_SIZE)?;
        Ok((predictions, features, model.classes().to_vec()))
    })??;

    let accuracy = features.labels.as_ref().map(|labels| {
        let pairs = labels.iter().zip(&predictions);
        let right = pairs
            .filter(|(label, p)| **label as usize == p.class)
            .count();
        (right, right as f64 / predictions.len().max(1) as f64)
    });
    // Pictures are known by their files, other samples by their places.
    let file = |row: usize| {
        features
            .files
            .get(row)
            .map(|file| file.display().to_string())
    };
    let rows: Vec<Value> = predictions
        .iter()
        .enumerate()
        .map(|(row, p)| {
            let mut object = json!({ "label": classes[p.class], "probability": p.probability });
            if let Some(file) = file(row) {
                object["file"] = file.into();
            }
            object
        })
        .collect();
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.insert("predictions".to_owned(), Value::Array(rows));
    if let Some((_, accuracy)) = accuracy {
        object.insert("accuracy".to_owned(), json!(accuracy));
    }
    output.result(&Value::Object(object), |style| {
        let sample = match features.files.is_empty() {
            true => ("row", Align::Right),
            false => ("file", Align::Left),
        };
        let mut table = Table::new(&[
            sample,
            ("label", Align::Left),
            ("probability", Align::Right),
        ]);
        for (row, p) in predictions.iter().enumerate() {
            let probability = format!("{:.4}", p.probability);
            table.row(vec![
                file(row).unwrap_or_else(|| (row + 1).to_string()),
                classes[p.class].clone(),
                probability,
            ]);
        }
        table.render(style)
    });
    if let Some((right, accuracy)) = accuracy {
        let (right, all) = (count(right), count(predictions.len()));
        output.remark(&format!(
            "the file has labels: {right} of {all} are right, {}",
            percent(accuracy)
        ));
    }
    Ok(Done::Finished)
}
