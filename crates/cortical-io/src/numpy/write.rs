//! Writing `.npz`: arrays one behind the other in a zip archive, not packed, as `numpy.savez` does.

use std::io::{self, Write};

use super::{ENDING, head};
use crate::Element;

pub(crate) use head::descr;

/// The files of an archive that is to be written: names, types and shapes of arrays.
#[derive(Debug, Default)]
pub(crate) struct NpzPlan {
    /// The entries of the directory so far.
    directory: Vec<u8>,
    files: u64,
    at: u64,
}

/// The fixed fields of both heads: version 4.5, names in UTF-8, not packed, the first day that zip knows.
fn common(crc: u32, size: u64, name: &str, extra: u16) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend(45_u16.to_le_bytes());
    head.extend((1_u16 << 11).to_le_bytes());
    head.extend(0_u16.to_le_bytes());
    head.extend(0_u16.to_le_bytes());
    head.extend(0x0021_u16.to_le_bytes());
    head.extend(crc.to_le_bytes());
    // The sizes stand in the extra field, for arrays of 4 GiB and more.
    let small = u32::try_from(size)
        .ok()
        .filter(|size| *size != u32::MAX && extra == 0);
    head.extend(
        [small.unwrap_or(u32::MAX); 2]
            .map(u32::to_le_bytes)
            .concat(),
    );
    head.extend((name.len() as u16).to_le_bytes());
    head.extend(extra.to_le_bytes());
    head
}

fn wide(size: u64, place: Option<u64>) -> Vec<u8> {
    let numbers: Vec<u64> = [size, size].into_iter().chain(place).collect();
    let mut extra = 1_u16.to_le_bytes().to_vec();
    extra.extend((8 * numbers.len() as u16).to_le_bytes());
    extra.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    extra
}

impl NpzPlan {
    /// Writes one array; `fill` hands its elements to what it is given, twice: once for the checksum that stands before
    /// them, and once to be written.
    pub(crate) fn array(
        &mut self,
        out: &mut dyn Write,
        name: &str,
        element: Element,
        shape: &[usize],
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let no_type = || io::Error::other(format!("NumPy has no type {element}"));
        let name = format!("{name}{ENDING}");
        let head = head::write(element, shape).ok_or_else(no_type)?;
        let mut sum = Checksum::default();
        sum.write_all(&head)?;
        fill(&mut sum)?;
        let size = sum.bytes;
        let crc = sum.crc.finalize();
        let local = wide(size, None);
        let mut start = b"PK\x03\x04".to_vec();
        start.extend(common(crc, size, &name, local.len() as u16));
        start.extend(name.as_bytes());
        start.extend(&local);
        out.write_all(&start)?;
        out.write_all(&head)?;
        fill(out)?;
        let central = wide(size, Some(self.at));
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(45_u16.to_le_bytes());
        self.directory
            .extend(common(crc, size, &name, central.len() as u16));
        // No remark, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(u32::MAX.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend(&central);
        self.files += 1;
        self.at += start.len() as u64 + size;
        Ok(())
    }

    /// Writes the directory.
    pub(crate) fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        let (start, size, files) = (self.at, self.directory.len() as u64, self.files);
        let mut end = self.directory;
        end.extend(b"PK\x06\x06");
        end.extend(44_u64.to_le_bytes());
        end.extend([45_u16, 45].map(u16::to_le_bytes).concat());
        end.extend([0; 8]);
        end.extend([files, files, size, start].map(u64::to_le_bytes).concat());
        end.extend(b"PK\x06\x07");
        end.extend([0; 4]);
        end.extend((start + size).to_le_bytes());
        end.extend(1_u32.to_le_bytes());
        end.extend(b"PK\x05\x06");
        end.extend([0; 4]);
        let few = u16::try_from(files).unwrap_or(u16::MAX);
        end.extend([few, few].map(u16::to_le_bytes).concat());
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        end.extend([small(size), small(start)].map(u32::to_le_bytes).concat());
        end.extend([0; 2]);
        out.write_all(&end)
    }
}

/// Counts and sums up what is written.
#[derive(Default)]
struct Checksum {
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
