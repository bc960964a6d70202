//! `predict --out`: predictions with the columns of the file beside them, as CSV or JSON lines.

use std::path::Path;

use cortical_data::Features;
use cortical_data::csv::{CsvOptions, read_cells};
use serde_json::{Map, Value, json};

use crate::cli::PredictArgs;
use crate::error::{Error, Result};
use crate::out_file::{PREDICTIONS, may_write};

/// What is known of each sample, by columns: those of its file, then what was predicted.
pub(super) struct Rows {
    names: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// The samples of a file as they stand in it: the cells of a table, the names of pictures, nothing of others.
    pub(super) fn of(args: &PredictArgs, features: &Features) -> Result<Self> {
        let count = features.inputs.len();
        if !features.files.is_empty() {
            let files = features.files.iter();
            return Ok(Self {
                names: vec!["file".to_owned()],
                rows: files
                    .map(|file| vec![json!(file.display().to_string())])
                    .collect(),
            });
        }
        if !features.is_table {
            return Ok(Self {
                names: Vec::new(),
                rows: vec![Vec::new(); count],
            });
        }
        let mut cells = read_cells(&args.file, &CsvOptions::default())?;
        let width = cells.first().map_or(0, Vec::len);
        // A row more than samples is the header.
        let names = match cells.len() > count {
            true => cells.remove(0),
            false => (1..=width)
                .map(|number| format!("column {number}"))
                .collect(),
        };
        let value = |text: String| match serde_json::from_str(&text) {
            Ok(Value::Number(number)) => Value::Number(number),
            _ => Value::String(text),
        };
        let rows = cells
            .into_iter()
            .map(|row| row.into_iter().map(value).collect());
        Ok(Self {
            names,
            rows: rows.collect(),
        })
    }

    /// Texts, which have no other columns.
    pub(super) fn of_texts(texts: &[String]) -> Self {
        Self {
            names: vec!["text".to_owned()],
            rows: texts.iter().map(|text| vec![json!(text)]).collect(),
        }
    }

    /// Adds a column; a name that is there already gets a line behind it.
    pub(super) fn column(&mut self, name: &str, values: impl Iterator<Item = Value>) {
        let mut name = name.to_owned();
        while self.names.contains(&name) {
            name.push('_');
        }
        self.names.push(name);
        for (row, value) in self.rows.iter_mut().zip(values) {
            row.push(value);
        }
    }

    /// Writes the file whole or not at all.
    pub(super) fn write(&self, out: &Path, args: &PredictArgs) -> Result<()> {
        may_write(out, &PREDICTIONS, &[&args.file, &args.run], args.force)?;
        let text = match is_lines(out)? {
            true => self.to_lines(),
            false => self.to_csv(),
        };
        cortical_io::write_atomic(out, |file| file.write_all(text.as_bytes()))
            .map_err(cortical_train::Error::from)?;
        Ok(())
    }

    fn to_lines(&self) -> String {
        let line = |row: &Vec<Value>| {
            let pairs = self.names.iter().cloned().zip(row.iter().cloned());
            format!("{}\n", Value::Object(pairs.collect::<Map<_, _>>()))
        };
        self.rows.iter().map(line).collect()
    }

    fn to_csv(&self) -> String {
        let cell = |value: &Value| match value {
            Value::String(text) => quoted(text),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let head: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
        let mut text = head.join(",") + "\n";
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(cell).collect();
            text += &(cells.join(",") + "\n");
        }
        text
    }
}

/// Whether a file is to hold JSON lines, or CSV.
///
/// # Errors
/// [`Error::UnknownForm`] for a name with another ending.
pub(super) fn is_lines(out: &Path) -> Result<bool> {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("jsonl") => Ok(true),
        Some("csv") => Ok(false),
        _ => Err(Error::UnknownForm {
            path: out.to_owned(),
        }),
    }
}

/// A cell, in quotes where it needs them.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) || text != text.trim() {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
