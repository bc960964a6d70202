//! Whether the first row of a table has the names of its columns or is a row like the others.
//!
//! A word over numbers is a name; words and numbers beside each other may as well be a row with a mistake in it, and
//! numbers only may be the names that pandas gives columns. Then the rows below decide, by whether what stands over the
//! labels comes again as a label.

use super::columns::{Kind, Slot};
use super::labels::Labels;
use super::missing::{is_missing, is_no_label};
use crate::dates;

/// What the first row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The names of the columns.
    Yes,
    /// A row of data.
    No,
    /// One of both; the rows below tell.
    Unsure,
}

/// What the cells of a first row over columns of numbers are.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    numbers: usize,
    words: usize,
    /// Missing values, but for an empty first cell: pandas leaves it so over the numbers of rows.
    gaps: usize,
}

impl Looks {
    fn of(cells: &[&str], slots: &[Slot]) -> Self {
        let mut looks = Self::default();
        for slot in slots {
            let text = cells[slot.cell];
            match slot.kind {
                Kind::OneHot(_) => {}
                Kind::Days | Kind::DateParts if is_missing(text) => {}
                Kind::Days | Kind::DateParts if dates::days(text).is_some() => looks.numbers += 1,
                Kind::Days | Kind::DateParts => looks.words += 1,
                Kind::Number if text.is_empty() && slot.cell == 0 => {}
                Kind::Number if is_missing(text) => looks.gaps += 1,
                Kind::Number if text.parse::<f64>().is_ok() => looks.numbers += 1,
                Kind::Number => looks.words += 1,
            }
        }
        looks
    }
}

/// What a first row looks like by itself. `label` is its label, where the column is known.
pub(super) fn look(cells: &[&str], slots: &[Slot], label: Option<&str>) -> Header {
    let looks = Looks::of(cells, slots);
    match (looks.words, looks.numbers, looks.gaps) {
        (1.., 0, _) => Header::Yes,
        (0, 0, _) => Header::No,
        // An empty cell is a number that is missing rather than a name.
        (0, _, 1..) => Header::No,
        _ if label.is_none_or(is_no_label) => Header::No,
        _ => Header::Unsure,
    }
}

/// Whether a model's table with this first row has a header: a word where a number should be and no number, or a
/// category that no model knows.
pub(super) fn look_known(cells: &[&str], slots: &[Slot]) -> Header {
    let looks = Looks::of(cells, slots);
    let unknown = slots
        .iter()
        .any(|slot| matches!(&slot.kind, Kind::OneHot(known) if !known.knows(cells[slot.cell])));
    if looks.numbers == 0 && looks.gaps == 0 && (looks.words > 0 || unknown) {
        Header::Yes
    } else {
        Header::No
    }
}

/// What was found out about an unsure first row, after all rows below it were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A header or a row, beyond doubt or as tables are written.
    Header,
    Row,
    /// A header or a row, as far as can be told: a person should know.
    LikelyHeader,
    LikelyRow,
    /// As much speaks for the one as for the other.
    Open,
}

/// What the numbers below a first row are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Below {
    /// Whether one was written without a fraction, and one with.
    pub(super) integer: bool,
    pub(super) fraction: bool,
}

impl Below {
    pub(super) fn add(&mut self, text: &str) {
        if !(self.integer && self.fraction) {
            let whole = text.parse::<i64>().is_ok();
            self.integer |= whole;
            self.fraction |= !whole;
        }
    }
}

/// Whether an unsure first row is a header, after all rows below it were read.
pub(super) fn decide(
    cells: &[&str],
    slots: &[Slot],
    label: &str,
    labels: &Labels,
    below: Below,
) -> Verdict {
    let comes_again = labels.knows(label);
    if Looks::of(cells, slots).words > 0 {
        return match comes_again {
            true => Verdict::Row,
            false => Verdict::Header,
        };
    }
    // What pandas writes over a table whose columns have no names, the label's included: 0, 1, 2.
    let is_index = cells[0].is_empty();
    let counted = &cells[usize::from(is_index)..];
    if counted.len() >= 2 && counts(counted, 0) {
        return match (counted.len(), below.fraction) {
            // Over the numbers of the rows it leaves the name empty, which no row of numbers can.
            _ if is_index => Verdict::Header,
            (5.., _) => Verdict::Header,
            _ if !comes_again => Verdict::Header,
            (_, true) => Verdict::LikelyHeader,
            (_, false) => Verdict::LikelyRow,
        };
    }
    let over_numbers =
        |slot: &&Slot| matches!(slot.kind, Kind::Number) && !cells[slot.cell].is_empty();
    let names: Vec<&str> = (slots.iter().filter(over_numbers))
        .map(|slot| cells[slot.cell])
        .collect();
    if comes_again {
        // Whole numbers that rise, over none that is whole.
        let whole: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
        let rises = |all: Vec<i64>| all.len() >= 2 && all.windows(2).all(|pair| pair[0] < pair[1]);
        return match !below.integer && whole.is_some_and(rises) {
            true => Verdict::LikelyRow,
            false => Verdict::Row,
        };
    }
    if labels.len() <= labels.classes() {
        return Verdict::LikelyRow;
    }
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let (all, any) = (labels.all(is_number), labels.any(is_number));
    if (all && !is_number(label)) || (!any && is_number(label)) {
        return Verdict::Header;
    }
    of_an_own_label(&names, labels, below)
}

/// [`decide`] where what stands over the labels is none of the others, by what stands over the numbers.
fn of_an_own_label(names: &[&str], labels: &Labels, below: Below) -> Verdict {
    let numbers: Vec<f64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let whole = names.iter().all(|name| name.parse::<i64>().is_ok());
    if names.len() >= 2 && (counts(names, 0) || counts(names, 1)) {
        return Verdict::Header;
    }
    let steps: Vec<f64> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let rising = steps.iter().all(|step| *step > 0.0);
    let near = |step: &f64| (step - steps[0]).abs() <= 1e-6 * steps[0].abs();
    let even = rising && steps.iter().all(near);
    // Years, wavelengths: less sure, so no class may have a single row.
    let ordered = (numbers.len() >= 3 && even) || (numbers.len() >= 4 && rising);
    let apart = whole && numbers.len() >= 2 && !below.integer;
    match labels.fewest() {
        2.. if ordered || apart => Verdict::Header,
        // Where every class has its rows, one of a single row is as odd as a header of numbers.
        3.. => Verdict::Open,
        2 if !whole => Verdict::Open,
        _ => Verdict::LikelyRow,
    }
}

/// Whether a first row of at least five cells is what pandas writes over a table whose columns have no names: 0, 1, 2.
pub(super) fn is_count(cells: &[&str]) -> bool {
    let counted = &cells[usize::from(cells.first().is_some_and(|first| first.is_empty()))..];
    counted.len() >= 5 && counts(counted, 0)
}

/// Whether cells count up from a number.
fn counts(cells: &[&str], from: i64) -> bool {
    let mut pairs = cells.iter().zip(from..);
    pairs.all(|(cell, number)| cell.parse() == Ok(number))
}
