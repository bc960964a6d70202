//! What the columns of a table seem to hold, for a person to agree with.

use std::collections::HashSet;
use std::path::Path;

use super::CsvOptions;
use super::labels::{LabelColumn, MOST_NAME_BYTES};
use super::missing::is_missing;
use super::records::{Record, Records};
use crate::dates;
use crate::error::{CsvDefect, Result};
use crate::files;

/// What a column of a table seems to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Looks {
    /// Numbers.
    Numbers,
    /// Dates.
    Dates,
    /// Categories, so many different ones.
    Categories(usize),
    /// Texts or names of which hardly one comes twice, or nothing.
    Unlike,
    /// What is predicted, or was named by whoever asks: it was not looked at.
    Named,
}

/// A column of a table, and what it seems to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// How a recipe names it: by its name in the header where that is its own, else by its number.
    pub column: LabelColumn,
    /// What it seems to hold.
    pub looks: Looks,
    /// Cells without a value.
    pub missing: usize,
}

/// More different words than this are no categories.
const MOST_CATEGORIES: usize = 64;
/// Rows that a category has at least, on average.
const ROWS_OF_EACH: usize = 3;

/// What was seen of a column.
#[derive(Default)]
struct Seen {
    numbers: usize,
    dates: usize,
    missing: usize,
    /// Different words, as long as there are few.
    words: HashSet<String>,
}

impl Seen {
    fn add(&mut self, text: &str) {
        if is_missing(text) {
            self.missing += 1;
            return;
        }
        self.numbers += usize::from(text.parse::<f64>().is_ok_and(f64::is_finite));
        self.dates += usize::from(dates::days(text).is_some());
        if self.words.len() <= MOST_CATEGORIES && text.len() <= MOST_NAME_BYTES {
            self.words.insert(text.to_owned());
        }
    }

    fn looks(&self, rows: usize) -> Looks {
        let values = rows - self.missing;
        match self.words.len() {
            _ if values == 0 => Looks::Unlike,
            _ if self.numbers == values => Looks::Numbers,
            _ if self.dates == values => Looks::Dates,
            few if few <= MOST_CATEGORIES && few * ROWS_OF_EACH <= values => Looks::Categories(few),
            _ => Looks::Unlike,
        }
    }
}

/// Looks through a table and says what each column seems to hold: numbers, dates, or categories, which are words of
/// which each comes several times. The columns that `options` name are left as they are.
///
/// # Errors
/// A file that cannot be read or is larger than the limit; rows of different lengths; a column that is not there.
///
/// ```
/// use cortical_data::csv::{self, CsvOptions, Looks};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("t.csv");
/// std::fs::write(&path, "size,colour,kind\n1,red,a\n2,blue,b\n3,red,a\n4,red,b\n5,blue,a\n6,blue,a\n")?;
/// let found = csv::guess_columns(&path, &CsvOptions::default())?;
/// let looks: Vec<Looks> = found.iter().map(|guess| guess.looks).collect();
/// assert_eq!(looks, [Looks::Numbers, Looks::Categories(2), Looks::Named]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn guess_columns(path: &Path, options: &CsvOptions) -> Result<Vec<Guess>> {
    let separator = options.separator_of(path);
    let mut records = Records::new(files::open(path)?, path, options.limit_bytes, separator);
    let mut first = Record::default();
    if !records.next(&mut first)? {
        return Err(CsvDefect::Empty.at_line(path, records.line));
    }
    let width = first.len();
    let mut seen: Vec<Seen> = (0..width).map(|_| Seen::default()).collect();
    let (mut rows, mut record) = (0, Record::default());
    while records.next(&mut record)? {
        if record.len() != width {
            return Err(super::table::ragged(path, options, width, &record));
        }
        for (cell, seen) in seen.iter_mut().enumerate() {
            seen.add(record.cell(cell, path)?);
        }
        rows += 1;
    }
    let cells = first.cells(path)?;
    let has_header = options.header.unwrap_or_else(|| is_header(&cells, &seen));
    if !has_header {
        cells
            .iter()
            .zip(&mut seen)
            .for_each(|(cell, seen)| seen.add(cell));
        rows += 1;
    }
    let mut named = HashSet::new();
    let lists = [
        &options.one_hot,
        &options.ignore,
        &options.dates,
        &options.date_parts,
    ];
    let lists = lists
        .into_iter()
        .flatten()
        .chain(&options.targets)
        .chain(&options.label);
    for column in lists {
        named.insert(column.find(&first, path, "column")?);
    }
    if options.label.is_none() && options.targets.is_empty() {
        named.insert(width - 1);
    }
    let guess = |(cell, seen): (usize, &Seen)| {
        let name = cells[cell];
        let is_own = cells.iter().filter(|other| **other == name).count() == 1;
        Guess {
            column: match has_header && is_own && !name.is_empty() {
                true => LabelColumn::Name(name.to_owned()),
                false => LabelColumn::Number(cell + 1),
            },
            looks: match named.contains(&cell) {
                true => Looks::Named,
                false => seen.looks(rows),
            },
            missing: seen.missing,
        }
    };
    Ok(seen.iter().enumerate().map(guess).collect())
}

