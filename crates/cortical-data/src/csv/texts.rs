//! Tables with a column of texts, and files with a text in each line.

use std::io::BufRead;
use std::path::Path;

use super::labels::{LabelColumn, Labels};
use super::layout::in_words;
use super::records::{MOST_ROW_BYTES, Record, Records};
use super::separator_of;
use crate::error::{CsvDefect, Error, Result};
use crate::files;

/// What to expect of a table of texts.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// The column of texts.
    pub text: LabelColumn,
    /// The column of labels.
    pub label: LabelColumn,
    /// The classes that labels may name, in their order; every label that occurs when absent. With them the labels may
    /// be missing as a whole, as in a table to predict from.
    pub classes: Option<Vec<String>>,
    /// Whether a row may have no label or one that is none of `classes`: to predict from.
    pub may_lack_labels: bool,
    /// The most bytes to read, after decompression.
    pub limit_bytes: u64,
}

impl Default for TextOptions {
    /// Columns called `text` and `label`, all classes, one gibibyte.
    fn default() -> Self {
        Self {
            text: LabelColumn::Name("text".to_owned()),
            label: LabelColumn::Name("label".to_owned()),
            classes: None,
            may_lack_labels: false,
            limit_bytes: 1 << 30,
        }
    }
}

/// Texts, with a class each where they have labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The texts, none of them empty.
    pub texts: Vec<String>,
    /// The class of each, as an index into `classes`; `None` for a label that is none of them, which only
    /// [`TextOptions::may_lack_labels`] allows.
    pub labels: Option<Vec<Option<u32>>>,
    /// The names of the classes.
    pub classes: Vec<String>,
}

/// Reads texts, labelled or not: a table with a column of each, separated by commas or, in a file called `.tsv`, by
/// tabs; or, from a file called `.txt`, a text in each line that is not empty. Gzip is recognised.
///
/// Columns by name stand in a header; where both are given by number, the file has none. Classes are sorted, by value
/// when all of them are numbers, else by their text.
///
/// # Errors
/// A file that cannot be read or is larger than the limit; rows of different lengths; a column that is not there; a
/// missing text or label; no rows; one class only; with [`TextOptions::classes`], a label that is none of them; a
/// `.txt` file where labels are needed.
pub fn read_texts(path: &Path, options: &TextOptions) -> Result<Texts> {
    read_texts_from(files::open(path)?, path, options)
}

/// [`read_texts`] from any reader of uncompressed text; `name` stands for the path in messages.
///
/// ```
/// use cortical_data::csv::{self, TextOptions};
/// let table = "label,text\ngood,\"Well, well.\"\nbad,No.\n";
/// let read = csv::read_texts_from(table.as_bytes(), "t.csv".as_ref(), &TextOptions::default())?;
/// assert_eq!(read.texts, ["Well, well.", "No."]);
/// assert_eq!((read.classes, read.labels), (vec!["bad".into(), "good".into()], Some(vec![Some(1), Some(0)])));
/// # Ok::<(), cortical_data::Error>(())
/// ```
///
/// # Errors
/// As [`read_texts`].
pub fn read_texts_from(reader: impl BufRead, name: &Path, options: &TextOptions) -> Result<Texts> {
    let lower = name.to_string_lossy().to_ascii_lowercase();
    let is_lines = lower.trim_end_matches(".gz").ends_with(".txt");
    if is_lines {
        return read_lines(reader, name, options);
    }
    let mut records = Records::new(reader, name, options.limit_bytes, separator_of(name));
    let mut record = Record::default();
    let mut read = Reading::new(name, options);
    if records.next(&mut record)? {
        if !read.set_columns(&record)? {
            read.add(&record)?;
        }
        while records.next(&mut record)? {
            read.add(&record)?;
        }
    }
    read.finish(records.line)
}

