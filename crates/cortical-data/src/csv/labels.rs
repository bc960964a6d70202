//! The label column: where it is, and how its texts become classes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::Path;

use cortical_settings::{Value, setting};
use serde::{Deserialize, Serialize};

use super::missing::is_no_label;
use super::records::Record;
use crate::error::{CsvDefect, Result, list, shorten};

/// The most bytes of the name of a class, a category or a column: a longer one is a text.
pub(super) const MOST_NAME_BYTES: usize = 4096;

/// Which column holds the label.
///
/// In a recipe it is written `label = "species"` or `label = 5`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LabelColumn {
    /// The column of this number, counted from 1 as in every message.
    Number(usize),
    /// The column of this name in the header.
    Name(String),
}

setting!(
    LabelColumn,
    "the name or the number of a column",
    |value| match value {
        Value::String(name) => Some(LabelColumn::Name(name.clone())),
        Value::Integer(n) => usize::try_from(*n).ok().map(LabelColumn::Number),
        _ => None,
    },
    |column| match column {
        LabelColumn::Number(n) => Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX)),
        LabelColumn::Name(name) => Value::from(name.as_str()),
    }
);

impl fmt::Display for LabelColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl LabelColumn {
    /// A column as a person writes it: a number, else a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }

    /// Which cell of the first row the column is; `what` is its task, in words.
    pub(super) fn find(&self, first: &Record, path: &Path, what: &'static str) -> Result<usize> {
        let width = first.len();
        let missing = |expected: String, found: String| {
            Err(CsvDefect::NoColumn {
                what,
                expected,
                found,
            }
            .at_line(path, first.line))
        };
        match self {
            Self::Number(n) if (1..=width).contains(n) => Ok(n - 1),
            Self::Number(n) => missing(
                format!("{n} (columns count from 1)"),
                format!("{width} columns"),
            ),
            Self::Name(name) => {
                let names = (0..width)
                    .map(|cell| first.cell(cell, path))
                    .collect::<Result<Vec<_>>>()?;
                let mut found = (0..width).filter(|&cell| names[cell] == name);
                match (found.next(), found.next()) {
                    (Some(cell), None) => Ok(cell),
                    (Some(_), Some(_)) => {
                        missing(format!("{name:?}"), "it more than once".to_owned())
                    }
                    (None, _) => {
                        missing(format!("{name:?}"), format!("the columns {}", list(&names)))
                    }
                }
            }
        }
    }
}

/// The labels read so far, as numbers of classes.
#[derive(Debug)]
pub(super) struct Labels {
    numbers: Vec<u32>,
    /// The classes in the order in which they were given or first seen.
    classes: Vec<String>,
    number_of: HashMap<String, u32>,
    /// Whether the classes were given, so that there are no others.
    given: bool,
    /// Whether a row may have none of the given classes.
    may_lack: bool,
}

/// The number of a label that is none of the given classes.
const NONE: u32 = u32::MAX;

/// A class's name as it may be written in other ways: a number by its value, a word in small letters.
fn plain(name: &str) -> String {
    match name.parse::<f64>() {
        Ok(number) if number.is_finite() => number.to_string(),
        _ => name.to_lowercase(),
    }
}

impl Labels {
    pub(super) fn new(classes: Option<&[String]>, may_lack: bool) -> Self {
        let given = classes.is_some();
        let classes = classes.unwrap_or_default().to_vec();
        Self {
            numbers: Vec::new(),
            number_of: classes.iter().cloned().zip(0..).collect(),
            classes,
            given,
            may_lack: given && may_lack,
        }
    }

    /// Adds the label in a cell; a class not seen before gets the next number, unless the classes are given.
    pub(super) fn add(&mut self, row: &Record, cell: usize, path: &Path) -> Result<()> {
        let text = row.cell(cell, path)?;
        if let Some(&number) = self.number_of.get(text) {
            self.numbers.push(number);
            return Ok(());
        }
        if self.may_lack {
            self.numbers.push(NONE);
            return Ok(());
        }
        let (line, column) = (row.line, cell + 1);
        if text.is_empty() {
            return Err(CsvDefect::NoLabel.at_cell(path, line, column));
        }
        if is_no_label(text) && !self.given {
            let found = shorten(text);
            return Err(CsvDefect::MissingLabel { found }.at_cell(path, line, column));
        }
        if text.len() > MOST_NAME_BYTES {
            let limit_bytes = MOST_NAME_BYTES;
            return Err(CsvDefect::LongCell { limit_bytes }.at_cell(path, line, column));
        }
        if self.given {
            return Err(CsvDefect::UnknownLabel {
                expected: list(&self.classes),
                found: shorten(text),
            }
            .at_cell(path, line, column));
        }
        let number = self.classes.len() as u32;
        self.classes.push(text.to_owned());
        self.number_of.insert(text.to_owned(), number);
        self.numbers.push(number);
        Ok(())
    }

