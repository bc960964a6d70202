//! The grammar of CSV: rows of cells, separated by commas or another byte, quoted or not.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use crate::error::{CsvDefect, Error, Result};
use crate::files::Counted;

/// The most bytes of a row: a line of a file that is no table may be as long as the file.
pub(super) const MOST_ROW_BYTES: usize = 16 << 20;
/// The most cells of a row.
const MOST_COLUMNS: usize = 1 << 18;

/// One row.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The cells' bytes, one after the other.
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`.
    ends: Vec<usize>,
    /// The file's line that the row begins on.
    pub(crate) line: u64,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The texts of all cells.
    pub(crate) fn cells(&self, path: &Path) -> Result<Vec<&str>> {
        (0..self.len()).map(|cell| self.cell(cell, path)).collect()
    }

    /// The bytes of cell `index`, which exists.
    fn bytes_of(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The text of cell `index`, which exists.
    pub(crate) fn cell(&self, index: usize, path: &Path) -> Result<&str> {
        std::str::from_utf8(self.bytes_of(index))
            .map_err(|_| CsvDefect::NotUtf8.at_cell(path, self.line, index + 1))
    }
}

/// Where in a cell the grammar is.
enum State {
    /// Before the cell's first character.
    Start,
    /// In a cell without quotes.
    Bare,
    /// Between quotes.
    Quoted,
    /// After a quote that ends the cell, or is the first half of a doubled one.
    Closed,
}

/// Reads rows: quoted cells may hold commas, doubled quotes and line ends; blanks around a cell, empty lines, a byte
/// order mark and carriage returns before a line end are dropped.
pub(crate) struct Records<R> {
    reader: Counted<R>,
    path: PathBuf,
    /// What stands between cells.
    separator: u8,
    /// The line in the making; kept to reuse its memory.
    text: Vec<u8>,
    /// How many lines were read.
    pub(crate) line: u64,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R, path: &Path, limit_bytes: u64, separator: u8) -> Self {
        Self {
            reader: Counted::new(reader, path, limit_bytes),
            path: path.to_owned(),
            separator,
            text: Vec::new(),
            line: 0,
        }
    }

    /// Reads the next row into `record`; `false` at the end of the file.
    pub(crate) fn next(&mut self, record: &mut Record) -> Result<bool> {
        loop {
            if !self.next_line()? {
                return Ok(false);
            }
            // A line of separators is a row of empty cells.
            if !self.text.trim_ascii().is_empty()
                || (self.separator.is_ascii_whitespace() && self.text.contains(&self.separator))
            {
                break;
            }
        }
        record.bytes.clear();
        record.ends.clear();
        record.line = self.line;
        let mut state = State::Start;
        loop {
            state = self.scan(record, state)?;
            if record.bytes.len() > MOST_ROW_BYTES {
                return Err(self.long_row(record.line));
            }
            if !matches!(state, State::Quoted) {
                return Ok(true);
            }
            if !self.next_line()? {
                return Err(CsvDefect::OpenQuote.at_cell(
                    &self.path,
                    record.line,
                    record.len() + 1,
                ));
            }
        }
    }

    /// Reads one line of the file, with its `\n`.
    fn next_line(&mut self) -> Result<bool> {
        self.text.clear();
        let first = self.reader.offset() == 0;
        if self.reader.read_line(&mut self.text, MOST_ROW_BYTES)? == 0 {
            return Ok(false);
        }
        if self.text.len() > MOST_ROW_BYTES {
            return Err(self.long_row(self.line + 1));
        }
        if first && self.text.starts_with(b"\xef\xbb\xbf") {
            self.text.drain(..3);
        }
        self.line += 1;
        Ok(true)
    }

    /// Takes one line apart, from the state that the line before it left.
    fn scan(&self, record: &mut Record, mut state: State) -> Result<State> {
        let text = &self.text;
        for (i, &byte) in text.iter().enumerate() {
            let ends_line =
                byte == b'\n' || (byte == b'\r' && text[i + 1..].iter().all(|&b| b == b'\n'));
            state = match (state, byte) {
                (State::Quoted, b'"') => State::Closed,
                (State::Quoted, _) => {
                    record.bytes.push(byte);
                    State::Quoted
                }
                // The rest of the line is its end, so the row is complete.
                (state, _) if ends_line => {
                    end_cell(record, &state);
                    return Ok(State::Start);
                }
                (state, _) if byte == self.separator => {
                    end_cell(record, &state);
                    if record.len() >= MOST_COLUMNS {
                        let limit = MOST_COLUMNS;
                        let defect = CsvDefect::ManyColumns { limit };
                        return Err(defect.at_line(&self.path, record.line));
                    }
                    State::Start
                }
                (State::Start, b' ' | b'\t') => State::Start,
                (State::Start, b'"') => State::Quoted,
                (State::Bare, b'"') => return Err(self.stray(record, '"')),
                (State::Start | State::Bare, _) => {
                    record.bytes.push(byte);
                    State::Bare
                }
                (State::Closed, b'"') if text[i - 1] == b'"' => {
                    record.bytes.push(b'"');
                    State::Quoted
                }
                (State::Closed, b' ' | b'\t') => State::Closed,
                (State::Closed, _) => return Err(self.stray(record, char::from(byte))),
            };
        }
        // Only the last line of a file, or one inside quotes, gets here.
        if !matches!(state, State::Quoted) {
            end_cell(record, &state);
        }
        Ok(state)
    }

    fn long_row(&self, line: u64) -> Error {
        let limit_bytes = MOST_ROW_BYTES;
        CsvDefect::LongRow { limit_bytes }.at_line(&self.path, line)
    }

    fn stray(&self, record: &Record, found: char) -> Error {
        CsvDefect::StrayQuote { found }.at_cell(&self.path, record.line, record.len() + 1)
    }
}

/// Ends the cell; a cell without quotes loses the blanks at its end.
fn end_cell(record: &mut Record, state: &State) {
    if matches!(state, State::Bare) {
        let start = record.ends.last().copied().unwrap_or(0);
        let kept = record.bytes[start..].trim_ascii_end().len();
        record.bytes.truncate(start + kept);
    }
    record.ends.push(record.bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<(u64, Vec<String>)>> {
        let path = Path::new("t.csv");
        let mut records = Records::new(text, path, 1000, b',');
        let mut record = Record::default();
        let mut rows = Vec::new();
        while records.next(&mut record)? {
            let cells = (0..record.len()).map(|i| record.cell(i, path).map(str::to_owned));
            rows.push((record.line, cells.collect::<Result<_>>()?));
        }
        Ok(rows)
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        let check = |text: &str, want: &[(u64, &[&str])]| {
            let got = rows(text.as_bytes()).unwrap();
            let want: Vec<(u64, Vec<String>)> = want
                .iter()
                .map(|(line, cells)| (*line, cells.iter().map(|c| (*c).to_owned()).collect()))
                .collect();
            assert_eq!(got, want, "{text:?}");
        };
        check("", &[]);
        check("\n \r\n\t\n", &[]);
        check("a,b", &[(1, &["a", "b"])]);
        check("a,b\r\n\r\nc,d\r\n", &[(1, &["a", "b"]), (3, &["c", "d"])]);
        check("\u{feff}a,b\n", &[(1, &["a", "b"])]);
        check("\u{feff}\"a\",b\n", &[(1, &["a", "b"])]);
        check(" a b ,\t c\t\n", &[(1, &["a b", "c"])]);
        check("a,\n,b\n", &[(1, &["a", ""]), (2, &["", "b"])]);
        check("\"a,1\",\" b\"\"c\" ,d\n", &[(1, &["a,1", " b\"c", "d"])]);
        check("\"\"\n\"\"\"\"", &[(1, &[""]), (2, &["\""])]);
        check("\"a\nb\",c\nd,e", &[(1, &["a\nb", "c"]), (3, &["d", "e"])]);
        check("\"a\r\nb\"\r\n", &[(1, &["a\r\nb"])]);
        check("a\rb,c\r", &[(1, &["a\rb", "c"])]);
    }

    #[test]
    fn broken_quotes_are_found() {
        let check = |text: &[u8], message: &str| {
            assert_eq!(rows(text).unwrap_err().to_string(), message);
        };
        check(
            b"a,b\nc,\"d\n\n",
            "t.csv, line 2, column 2: expected a closing quote, found the end of the file",
        );
        check(
            b"a,b\"c\n",
            "t.csv, line 1, column 2: expected quotes around the whole cell (and doubled inside it), found '\"'",
        );
        check(
            b"\"a\" \"\n",
            "t.csv, line 1, column 1: expected quotes around the whole cell (and doubled inside it), found '\"'",
        );
        check(
            b"\"a\"b\n",
            "t.csv, line 1, column 1: expected quotes around the whole cell (and doubled inside it), found 'b'",
        );
        check(
            b"a,\xff\n",
            "t.csv, line 1, column 2: expected UTF-8 text, found other bytes",
        );
    }

    #[test]
    fn a_file_larger_than_the_limit_is_refused() {
        let limited = |text: &[u8], limit| {
            let mut records = Records::new(text, Path::new("t.csv"), limit, b',');
            let mut record = Record::default();
            while records.next(&mut record)? {}
            Ok::<(), Error>(())
        };
        assert!(limited(b"a,b\nc,d\n", 8).is_ok());
        let message = "t.csv: expected at most 7 bytes after decompression, found more; raise the size limit if the file is meant to be this large";
        assert_eq!(limited(b"a,b\nc,d\n", 7).unwrap_err().to_string(), message);
        assert!(limited(b"aaaa", 0).is_err());
        assert!(limited(b"aaaa", u64::MAX).is_ok());
    }
}
