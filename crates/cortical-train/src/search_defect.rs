//! Why a search cannot be made.

use std::path::PathBuf;

/// Why a search cannot be made.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SearchDefect {
    /// What is to be tried is not written as it should be.
    #[error(
        "cannot try {text:?}: expected FIELD=V1,V2 or FIELD=LOW..HIGH, such as optim.lr=1e-3,1e-2"
    )]
    Axis {
        /// What was written.
        text: String,
    },
    /// Nothing is to be tried.
    #[error("nothing is to be tried; say what, such as --try optim.lr=1e-3,1e-2")]
    NoAxes,
    /// A grid has no values of a range.
    #[error(
        "{path} is a range, of which a grid has no values; list some, or search with --method random"
    )]
    RangeInGrid {
        /// The field.
        path: String,
    },
    /// There are more combinations than can be tried, or none.
    #[error(
        "expected from 1 to {most} combinations; try fewer values, or search with --method random"
    )]
    TooMany {
        /// The most.
        most: usize,
    },
    /// The folder holds another search, or something else.
    #[error("{} holds another search, or something else; choose another folder, or repeat the search that it holds", path.display())]
    OtherSearch {
        /// The folder.
        path: PathBuf,
    },
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for SearchDefect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
