//! What the page of a network that predicts numbers shows beside curves: predicted against true numbers, residuals, the
//! worst predictions.

use cortical_data::Dataset;
use cortical_report::{Histogram, Page, Scatter, number};

use super::values::values;
use crate::model_file::TrainedModel;
use crate::number_scores::NumberScores;
use crate::numbers::NumberOutputs;
use crate::{Error, Result};

/// Targets that have charts, and predictions that are listed, at most.
const TARGETS: usize = 6;
const WORST: usize = 24;
/// Samples at a time.
const BATCH_SIZE: usize = 256;
/// Bars of a histogram.
const BINS: usize = 40;

/// The scores of each target, where there are several.
pub(super) fn scores(page: &mut Page, found: &NumberScores) {
    if found.targets.len() < 2 {
        return;
    }
    let row = |target: &crate::TargetScore| {
        let r2 = target.r2.map_or_else(|| "–".to_owned(), number);
        vec![
            target.name.clone(),
            r2,
            number(target.mae),
            number(target.rmse),
        ]
    };
    let rows: Vec<Vec<String>> = found.targets.iter().map(row).collect();
    page.section("Targets")
        .table(&["target", "#R²", "#MAE", "#RMSE"], &rows);
}

/// Charts of the test samples, and those that the network is most wrong about.
pub(super) fn sections(
    page: &mut Page,
    model: &TrainedModel,
    outputs: &NumberOutputs,
    test: &Dataset,
) -> Result<()> {
    let targets = test.targets().ok_or(Error::NoNumbers)?;
    let found = model.predict_numbers(test.inputs(), BATCH_SIZE)?;
    let scale = outputs.scale();
    page.section("Predictions").text(
        "The test samples: each predicted number against the true one, and how far apart they are.",
    );
    for (at, name) in scale.names().iter().enumerate().take(TARGETS) {
        let pairs = found.iter().enumerate();
        let pairs: Vec<(f64, f64)> = pairs
            .map(|(row, p)| (targets.row(row)[at], p.values[at]))
            .collect();
        let residuals: Vec<f32> = pairs.iter().map(|(y, p)| (p - y) as f32).collect();
        page.chart(&Scatter::new(&format!("{name}: predicted"), "true", pairs).to_svg());
        let title = format!("{name}: predicted less true");
        page.chart(&Histogram::new(&title, &residuals, BINS).to_svg());
    }
    // In deviations of its target, so that targets of all units are compared.
    let distance = |row: usize, at: usize| {
        (found[row].values[at] - targets.row(row)[at]).abs() / scale.std()[at]
    };
    let all = (0..found.len()).flat_map(|row| (0..scale.count()).map(move |at| (row, at)));
    let mut worst: Vec<(usize, usize)> = all.collect();
    worst.sort_by(|a, b| {
        distance(b.0, b.1)
            .total_cmp(&distance(a.0, a.1))
            .then(a.cmp(b))
    });
    worst.truncate(WORST);
    let columns = model.preprocess().columns();
    let row = |&(row, at): &(usize, usize)| -> Result<Vec<String>> {
        Ok(vec![
            row.to_string(),
            scale.names()[at].clone(),
            number(targets.row(row)[at]),
            number(found[row].values[at]),
            number(distance(row, at)),
            values(columns, &test.inputs().raw_row(row)?),
        ])
    };
    let rows: Vec<Vec<String>> = worst.iter().map(row).collect::<Result<_>>()?;
    let head = [
        "#sample",
        "target",
        "#is",
        "#prediction",
        "#deviations",
        "values",
    ];
    page.section("Worst predictions")
        .text("The test samples whose prediction is the furthest away, in standard deviations of the target.")
        .table(&head, &rows);
    Ok(())
}