/// A text in each line.
fn read_lines(reader: impl BufRead, name: &Path, options: &TextOptions) -> Result<Texts> {
    let Some(classes) = &options.classes else {
        return Err(CsvDefect::Unlabelled.of_file(name));
    };
    let mut reader = files::Counted::new(reader, name, options.limit_bytes);
    let (mut texts, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    while reader.read_line(&mut bytes, MOST_ROW_BYTES)? > 0 {
        line += 1;
        if bytes.len() > MOST_ROW_BYTES {
            let limit_bytes = MOST_ROW_BYTES;
            return Err(CsvDefect::LongRow { limit_bytes }.at_line(name, line));
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| CsvDefect::NotUtf8.at_cell(name, line, 1))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() {
            texts.push(text.to_owned());
        }
        bytes.clear();
    }
    if texts.is_empty() {
        return Err(CsvDefect::Empty.at_line(name, line));
    }
    Ok(Texts {
        texts,
        labels: None,
        classes: classes.clone(),
    })
}

/// A table in the making.
struct Reading<'a> {
    path: &'a Path,
    options: &'a TextOptions,
    width: usize,
    text_cell: usize,
    /// Which cell holds the label, from 0, with the labels so far.
    labels: Option<(usize, Labels)>,
    texts: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, options: &'a TextOptions) -> Self {
        Self {
            path,
            options,
            width: 0,
            text_cell: 0,
            labels: None,
            texts: Vec::new(),
        }
    }

    /// Learns from the first row which columns there are, and tells whether it is a header.
    fn set_columns(&mut self, first: &Record) -> Result<bool> {
        let (text, label) = (&self.options.text, &self.options.label);
        self.width = first.len();
        self.text_cell = text.find(first, self.path, "column of texts")?;
        match label.find(first, self.path, "label column") {
            Ok(cell) if cell == self.text_cell => {
                return Err(CsvDefect::TextIsLabel { column: cell + 1 }.of_file(self.path));
            }
            Ok(cell) => {
                let labels = Labels::new(
                    self.options.classes.as_deref(),
                    self.options.may_lack_labels,
                );
                self.labels = Some((cell, labels));
            }
            // Whoever knows the classes may want to predict them.
            Err(Error::Csv { ref defect, .. })
                if matches!(**defect, CsvDefect::NoColumn { .. })
                    && self.options.classes.is_some() => {}
            Err(error) => return Err(error),
        }
        let by_name = |column: &LabelColumn| matches!(column, LabelColumn::Name(_));
        Ok(by_name(text) || by_name(label))
    }

    /// Adds a row.
    fn add(&mut self, row: &Record) -> Result<()> {
        let (path, line) = (self.path, row.line);
        if row.len() != self.width {
            return Err(CsvDefect::Ragged {
                expected: self.width.to_string(),
                separator: in_words(separator_of(self.path)),
                found: row.len(),
                advice: "",
            }
            .at_line(path, line));
        }
        let text = row.cell(self.text_cell, self.path)?;
        if text.trim().is_empty() {
            let column = self.text_cell + 1;
            return Err(CsvDefect::NoText.at_cell(path, line, column));
        }
        self.texts.push(text.to_owned());
        if let Some((cell, labels)) = &mut self.labels {
            labels.add(row, *cell, self.path)?;
        }
        Ok(())
    }

    fn finish(self, last_line: u64) -> Result<Texts> {
        let path = self.path;
        if self.texts.is_empty() {
            return Err(CsvDefect::Empty.at_line(path, last_line));
        }
        let (labels, classes) = match self.labels {
            None => (None, self.options.classes.clone().unwrap_or_default()),
            Some((_, labels)) if labels.may_lack() => {
                let classes = self.options.classes.clone().unwrap_or_default();
                (Some(labels.into_numbers()), classes)
            }
            Some((cell, labels)) => {
                let (labels, classes) = labels.finish(path, (last_line, cell + 1))?;
                (Some(labels.into_iter().map(Some).collect()), classes)
            }
        };
        Ok(Texts {
            texts: self.texts,
            labels,
            classes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, options: &TextOptions) -> Result<Texts> {
        read_texts_from(text.as_bytes(), name.as_ref(), options)
    }

    fn is(error: &Error, what: fn(&CsvDefect) -> bool) -> bool {
        matches!(error, Error::Csv { defect, .. } if what(defect))
    }

    fn numbered(text: usize, label: usize) -> TextOptions {
        TextOptions {
            text: LabelColumn::Number(text),
            label: LabelColumn::Number(label),
            ..TextOptions::default()
        }
    }

    fn to_predict() -> TextOptions {
        TextOptions {
            classes: Some(vec!["a".to_owned(), "b".to_owned()]),
            ..TextOptions::default()
        }
    }

    #[test]
    fn columns_are_found_by_name_and_by_number() {
        let named = "id,text,label\n1,\"one\ntwo, three\",b\n2,four,a\n";
        let read_named = read("t.csv", named, &TextOptions::default()).unwrap();
        assert_eq!(read_named.texts, ["one\ntwo, three", "four"]);
        assert_eq!(read_named.labels, Some(vec![Some(1), Some(0)]));
        // Without a header, and with tabs.
        let bare = read(
            "t.tsv",
            "4\ttext, too\n10\tother\n4\tthird\n",
            &numbered(2, 1),
        )
        .unwrap();
        assert_eq!(bare.classes, ["4", "10"]);
        assert_eq!(bare.labels, Some(vec![Some(0), Some(1), Some(0)]));
        assert_eq!(bare.texts[0], "text, too");
    }

    #[test]
    fn labels_may_be_missing_where_classes_are_known() {
        let with = read("t.csv", "text,label\nx,b\n", &to_predict()).unwrap();
        assert_eq!(with.labels, Some(vec![Some(1)]));
        let some = TextOptions {
            may_lack_labels: true,
            ..to_predict()
        };
        let some = read("t.csv", "text,label\nx,\ny,c\nz,b\n", &some).unwrap();
        assert_eq!(some.labels, Some(vec![None, None, Some(1)]));
        let without = read("t.csv", "id,text\n1,x\n", &to_predict()).unwrap();
        assert_eq!(
            (without.texts, without.labels),
            (vec!["x".to_owned()], None)
        );
        let lines = read("t.txt", "\u{feff}one, two\r\n\n \"three\"\n", &to_predict()).unwrap();
        assert_eq!(lines.texts, ["one, two", "\"three\""]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |name: &str, text: &str, options: &TextOptions, want: &str| {
            let error = read(name, text, options).unwrap_err().to_string();
            assert_eq!(error, want, "{text:?}");
        };
        let plain = TextOptions::default();
        check(
            "t.csv",
            "review,label\nx,a\n",
            &plain,
            "t.csv, line 1: expected a column of texts \"text\", found the columns review, label",
        );
        check(
            "t.csv",
            "text,stars\nx,a\n",
            &plain,
            "t.csv, line 1: expected a label column \"label\", found the columns text, stars",
        );
        check(
            "t.csv",
            "text,label\n ,a\n",
            &plain,
            "t.csv, line 2, column 1: expected a text, found nothing",
        );
        check(
            "t.csv",
            "text,label\nx,\n",
            &plain,
            "t.csv, line 2, column 2: expected a label, found an empty cell",
        );
        check(
            "t.csv",
            "text,label\nx,a,b\n",
            &plain,
            "t.csv, line 2: expected 2 cells separated by commas, found 3",
        );
        check(
            "t.csv",
            "x,y\n",
            &numbered(1, 1),
            "t.csv: column 1 is to be both text and label; choose two columns",
        );
        check(
            "t.txt",
            "x\n",
            &plain,
            "t.txt: lines of text have no labels; expected a CSV file with a column of texts and one of labels",
        );
        let one = read("t.csv", "text,label\nx,a\ny,a\n", &plain).unwrap_err();
        assert!(
            is(&one, |defect| matches!(defect, CsvDefect::OneClass { .. })),
            "{one}"
        );
        let empty = read("t.csv", "text,label\n", &plain).unwrap_err();
        assert!(
            is(&empty, |defect| matches!(defect, CsvDefect::Empty)),
            "{empty}"
        );
        let other = read("t.csv", "text,label\nx,c\n", &to_predict()).unwrap_err();
        assert!(
            is(&other, |defect| matches!(
                defect,
                CsvDefect::UnknownLabel { .. }
            )),
            "{other}"
        );
        let large = TextOptions {
            limit_bytes: 3,
            ..to_predict()
        };
        assert!(read("t.txt", "four\n", &large).is_err());
    }
}
