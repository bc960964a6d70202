//! Reading the head of a GGUF file: every count and length is compared with what is left of the file before it is
//! believed.

use super::GgufDefect as Defect;
use super::value::GgufValue;
use std::io::{self, BufReader, Read};

/// Why the head could not be read.
pub(super) enum Failure {
    Io(io::Error),
    Defect(Defect),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

/// A file with the number of bytes that are left of it.
pub(super) struct Reader<R> {
    inner: BufReader<R>,
    at: u64,
    left: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(inner: R, bytes: u64) -> Self {
        Self {
            inner: BufReader::with_capacity(1 << 16, inner),
            at: 0,
            left: bytes,
        }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn need(&self, what: &'static str, expected: u64) -> Result<(), Failure> {
        if expected <= self.left {
            return Ok(());
        }
        let (at, left) = (self.at, self.left);
        Err(Failure::Defect(Defect::Cut {
            what,
            at,
            expected,
            left,
        }))
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Failure> {
        self.need(what, N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.at += N as u64;
        self.left -= N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Failure> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Failure> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things of at least `size` bytes each.
    pub(super) fn count(&mut self, what: &'static str, size: u64) -> Result<usize, Failure> {
        let got = self.u64(what)?;
        let left = self.left;
        let fits = got.checked_mul(size).is_some_and(|bytes| bytes <= left);
        match usize::try_from(got) {
            Ok(count) if fits => Ok(count),
            _ => Err(Failure::Defect(Defect::Count { what, got, left })),
        }
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Failure> {
        let len = self.u64(what)?;
        self.need(what, len)?;
        let at = self.at;
        // As long as the file at most, as just seen; it grows with what is really read.
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(len).read_to_end(&mut bytes)?;
        if read as u64 != len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.at += len;
        self.left -= len;
        String::from_utf8(bytes).map_err(|_| Defect::Text { what, at }.into())
    }

    /// The value of `key`.
    pub(super) fn value(&mut self, key: &str) -> Result<GgufValue, Failure> {
        let kind = self.u32("the kind of a value")?;
        if kind == 9 {
            return self.list(key);
        }
        self.scalar(key, kind)
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Result<GgufValue, Failure> {
        const WHAT: &str = "a value";
        Ok(match kind {
            0 => GgufValue::Unsigned(u8::from_le_bytes(self.array(WHAT)?).into()),
            1 => GgufValue::Signed(i8::from_le_bytes(self.array(WHAT)?).into()),
            2 => GgufValue::Unsigned(u16::from_le_bytes(self.array(WHAT)?).into()),
            3 => GgufValue::Signed(i16::from_le_bytes(self.array(WHAT)?).into()),
            4 => GgufValue::Unsigned(self.u32(WHAT)?.into()),
            5 => GgufValue::Signed(i32::from_le_bytes(self.array(WHAT)?).into()),
            6 => GgufValue::Float(f32::from_le_bytes(self.array(WHAT)?).into()),
            7 => GgufValue::Bool(self.array::<1>(WHAT)?[0] != 0),
            8 => GgufValue::Text(self.text(WHAT)?),
            10 => GgufValue::Unsigned(self.u64(WHAT)?),
            11 => GgufValue::Signed(i64::from_le_bytes(self.array(WHAT)?)),
            12 => GgufValue::Float(f64::from_le_bytes(self.array(WHAT)?)),
            got => {
                let key = key.to_owned();
                return Err(Defect::Kind { key, got }.into());
            }
        })
    }

    fn list(&mut self, key: &str) -> Result<GgufValue, Failure> {
        let kind = self.u32("the kind of a list")?;
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => {
                let key = key.to_owned();
                return Err(Defect::Nested { key }.into());
            }
            got => {
                let key = key.to_owned();
                return Err(Defect::Kind { key, got }.into());
            }
        };
        let count = self.count("entries of a list", size)?;
        match kind {
            8 => {
                let texts = (0..count).map(|_| self.text("an entry of a list"));
                Ok(GgufValue::Texts(texts.collect::<Result<_, _>>()?))
            }
            6 | 12 => {
                let numbers = (0..count).map(|_| match self.scalar(key, kind)? {
                    GgufValue::Float(x) => Ok(x as f32),
                    _ => unreachable!("kinds 6 and 12 are floats"),
                });
                Ok(GgufValue::Floats(numbers.collect::<Result<_, Failure>>()?))
            }
            _ => {
                let numbers = (0..count).map(|_| match self.scalar(key, kind)? {
                    GgufValue::Unsigned(n) => Ok(n as i64),
                    GgufValue::Signed(n) => Ok(n),
                    GgufValue::Bool(b) => Ok(i64::from(b)),
                    _ => unreachable!("the other kinds of lists were seen above"),
                });
                Ok(GgufValue::Integers(
                    numbers.collect::<Result<_, Failure>>()?,
                ))
            }
        }
    }
}
