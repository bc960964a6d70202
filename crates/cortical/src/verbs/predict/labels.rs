//! Labels of which a sample has any number.

use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{Target, open_features};
use cortical_train::{LabelOutputs, Measure, TrainedModel};
use serde_json::{Map, Value, json};

use super::BATCH_SIZE;
use super::out::Rows;
use crate::cli::PredictArgs;
use crate::error::Result;
use crate::output::Output;
use crate::style::{count, percent};
use crate::table::{Align, Table};

/// Predicts the labels of every row of a table.
pub(super) fn predict(
    args: &PredictArgs,
    model: &TrainedModel,
    outputs: &LabelOutputs,
    output: &Output,
) -> Result<()> {
    let options = CsvOptions {
        label: args.label.as_deref().map(LabelColumn::parse),
        target: Target::Labels,
        may_lack_labels: true,
        ..CsvOptions::default()
    };
    let features = open_features(&args.file, model.preprocess(), &options)?;
    let found = model.predict_labels(&features.inputs, BATCH_SIZE)?;
    for note in &features.about.notes {
        output.remark(note);
    }
    let names = outputs.names();
    if let Some(out) = &args.out {
        let mut rows = Rows::of(args, &features)?;
        for (at, name) in names.iter().enumerate() {
            let there = found.iter().map(|p| json!(u8::from(p.there[at])));
            rows.column(&format!("prediction of {name}"), there);
            let shares = found.iter().map(|p| json!(p.probabilities[at]));
            rows.column(&format!("probability of {name}"), shares);
        }
        rows.write(out, args)?;
    }
    let scores = features
        .targets
        .map(|targets| outputs.scores(&found, &targets));
    let scores = scores.filter(|scores| scores.samples > 0);
    let there = |at: usize| -> Vec<&str> {
        let pairs = names.iter().zip(&found[at].there);
        pairs
            .filter(|(_, there)| **there)
            .map(|(name, _)| name.as_str())
            .collect()
    };
    let row = |at: usize| -> Value {
        let pairs = names.iter().zip(&found[at].probabilities);
        let shares: Map<String, Value> = pairs.map(|(name, p)| (name.clone(), json!(p))).collect();
        json!({ "labels": there(at), "probabilities": shares })
    };
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(args.run.display().to_string()));
    object.insert(
        "predictions".to_owned(),
        (0..found.len()).map(row).collect(),
    );
    if let Some(scores) = &scores {
        object.insert(
            "average_precision".to_owned(),
            json!(scores.average_precision),
        );
        object.insert("exact".to_owned(), json!(scores.exact));
    }
    output.result(&Value::Object(object), |style| {
        let mut table = Table::new(&[("row", Align::Right), ("labels", Align::Left)]);
        for at in 0..found.len() {
            table.row(vec![(at + 1).to_string(), there(at).join(", ")]);
        }
        table.render(style)
    });
    if let Some(scores) = scores {
        let precision = scores.average_precision.map_or_else(String::new, |figure| {
            format!(
                "average precision {}, ",
                Measure::AveragePrecision.format(figure)
            )
        });
        let (exact, rows) = (percent(scores.exact), count(scores.samples));
        output.remark(&format!(
            "the file has what is predicted: {precision}all labels right in {exact} of {rows} rows"
        ));
    }
    Ok(())
}
