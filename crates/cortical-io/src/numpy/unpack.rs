//! Unpacking a file of an archive, piece by piece and never further than it says.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::read::DeflateDecoder;

use crate::archive::{Method, ZipEntry};
use crate::source::read_exact_at;

/// Reads the packed bytes of one file of an archive.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Packed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out
            .len()
            .min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        read_exact_at(&self.file, self.at, &mut out[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// What a file of an archive holds, from its first byte on.
pub(super) fn open(file: &File, entry: &ZipEntry) -> io::Result<Box<dyn Read>> {
    let packed = Packed {
        file: file.try_clone()?,
        at: entry.start,
        end: entry.start + entry.packed,
    };
    Ok(match entry.method {
        Method::Stored => Box::new(BufReader::with_capacity(1 << 14, packed)),
        Method::Deflated => Box::new(decoder(packed)),
    })
}

fn decoder(packed: Packed) -> DeflateDecoder<BufReader<Packed>> {
    // As large as the buffer that flate2 would take of its own.
    DeflateDecoder::new(BufReader::with_capacity(1 << 15, packed))
}

/// A packed file that is being read.
#[derive(Debug)]
pub(super) struct Unpacking {
    /// Where it begins in the archive, which tells it from the others.
    start: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Pieces {
        from: DeflateDecoder<BufReader<Packed>>,
        at: u64,
        crc: crc32fast::Hasher,
    },
    Whole(Vec<u8>),
}

impl Unpacking {
    fn new(file: &File, entry: &ZipEntry) -> io::Result<Self> {
        let packed = Packed {
            file: file.try_clone()?,
            at: entry.start,
            end: entry.start + entry.packed,
        };
        let state = State::Pieces {
            from: decoder(packed),
            at: 0,
            crc: crc32fast::Hasher::new(),
        };
        Ok(Self {
            start: entry.start,
            state,
        })
    }

    /// Reads from byte `from` of the unpacked file on; `current` is what was read last.
    pub(super) fn read(
        current: &mut Option<Self>,
        file: &File,
        entry: &ZipEntry,
        from: u64,
        out: &mut [u8],
    ) -> io::Result<()> {
        let goes_on = current
            .as_ref()
            .is_some_and(|current| match &current.state {
                State::Pieces { at, .. } => current.start == entry.start && *at <= from,
                State::Whole(_) => false,
            });
        if !goes_on {
            *current = Some(Self::new(file, entry)?);
        }
        let Some(Self {
            state:
                State::Pieces {
                    from: reader,
                    at,
                    crc,
                },
            ..
        }) = current
        else {
            unreachable!("it was made just now, or looked at");
        };
        let mut buffer = [0; 4096];
        while *at < from {
            let count = usize::try_from(from - *at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            reader.read_exact(&mut buffer[..count])?;
            crc.update(&buffer[..count]);
            *at += count as u64;
        }
        reader.read_exact(out)?;
        crc.update(out);
        *at += out.len() as u64;
        if *at == entry.size
            && (crc.clone().finalize() != entry.crc || reader.read(&mut buffer)? != 0)
        {
            let damaged = crate::ArchiveDefect::Damaged {
                name: entry.name.clone(),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
        }
        Ok(())
    }

    /// All of the unpacked file, for elements that do not lie in order.
    pub(super) fn whole<'a>(
        current: &'a mut Option<Self>,
        file: &File,
        entry: &ZipEntry,
    ) -> io::Result<&'a [u8]> {
        let is_here = current.as_ref().is_some_and(|current| {
            current.start == entry.start && matches!(current.state, State::Whole(_))
        });
        if !is_here {
            let mut bytes = Vec::new();
            let size = usize::try_from(entry.size).ok();
            if size.is_none_or(|size| bytes.try_reserve_exact(size).is_err()) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            bytes.resize(size.unwrap_or(0), 0);
            Self::read(current, file, entry, 0, &mut bytes)?;
            *current = Some(Self {
                start: entry.start,
                state: State::Whole(bytes),
            });
        }
        match current {
            Some(Self {
                state: State::Whole(bytes),
                ..
            }) => Ok(bytes),
            _ => unreachable!("it was made just now"),
        }
    }
}
