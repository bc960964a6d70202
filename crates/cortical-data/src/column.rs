//! What the columns of a table hold: numbers, names that become one number a category, or nothing that a network should see.

use serde::{Deserialize, Serialize};

/// What one column of a table holds, without the label column; a model keeps the list of them, so that later rows are read alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// A number.
    Number,
    /// A name out of these, which becomes a 1 at its place and 0 at those of the others.
    OneHot(Vec<String>),
    /// Something that is not read.
    Ignored,
}

impl Column {
    /// How many numbers a network gets of this column.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number => 1,
            Self::OneHot(categories) => categories.len(),
            Self::Ignored => 0,
        }
    }
}

/// How many numbers a network gets of these columns; `None` if no sum of them fits.
pub(crate) fn width(columns: &[Column]) -> Option<usize> {
    let mut widths = columns.iter().map(Column::width);
    widths.try_fold(0_usize, usize::checked_add)
}
