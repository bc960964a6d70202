//! `predict`

mod labels;
mod numbers;
mod out;

use std::path::Path;

use cortical_data::csv::{CsvOptions, LabelColumn, read_texts};
use cortical_data::open_features;
use cortical_train::{Outputs, Prediction, TextModel, in_pool};
use serde_json::{Map, Value, json};

use crate::cli::{Common, PredictArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{count, percent};
use crate::table::{Align, Table};
use crate::verbs::{load_model, one_line};
use out::Rows;

/// Samples at a time.
const BATCH_SIZE: usize = 256;

/// `cortical predict`
pub(crate) fn predict(args: &PredictArgs, common: &Common, output: &Output) -> Result<Done> {
    if let Some(out) = &args.out {
        out::is_lines(out)?;
    }
    if args.run.is_dir()
        && let Some(model) = TextModel::open(&args.run)?
    {
        let found = in_pool(common.threads, || of_texts(&model, args))??;
        let rows = Rows::of_texts(&found.samples);
        write(args, &found, rows)?;
        show(args, found, output);
        return Ok(Done::Finished);
    }
    let found = in_pool(common.threads, || -> Result<_> {
        let (model, _) = load_model(&args.run)?;
        exists(&args.file)?;
        if let Outputs::Labels(outputs) = model.outputs() {
            return labels::predict(args, &model, outputs, output);
        }
        if let Outputs::Numbers(outputs) = model.outputs() {
            return numbers::predict(args, &model, outputs, output);
        }
        let options = CsvOptions {
            label: args.label.as_deref().map(LabelColumn::parse),
            classes: Some(model.classes().to_vec()),
            may_lack_labels: true,
            ..CsvOptions::default()
        };
        let features = open_features(&args.file, model.preprocess(), &options)?;
        let predictions = model.predict(&features.inputs, BATCH_SIZE)?;
        for note in &features.about.notes {
            output.remark(note);
        }
        let rows = args
            .out
            .as_ref()
            .map(|_| Rows::of(args, &features))
            .transpose()?;
        let files = features.files.iter();
        let found = Found {
            predictions,
            labels: features.labels,
            samples: files.map(|file| file.display().to_string()).collect(),
            kind: "file",
            classes: model.classes().to_vec(),
        };
        if let Some(rows) = rows {
            write(args, &found, rows)?;
        }
        show(args, found, output);
        Ok(())
    });
    found??;
    Ok(Done::Finished)
}

/// What was predicted of which samples.
struct Found {
    predictions: Vec<Prediction>,
    /// The classes that the file says; `None` for a label that is no class of the model.
    labels: Option<Vec<Option<u32>>>,
    /// What a person knows the samples by; empty where that is their place.
    samples: Vec<String>,
    /// What that is.
    kind: &'static str,
    classes: Vec<String>,
}

/// Classes of the texts of a table, or of the lines of a text file.
fn of_texts(model: &TextModel, args: &PredictArgs) -> Result<Found> {
    exists(&args.file)?;
    let mut options = model.options();
    if let Some(label) = &args.label {
        options.label = LabelColumn::parse(label);
    }
    options.may_lack_labels = true;
    let read = read_texts(&args.file, &options)?;
    if let (Some(label), None) = (&args.label, &read.labels) {
        return Err(Error::NoSuchLabel {
            path: args.file.clone(),
            label: label.clone(),
        });
    }
    Ok(Found {
        predictions: model.predict(&read.texts)?,
        labels: read.labels,
        samples: read.texts,
        kind: "text",
        classes: read.classes,
    })
}

/// Writes what was predicted beside what is known of each sample, where that is asked for.
fn write(args: &PredictArgs, found: &Found, mut rows: Rows) -> Result<()> {
    let Some(out) = &args.out else {
        return Ok(());
    };
    let all = || found.predictions.iter();
    rows.column("prediction", all().map(|p| json!(found.classes[p.class])));
    rows.column("probability", all().map(|p| json!(p.probability)));
    for (class, name) in found.classes.iter().enumerate() {
        let shares = all().map(|p| json!(p.probabilities[class]));
        rows.column(&format!("probability of {name}"), shares);
    }
    rows.write(out, args)
}

fn exists(path: &Path) -> Result<()> {
    match path.exists() {
        true => Ok(()),
        false => Err(Error::NotFound {
            path: path.to_owned(),
        }),
    }
}

fn show(args: &PredictArgs, found: Found, output: &Output) {
    let Found {
        predictions,
        classes,
        samples,
        kind,
        ..
    } = &found;
    let score = found
        .labels
        .as_ref()
        .map(|labels| Score::of(labels, predictions));
    let rows: Vec<Value> = predictions
        .iter()
        .enumerate()
        .map(|(row, p)| {
            let mut object = json!({ "label": classes[p.class], "probability": p.probability });
            if let Some(sample) = samples.get(row) {
                object[*kind] = sample.as_str().into();
            }
            object
        })
        .collect();
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.insert("predictions".to_owned(), Value::Array(rows));
    if let Some(accuracy) = score.as_ref().and_then(Score::accuracy) {
        object.insert("accuracy".to_owned(), json!(accuracy));
    }
    output.result(&Value::Object(object), |style| {
        let sample = match samples.is_empty() {
            true => ("row", Align::Right),
            false => (*kind, Align::Left),
        };
        let mut table = Table::new(&[
            sample,
            ("label", Align::Left),
            ("probability", Align::Right),
        ]);
        for (row, p) in predictions.iter().enumerate() {
            let sample = match (samples.get(row), *kind) {
                (Some(text), "text") => one_line(text),
                (Some(file), _) => file.clone(),
                (None, _) => (row + 1).to_string(),
            };
            let probability = format!("{:.4}", p.probability);
            table.row(vec![sample, classes[p.class].clone(), probability]);
        }
        table.render(style)
    });
    if let Some(score) = score {
        output.remark(&score.in_words());
    }
}

/// How many predictions are what the file says.
struct Score {
    right: usize,
    /// Rows whose label is a class of the model.
    known: usize,
    all: usize,
}

impl Score {
    fn of(labels: &[Option<u32>], predictions: &[Prediction]) -> Self {
        let pairs = labels.iter().zip(predictions);
        let right = pairs.filter(|(label, p)| label.is_some_and(|label| label as usize == p.class));
        Self {
            right: right.count(),
            known: labels.iter().flatten().count(),
            all: labels.len(),
        }
    }

    fn accuracy(&self) -> Option<f64> {
        (self.known > 0).then(|| self.right as f64 / self.known as f64)
    }

    fn in_words(&self) -> String {
        let other = self.all - self.known;
        let Some(accuracy) = self.accuracy() else {
            return "the file has a label column, but no label that the model knows".to_owned();
        };
        let (right, known) = (count(self.right), count(self.known));
        let mut text = format!(
            "the file has labels: {right} of {known} are right, {}",
            percent(accuracy)
        );
        if other > 0 {
            text += &format!("; {} have none that the model knows", count(other));
        }
        text
    }
}
