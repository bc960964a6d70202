//! What can be wrong with a table of text: its grammar, its columns, a cell.

use std::fmt;
use std::path::Path;

use super::Error;

/// What is wrong with a CSV file or a file of texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsvDefect {
    /// A CSV file has no row of data.
    #[error("expected at least one row of data, found the end of the file")]
    Empty,
    /// A CSV row has another number of cells than the rows before it, or than the model needs.
    #[error("expected {expected} cells separated by {separator}, found {found}{advice}")]
    Ragged {
        /// How many cells were expected, in words.
        expected: String,
        /// What stands between cells.
        separator: &'static str,
        /// How many there are.
        found: usize,
        /// What to do where something else stands between the cells; empty where nothing is known.
        advice: &'static str,
    },
    /// A CSV cell that should hold a number does not.
    #[error("expected a number, found {found:?}{advice}")]
    NotANumber {
        /// Its text, shortened.
        found: String,
        /// What to do where it is plainly none; empty for what may be a slip.
        advice: &'static str,
    },
    /// A cell that should hold a date does not.
    #[error("expected a date such as 2024-03-31, 31.03.2024 or 2024-03-31 12:30, found {found:?}")]
    NotADate {
        /// Its text, shortened.
        found: String,
    },
    /// A CSV cell holds NaN, an infinity or a number beyond `f32`.
    #[error("expected a finite number within the range of f32, found {found:?}")]
    NotFinite {
        /// Its text, shortened.
        found: String,
    },
    /// Lines end as they did on the first Macintosh.
    #[error(
        "expected lines that end with a line feed, found carriage returns alone; save the file with other line ends"
    )]
    CarriageReturns,
    /// A CSV cell is not text.
    #[error("expected UTF-8 text, found other bytes")]
    NotUtf8,
    /// A quoted CSV cell never ends.
    #[error("expected a closing quote, found the end of the file")]
    OpenQuote,
    /// A quote stands where CSV has none.
    #[error("expected quotes around the whole cell (and doubled inside it), found {found:?}")]
    StrayQuote {
        /// The character that does not belong there.
        found: char,
    },
    /// A column is not there.
    #[error("expected a {what} {expected}, found {found}")]
    NoColumn {
        /// What the column is for.
        what: &'static str,
        /// The column that was asked for.
        expected: String,
        /// The columns that are there, in words.
        found: String,
    },
    /// A cell has no value.
    #[error("expected {expected}, found {found:?}{advice}")]
    Missing {
        /// What should be there.
        expected: &'static str,
        /// Its text.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A cell has no category, one that a model does not know, or one too many.
    #[error("expected {expected}, found {found:?}")]
    Category {
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A row has no number to predict.
    #[error("expected a number to predict, found {found:?}{advice}")]
    NoTarget {
        /// What is there.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A column is to be predicted twice, or predicted and read.
    #[error("column {column} is named twice among the targets; name each column once")]
    TargetTwice {
        /// The column.
        column: usize,
    },
    /// A row has no label.
    #[error("expected a label, found an empty cell")]
    NoLabel,
    /// A label says that there is none.
    #[error(
        "expected a label, found {found:?}, which says that there is none; take the row out or give the class another name"
    )]
    MissingLabel {
        /// Its text.
        found: String,
    },
    /// Nothing tells whether a first row of numbers is a header.
    #[error(
        "({found}) may be the header, or a row of a class of its own; say which with data.header=true or data.header=false"
    )]
    OpenHeader {
        /// Its first cells.
        found: String,
    },
    /// A header has other columns than the table that a model was trained with.
    #[error(
        "expected the columns {expected}{and} as in the table that the model was trained with, found {found}",
        and = label.as_ref().map_or(String::new(), |label| format!(" (and {label} for the label)"))
    )]
    Columns {
        /// The model's columns.
        expected: String,
        /// The name of its label.
        label: Option<String>,
        /// The columns that are there.
        found: String,
    },
    /// A row is longer than any row of a table.
    #[error("expected rows of at most {limit_bytes} bytes, found a longer one; is this a table?")]
    LongRow {
        /// The most bytes of a row.
        limit_bytes: usize,
    },
    /// A cell is longer than any cell of a table.
    #[error("expected cells of at most {limit_bytes} bytes, found a longer one")]
    LongCell {
        /// The most bytes of a cell.
        limit_bytes: usize,
    },
    /// A row has more cells than any row of a table.
    #[error("expected at most {limit} columns, found more; is this a table?")]
    ManyColumns {
        /// The most cells of a row.
        limit: usize,
    },
    /// A row has no text.
    #[error("expected a text, found nothing")]
    NoText,
    /// A label is none of the classes that the model knows.
    #[error("expected a label among {expected}, found {found:?}")]
    UnknownLabel {
        /// The known classes.
        expected: String,
        /// Its text, shortened.
        found: String,
    },
    /// Every row has the same label.
    #[error(
        "expected labels of at least two classes, found only {found:?}; is column {column} the label?"
    )]
    OneClass {
        /// The label column.
        column: usize,
        /// The only label.
        found: String,
    },
    /// The label column holds quantities.
    #[error(
        "expected classes, found {classes} different numbers as labels of {rows} rows, which look like a quantity; predict it as a number with --set data.target=numbers, or make classes of the numbers, such as low and high, or choose another label column than {column}"
    )]
    Quantity {
        /// The label column.
        column: usize,
        /// How many different numbers there are.
        classes: usize,
        /// In how many rows.
        rows: usize,
    },
    /// One column is asked for as text and as label.
    #[error("column {column} is to be both text and label; choose two columns")]
    TextIsLabel {
        /// The column.
        column: usize,
    },
    /// Lines of text are to teach classes.
    #[error(
        "lines of text have no labels; expected a CSV file with a column of texts and one of labels"
    )]
    Unlabelled,
}

impl CsvDefect {
    /// The error for a defect of the whole file.
    pub(crate) fn of_file(self, path: &Path) -> Error {
        self.at(path, Place::File)
    }

    /// The error for a defect of the row that begins on a line.
    pub(crate) fn at_line(self, path: &Path, line: u64) -> Error {
        self.at(path, Place::Line(line))
    }

    /// The error for a defect of one cell; columns count from 1.
    pub(crate) fn at_cell(self, path: &Path, line: u64, column: usize) -> Error {
        self.at(path, Place::Cell(line, column))
    }

    fn at(self, path: &Path, place: Place) -> Error {
        Error::Csv {
            path: path.to_owned(),
            place,
            defect: Box::new(self),
        }
    }
}

/// Where in a file something is wrong; lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular.
    File,
    /// In the row that begins on this line.
    Line(u64),
    /// In the row that begins on this line, in this column.
    Cell(u64, usize),
}

/// As it stands behind the name of a file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, ", line {line}"),
            Self::Cell(line, column) => write!(f, ", line {line}, column {column}"),
        }
    }
}
