//! Memory-mapped files: the one module of this crate with `unsafe`.
//!
//! Another process may change a file while it is mapped, so no reference into the map is ever made: bytes are only
//! copied out through a raw pointer. What is left is that the operating system stops a process (`SIGBUS` on Unix)
//! that touches a page which was cut off the file after it was mapped; plain reading reports an error there.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use cortical_kernels::buffer::copy_from_shared;
use memmap2::{MmapOptions, MmapRaw};

/// A read-only map of a whole file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: MmapRaw,
}

impl MappedFile {
    /// Maps `file` as it is now.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw_read_only(file)?;
        Ok(Self { map })
    }

    /// Fills `out` with the bytes that start at `offset`.
    pub(crate) fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(out.len()));
        let (Some(start), Some(_)) = (start, end.filter(|&end| end <= self.map.len())) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        // SAFETY: `start + out.len()` is at most the length of the map, which lives as long as `self`, so the source is
        // readable; `out` is writable and cannot overlap a map that is ours alone and read-only; bytes have no
        // alignment and no invalid values. No reference to the mapped memory exists, so none is broken when another
        // process writes to the file: the copy then holds old or new bytes.
        unsafe { copy_from_shared(self.map.as_ptr().add(start), out) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_inside_and_refuses_outside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, [1, 2, 3, 4]).unwrap();
        let map = MappedFile::new(&File::open(&path).unwrap()).unwrap();
        let read = |offset, len| {
            let mut out = vec![0; len];
            map.read_exact_at(offset, &mut out).map(|()| out).ok()
        };
        assert_eq!(read(1, 3), Some(vec![2, 3, 4]));
        assert_eq!(read(4, 0), Some(vec![]));
        for (offset, len) in [(1, 4), (5, 0), (u64::MAX, 1), (u64::MAX, 0), (4, 1)] {
            assert_eq!(read(offset, len), None, "{len} bytes at {offset}");
        }
    }

    #[test]
    fn an_empty_file_can_be_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        std::fs::write(&path, []).unwrap();
        let map = MappedFile::new(&File::open(&path).unwrap()).unwrap();
        map.read_exact_at(0, &mut []).unwrap();
    }
}
