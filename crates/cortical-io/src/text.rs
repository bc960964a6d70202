//! Text files that describe a model.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::NotAFile`], [`Error::TextTooLong`], [`Error::NotText`].
pub fn read_text(path: impl AsRef<Path>, limit: u64) -> Result<String> {
    let path = path.as_ref();
    let read = || Error::read(path);
    if !std::fs::metadata(path).map_err(read())?.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(read())?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is too much, even if the file grows meanwhile.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(read())?;
    let got = bytes.len() as u64;
    if got > limit {
        let path = path.into();
        return Err(Error::TextTooLong { path, got, limit });
    }
    String::from_utf8(bytes).or_else(|error| as_text(path, error.as_bytes()).map(str::to_owned))
}

/// The text that a file's bytes are.
///
/// # Errors
/// [`Error::NotText`] with the place of the first byte that is none.
pub fn as_text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let path = path.into();
        Error::NotText { path, line, at }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_and_the_encoding_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "größe").unwrap();
        assert_eq!(read_text(&path, 7).unwrap(), "größe");
        assert!(matches!(
            read_text(&path, 6),
            Err(Error::TextTooLong { .. })
        ));
        assert!(matches!(
            read_text(folder.path(), 6),
            Err(Error::NotAFile { .. })
        ));
        std::fs::write(&path, b"a\nbc\xffd").unwrap();
        let error = read_text(&path, 6).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("byte 4"),
            "{error}"
        );
    }
}