    /// The label that was added last becomes the first.
    pub(super) fn rotate(&mut self) {
        self.numbers.rotate_right(1);
    }

    /// How many labels there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// How many classes there are.
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.number_of.contains_key(name)
    }

    pub(super) fn all(&self, what: impl Fn(&str) -> bool) -> bool {
        self.classes.iter().all(|name| what(name))
    }

    pub(super) fn any(&self, what: impl Fn(&str) -> bool) -> bool {
        self.classes.iter().any(|name| what(name))
    }

    /// How many rows the class has that has the fewest.
    pub(super) fn fewest(&self) -> usize {
        let mut counts = vec![0_usize; self.classes.len()];
        for number in &self.numbers {
            counts[*number as usize] += 1;
        }
        counts.into_iter().min().unwrap_or(0)
    }

    /// The numbers as they are, of given classes; `None` for a label that is none of them.
    pub(super) fn into_numbers(self) -> Vec<Option<u32>> {
        let numbers = self.numbers.into_iter();
        numbers.map(|n| (n != NONE).then_some(n)).collect()
    }

    /// Whether a row may have none of the given classes.
    pub(super) fn may_lack(&self) -> bool {
        self.may_lack
    }

    /// What to say of classes of which one is called as Python writes a missing value, or that may be one class written
    /// in two ways.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.given {
            return notes;
        }
        if self.knows("None") {
            let note = "\"None\" is taken for a class; where it stands for a missing label, take those rows out";
            notes.push(note.to_owned());
        }
        let mut first_of = HashMap::new();
        let mut alike: Vec<String> = Vec::new();
        for class in &self.classes {
            match first_of.entry(plain(class)) {
                Entry::Vacant(free) => {
                    free.insert(class);
                }
                Entry::Occupied(first) => {
                    alike.push(format!("{} and {}", shorten(first.get()), shorten(class)));
                }
            }
        }
        if self.classes.len() > FEW && self.all(|name| name.parse::<f64>().is_ok()) {
            let classes = self.classes.len();
            notes.push(format!(
                "the label has {classes} different numbers, which are taken for classes; where they are a quantity, say data.target=numbers"
            ));
        }
        if !alike.is_empty() {
            let alike = list(&alike);
            notes.push(format!(
                "classes that differ in nothing but how they are written: {alike}; write them alike if they are the same"
            ));
        }
        notes
    }

    /// The numbers and the classes, sorted unless they were given. `last` is the last line and the label's column, for
    /// the error about a single class.
    pub(super) fn finish(
        mut self,
        path: &Path,
        last: (u64, usize),
    ) -> Result<(Vec<u32>, Vec<String>)> {
        if !self.given {
            let (classes, rows) = (self.classes.len(), self.numbers.len());
            if is_quantity(&self.classes, rows) {
                let column = last.1;
                return Err(CsvDefect::Quantity {
                    column,
                    classes,
                    rows,
                }
                .at_line(path, last.0));
            }
            let (classes, rank) = sort_classes(self.classes);
            for number in &mut self.numbers {
                *number = rank[*number as usize];
            }
            self.classes = classes;
        }
        if let [only] = &self.classes[..] {
            return Err(CsvDefect::OneClass {
                column: last.1,
                found: shorten(only),
            }
            .at_line(path, last.0));
        }
        Ok((self.numbers, self.classes))
    }
}

/// Different numbers that may be classes however few rows each has.
const FEW: usize = 20;

/// Whether what should be classes are numbers of which hardly one comes twice.
fn is_quantity(classes: &[String], rows: usize) -> bool {
    let number = |name: &String| name.parse::<f64>().is_ok();
    let whole = |name: &String| name.parse::<i64>().is_ok();
    if classes.len() <= FEW || !classes.iter().all(number) {
        return false;
    }
    // Whole numbers are classes more often than others.
    let rows_of_each = if classes.iter().all(whole) { 2 } else { 4 };
    classes.len().saturating_mul(rows_of_each) > rows
}

/// Sorts class names, by value when all are numbers, and tells the new number of each old one.
pub(super) fn sort_classes(seen: Vec<String>) -> (Vec<String>, Vec<u32>) {
    let numbers: Option<Vec<f64>> = seen.iter().map(|name| name.parse().ok()).collect();
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|&a, &b| {
        let by_value = numbers.as_ref().map(|x| x[a].total_cmp(&x[b]));
        by_value
            .unwrap_or(std::cmp::Ordering::Equal)
            .then_with(|| seen[a].cmp(&seen[b]))
    });
    let mut rank = vec![0; seen.len()];
    for (new, &old) in order.iter().enumerate() {
        rank[old] = new as u32;
    }
    (order.iter().map(|&old| seen[old].clone()).collect(), rank)
}
