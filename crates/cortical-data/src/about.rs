//! How data were understood, in words.

/// How the files of a data set were understood, for the person who gave them: what a reader guesses (a header, the
/// label's column) or leaves out is said.
///
/// ```
/// use cortical_data::csv::{self, CsvOptions};
/// let table = "height,width,colour\n0.5,2,red\n1.5,3,blue\n1.0,3,red\n";
/// let read = csv::read_from(table.as_bytes(), "t.csv".as_ref(), &CsvOptions::default())?;
/// let about = read.about();
/// assert_eq!(about.summary, "3 rows, 2 numbers, label \"colour\" with 2 classes, header in line 1");
/// assert!(about.notes.is_empty());
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// One line; empty for samples that come from no file.
    pub summary: String,
    /// What a person should know besides, a line each: folders that were left out, columns that say nothing.
    pub notes: Vec<String>,
}

/// A number of things, `1 row` or `2 rows`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{number} {word}")
}