/// Whether a first row has the names of the columns: words that none of its columns has again, and no number, date or
/// gap.
fn is_header(cells: &[&str], seen: &[Seen]) -> bool {
    cells.iter().zip(seen).all(|(cell, seen)| {
        let is_value = cell.parse::<f64>().is_ok() || dates::days(cell).is_some();
        !is_value && !is_missing(cell) && !seen.words.contains(*cell)
    })
}

/// All cells of a table as their texts, row by row, the header among them if there is one.
///
/// # Errors
/// A file that cannot be read or is larger than the limit, or that is no table.
pub fn read_cells(path: &Path, options: &CsvOptions) -> Result<Vec<Vec<String>>> {
    let separator = options.separator_of(path);
    let mut records = Records::new(files::open(path)?, path, options.limit_bytes, separator);
    let (mut all, mut record) = (Vec::new(), Record::default());
    while records.next(&mut record)? {
        let cells = record.cells(path)?.into_iter();
        all.push(cells.map(str::to_owned).collect());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_what_most_people_take_them_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let row = |i: usize| {
            format!(
                "{i},name {i},2024-01-{:02},c{},,{}\n",
                i % 28 + 1,
                i % 3,
                i % 2
            )
        };
        let body: String = (0..30).map(row).collect();
        let looks = |text: &str, options: &CsvOptions| -> Vec<Looks> {
            std::fs::write(&path, text).unwrap();
            let found = guess_columns(&path, options).unwrap();
            found.into_iter().map(|guess| guess.looks).collect()
        };
        let want = [
            Looks::Numbers,
            Looks::Unlike,
            Looks::Dates,
            Looks::Categories(3),
            Looks::Unlike,
            Looks::Named,
        ];
        let headed = format!("id,name,when,class,nothing,kind\n{body}");
        assert_eq!(looks(&headed, &CsvOptions::default()), want);
        assert_eq!(looks(&body, &CsvOptions::default()), want);
        let named = CsvOptions {
            label: Some(LabelColumn::Name("class".to_owned())),
            ignore: vec![LabelColumn::Number(1)],
            ..CsvOptions::default()
        };
        let found = looks(&headed, &named);
        assert_eq!(
            (found[0], found[3], found[5]),
            (Looks::Named, Looks::Named, Looks::Numbers)
        );
        std::fs::write(&path, "a,b\n1\n").unwrap();
        assert!(guess_columns(&path, &CsvOptions::default()).is_err());
        std::fs::write(&path, "a,a\n1,2\n").unwrap();
        let found = guess_columns(&path, &CsvOptions::default()).unwrap();
        assert_eq!(found[0].column, LabelColumn::Number(1));
        assert_eq!(
            read_cells(&path, &CsvOptions::default()).unwrap()[1],
            ["1", "2"]
        );
    }
}
