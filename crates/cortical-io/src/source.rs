//! Where the bytes of a file come from: reads at a place, or a map.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::mmap::MappedFile;
use crate::{Error, Result};

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Plain(File),
    Mapped(MappedFile),
}

impl Source {
    pub(crate) fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => read_exact_at(file, offset, out),
            Self::Mapped(map) => map.read_exact_at(offset, out),
        }
    }
}

/// Reads at a place of a file that other threads read too.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Reads at a place of a file that other threads read too.
#[cfg(not(unix))]
pub(crate) fn read_exact_at(mut file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    // Threads share the file's position here, so they take turns.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(out)
}

/// Opens a regular file and says how long it is.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let read = || Error::read(path);
    // Asked before opening, because opening a pipe waits for somebody to write into it.
    if !std::fs::metadata(path).map_err(read())?.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(read())?;
    let bytes = file.metadata().map_err(read())?.len();
    Ok((file, bytes))
}
