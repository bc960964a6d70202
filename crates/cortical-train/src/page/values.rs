//! The values of a sample in words.

use cortical_data::csv::{Column, ColumnKind};
use cortical_report::number;

/// Values of a row of a table that are shown at most.
const VALUES: usize = 12;

/// The values of a row as its table has them: numbers, and the categories that became ones and zeros.
pub(super) fn values(columns: &[Column], numbers: &[f32]) -> String {
    let mut rest = numbers;
    let mut all = Vec::new();
    let read = columns.iter().filter(|column| column.width() > 0);
    for column in read {
        let (own, behind) = rest.split_at(column.width().min(rest.len()));
        rest = behind;
        let value = match &column.kind {
            ColumnKind::OneHot(categories) => {
                let at = own.iter().position(|share| *share == 1.0);
                at.and_then(|at| categories.get(at)).cloned()
            }
            _ => {
                let all: Vec<String> = own.iter().map(|value| number(f64::from(*value))).collect();
                let is_there = own.iter().all(|value| !value.is_nan()) && !all.is_empty();
                is_there.then(|| all.join(" "))
            }
        };
        let value = value.unwrap_or_else(|| "–".to_owned());
        all.push(match &column.name {
            Some(name) => format!("{name} {value}"),
            None => value,
        });
    }
    // Rows that come from no table have no columns.
    all.extend(rest.iter().map(|value| number(f64::from(*value))));
    let more = all.len().saturating_sub(VALUES);
    all.truncate(VALUES);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join(", ")
}
