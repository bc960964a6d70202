//! Columns while rows are read: where their cells are, and categories that become one number each.

use std::collections::HashMap;
use std::path::Path;

use super::labels::{MOST_NAME_BYTES, sort_classes};
use crate::column::ColumnKind;
use crate::dates::{self, PARTS};
use crate::error::{CsvDefect, Error, Result, SampleDefect, list, shorten};
use crate::numbers::Numbers;

/// A column with more categories than this is no column of categories.
const MOST_CATEGORIES: usize = 4096;
/// The most numbers that categories become.
const MOST_VALUES: usize = 1 << 30;

/// The categories of a column in the making.
#[derive(Debug, Default)]
pub(super) struct Categories {
    /// In the order in which they were given or first seen.
    names: Vec<String>,
    number_of: HashMap<String, u32>,
    /// Whether no other may come.
    fixed: bool,
}

/// The name of the category of rows that have none.
pub(super) const NO_CATEGORY: &str = "";

impl Categories {
    /// Those of a model, and no others.
    pub(super) fn fixed(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            number_of: names.iter().cloned().zip(0..).collect(),
            fixed: true,
        }
    }

    /// Whether a word that may stand for a missing value is a category that a model knows.
    pub(super) fn is_known_word(&self, text: &str) -> bool {
        self.fixed && !text.is_empty() && self.knows(text)
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.number_of.contains_key(name)
    }

    /// The number of a category; one that was not seen before gets the next.
    pub(super) fn number(&mut self, name: &str, path: &Path, at: (u64, usize)) -> Result<u32> {
        if let Some(&number) = self.number_of.get(name) {
            return Ok(number);
        }
        let (line, column) = at;
        if name.len() > MOST_NAME_BYTES {
            let limit_bytes = MOST_NAME_BYTES;
            return Err(CsvDefect::LongCell { limit_bytes }.at_cell(path, line, column));
        }
        if self.fixed || self.names.len() >= MOST_CATEGORIES {
            let expected = match self.fixed {
                true => format!("one of the categories {}", list(&self.names)),
                false => format!("at most {MOST_CATEGORIES} categories"),
            };
            let found = shorten(name);
            return Err(CsvDefect::Category { expected, found }.at_cell(path, line, column));
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.number_of.insert(name.to_owned(), number);
        Ok(number)
    }

    /// The names in their final order, and the place there of each number.
    fn finish(self) -> (Vec<String>, Vec<u32>) {
        if self.fixed {
            let same = (0..self.names.len() as u32).collect();
            return (self.names, same);
        }
        sort_classes(self.names)
    }
}

/// What a cell holds while rows are read; cells that are not read have none.
#[derive(Debug)]
pub(super) enum Kind {
    Number,
    OneHot(Box<Categories>),
    Days,
    DateParts,
}

impl Kind {
    /// What a column that is read holds.
    pub(super) fn of(kind: &ColumnKind) -> Option<Self> {
        match kind {
            ColumnKind::Number => Some(Self::Number),
            ColumnKind::Days => Some(Self::Days),
            ColumnKind::DateParts => Some(Self::DateParts),
            ColumnKind::OneHot(names) => Some(Self::OneHot(Box::new(Categories::fixed(names)))),
            ColumnKind::Ignored | ColumnKind::Label | ColumnKind::Target => None,
        }
    }
}

/// A column that is read.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) cell: usize,
    pub(super) kind: Kind,
}

/// What the value of a column becomes.
enum Spread {
    One,
    /// Zeros and a one, at the place of the category of this number.
    OneHot(Vec<u32>),
    /// The parts of a date.
    Parts,
}

impl Spread {
    fn width(&self) -> usize {
        match self {
            Self::One => 1,
            Self::OneHot(rank) => rank.len(),
            Self::Parts => PARTS,
        }
    }
}

/// What the columns that were read hold, as a model keeps it, and all numbers: `values` has one for each column, row by
/// row; the number of a category becomes a row of zeros and a one, the days of a date its parts, and what is missing
/// (NaN) as many of those.
pub(super) fn expand(kinds: Vec<Kind>, values: Numbers) -> Result<(Vec<ColumnKind>, Numbers)> {
    let mut spreads = Vec::with_capacity(kinds.len());
    let mut columns = Vec::with_capacity(kinds.len());
    for kind in kinds {
        columns.push(match kind {
            Kind::Number => {
                spreads.push(Spread::One);
                ColumnKind::Number
            }
            Kind::Days => {
                spreads.push(Spread::One);
                ColumnKind::Days
            }
            Kind::DateParts => {
                spreads.push(Spread::Parts);
                ColumnKind::DateParts
            }
            Kind::OneHot(categories) => {
                let (names, rank) = categories.finish();
                spreads.push(Spread::OneHot(rank));
                ColumnKind::OneHot(names)
            }
        });
    }
    if spreads.iter().all(|spread| matches!(spread, Spread::One)) {
        return Ok((columns, values));
    }
    let values = match values {
        Numbers::F32(values) => Numbers::F32(spread(&spreads, &values, |x| x as f32, f64::from)?),
        Numbers::F64(values) => Numbers::F64(spread(&spreads, &values, |x| x, |x| x)?),
    };
    Ok((columns, values))
}

/// [`expand`] of values of one type, which comes from and becomes a double.
fn spread<T: Copy>(
    spreads: &[Spread],
    values: &[T],
    from: impl Fn(f64) -> T,
    double: impl Fn(T) -> f64,
) -> Result<Vec<T>> {
    let rows = values.len() / spreads.len();
    let columns = spreads
        .iter()
        .map(Spread::width)
        .fold(0, usize::saturating_add);
    let size = columns.checked_mul(rows).filter(|&n| n <= MOST_VALUES);
    let mut out = Vec::new();
    // Categories are many numbers made of one, so the size is no longer bounded by the file's.
    let reserved = size.map(|size| out.try_reserve_exact(size).is_ok());
    if reserved != Some(true) {
        return Err(Error::Sample(SampleDefect::TooManyValues { rows, columns }));
    }
    for row in values.chunks_exact(spreads.len()) {
        for (value, spread) in row.iter().zip(spreads) {
            let x = double(*value);
            match spread {
                Spread::One => out.push(*value),
                _ if x.is_nan() => out.resize(out.len() + spread.width(), from(f64::NAN)),
                Spread::OneHot(rank) => {
                    let start = out.len();
                    out.resize(start + rank.len(), from(0.0));
                    // A number below the count of categories, which a float holds exactly.
                    out[start + rank[x as usize] as usize] = from(1.0);
                }
                Spread::Parts => out.extend(dates::parts(x).map(&from)),
            }
        }
    }
    Ok(out)
}
