//! Opening files that may be compressed, without believing anything they say about their size.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The first two bytes of a gzip file.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file's decompressed bytes; gzip is recognised by its first bytes, not by its name.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let failed = |why| Error::read(path, 0, why);
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let packed = reader.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
    Ok(if packed {
        Box::new(unpack(reader))
    } else {
        Box::new(reader)
    })
}

/// Decompresses gzip.
pub(crate) fn unpack(packed: impl BufRead) -> impl BufRead {
    BufReader::with_capacity(1 << 16, MultiGzDecoder::new(packed))
}

/// A reader that counts, and refuses to give more than a limit.
pub(crate) struct Counted<R> {
    inner: R,
    path: PathBuf,
    read: u64,
    limit: u64,
}

impl<R: BufRead> Counted<R> {
    pub(crate) fn new(inner: R, path: &Path, limit: u64) -> Self {
        Self {
            inner,
            path: path.to_owned(),
            read: 0,
            limit,
        }
    }

    /// How many bytes were given out.
    pub(crate) fn offset(&self) -> u64 {
        self.read
    }

    /// Appends bytes up to and including the next `\n`; gives 0 at the end of the file.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<usize> {
        // One byte more than allowed is asked for, so that a file of exactly the limit passes.
        let most = (self.limit - self.read).saturating_add(1);
        let result = self.inner.by_ref().take(most).read_until(b'\n', line);
        let count = result.map_err(|why| Error::read(&self.path, self.read, why))?;
        self.read = self.read.saturating_add(count as u64);
        if self.read > self.limit {
            return Err(Error::TooLarge {
                path: self.path.clone(),
                limit_bytes: self.limit,
            });
        }
        Ok(count)
    }
}
