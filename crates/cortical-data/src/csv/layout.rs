//! Which cell of a row holds what: by what was asked for, or by the columns of a model's table.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use super::CsvOptions;
use super::columns::{Kind, Slot};
use super::header::{self, Header};
use super::labels::LabelColumn;
use super::missing::is_missing;
use super::records::Record;
use crate::column::{Column, ColumnKind};
use crate::error::{CsvDefect, Result, list};
use crate::targets::Target;

/// Which cell of a row holds what.
#[derive(Debug)]
pub(super) struct Layout {
    /// How many cells every row has.
    pub(super) width: usize,
    /// The columns that are read, in the order in which a network gets their numbers.
    pub(super) slots: Vec<Slot>,
    pub(super) label: Option<usize>,
    /// The cells of the numbers to predict, in their order.
    pub(super) targets: Vec<usize>,
    /// What the first row is.
    pub(super) header: Header,
}

/// A table's first row and what is asked of it.
pub(super) struct First<'a> {
    pub(super) path: &'a Path,
    pub(super) options: &'a CsvOptions,
    /// The number of columns that a model wants, when there is one.
    pub(super) wanted: Option<usize>,
    pub(super) line: u64,
    pub(super) cells: Vec<&'a str>,
    pub(super) record: &'a Record,
}

