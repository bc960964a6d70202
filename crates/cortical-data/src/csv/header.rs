//! Whether the first row of a table has the names of its columns or is a row like the others.
//!
//! A word over numbers is a name; words and numbers beside each other may as well be a row with a mistake in it, and
//! numbers only may be the names that pandas gives columns. Then the rows below decide, by whether what stands over the
//! labels comes again as a label.

use super::columns::{Kind, Slot};
use super::labels::Labels;
use super::missing::{is_missing, is_no_label};

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

/// Whether an unsure first row is a header, after all rows below it were read.
pub(super) fn decide(
    cells: &[&str],
    slots: &[Slot],
    label: &str,
    labels: &Labels,
    saw_integer: bool,
) -> bool {
    let comes_again = labels.knows(label);
    if Looks::of(cells, slots).words > 0 {
        return !comes_again;
    }
    let below = labels.len();
    let numbered: Option<Vec<i64>> = (cells.iter().skip(usize::from(cells[0].is_empty())))
        .map(|text| text.parse().ok())
        .collect();
    // What pandas writes over a table whose columns have no names, the label's included.
    if numbered.is_some_and(|all| all.len() >= 5 && all.iter().zip(0..).all(|(a, b)| *a == b)) {
        return true;
    }
    if comes_again || below <= labels.classes() {
        return false;
    }
    let over_numbers =
        |slot: &&Slot| matches!(slot.kind, Kind::Number) && !cells[slot.cell].is_empty();
    let numbers: Option<Vec<i64>> = (slots.iter().filter(over_numbers))
        .map(|slot| cells[slot.cell].parse().ok())
        .collect();
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
        return false;
    };
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let (all, any) = (labels.all(is_number), labels.any(is_number));
    if (all && !is_number(label)) || (!any && is_number(label)) {
        return true;
    }
    let steps: Vec<i64> = (numbers.windows(2))
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    let even = steps.iter().all(|step| *step == steps[0] && *step > 0);
    let counted = numbers.len() >= 2 && even && steps[0] == 1 && (0..=1).contains(&numbers[0]);
    // Years, wavelengths: less sure, so no class may have a single row.
    let rising = steps.iter().all(|step| *step > 0);
    let ordered = (numbers.len() >= 3 && even) || (numbers.len() >= 4 && rising);
    let whole = numbers.len() >= 2 && !saw_integer;
    counted || ((ordered || whole) && labels.each_comes_again())
}
