//! A table while its rows are read.

use std::io::BufRead;
use std::path::Path;

use super::CsvOptions;
use super::columns::{Kind, NO_CATEGORY, expand};
use super::header::{self, Below, Header, Verdict};
use super::labels::{Labels, MOST_NAME_BYTES};
use super::layout::{First, Layout, in_words};
use super::missing::{FILL, FILL_CATEGORY, UNFILLED, advice, is_missing, is_no_label};
use super::records::{Record, Records};
use crate::about::{About, count};
use crate::column::{Column, ColumnKind, width};
use crate::dates;
use crate::error::{CsvDefect, Error, Result, list, shorten};
use crate::fill::Missing;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::targets::{Target, is_target};

/// The labels of a table, with its last line and the label's column for a message about all of them.
pub(super) type TableLabels = (Labels, (u64, usize));

/// Cells of a first row that a message shows.
const SHOWN: usize = 8;

/// What a whole table holds.
pub(super) struct Read {
    pub(super) inputs: Inputs,
    pub(super) labels: Option<TableLabels>,
    /// The numbers to predict, row by row, with their names; `None` for a table without their columns.
    pub(super) targets: Option<(Vec<f64>, Vec<String>)>,
    pub(super) about: About,
}

/// A table in the making.
pub(super) struct Table<'a> {
    path: &'a Path,
    options: &'a CsvOptions,
    layout: Layout,
    values: Numbers,
    labels: Option<Labels>,
    /// The numbers to predict, row by row.
    targets: Vec<f64>,
    /// How many columns are read before the label, so that of several mistakes in a row the first one is told.
    label_after: usize,
    first: Record,
    last_line: u64,
    /// Rows of data so far, and those that were left out.
    rows: usize,
    dropped: usize,
    /// Whether the table is learned from.
    learns: bool,
    /// What numbers there are; known while it is not sure whether there is a header.
    below: Below,
    /// What a person should know of how the table was understood.
    notes: Vec<String>,
}

impl<'a> Table<'a> {
    /// Reads all rows; `wanted` is the number of columns that a model wants, when there is one.
    pub(super) fn read(
        reader: impl BufRead,
        path: &'a Path,
        options: &'a CsvOptions,
        wanted: Option<usize>,
    ) -> Result<Self> {
        let separator = options.separator_of(path);
        let mut records = Records::new(reader, path, options.limit_bytes, separator);
        let mut first = Record::default();
        if !records.next(&mut first)? {
            return Err(CsvDefect::Empty.at_line(path, records.line));
        }
        let cells = first.cells(path)?;
        // One before a line feed is part of the line's end.
        let is_alone = |cell: &&str| cell.replace("\r\n", "").contains('\r');
        let (line, may_be_all) = (first.line, cells.iter().any(is_alone));
        let explain = |error, last: u64| match may_be_all && last == line {
            true => CsvDefect::CarriageReturns.at_line(path, line),
            false => error,
        };
        let layout = First {
            path,
            options,
            wanted,
            line: first.line,
            cells,
            record: &first,
        }
        .layout()
        .map_err(|error| explain(error, line))?;
        if wanted.is_none() && layout.label.is_none() && layout.targets.is_empty() {
            let defect = CsvDefect::NoColumn {
                what: "label column",
                expected: "beside the model's columns".to_owned(),
                found: "none".to_owned(),
            };
            return Err(defect.at_line(path, first.line));
        }
        let labels = layout
            .label
            .map(|_| Labels::new(options.classes.as_deref(), options.may_lack_labels));
        let label_after = layout.label.map_or(0, |label| {
            let before = layout.slots.iter().take_while(|slot| slot.cell < label);
            before.count()
        });
        let mut table = Self {
            path,
            options,
            layout,
            values: Numbers::default(),
            labels,
            targets: Vec::new(),
            label_after,
            first,
            last_line: 0,
            rows: 0,
            dropped: 0,
            learns: wanted.is_none(),
            below: Below::default(),
            notes: Vec::new(),
        };
        let read = table.read_rows(&mut records);
        read.map_err(|error| explain(error, records.line))?;
        Ok(table)
    }

    fn read_rows(&mut self, records: &mut Records<impl BufRead>) -> Result<()> {
        let mut record = Record::default();
        if self.layout.header == Header::No {
            let first = std::mem::take(&mut self.first);
            self.add(&first)?;
            self.first = first;
        }
        while records.next(&mut record)? {
            self.add(&record)?;
        }
        self.last_line = records.line;
        if self.layout.header == Header::Unsure {
            self.decide()?;
        }
        if self.rows == 0 {
            return Err(CsvDefect::Empty.at_line(self.path, self.last_line));
        }
        Ok(())
    }