impl First<'_> {
    /// Learns from the first row which columns there are.
    pub(super) fn layout(&self) -> Result<Layout> {
        let mut layout = match &self.options.columns[..] {
            [] => self.asked_for()?,
            columns if self.options.header == Some(false) => self.by_place(columns)?,
            columns => match self.by_name(columns)? {
                Some(layout) => layout,
                None => self.by_place(columns)?,
            },
        };
        match self.options.header {
            // A name that was asked for is in the header.
            Some(false) if !self.is_named() => layout.header = Header::No,
            Some(true) => layout.header = Header::Yes,
            _ => {}
        }
        Ok(layout)
    }

    /// The columns of a table that no model knows.
    fn asked_for(&self) -> Result<Layout> {
        let width = self.cells.len();
        match self.wanted {
            None if width < 2 => {
                return Err(self.ragged("at least 2 (features and a label)".to_owned()));
            }
            Some(n) if width != n && width != n.saturating_add(1) => {
                return Err(self.ragged(format!("{n} (or one more with a label)")));
            }
            _ => {}
        }
        if self.options.target != Target::Classes {
            return self.with_targets();
        }
        let label = match self.wanted {
            Some(n) if n == width => match self.named_label()? {
                Some(_) => return Err(self.no_label_beside(n)),
                None => None,
            },
            _ => Some(self.find_label()?),
        };
        let slots = self.find_slots(label.as_slice())?;
        let header = match label {
            _ if self.is_named() => Header::Yes,
            Some(cell) if self.options.classes.is_some() => self.look_with_classes(&slots, cell),
            _ => header::look(&self.cells, &slots, label.map(|cell| self.cells[cell])),
        };
        Ok(Layout {
            width,
            slots,
            label,
            targets: Vec::new(),
            header,
        })
    }

    /// The columns of a table with numbers to predict that no model knows.
    fn with_targets(&self) -> Result<Layout> {
        let width = self.cells.len();
        // In the order of the table, as a model keeps its columns.
        let mut targets = match &self.options.targets[..] {
            [] => vec![self.find_label()?],
            all => all
                .iter()
                .map(|column| column.find(self.record, self.path, "column to predict"))
                .collect::<Result<Vec<_>>>()?,
        };
        let mut seen = HashSet::new();
        if let Some(cell) = targets.iter().find(|cell| !seen.insert(**cell)) {
            let defect = CsvDefect::TargetTwice { column: cell + 1 };
            return Err(defect.at_line(self.path, self.line));
        }
        targets.sort_unstable();
        let slots = self.find_slots(&targets)?;
        // Their cells are numbers as well, over which a word is a name.
        let kind = || Kind::Number;
        let as_slots = targets.iter().map(|&cell| Slot { cell, kind: kind() });
        let read = slots
            .iter()
            .filter(|slot| matches!(slot.kind, Kind::Number));
        let numbers: Vec<Slot> = read
            .map(|slot| Slot {
                cell: slot.cell,
                kind: kind(),
            })
            .chain(as_slots)
            .collect();
        let header = match self.is_named() || header::is_count(&self.cells) {
            true => Header::Yes,
            false => header::look(&self.cells, &numbers, None),
        };
        Ok(Layout {
            width,
            slots,
            label: None,
            targets,
            header,
        })
    }

    /// Whoever knows the classes knows whether the first row's label is one.
    fn look_with_classes(&self, slots: &[Slot], label: usize) -> Header {
        let known = self.options.classes.iter().flatten();
        let is_class = known.into_iter().any(|class| class == self.cells[label]);
        match header::look(&self.cells, slots, Some(self.cells[label])) {
            Header::Unsure if is_class => Header::No,
            Header::Unsure if self.has_words(slots) => Header::Yes,
            Header::Unsure => Header::No,
            sure => sure,
        }
    }

    fn has_words(&self, slots: &[Slot]) -> bool {
        let is_word = |slot: &Slot| {
            let text = self.cells[slot.cell];
            matches!(slot.kind, Kind::Number) && !is_missing(text) && text.parse::<f64>().is_err()
        };
        slots.iter().any(is_word)
    }

    /// Whether a column was asked for by its name, which stands in a header.
    fn is_named(&self) -> bool {
        let options = self.options;
        (options.label.iter())
            .chain(&options.targets)
            .chain(&options.one_hot)
            .chain(&options.dates)
            .chain(&options.date_parts)
            .chain(&options.ignore)
            .any(|column| matches!(column, LabelColumn::Name(_)))
    }

    /// The cells of a table in the order in which its header has a model's columns; `None` for a table without such a
    /// header.
    fn by_name(&self, columns: &[Column]) -> Result<Option<Layout>> {
        let mut cells_of: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (cell, name) in self.cells.iter().enumerate() {
            cells_of.entry(name).or_default().push_back(cell);
        }
        let mut label = self.named_label()?;
        if let Some(cell) = label
            && let Some(cells) = cells_of.get_mut(self.cells[cell])
        {
            cells.retain(|other| *other != cell);
        }
        let mut take = |name: &str| cells_of.get_mut(name).and_then(VecDeque::pop_front);
        let (mut slots, mut missing) = (Vec::new(), false);
        // A column that is said to hold the labels holds the numbers of a model that predicts them.
        let mut targets = Vec::new();
        for column in columns {
            let cell = column.name.as_deref().and_then(&mut take);
            match (Kind::of(&column.kind), cell) {
                (Some(kind), Some(cell)) => slots.push(Slot { cell, kind }),
                (Some(_), None) => missing = true,
                (None, cell) if column.kind == ColumnKind::Label => label = label.or(cell),
                (None, cell) if column.kind == ColumnKind::Target => {
                    targets.push(label.take().or(cell));
                }
                (None, _) => {}
            }
        }
        if missing {
            return Ok(None);
        }
        // Where one of them is missing, the table is one to predict from.
        let targets: Option<Vec<usize>> = targets.into_iter().collect();
        for column in &self.options.ignore {
            if let LabelColumn::Name(name) = column {
                while take(name).is_some() {}
            }
        }
        if cells_of.values().any(|left| !left.is_empty()) {
            return Err(self.other_columns(columns));
        }
        Ok(Some(Layout {
            width: self.cells.len(),
            slots,
            label,
            targets: targets.unwrap_or_default(),
            header: Header::Yes,
        }))
    }

    /// The cells of a table that has a model's columns in their order; names of others are refused.
    fn by_place(&self, columns: &[Column]) -> Result<Layout> {
        let width = self.cells.len();
        if columns
            .iter()
            .any(|column| column.kind == ColumnKind::Target)
        {
            return self.by_place_with_targets(columns);
        }
        let own = (columns.iter()).position(|column| column.kind == ColumnKind::Label);
        let features = columns.len() - usize::from(own.is_some());
        let named = self.named_label()?;
        let label = match (named, own) {
            (Some(_), _) if width == features => return Err(self.no_label_beside(features)),
            _ if width == features => None,
            // The label where the person says, or at the place that it had.
            (Some(cell), _) | (None, Some(cell)) if width == features + 1 => Some(cell),
            _ if width == features + 1 => Some(self.find_label()?),
            _ => None,
        };
        let fits = width == features || width == features + 1;
        let free = (0..width).filter(|&cell| Some(cell) != label);
        let kept = (columns.iter()).filter(|column| column.kind != ColumnKind::Label);
        let slot = |(cell, column): (usize, &Column)| {
            Kind::of(&column.kind).map(|kind| Slot { cell, kind })
        };
        let slots: Vec<Slot> = free.zip(kept).filter_map(slot).collect();
        let has_names = columns.iter().any(|column| column.name.is_some());
        if has_names && self.is_other_header(columns, fits.then_some(&slots[..])) {
            return Err(self.other_columns(columns));
        }
        if !fits {
            return Err(self.ragged(format!("{features} (or one more with a label)")));
        }
        Ok(Layout {
            width,
            header: match has_names {
                true => Header::No,
                false => header::look_known(&self.cells, &slots),
            },
            slots,
            label,
            targets: Vec::new(),
        })
    }

    /// As [`by_place`](Self::by_place) for a model that predicts numbers: all of their columns are there, or none.
    fn by_place_with_targets(&self, columns: &[Column]) -> Result<Layout> {
        let width = self.cells.len();
        let is_target = |column: &&Column| column.kind == ColumnKind::Target;
        let features = columns.iter().filter(|column| !is_target(column)).count();
        let is_whole = width == columns.len();
        let fits = is_whole || width == features;
        let kept = columns
            .iter()
            .filter(|column| is_whole || !is_target(column));
        let (mut slots, mut targets) = (Vec::new(), Vec::new());
        for (cell, column) in (0..width).zip(kept) {
            slots.extend(Kind::of(&column.kind).map(|kind| Slot { cell, kind }));
            targets.extend(is_target(&column).then_some(cell));
        }
        let has_names = columns.iter().any(|column| column.name.is_some());
        if has_names && self.is_other_header(columns, fits.then_some(&slots[..])) {
            return Err(self.other_columns(columns));
        }
        if !fits {
            let whole = columns.len();
            return Err(self.ragged(format!("{features} (or {whole} with what is predicted)")));
        }
        Ok(Layout {
            width,
            header: match has_names {
                true => Header::No,
                false => header::look_known(&self.cells, &slots),
            },
            slots,
            label: None,
            targets,
        })
    }

    /// Whether the first row names columns, of which some are not a model's. `slots` is what it would be as a row of
    /// data, if it can be one.
    fn is_other_header(&self, columns: &[Column], slots: Option<&[Slot]>) -> bool {
        let names = columns.iter().filter_map(|column| column.name.as_deref());
        let names: std::collections::HashSet<&str> = names.collect();
        let known = self
            .cells
            .iter()
            .filter(|cell| names.contains(**cell))
            .count();
        if known > 0 && known * 2 >= self.cells.len() {
            return true;
        }
        let is_data = slots.is_some_and(|slots| {
            !self.has_words(slots) && header::look_known(&self.cells, slots) == Header::No
        });
        !is_data && self.cells.iter().all(|text| text.parse::<f64>().is_err())
    }

    /// Which cells are read and hold categories, by what was asked for.
    fn find_slots(&self, predicted: &[usize]) -> Result<Vec<Slot>> {
        let mut kinds: Vec<Option<Kind>> = self.cells.iter().map(|_| Some(Kind::Number)).collect();
        for column in &self.options.one_hot {
            let cell = column.find(self.record, self.path, "column of categories")?;
            kinds[cell] = Some(Kind::OneHot(Box::default()));
        }
        for (columns, kind) in [
            (&self.options.dates, (|| Kind::Days) as fn() -> Kind),
            (&self.options.date_parts, || Kind::DateParts),
        ] {
            for column in columns {
                let cell = column.find(self.record, self.path, "column of dates")?;
                kinds[cell] = Some(kind());
            }
        }
        for column in &self.options.ignore {
            kinds[column.find(self.record, self.path, "column to ignore")?] = None;
        }
        for &cell in predicted {
            kinds[cell] = None;
        }
        let slots = kinds.into_iter().enumerate();
        let slots: Vec<Slot> = slots
            .filter_map(|(cell, kind)| kind.map(|kind| Slot { cell, kind }))
            .collect();
        if slots.is_empty() {
            let defect = CsvDefect::NoColumn {
                what: "column",
                expected: "that is read".to_owned(),
                found: "all of them to be ignored".to_owned(),
            };
            return Err(defect.at_line(self.path, self.line));
        }
        Ok(slots)
    }

    /// Which cell of the first row stands over the labels.
    fn find_label(&self) -> Result<usize> {
        match &self.options.label {
            None => Ok(self.cells.len() - 1),
            Some(column) => column.find(self.record, self.path, "label column"),
        }
    }

    /// Which cell a person says to stand over the labels.
    fn named_label(&self) -> Result<Option<usize>> {
        let column = self.options.label.as_ref();
        let find = |column: &LabelColumn| column.find(self.record, self.path, "label column");
        column.map(find).transpose()
    }

    /// The error for a table whose `n` columns are all the model's although one is to be the label.
    fn no_label_beside(&self, n: usize) -> crate::Error {
        let defect = CsvDefect::NoColumn {
            what: "label column",
            expected: "beside the model's columns".to_owned(),
            found: format!("{n} columns, all of them the model's"),
        };
        defect.at_line(self.path, self.line)
    }

    fn ragged(&self, expected: String) -> crate::Error {
        let separator = self.options.separator_of(self.path);
        let defect = CsvDefect::Ragged {
            expected,
            separator: in_words(separator),
            found: self.cells.len(),
            advice: match self.cells[..] {
                [one] => other_format(one, separator),
                _ => "",
            },
        };
        defect.at_line(self.path, self.line)
    }

    fn other_columns(&self, columns: &[Column]) -> crate::Error {
        let of = |wanted: &dyn Fn(&ColumnKind) -> bool| -> Vec<&str> {
            let kept = columns.iter().filter(|column| wanted(&column.kind));
            kept.filter_map(|column| column.name.as_deref()).collect()
        };
        let is_predicted =
            |kind: &ColumnKind| matches!(kind, ColumnKind::Label | ColumnKind::Target);
        let features = of(&|kind| !is_predicted(kind) && *kind != ColumnKind::Ignored);
        let label = of(&is_predicted);
        CsvDefect::Columns {
            expected: list(&features),
            label: label.first().map(|&name| name.to_owned()),
            found: list(&self.cells),
        }
        .at_line(self.path, self.line)
    }
}

