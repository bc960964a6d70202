//! What the columns of a table hold: numbers, names that become one number a category, the label, or nothing that a
//! network should see.

use serde::{Deserialize, Serialize};

use crate::dates::PARTS;

/// One column of a table; a model keeps the list of them in the order of its table, so that later rows are read alike.
///
/// ```
/// use cortical_data::csv::{Column, ColumnKind};
/// let column = Column::named("colour", ColumnKind::OneHot(vec!["blue".into(), "red".into()]));
/// assert_eq!(column.width(), 2);
/// let json = r#"{"name":"colour","kind":{"one_hot":["blue","red"]}}"#;
/// assert_eq!(serde_json::to_string(&column)?, json);
/// // Without a name it is written as files had it before columns had names.
/// assert_eq!(serde_json::from_str::<Column>("\"number\"")?.kind, ColumnKind::Number);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Column {
    /// What the header calls it; `None` where the table has no header.
    pub name: Option<String>,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What one column of a table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number.
    Number,
    /// A name out of these, which becomes a 1 at its place and 0 at those of the others.
    OneHot(Vec<String>),
    /// A date, which becomes the days since 1970.
    Days,
    /// A date, which becomes its year, month, day of the month and day of the week from Monday, which is 0.
    DateParts,
    /// Something that is not read.
    Ignored,
    /// The class of the row.
    Label,
    /// A number that is to be predicted.
    Target,
}

/// A column as a file holds it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Bare(ColumnKind),
    Named(Named),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    kind: ColumnKind,
}

impl From<Stored> for Column {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Bare(kind) => Self { name: None, kind },
            Stored::Named(named) => Self::named(&named.name, named.kind),
        }
    }
}

impl From<Column> for Stored {
    fn from(Column { name, kind }: Column) -> Self {
        match name {
            None => Self::Bare(kind),
            Some(name) => Self::Named(Named { name, kind }),
        }
    }
}

impl Column {
    /// A column that a header names.
    #[must_use]
    pub fn named(name: &str, kind: ColumnKind) -> Self {
        Self {
            name: Some(name.to_owned()),
            kind,
        }
    }

    /// How many numbers a network gets of this column.
    #[must_use]
    pub fn width(&self) -> usize {
        match &self.kind {
            ColumnKind::Number | ColumnKind::Days => 1,
            ColumnKind::DateParts => PARTS,
            ColumnKind::OneHot(categories) => categories.len(),
            ColumnKind::Ignored | ColumnKind::Label | ColumnKind::Target => 0,
        }
    }

    /// What a message calls the column at `index` of a table.
    pub(crate) fn title(&self, index: usize) -> String {
        match &self.name {
            Some(name) => format!("{:?}", crate::error::shorten(name)),
            None => format!("in column {}", index + 1),
        }
    }
}

/// How many numbers a network gets of these columns; `None` if no sum of them fits.
pub(crate) fn width(columns: &[Column]) -> Option<usize> {
    let mut widths = columns.iter().map(Column::width);
    widths.try_fold(0_usize, usize::checked_add)
}
