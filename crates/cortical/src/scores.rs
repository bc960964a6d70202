//! How good a network is, for people and for machines.

use cortical_train::{Evaluation, LabelScores, Measure, Measured, NumberScores};
use serde_json::{Map, Value, json};

use crate::style::{Style, count, number, percent};
use crate::table::{Align, Table};

/// With more classes a matrix no longer fits on a screen.
const MATRIX_CLASSES: usize = 12;
/// Classes that are listed for people.
const LISTED_CLASSES: usize = 200;
/// Characters of a class name at the head of a matrix.
const HEAD_CHARS: usize = 7;

/// The keys that every test has.
pub(crate) fn to_json(measure: Measure, found: Option<&Measured>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("test_loss", json!(found.and_then(|found| found.loss)));
    if measure == Measure::AveragePrecision {
        object.extend(labels_to_json(
            found.and_then(|found| found.labels.as_ref()),
        ));
        return object;
    }
    if measure == Measure::R2 {
        object.extend(numbers_to_json(
            found.and_then(|found| found.numbers.as_ref()),
        ));
        return object;
    }
    let key = match measure {
        Measure::Perplexity => "perplexity".to_owned(),
        other => format!("test_{}", other.name()),
    };
    set(&key, json!(found.and_then(|found| found.figure)));
    let Some(evaluation) = found.and_then(|found| found.classes.as_ref()) else {
        if !measure.is_share() {
            set("sample", json!(found.map_or("", |found| &found.sample)));
        }
        return object;
    };
    let classes: Vec<Value> = evaluation
        .per_class()
        .into_iter()
        .map(|class| {
            json!({
                "class": class.name,
                "samples": class.samples,
                "accuracy": class.recall,
                "precision": class.precision,
            })
        })
        .collect();
    set("test_samples", json!(evaluation.samples));
    set("per_class", json!(classes));
    let confusion = Some(&evaluation.confusion).filter(|rows| !rows.is_empty());
    set("confusion", json!(confusion));
    object
}

/// The keys of a test of predicted numbers.
fn numbers_to_json(found: Option<&NumberScores>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("r2", json!(found.and_then(|found| found.r2)));
    set("mae", json!(found.map(|found| found.mae)));
    set("rmse", json!(found.map(|found| found.rmse)));
    set("test_samples", json!(found.map(|found| found.samples)));
    let targets = found.map(|found| &found.targets[..]).unwrap_or_default();
    let each = targets.iter().map(|target| {
        json!({ "target": target.name, "r2": target.r2, "mae": target.mae, "rmse": target.rmse })
    });
    set("per_target", each.collect());
    object
}

/// The keys of a test of labels of which a sample has any number.
fn labels_to_json(found: Option<&LabelScores>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set(
        "average_precision",
        json!(found.and_then(|found| found.average_precision)),
    );
    set("exact", json!(found.map(|found| found.exact)));
    set("test_samples", json!(found.map(|found| found.samples)));
    set("per_label", json!(found.map(|found| &found.labels)));
    object
}

