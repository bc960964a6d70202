//! Opening files that may be compressed, without believing anything they say about their size.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The first two bytes of a gzip file.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Decompressed bytes that a file may have whatever its size.
const ALWAYS_BYTES: u64 = 64 << 20;
/// How many times its size a file may become beyond that. Tables become ten times as large, tables of zeros a hundred
/// times.
const MOST_GROWTH: u64 = 256;

/// Opens a file's decompressed bytes; gzip is recognised by its first bytes, not by its name.
///
/// # Errors
/// [`Error::NotAFile`] for a folder, a pipe or a device, which might never end or block for ever.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let failed = |why| Error::read(path, 0, why);
    let mut reader = BufReader::with_capacity(1 << 16, open_file(path)?);
    let packed = reader.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
    Ok(if packed {
        let packed = Consumed {
            inner: reader,
            count: 0,
        };
        let growing = Growing {
            inner: MultiGzDecoder::new(packed),
            count: 0,
        };
        Box::new(BufReader::with_capacity(1 << 16, growing))
    } else {
        Box::new(reader)
    })
}

/// All bytes of a file, as they are.
///
/// # Errors
/// Those of [`open`]; [`Error::TooLarge`] for more bytes than the limit.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_file(path)?.take(limit_bytes.saturating_add(1));
    let read = BufReader::new(file).read_to_end(&mut bytes);
    read.map_err(|why| Error::read(path, bytes.len() as u64, why))?;
    if bytes.len() as u64 > limit_bytes {
        let path = path.to_owned();
        return Err(Error::TooLarge { path, limit_bytes });
    }
    Ok(bytes)
}

fn open_file(path: &Path) -> Result<File> {
    let failed = |why| Error::read(path, 0, why);
    // Before it is opened, as opening a pipe waits for somebody who writes.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    File::open(path).map_err(failed)
}

/// Decompresses gzip.
pub(crate) fn unpack(packed: impl BufRead) -> impl BufRead {
    BufReader::with_capacity(1 << 16, MultiGzDecoder::new(packed))
}

/// A reader that counts what was taken from it.
struct Consumed<R> {
    inner: R,
    count: u64,
}

impl<R: BufRead> Read for Consumed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Consumed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.count += count as u64;
        self.inner.consume(count);
    }
}

/// Decompresses gzip until it becomes larger than data do.
struct Growing<R> {
    inner: MultiGzDecoder<Consumed<R>>,
    count: u64,
}

impl<R: BufRead> Read for Growing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.count += count as u64;
        let packed = self.inner.get_ref().count;
        if self.count > ALWAYS_BYTES && self.count / MOST_GROWTH > packed {
            let why = format!(
                "it becomes more than {MOST_GROWTH} times as large, as few data do; decompress it if it is meant to be so"
            );
            return Err(io::Error::other(why));
        }
        Ok(count)
    }
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

    /// Appends bytes up to and including the next `\n`; gives 0 at the end of the file. Of a line of more than
    /// `longest` bytes it gives one byte more than that.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>, longest: usize) -> Result<usize> {
        // One byte more than allowed is asked for, so that a file of exactly the limit passes.
        let most = (self.limit - self.read).min(longest as u64);
        let most = most.saturating_add(1);
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