/// What stands between cells, in words.
pub(super) fn in_words(separator: u8) -> &'static str {
    match separator {
        b'\t' => "tabs",
        b';' => "semicolons",
        b'|' => "bars",
        _ => "commas",
    }
}

/// What to do about a first row of one cell: the file has another format, or other signs between cells.
fn other_format(cell: &str, separator: u8) -> &'static str {
    let other = |sign: char| cell.contains(sign) && separator != sign as u8;
    let begins = |signs: &str| cell.starts_with(|c: char| signs.contains(c));
    if cell.starts_with("PK\u{3}\u{4}") {
        "; it is a spreadsheet or another archive: save the sheet as CSV"
    } else if cell.starts_with("PAR1") {
        "; it is a Parquet file: save the table as CSV"
    } else if begins("<") {
        "; it is HTML or XML, as a page that says what went wrong"
    } else if begins("[{") {
        "; it is JSON: save the table as CSV"
    } else if begins("#") {
        "; it is a remark: take the line out"
    } else if other('\t') {
        "; it has tabs: a file called .tsv is read with those"
    } else if other(';') {
        "; it has semicolons: save the file with commas between its cells, and points in its numbers"
    } else if other('|') {
        "; it has bars: save the file with commas between its cells"
    } else if other(',') {
        "; it has commas: a file called .csv is read with those"
    } else {
        ""
    }
}
