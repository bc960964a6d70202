//! Numbers that a network predicts, in the unit of the data.

use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::open_features;
use cortical_train::{Measure, NumberOutputs, NumberPrediction, NumberScores, TrainedModel};
use serde_json::{Map, Value, json};

use super::BATCH_SIZE;
use super::out::Rows;
use crate::cli::PredictArgs;
use crate::error::Result;
use crate::output::Output;
use crate::style::{Style, count, number};
use crate::table::{Align, Table};

/// Predicts the numbers of every row of a table.
pub(super) fn predict(
    args: &PredictArgs,
    model: &TrainedModel,
    outputs: &NumberOutputs,
    output: &Output,
) -> Result<()> {
    let options = CsvOptions {
        label: args.label.as_deref().map(LabelColumn::parse),
        may_lack_labels: true,
        ..CsvOptions::default()
    };
    let features = open_features(&args.file, model.preprocess(), &options)?;
    let found = model.predict_numbers(&features.inputs, BATCH_SIZE)?;
    for note in &features.about.notes {
        output.remark(note);
    }
    if let Some(out) = &args.out {
        let mut rows = Rows::of(args, &features)?;
        for (at, name) in outputs.scale().names().iter().enumerate() {
            rows.column(
                &format!("prediction of {name}"),
                found.iter().map(|p| json!(p.values[at])),
            );
            if found.iter().all(|p| p.deviations.is_some()) {
                let deviations = found.iter().filter_map(|p| p.deviations.as_ref());
                let name = format!("deviation of {name}");
                rows.column(&name, deviations.map(|all| json!(all[at])));
            }
        }
        rows.write(out, args)?;
    }
    let scores = features
        .targets
        .map(|targets| outputs.scores(&found, &targets));
    let scores = scores.filter(|scores| scores.samples > 0);
    let names = outputs.scale().names();
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    let rows = found.iter().map(|prediction| row(names, prediction));
    object.insert("predictions".to_owned(), rows.collect());
    if let Some(scores) = &scores {
        object.insert("r2".to_owned(), json!(scores.r2));
        object.insert("mae".to_owned(), json!(scores.mae));
        object.insert("rmse".to_owned(), json!(scores.rmse));
    }
    output.result(&Value::Object(object), |style| table(names, &found, style));
    if let Some(scores) = scores {
        output.remark(&in_words(&scores));
    }
    Ok(())
}

/// What is said about a sample, by the names of the targets.
fn row(names: &[String], prediction: &NumberPrediction) -> Value {
    let by_name = |numbers: &[f64]| -> Map<String, Value> {
        let pairs = names.iter().zip(numbers);
        pairs.map(|(name, x)| (name.clone(), json!(x))).collect()
    };
    let mut object = json!({ "values": by_name(&prediction.values) });
    if let Some(deviations) = &prediction.deviations {
        object["deviations"] = Value::Object(by_name(deviations));
    }
    object
}

fn table(names: &[String], found: &[NumberPrediction], style: &Style) -> String {
    let is_unsure = found
        .first()
        .is_some_and(|first| first.deviations.is_some());
    let mut columns = vec![("row", Align::Right)];
    for name in names {
        columns.push((name, Align::Right));
        columns.extend(is_unsure.then_some(("±", Align::Right)));
    }
    let mut table = Table::new(&columns);
    for (row, prediction) in found.iter().enumerate() {
        let mut cells = vec![(row + 1).to_string()];
        for (at, value) in prediction.values.iter().enumerate() {
            cells.push(number(*value));
            let deviation = prediction.deviations.as_ref().and_then(|all| all.get(at));
            cells.extend(deviation.map(|deviation| number(*deviation)));
        }
        table.row(cells);
    }
    table.render(style)
}

/// How good the predictions are, where the file says what they should be.
fn in_words(scores: &NumberScores) -> String {
    let r2 = scores
        .r2
        .map_or_else(String::new, |r2| format!("R² {}, ", Measure::R2.format(r2)));
    format!(
        "the file has what is predicted: {r2}MAE {}, RMSE {} over {} rows",
        number(scores.mae),
        number(scores.rmse),
        count(scores.samples)
    )
}
