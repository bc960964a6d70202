//! Tables of numbers and categories as text, with a label column.
//!
//! Cells are separated by commas (by tabs in a file called `.tsv`) and may be quoted; gzip is recognised. The first row is a header when one of
//! its cells for numbers is text that is no number, or when a column is asked for by its name. A column of names is read where it is asked for as
//! such ([`CsvOptions::one_hot`]): so a number with a typing error is an error and not a category.

mod columns;
mod labels;
mod records;
mod texts;

use std::io::BufRead;
use std::path::{Path, PathBuf};

pub use crate::column::Column;
use crate::column::width;
use crate::dataset::Dataset;
use crate::error::{CsvDefect, Result, shorten};
use crate::features::Features;
use crate::files;
use crate::inputs::Inputs;
use columns::{Categories, Kind};
pub use labels::LabelColumn;
use labels::Labels;
use records::{Record, Records};
pub use texts::{TextOptions, Texts, read_texts, read_texts_from};

/// What to expect of a CSV file.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// The label column; the last one when absent.
    pub label: Option<LabelColumn>,
    /// The classes that labels may name, in their order; every label that occurs when absent.
    pub classes: Option<Vec<String>>,
    /// Columns of categories, each of which becomes a number of its own: 1 where a row belongs to it, else 0.
    pub one_hot: Vec<LabelColumn>,
    /// Columns that are not read, such as a number that only counts rows.
    pub ignore: Vec<LabelColumn>,
    /// The columns of the table that a model has learned from, in place of the two fields above; empty for none.
    pub columns: Vec<Column>,
    /// What stands between cells; a tab for a file called `.tsv` (or `.tsv.gz`), else a comma, when absent.
    pub separator: Option<u8>,
    /// The most bytes to read, after decompression.
    pub limit_bytes: u64,
}

impl Default for CsvOptions {
    /// The last column, all classes, one gibibyte.
    fn default() -> Self {
        Self {
            label: None,
            classes: None,
            one_hot: Vec::new(),
            ignore: Vec::new(),
            columns: Vec::new(),
            separator: None,
            limit_bytes: 1 << 30,
        }
    }
}

impl CsvOptions {
    /// What stands between the cells of this file.
    fn separator_of(&self, path: &Path) -> u8 {
        self.separator.unwrap_or_else(|| separator_of(path))
    }
}

/// What stands between the cells of a file by its name.
fn separator_of(path: &Path) -> u8 {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".tsv") { b'\t' } else { b',' }
}

/// Reads labelled samples of shape `[columns - 1]`, or of as many numbers as [`Column::width`] says of all columns.
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
    let inputs = inputs(table.kinds, table.values)?;
    let labels = table
        .labels
        .expect("set_columns demands a label column when no number of features is wanted, and no row is an error");
    let column = table.label_cell.map_or(0, |cell| cell + 1);
    let (labels, classes) = labels.finish(name, (table.last_line, column))?;
    Dataset::new(inputs, labels, classes)
}

/// The samples, with their columns where not all are numbers.
fn inputs(kinds: Vec<Kind>, values: Vec<f32>) -> Result<Inputs> {
    let (columns, values) = columns::expand(kinds, values)?;
    let plain = columns.iter().all(|column| *column == Column::Number);
    let features = width(&columns).unwrap_or(usize::MAX);
    let inputs = Inputs::new(values, &[features])?;
    if plain {
        return Ok(inputs);
    }
    inputs.with_columns(columns)
}

/// Reads samples to predict from: `n_features` columns (or those of [`CsvOptions::columns`]), or one more, which then is the label.
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
    let wanted = match &options.columns[..] {
        [] => n_features,
        columns => columns.len(),
    };
    let mut table = Table::new(name, options, Some(wanted));
    table.read(reader)?;
    Ok(Features {
        inputs: inputs(table.kinds, table.values)?,
        labels: (table.labels.filter(|_| options.classes.is_some())).map(Labels::into_numbers),
        files: Vec::new(),
    })
}

/// A table in the making.
struct Table<'a> {
    path: PathBuf,
    options: &'a CsvOptions,
    /// The number of columns that a model wants, when there is one.
    wanted: Option<usize>,
    /// How many cells every row has.
    width: usize,
    /// What the cells of a row hold, without the label.
    kinds: Vec<Kind>,
    /// Which cell holds the label, from 0.
    label_cell: Option<usize>,
    values: Vec<f32>,
    labels: Option<Labels>,
    last_line: u64,
    /// Rows of data so far.
    rows: u64,
}

impl<'a> Table<'a> {
    fn new(path: &Path, options: &'a CsvOptions, wanted: Option<usize>) -> Self {
        Self {
            path: path.to_owned(),
            options,
            wanted,
            width: 0,
            kinds: Vec::new(),
            label_cell: None,
            values: Vec::new(),
            labels: None,
            last_line: 0,
            rows: 0,
        }
    }

