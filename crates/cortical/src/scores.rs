//! How good a network is, for people and for machines.

use cortical_train::Evaluation;
use serde_json::{Map, Value, json};

use crate::style::{Style, count, percent};
use crate::table::{Align, Table};

/// With more classes a matrix no longer fits on a screen.
const MATRIX_CLASSES: usize = 12;
/// Classes that are listed for people.
const LISTED_CLASSES: usize = 200;
/// Characters of a class name at the head of a matrix.
const HEAD_CHARS: usize = 7;

/// The keys that every evaluation has.
pub(crate) fn to_json(evaluation: &Evaluation) -> Map<String, Value> {
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
    let mut object = Map::new();
    object.insert("test_accuracy".to_owned(), json!(evaluation.accuracy));
    object.insert("test_loss".to_owned(), json!(evaluation.loss));
    object.insert("test_samples".to_owned(), json!(evaluation.samples));
    object.insert("per_class".to_owned(), json!(classes));
    let confusion = Some(&evaluation.confusion).filter(|rows| !rows.is_empty());
    object.insert("confusion".to_owned(), json!(confusion));
    object
}

/// The accuracy in one line.
pub(crate) fn headline(evaluation: &Evaluation, style: &Style) -> String {
    format!(
        "{} {} ({} of {} right, loss {:.4})",
        style.bold("test accuracy"),
        style.green(&percent(evaluation.accuracy)),
        count(evaluation.right()),
        count(evaluation.samples),
        evaluation.loss
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
