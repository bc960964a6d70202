//! Tables of numbers and categories as text, with a label column.
//!
//! Cells are separated by commas (by tabs in a file called `.tsv`) and may be quoted; gzip is recognised. The first
//! row is a header when its cells over numbers are words, when a column is asked for by its name, or when it has
//! numbers that name columns (that count them, as pandas does; years, wavelengths) and what stands over the labels
//! does not come again as one. A guess is a note of [`Dataset::about`], and where as much speaks for the one as for
//! the other the table is refused; [`CsvOptions::header`] says it. A missing value in the first row is an error, as in
//! any other. A column of names is read where it is asked for as such ([`CsvOptions::one_hot`]): so a number with a
//! typing error is an error and not a category.
//!
//! A model keeps the [`Column`]s of its table. Later tables are read by them: by the names in their header, else by
//! their places.

mod columns;
mod guess;
mod header;
mod labels;
mod layout;
mod missing;
mod records;
mod table;
mod texts;

use std::io::BufRead;
use std::path::Path;

pub use crate::column::{Column, ColumnKind};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::features::Features;
use crate::files;
use crate::fill::Missing;
use crate::targets::{Target, Targets};
pub use guess::{Guess, Looks, guess_columns, read_cells};
pub use labels::LabelColumn;
use table::Table;
pub use texts::{TextOptions, Texts, read_texts, read_texts_from};

/// What to expect of a CSV file.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// The label column; the last one when absent.
    pub label: Option<LabelColumn>,
    /// What is predicted: the class that the label names, or numbers.
    pub target: Target,
    /// The columns of numbers to predict, where it is numbers; the label column when empty.
    pub targets: Vec<LabelColumn>,
    /// The classes that labels may name, in their order; every label that occurs when absent.
    pub classes: Option<Vec<String>>,
    /// Whether a row may have no label or one that is none of `classes`: to predict from, where labels only show how
    /// many predictions are right.
    pub may_lack_labels: bool,
    /// Columns of categories, each of which becomes a number of its own: 1 where a row belongs to it, else 0.
    pub one_hot: Vec<LabelColumn>,
    /// Columns of dates, each of which becomes the days since 1970.
    pub dates: Vec<LabelColumn>,
    /// Columns of dates, each of which becomes its year, month, day and weekday.
    pub date_parts: Vec<LabelColumn>,
    /// What becomes of missing values.
    pub missing: Missing,
    /// Columns that are not read, such as a number that only counts rows.
    pub ignore: Vec<LabelColumn>,
    /// The columns of the table that a model has learned from, in place of the two fields above; empty for none. They
    /// are found by their names in the header, in whatever order, or by their places in a table without one.
    pub columns: Vec<Column>,
    /// Whether the first row has the names of the columns; told from the table when absent.
    pub header: Option<bool>,
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
            target: Target::Classes,
            targets: Vec::new(),
            classes: None,
            may_lack_labels: false,
            one_hot: Vec::new(),
            dates: Vec::new(),
            date_parts: Vec::new(),
            missing: Missing::Refuse,
            ignore: Vec::new(),
            columns: Vec::new(),
            header: None,
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
/// Classes are sorted, by value when all of them are numbers, else by their text. With [`Target::Numbers`] the samples
/// have numbers to predict in place of a class.
///
/// # Errors
/// A file that cannot be read or is larger than the limit; rows of different lengths; cells that are no finite numbers;
/// a missing label column or label; no rows; one class only; with [`CsvOptions::classes`], a label that is none of
/// them.
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
    let read = Table::read(reader, name, options, None)?.finish()?;
    if let Some((values, names)) = read.targets {
        let targets = Targets::new(values, names)?;
        return Ok(Dataset::of_numbers(read.inputs, targets)?.with_about(read.about));
    }
    let (labels, last) = read
        .labels
        .expect("a table without labels is refused where no number of features is wanted");
    let (labels, classes) = labels.finish(name, last)?;
    Ok(Dataset::new(read.inputs, labels, classes)?.with_about(read.about))
}

/// Reads samples to predict from: `n_features` columns, or one more, which then is the label; or
/// [`CsvOptions::columns`], found by their names where the table has a header.
///
/// # Errors
/// As [`read`], for another number of columns or a header with other names than the model's, and without the demand for
/// two classes.
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
    let table = Table::read(reader, name, options, Some(n_features))?;
    let read = table.finish()?;
    Ok(Features {
        inputs: read.inputs,
        labels: (read.labels.filter(|_| options.classes.is_some()))
            .map(|(labels, _)| labels.into_numbers()),
        targets: read.targets.map(|(values, _)| values),
        files: Vec::new(),
        is_table: true,
        about: read.about,
    })
}

#[cfg(test)]
mod tests;
