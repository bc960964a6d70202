//! Tables of numbers as text, with a label column.
//!
//! Cells are separated by commas and may be quoted; gzip is recognised. The first row is a header when one of its
//! feature cells is text that is no number.

mod records;

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::error::{Error, Result, list, shorten};
use crate::files;
use crate::inputs::Inputs;
use crate::predict::Features;
use records::{Record, Records};

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

impl LabelColumn {
    /// A column as a person writes it: a number, else a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }
}

/// What to expect of a CSV file.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// The label column; the last one when absent.
    pub label: Option<LabelColumn>,
    /// The classes that labels may name, in their order; every label that occurs when absent.
    pub classes: Option<Vec<String>>,
    /// The most bytes to read, after decompression.
    pub limit_bytes: u64,
}

impl Default for CsvOptions {
    /// The last column, all classes, one gibibyte.
    fn default() -> Self {
        Self {
            label: None,
            classes: None,
            limit_bytes: 1 << 30,
        }
    }
}

/// Reads labelled samples of shape `[columns - 1]`.
///
/// Classes are sorted, by value when all of them are numbers, else by their text.
///
/// # Errors
/// A file that cannot be read or is larger than the limit; rows of different lengths; cells that are no finite numbers;
/// a missing label column or label; no rows; one class only; with [`CsvOptions::classes`], a label that is none of them.
pub fn read(path: &Path, options: &CsvOptions) -> Result<Dataset> {
    read_from(files::open(path)?, path, options)
}

/// [`read`] from any reader of uncompressed text; `name` stands for the path in messages.
///
/// ```
/// use cortical_data::csv::{self, CsvOptions};
/// let text = "width,species\n0.5,b\n0.7,a\n";
/// let dataset = csv::read_from(text.as_bytes(), "text".as_ref(), &CsvOptions::default())?;
/// assert_eq!(dataset.classes(), ["a", "b"]);
/// assert_eq!(dataset.labels(), [1, 0]);
/// # Ok::<(), cortical_data::Error>(())
/// ```
///
/// # Errors
/// As [`read`].
pub fn read_from(reader: impl BufRead, name: &Path, options: &CsvOptions) -> Result<Dataset> {
    let mut table = Table::new(name, options, None);
    table.read(reader)?;
    let inputs = Inputs::new(table.values, &[table.n_features])?;
    let mut labels = table
        .labels
        .expect("set_columns demands a label column when no number of features is wanted, and no row is an error");
    let classes = match &options.classes {
        Some(classes) => classes.clone(),
        None => {
            let (classes, rank) = sort_classes(table.seen);
            for label in &mut labels {
                *label = rank[*label as usize];
            }
            classes
        }
    };
    if let [only] = &classes[..] {
        return Err(Error::CsvOneClass {
            path: name.to_owned(),
            line: table.last_line,
            column: table.label_cell.map_or(0, |cell| cell + 1),
            found: shorten(only),
        });
    }
    Dataset::new(inputs, labels, classes)
}

/// Reads samples to predict from: `n_features` columns, or one more, which then is the label.
///
/// # Errors
/// As [`read`], for another number of columns, and without the demand for two classes.
pub fn read_features(path: &Path, n_features: usize, options: &CsvOptions) -> Result<Features> {
    read_features_from(files::open(path)?, path, n_features, options)
}

/// [`read_features`] from any reader of uncompressed text; `name` stands for the path in messages.
///
/// # Errors
/// As [`read_features`].
pub fn read_features_from(
    reader: impl BufRead,
    name: &Path,
    n_features: usize,
    options: &CsvOptions,
) -> Result<Features> {
    let mut table = Table::new(name, options, Some(n_features));
    table.read(reader)?;
    Ok(Features {
        inputs: Inputs::new(table.values, &[n_features])?,
        labels: table.labels.filter(|_| options.classes.is_some()),
    })
}

/// A table in the making.
struct Table<'a> {
    path: PathBuf,
    options: &'a CsvOptions,
    /// The number of features that a model wants, when there is one.
    wanted: Option<usize>,
    /// How many cells every row has.
    width: usize,
    n_features: usize,
    /// Which cell holds the label, from 0.
    label_cell: Option<usize>,
    values: Vec<f32>,
    labels: Option<Vec<u32>>,
    /// The labels' texts in the order in which they were given or first seen.
    seen: Vec<String>,
    number_of: HashMap<String, u32>,
    last_line: u64,
}

impl<'a> Table<'a> {
    fn new(path: &Path, options: &'a CsvOptions, wanted: Option<usize>) -> Self {
        let seen = options.classes.clone().unwrap_or_default();
        let number_of = seen.iter().cloned().zip(0..).collect();
        Self {
            path: path.to_owned(),
            options,
            wanted,
            width: 0,
            n_features: 0,
            label_cell: None,
            values: Vec::new(),
            labels: None,
            seen,
            number_of,
            last_line: 0,
        }
    }