/// Each label by itself.
pub(crate) fn label_details(found: &LabelScores, style: &Style) -> String {
    let mut table = Table::new(&[
        ("label", Align::Left),
        ("samples", Align::Right),
        ("average precision", Align::Right),
        ("threshold", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
    ]);
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    for label in &found.labels {
        let precision = label.average_precision;
        table.row(vec![
            label.name.clone(),
            count(label.samples),
            precision.map_or("-".to_owned(), |p| Measure::AveragePrecision.format(p)),
            number(label.threshold),
            share(label.precision),
            share(label.recall),
        ]);
    }
    table.render(style)
}

/// Average precision and exact matches of a test in one line.
fn labels_headline(found: &LabelScores, style: &Style) -> String {
    let figure = found.average_precision;
    let figure = figure.map_or_else(
        || "unknown".to_owned(),
        |p| Measure::AveragePrecision.format(p),
    );
    format!(
        "{} {} (all labels right in {}, loss {:.4}) on {} samples",
        style.bold("test average precision"),
        style.green(&figure),
        percent(found.exact),
        found.loss,
        count(found.samples)
    )
}

/// R², MAE and RMSE of a test in one line.
fn numbers_headline(found: &NumberScores, style: &Style) -> String {
    let r2 = found
        .r2
        .map_or_else(|| "unknown".to_owned(), |r2| Measure::R2.format(r2));
    format!(
        "{} {} (MAE {}, RMSE {}, loss {:.4}) on {} samples",
        style.bold("test R²"),
        style.green(&r2),
        number(found.mae),
        number(found.rmse),
        found.loss,
        count(found.samples)
    )
}

/// Each target by itself, where there are several.
pub(crate) fn target_details(found: &NumberScores, style: &Style) -> Option<String> {
    if found.targets.len() < 2 {
        return None;
    }
    let mut table = Table::new(&[
        ("target", Align::Left),
        ("R²", Align::Right),
        ("MAE", Align::Right),
        ("RMSE", Align::Right),
    ]);
    for target in &found.targets {
        let r2 = target
            .r2
            .map_or_else(|| "-".to_owned(), |r2| Measure::R2.format(r2));
        table.row(vec![
            target.name.clone(),
            r2,
            number(target.mae),
            number(target.rmse),
        ]);
    }
    Some(table.render(style))
}

/// The test in one line.
pub(crate) fn headline(measure: Measure, found: Option<&Measured>, style: &Style) -> String {
    if let Some(labels) = found.and_then(|found| found.labels.as_ref()) {
        return labels_headline(labels, style);
    }
    if let Some(numbers) = found.and_then(|found| found.numbers.as_ref()) {
        return numbers_headline(numbers, style);
    }
    let Some((found, loss, figure)) = found.and_then(|f| Some((f, f.loss?, f.figure?))) else {
        return "nothing was held out to test on".to_owned();
    };
    let about = match &found.classes {
        Some(classes) => format!(
            "{} of {} right, loss {loss:.4}",
            count(classes.right()),
            count(classes.samples)
        ),
        None => format!("loss {loss:.4} {}", measure.loss_unit()),
    };
    format!(
        "{} {} ({about})",
        style.bold(&format!("test {}", measure.name())),
        style.green(&measure.format(figure)),
    )
}

/// The confusion matrix, and each class by itself.
pub(crate) fn details(evaluation: &Evaluation, style: &Style) -> String {
    let mut text = String::new();
    if evaluation.classes.len() <= MATRIX_CLASSES {
        text += &matrix(evaluation, style);
        text.push('\n');
    }
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("samples", Align::Right),
        ("accuracy", Align::Right),
        ("precision", Align::Right),
    ]);
    let all = evaluation.per_class();
    let more = all.len().saturating_sub(LISTED_CLASSES);
    for class in all.into_iter().take(LISTED_CLASSES) {
        table.row(vec![
            class.name,
            count(class.samples),
            share(class.recall),
            share(class.precision),
        ]);
    }
    text += &table.render(style);
    if more > 0 {
        text += &format!("  and {} more; --json has all\n", count(more));
    }
    text
}

/// A row for each class that samples have, a column for each that they were taken for.
fn matrix(evaluation: &Evaluation, style: &Style) -> String {
    let heads: Vec<String> = evaluation
        .classes
        .iter()
        .map(|name| name.chars().take(HEAD_CHARS).collect())
        .collect();
    let mut columns = vec![("true \\ predicted", Align::Left)];
    columns.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    for (name, row) in evaluation.classes.iter().zip(&evaluation.confusion) {
        let cell = |n: &u64| {
            if *n == 0 {
                ".".to_owned()
            } else {
                n.to_string()
            }
        };
        table.row(
            [name.clone()]
                .into_iter()
                .chain(row.iter().map(cell))
                .collect(),
        );
    }
    table.render(style)
}
