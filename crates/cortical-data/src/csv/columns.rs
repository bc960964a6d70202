//! Columns of names while rows are read, which become one number a category.

use std::collections::HashMap;
use std::path::Path;

use super::labels::sort_classes;
use crate::column::{Column, width};
use crate::error::{CsvDefect, Error, Result, SampleDefect, list, shorten};

/// A column with more categories than this is no column of categories.
const MOST_CATEGORIES: usize = 4096;

/// The categories of a column in the making.
#[derive(Debug, Default)]
pub(super) struct Categories {
    /// In the order in which they were given or first seen.
    names: Vec<String>,
    number_of: HashMap<String, u32>,
    /// Whether no other may come.
    fixed: bool,
}

impl Categories {
    /// Those of a model, and no others.
    pub(super) fn fixed(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            number_of: names.iter().cloned().zip(0..).collect(),
            fixed: true,
        }
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
        if self.fixed || name.is_empty() || self.names.len() >= MOST_CATEGORIES {
            let expected = match (self.fixed, name.is_empty()) {
                (true, _) => format!("one of the categories {}", list(&self.names)),
                (false, true) => "a category".to_owned(),
                (false, false) => format!("at most {MOST_CATEGORIES} categories"),
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
    pub(super) fn finish(self) -> (Vec<String>, Vec<u32>) {
        if self.fixed {
            let same = (0..self.names.len() as u32).collect();
            return (self.names, same);
        }
        sort_classes(self.names)
    }
}

/// One column while rows are read.
#[derive(Debug)]
pub(super) enum Kind {
    Number,
    OneHot(Categories),
    Ignored,
}

/// Puts for each category its row of zeros and a one: `values` has one number for each kind that is not ignored, row by row.
pub(super) fn expand(kinds: Vec<Kind>, values: Vec<f32>) -> Result<(Vec<Column>, Vec<f32>)> {
    let mut ranks = Vec::with_capacity(kinds.len());
    let mut columns = Vec::with_capacity(kinds.len());
    for kind in kinds {
        columns.push(match kind {
            Kind::Ignored => Column::Ignored,
            Kind::Number => {
                ranks.push(None);
                Column::Number
            }
            Kind::OneHot(categories) => {
                let (names, rank) = categories.finish();
                ranks.push(Some(rank));
                Column::OneHot(names)
            }
        });
    }
    if ranks.is_empty() || ranks.iter().all(Option::is_none) {
        return Ok((columns, values));
    }
    let rows = values.len() / ranks.len();
    let size = width(&columns).and_then(|width| width.checked_mul(rows));
    let mut out = Vec::new();
    // Categories are many numbers made of one, so the size is no longer bounded by the file's.
    let reserved = size.map(|size| out.try_reserve_exact(size).is_ok());
    if reserved != Some(true) {
        return Err(Error::Sample(SampleDefect::TooManyValues {
            rows,
            columns: columns
                .iter()
                .map(Column::width)
                .fold(0, usize::saturating_add),
        }));
    }
    for row in values.chunks_exact(ranks.len()) {
        for (value, rank) in row.iter().zip(&ranks) {
            match rank {
                None => out.push(*value),
                Some(rank) => {
                    let start = out.len();
                    out.resize(start + rank.len(), 0.0);
                    // A number below the count of categories, which a float holds exactly.
                    out[start + rank[*value as usize] as usize] = 1.0;
                }
            }
        }
    }
    Ok((columns, out))
}