    /// Tells from the rows below what the first one is, and takes it as a row if it is one.
    fn decide(&mut self) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        let cells = first.cells(self.path)?;
        let verdict = match (&self.labels, self.layout.label) {
            (Some(labels), Some(cell)) if self.rows > 0 => {
                let slots = &self.layout.slots;
                header::decide(&cells, slots, cells[cell], labels, self.below)
            }
            _ => Verdict::Row,
        };
        let shown = || list(&cells[..cells.len().min(SHOWN)]);
        let (is_header, note) = match verdict {
            Verdict::Header => (true, None),
            Verdict::Row => (false, None),
            Verdict::LikelyHeader => (true, Some(("the header", "a row of data", false))),
            Verdict::LikelyRow => (false, Some(("a row of data", "the header", true))),
            Verdict::Open => {
                let found = shown();
                return Err(CsvDefect::OpenHeader { found }.at_line(self.path, first.line));
            }
        };
        if let Some((what, other, says)) = note {
            let (line, cells) = (first.line, shown());
            self.notes.push(format!(
                "line {line} ({cells}) is taken as {what}; if it is {other}, say data.header={says}"
            ));
        }
        if is_header {
            self.layout.header = Header::Yes;
        } else {
            self.layout.header = Header::No;
            self.add(&first)?;
            self.values.rotate(self.layout.slots.len());
            if let Some(labels) = &mut self.labels {
                labels.rotate();
            }
        }
        self.first = first;
        Ok(())
    }

    /// Adds a row of data.
    fn add(&mut self, row: &Record) -> Result<()> {
        if row.len() != self.layout.width {
            return Err(ragged(self.path, self.options, self.layout.width, row));
        }
        if self.options.missing == Missing::Drop && self.lacks(row)? {
            self.dropped += 1;
            return Ok(());
        }
        let label_after = self.label_after;
        let (missing, learns) = (self.options.missing, self.learns);
        for (index, slot) in self.layout.slots.iter_mut().enumerate() {
            if index == label_after {
                add_label(&mut self.labels, self.layout.label, row, self.path)?;
            }
            let text = row.cell(slot.cell, self.path)?;
            let at = (row.line, slot.cell + 1);
            let defect = |defect: CsvDefect| defect.at_cell(self.path, at.0, at.1);
            let value = match &mut slot.kind {
                Kind::Number | Kind::Days | Kind::DateParts if is_missing(text) => {
                    match missing.fills() {
                        true => f64::NAN,
                        false => return Err(defect(lacking(&slot.kind, text, learns))),
                    }
                }
                Kind::Number => {
                    if self.layout.header == Header::Unsure {
                        self.below.add(text);
                    }
                    number(text).map_err(defect)?
                }
                Kind::Days | Kind::DateParts => dates::days(text).ok_or_else(|| {
                    let found = shorten(text);
                    defect(CsvDefect::NotADate { found })
                })?,
                Kind::OneHot(categories) => {
                    let has_own = categories.knows(NO_CATEGORY) || missing == Missing::Category;
                    // Words for what is missing are categories where nothing is said of it.
                    let is_gap = match has_own || missing.fills() {
                        true => is_no_label(text) && !categories.is_known_word(text),
                        false => text.is_empty(),
                    };
                    match is_gap {
                        true if has_own => {
                            f64::from(categories.number(NO_CATEGORY, self.path, at)?)
                        }
                        true if missing.fills() => f64::NAN,
                        true => return Err(defect(lacking(&slot.kind, text, learns))),
                        false => f64::from(categories.number(text, self.path, at)?),
                    }
                }
            };
            self.values.push(value);
        }
        if label_after == self.layout.slots.len() {
            add_label(&mut self.labels, self.layout.label, row, self.path)?;
        }
        for &cell in &self.layout.targets {
            let text = row.cell(cell, self.path)?;
            let number = match target(text, self.options.target) {
                Err(CsvDefect::NoTarget { .. }) if self.options.may_lack_labels => f64::NAN,
                found => found.map_err(|defect| defect.at_cell(self.path, row.line, cell + 1))?,
            };
            self.targets.push(number);
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether a row lacks something that is read or predicted.
    fn lacks(&self, row: &Record) -> Result<bool> {
        for slot in &self.layout.slots {
            let text = row.cell(slot.cell, self.path)?;
            let lacks = match slot.kind {
                Kind::OneHot(_) => is_no_label(text),
                _ => is_missing(text),
            };
            if lacks {
                return Ok(true);
            }
        }
        for &cell in &self.layout.targets {
            if is_missing(row.cell(cell, self.path)?) {
                return Ok(true);
            }
        }
        match self.layout.label {
            Some(cell) => Ok(is_no_label(row.cell(cell, self.path)?)),
            None => Ok(false),
        }
    }

    /// What the whole table holds, and how it was understood.
    pub(super) fn finish(self) -> Result<Read> {
        let Layout {
            width: cells,
            slots,
            label,
            targets,
            header,
        } = self.layout;
        let places: Vec<usize> = slots.iter().map(|slot| slot.cell).collect();
        let kinds = slots.into_iter().map(|slot| slot.kind).collect();
        let (kinds, values) = expand(kinds, self.values)?;
        let columns = if self.options.columns.is_empty() {
            let names = (header == Header::Yes).then_some(self.first.cells(self.path)?);
            let mut all = names.iter().flatten();
            if let Some(cell) = all.position(|name| name.len() > MOST_NAME_BYTES) {
                let limit_bytes = MOST_NAME_BYTES;
                let defect = CsvDefect::LongCell { limit_bytes };
                return Err(defect.at_cell(self.path, self.first.line, cell + 1));
            }
            let mut columns: Vec<Column> = (0..cells)
                .map(|cell| Column {
                    name: names.as_ref().map(|names| names[cell].to_owned()),
                    kind: ColumnKind::Ignored,
                })
                .collect();
            for (cell, kind) in places.into_iter().zip(kinds) {
                columns[cell].kind = kind;
            }
            if let Some(cell) = label {
                columns[cell].kind = ColumnKind::Label;
            }
            for &cell in &targets {
                columns[cell].kind = ColumnKind::Target;
            }
            columns
        } else {
            self.options.columns.clone()
        };
        let about = About {
            summary: summary(
                &columns,
                self.rows,
                self.labels.as_ref().zip(label),
                (header == Header::Yes).then_some(self.first.line),
            ),
            notes: (self.notes.into_iter())
                .chain((self.dropped > 0).then(|| {
                    let rows = count(self.dropped, "row", "rows");
                    format!("{rows} with missing values left out")
                }))
                .chain(index_note(&columns, &values))
                .chain(self.labels.as_ref().map_or_else(Vec::new, Labels::notes))
                .collect(),
        };
        let names = target_names(&columns);
        let features = width(&columns).unwrap_or(usize::MAX);
        let mut inputs = match self.options.missing.fills() {
            true => Inputs::with_gaps(values, &[features])?,
            false => Inputs::from_numbers(values, &[features])?,
        };
        if says_something(&columns) {
            inputs = inputs.with_columns(columns)?;
        }
        let last = (self.last_line, label.map_or(0, |cell| cell + 1));
        Ok(Read {
            inputs,
            labels: self.labels.map(|labels| (labels, last)),
            targets: (!targets.is_empty()).then_some((self.targets, names)),
            about,
        })
    }
}

/// Whether columns are more than numbers without names, with the label behind them: what every reader expects, so that
/// no model keeps it.
fn says_something(columns: &[Column]) -> bool {
    let features = match columns {
        [features @ .., last] if last.kind == ColumnKind::Label && last.name.is_none() => features,
        all => all,
    };
    let plain = Column {
        name: None,
        kind: ColumnKind::Number,
    };
    features.iter().any(|column| *column != plain)
}

/// What to say of a first column without a name in the header that counts the rows: pandas writes one, and a network
/// learns the order of the rows from it.
fn index_note(columns: &[Column], values: &Numbers) -> Option<String> {
    let first = columns.first()?;
    let features = width(columns).filter(|&features| features > 0)?;
    if first.name.as_deref() != Some("") || first.kind != ColumnKind::Number {
        return None;
    }
    let counts = values.every(features).zip(0..).all(|(value, row)| {
        let row = f64::from(row);
        value == row || value == row + 1.0
    });
    counts.then(|| {
        "column 1 has no name and counts the rows; data.ignore=[1] leaves it out".to_owned()
    })
}

/// What the columns of numbers to predict are called, each in another way.
fn target_names(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let targets = columns.iter().enumerate();
    for (index, column) in targets.filter(|(_, column)| column.kind == ColumnKind::Target) {
        let number = format!("column {}", index + 1);
        names.push(match &column.name {
            Some(name) if names.contains(name) => format!("{name} ({number})"),
            Some(name) => name.clone(),
            None => number,
        });
    }
    names
}

/// How a table was understood, in a line.
fn summary(
    columns: &[Column],
    rows: usize,
    labels: Option<(&Labels, usize)>,
    header: Option<u64>,
) -> String {
    let of = |wanted: fn(&ColumnKind) -> bool| columns.iter().filter(|c| wanted(&c.kind)).count();
    let mut parts = vec![count(rows, "row", "rows")];
    let numbers = of(|kind| *kind == ColumnKind::Number);
    if numbers > 0 {
        parts.push(count(numbers, "number", "numbers"));
    }
    let one_hot = of(|kind| matches!(kind, ColumnKind::OneHot(_)));
    if one_hot > 0 {
        let columns = count(one_hot, "column of categories", "columns of categories");
        parts.push(columns);
    }
    let targets = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.kind == ColumnKind::Target);
    let titles: Vec<String> = targets.map(|(cell, column)| column.title(cell)).collect();
    let dates = of(|kind| matches!(kind, ColumnKind::Days | ColumnKind::DateParts));
    if dates > 0 {
        parts.push(count(dates, "column of dates", "columns of dates"));
    }
    let ignored = of(|kind| *kind == ColumnKind::Ignored);
    if ignored > 0 {
        parts.push(count(ignored, "column ignored", "columns ignored"));
    }
    if let Some((labels, cell)) = labels {
        let own = columns
            .iter()
            .find(|column| column.kind == ColumnKind::Label);
        let title = own.map_or_else(
            || format!("in column {}", cell + 1),
            |column| column.title(cell),
        );
        let classes = count(labels.classes(), "class", "classes");
        parts.push(format!("label {title} with {classes}"));
    }
    match &titles[..] {
        [] => {}
        [one] => parts.push(format!("target {one}")),
        all => parts.push(format!("targets {}", all.join(" and "))),
    }
    parts.push(match header {
        Some(line) => format!("header in line {line}"),
        None => "no header".to_owned(),
    });
    parts.join(", ")
}