    fn read(&mut self, reader: impl BufRead) -> Result<()> {
        let separator = self.options.separator_of(&self.path);
        let mut records = Records::new(reader, &self.path, self.options.limit_bytes, separator);
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
        if self.rows == 0 {
            return Err(CsvDefect::Empty.at_line(&self.path, self.last_line));
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
            return Err(CsvDefect::Ragged {
                expected,
                found: self.width,
            }
            .at_line(&self.path, first.line));
        }
        if self.wanted != Some(self.width) {
            self.label_cell = Some(self.find_label(first)?);
            self.labels = Some(Labels::new(self.options.classes.as_deref()));
        }
        let by_name = |column: &LabelColumn| matches!(column, LabelColumn::Name(_));
        let mut named = self.label_cell.is_some() && self.options.label.iter().any(by_name);
        if self.options.columns.is_empty() {
            self.kinds = self.find_kinds(first)?;
            let asked = self.options.one_hot.iter().chain(&self.options.ignore);
            named |= asked.into_iter().any(by_name);
        } else {
            self.take_kinds(first)?;
        }
        Ok(named || self.is_header(first)?)
    }

    /// Which cells hold categories, and which are not read, by what was asked for.
    fn find_kinds(&self, first: &Record) -> Result<Vec<Kind>> {
        let mut kinds: Vec<Kind> = (0..self.width).map(|_| Kind::Number).collect();
        for column in &self.options.one_hot {
            let cell = column.find(first, &self.path, "column of categories")?;
            kinds[cell] = Kind::OneHot(Categories::default());
        }
        for column in &self.options.ignore {
            kinds[column.find(first, &self.path, "column to ignore")?] = Kind::Ignored;
        }
        if let Some(cell) = self.label_cell {
            kinds.remove(cell);
        }
        if kinds.iter().all(|kind| matches!(kind, Kind::Ignored)) {
            return Err(CsvDefect::NoColumn {
                what: "column",
                expected: "that is read".to_owned(),
                found: "all of them to be ignored".to_owned(),
            }
            .at_line(&self.path, first.line));
        }
        Ok(kinds)
    }

    /// The cells of a table that a model knows.
    fn take_kinds(&mut self, first: &Record) -> Result<()> {
        let columns = &self.options.columns;
        let cells = self.width - usize::from(self.label_cell.is_some());
        if cells != columns.len() {
            return Err(CsvDefect::Ragged {
                expected: format!("{} (or one more with a label)", columns.len()),
                found: self.width,
            }
            .at_line(&self.path, first.line));
        }
        let kind = |column: &Column| match column {
            Column::Number => Kind::Number,
            Column::OneHot(names) => Kind::OneHot(Categories::fixed(names)),
            Column::Ignored => Kind::Ignored,
        };
        self.kinds = columns.iter().map(kind).collect();
        Ok(())
    }

    /// Whether the first row has names over the columns: a text where a number should be, or a category that no model knows.
    fn is_header(&self, first: &Record) -> Result<bool> {
        let cells = (0..self.width).filter(|&cell| Some(cell) != self.label_cell);
        for (cell, kind) in cells.zip(&self.kinds) {
            let text = first.cell(cell, &self.path)?;
            let is_name = match kind {
                // An empty cell is a number that is missing rather than a name.
                Kind::Number => !text.is_empty() && text.parse::<f32>().is_err(),
                Kind::OneHot(known) => !self.options.columns.is_empty() && !known.knows(text),
                Kind::Ignored => false,
            };
            if is_name {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which cell of the first row stands over the labels.
    fn find_label(&self, first: &Record) -> Result<usize> {
        match &self.options.label {
            None => Ok(self.width - 1),
            Some(column) => column.find(first, &self.path, "label column"),
        }
    }

    /// Adds a row of data.
    fn add(&mut self, row: &Record) -> Result<()> {
        if row.len() != self.width {
            return Err(CsvDefect::Ragged {
                expected: self.width.to_string(),
                found: row.len(),
            }
            .at_line(&self.path, row.line));
        }
        let mut column = 0;
        for cell in 0..self.width {
            if Some(cell) == self.label_cell {
                if let Some(labels) = &mut self.labels {
                    labels.add(row, cell, &self.path)?;
                }
                continue;
            }
            match &mut self.kinds[column] {
                Kind::Ignored => {}
                Kind::Number => {
                    let value = self.number(row, cell)?;
                    self.values.push(value);
                }
                Kind::OneHot(categories) => {
                    let name = row.cell(cell, &self.path)?;
                    let number = categories.number(name, &self.path, (row.line, cell + 1))?;
                    self.values.push(number as f32);
                }
            }
            column += 1;
        }
        self.rows += 1;
        Ok(())
    }

    /// The number in a cell.
    fn number(&self, row: &Record, cell: usize) -> Result<f32> {
        let text = row.cell(cell, &self.path)?;
        match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(CsvDefect::NotFinite {
                found: shorten(text),
            }
            .at_cell(&self.path, row.line, cell + 1)),
            Err(_) => Err(CsvDefect::NotANumber {
                found: shorten(text),
            }
            .at_cell(&self.path, row.line, cell + 1)),
        }
    }
}

#[cfg(test)]
mod tests;
