//! Reading a pickle's bytes: no length is believed beyond what is left.

use std::io::{self, BufRead, Read};

use super::{Failure, PickleDefect};

/// Bytes of a line of text: names of modules, numbers.
const LINE_BYTES: u64 = 1024;

/// Bytes with the number of those that are left.
pub(crate) struct Reader<R> {
    inner: R,
    at: u64,
    left: u64,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(inner: R, left: u64) -> Self {
        Self { inner, at: 0, left }
    }

    /// Bytes that have been read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether so many bytes are left.
    fn need(&self, count: u64) -> Result<(), Failure> {
        match count <= self.left {
            true => Ok(()),
            false => Err(PickleDefect::Cut {
                at: self.at.saturating_add(self.left),
            }
            .into()),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.need(N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.at += N as u64;
        self.left -= N as u64;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// So many bytes, which are there: the file is as long.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Failure> {
        self.need(count)?;
        let mut bytes = Vec::new();
        let room = usize::try_from(count).ok();
        if room.is_none_or(|room| bytes.try_reserve_exact(room).is_err()) {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory).into());
        }
        let read = self.inner.by_ref().take(count).read_to_end(&mut bytes)?;
        self.passed(read as u64, count)?;
        Ok(bytes)
    }

    /// Passes over so many bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Failure> {
        self.need(count)?;
        let read = io::copy(&mut self.inner.by_ref().take(count), &mut io::sink())?;
        self.passed(read, count)
    }

    fn passed(&mut self, read: u64, count: u64) -> Result<(), Failure> {
        if read != count {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.at += count;
        self.left -= count;
        Ok(())
    }

    /// The text up to the end of the line, which is not too far away.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        let limit = self.left.min(LINE_BYTES);
        let mut bytes = Vec::new();
        let read = self
            .inner
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut bytes)?;
        self.at += read as u64;
        self.left -= read as u64;
        if bytes.pop() != Some(b'\n') && self.left == 0 {
            return Err(PickleDefect::Cut { at: self.at }.into());
        }
        let text = String::from_utf8(bytes).ok();
        let short = text.filter(|_| (read as u64) < LINE_BYTES);
        short.ok_or_else(|| PickleDefect::Line { at: self.at }.into())
    }
}

impl<R: BufRead + io::Seek> Reader<R> {
    /// Passes over so many bytes without reading them.
    pub(crate) fn seek_over(&mut self, count: u64) -> Result<(), Failure> {
        self.need(count)?;
        let count_signed = i64::try_from(count).map_err(|_| io::ErrorKind::InvalidInput);
        self.inner
            .seek_relative(count_signed.map_err(io::Error::from)?)?;
        self.at += count;
        self.left -= count;
        Ok(())
    }
}