fn add_label(
    labels: &mut Option<Labels>,
    cell: Option<usize>,
    row: &Record,
    path: &Path,
) -> Result<()> {
    match (labels, cell) {
        (Some(labels), Some(cell)) => labels.add(row, cell, path),
        _ => Ok(()),
    }
}

/// The error for a row of another width than the first.
pub(super) fn ragged(path: &Path, options: &CsvOptions, width: usize, row: &Record) -> Error {
    CsvDefect::Ragged {
        expected: width.to_string(),
        separator: in_words(options.separator_of(path)),
        found: row.len(),
        advice: "",
    }
    .at_line(path, row.line)
}

/// The defect of a cell that is read and has no value.
fn lacking(kind: &Kind, text: &str, learns: bool) -> CsvDefect {
    let (expected, advice) = match kind {
        Kind::Number => ("a number", FILL),
        Kind::Days | Kind::DateParts => ("a date", FILL),
        Kind::OneHot(_) => ("a category", FILL_CATEGORY),
    };
    CsvDefect::Missing {
        expected,
        found: shorten(text),
        advice: if learns { advice } else { UNFILLED },
    }
}

/// The number to predict in a cell.
fn target(text: &str, kind: Target) -> std::result::Result<f64, CsvDefect> {
    if kind == Target::Labels {
        return label(text);
    }
    let refuse = |advice| CsvDefect::NoTarget {
        found: shorten(text),
        advice,
    };
    match text.parse::<f64>() {
        Ok(number) if is_target(number) => Ok(number),
        _ if is_missing(text) => Err(refuse(
            "; take the row out, or leave such rows out by data.missing=drop",
        )),
        Ok(_) => Err(refuse(
            ", which is not finite or beyond 1e300; take the row out, or take another unit",
        )),
        Err(_) => Err(refuse(
            "; words are classes, which data.target=classes predicts",
        )),
    }
}

/// Whether a label is there, as a cell says it: 1 or 0.
fn label(text: &str) -> std::result::Result<f64, CsvDefect> {
    let is = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is(["1", "1.0", "yes", "true", "y"]) => Ok(1.0),
        () if is(["0", "0.0", "no", "false", "n"]) => Ok(0.0),
        () => Err(CsvDefect::NoTarget {
            found: shorten(text),
            advice: "; whether a label is there is 0 or 1, no or yes, false or true",
        }),
    }
}

/// The number in a cell.
fn number(text: &str) -> std::result::Result<f64, CsvDefect> {
    match text.parse::<f64>() {
        // Networks calculate in single precision.
        Ok(value) if (value as f32).is_finite() => Ok(value),
        Ok(_) => Err(CsvDefect::NotFinite {
            found: shorten(text),
        }),
        Err(_) => Err(CsvDefect::NotANumber {
            found: shorten(text),
            advice: advice(text),
        }),
    }
}