    fn read(&mut self, reader: impl BufRead) -> Result<()> {
        let mut records = Records::new(reader, &self.path, self.options.limit_bytes);
        let mut record = Record::default();
        if records.next(&mut record)? {
            let is_header = self.set_columns(&record)?;
            if !is_header {
                self.add(&record)?;
            }
            while records.next(&mut record)? {
                self.add(&record)?;
            }
        }
        self.last_line = records.line;
        if self.values.is_empty() {
            return Err(Error::CsvEmpty {
                path: self.path.clone(),
                line: self.last_line,
            });
        }
        Ok(())
    }

    /// Learns from the first row which columns there are, and tells whether it is a header.
    fn set_columns(&mut self, first: &Record) -> Result<bool> {
        self.width = first.len();
        let expected = match self.wanted {
            None if self.width < 2 => "at least 2 (features and a label)".to_owned(),
            Some(n) if self.width != n && self.width != n.saturating_add(1) => {
                format!("{n} (or one more with a label)")
            }
            _ => String::new(),
        };
        if !expected.is_empty() {
            return Err(Error::CsvRagged {
                path: self.path.clone(),
                line: first.line,
                expected,
                found: self.width,
            });
        }
        if self.wanted != Some(self.width) {
            self.label_cell = Some(self.find_label(first)?);
            self.labels = Some(Vec::new());
        }
        self.n_features = self.width - usize::from(self.label_cell.is_some());
        if self.label_cell.is_some() && matches!(self.options.label, Some(LabelColumn::Name(_))) {
            return Ok(true);
        }
        for cell in (0..self.width).filter(|&cell| Some(cell) != self.label_cell) {
            let text = first.cell(cell, &self.path)?;
            // An empty cell is a number that is missing rather than a name.
            if !text.is_empty() && text.parse::<f32>().is_err() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which cell of the first row stands over the labels.
    fn find_label(&self, first: &Record) -> Result<usize> {
        let missing = |expected: String, found: String| {
            Err(Error::CsvNoLabelColumn {
                path: self.path.clone(),
                line: first.line,
                expected,
                found,
            })
        };
        match &self.options.label {
            None => Ok(self.width - 1),
            Some(LabelColumn::Number(n)) if (1..=self.width).contains(n) => Ok(n - 1),
            Some(LabelColumn::Number(n)) => missing(
                format!("{n} (columns count from 1)"),
                format!("{} columns", self.width),
            ),
            Some(LabelColumn::Name(name)) => {
                let names = (0..self.width)
                    .map(|cell| first.cell(cell, &self.path))
                    .collect::<Result<Vec<_>>>()?;
                let mut found = (0..self.width).filter(|&cell| names[cell] == name);
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

    /// Adds a row of data.
    fn add(&mut self, row: &Record) -> Result<()> {
        if row.len() != self.width {
            return Err(Error::CsvRagged {
                path: self.path.clone(),
                line: row.line,
                expected: self.width.to_string(),
                found: row.len(),
            });
        }
        for cell in 0..self.width {
            if Some(cell) == self.label_cell {
                let label = self.label(row, cell)?;
                self.labels.get_or_insert_default().push(label);
            } else {
                let value = self.number(row, cell)?;
                self.values.push(value);
            }
        }
        Ok(())
    }

    /// The number in a cell.
    fn number(&self, row: &Record, cell: usize) -> Result<f32> {
        let text = row.cell(cell, &self.path)?;
        match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(Error::CsvNotFinite {
                path: self.path.clone(),
                line: row.line,
                column: cell + 1,
                found: shorten(text),
            }),
            Err(_) => Err(Error::CsvNotANumber {
                path: self.path.clone(),
                line: row.line,
                column: cell + 1,
                found: shorten(text),
            }),
        }
    }

    /// The number of the class in a cell; a class not seen before gets the next one, unless the classes are given.
    fn label(&mut self, row: &Record, cell: usize) -> Result<u32> {
        let text = row.cell(cell, &self.path)?;
        if let Some(&number) = self.number_of.get(text) {
            return Ok(number);
        }
        let (path, line, column) = (self.path.clone(), row.line, cell + 1);
        if text.is_empty() {
            return Err(Error::CsvNoLabel { path, line, column });
        }
        if let Some(classes) = &self.options.classes {
            return Err(Error::CsvUnknownLabel {
                path,
                line,
                column,
                expected: list(classes),
                found: shorten(text),
            });
        }
        let number = self.seen.len() as u32;
        self.seen.push(text.to_owned());
        self.number_of.insert(text.to_owned(), number);
        Ok(number)
    }
}

/// Sorts class names, by value when all are numbers, and tells the new number of each old one.
fn sort_classes(seen: Vec<String>) -> (Vec<String>, Vec<u32>) {
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

#[cfg(test)]
mod tests;
