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
    String::from_utf8(bytes).map_err(|_| Error::NotText { path: path.into() })
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
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read_text(&path, 6), Err(Error::NotText { .. })));
    }
}
