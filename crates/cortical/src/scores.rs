//! How good a network is, for people and for machines.

use cortical_train::{Evaluation, Measure, Measured};
use serde_json::{Map, Value, json};

use crate::style::{Style, count, percent};
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

/// The test in one line.
pub(crate) fn headline(measure: Measure, found: Option<&Measured>, style: &Style) -> String {
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
