//! Tar archives, as the oldest files of PyTorch are: a head of 512 bytes before each file.

use std::io;

use super::{ArchiveDefect as Defect, check_name};

const BLOCK: u64 = 512;

/// The files of an archive by their names, with their places and sizes.
#[derive(Debug)]
pub(crate) struct Tar {
    files: Vec<(String, u64, u64)>,
}

/// Reads at a place of the archive.
type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

impl Tar {
    /// Whether these first bytes are those of a tar archive.
    pub(crate) fn is_tar(start: &[u8]) -> bool {
        start.get(..BLOCK as usize).is_some_and(checksum_fits)
    }

    /// Reads the heads of an archive of `bytes` bytes.
    pub(crate) fn read(bytes: u64, read: ReadAt<'_>) -> io::Result<Result<Self, Defect>> {
        let wrong = |why| Ok(Err(Defect::Directory { why }));
        let mut files: Vec<(String, u64, u64)> = Vec::new();
        let mut at = 0_u64;
        while at.checked_add(BLOCK).is_some_and(|end| end <= bytes) {
            let mut head = [0; BLOCK as usize];
            read(at, &mut head)?;
            if head == [0; BLOCK as usize] {
                break;
            }
            let size = number(&head[124..136]);
            let (true, Some(size)) = (checksum_fits(&head), size) else {
                return wrong("is damaged");
            };
            let start = at + BLOCK;
            let padded = size.checked_next_multiple_of(BLOCK);
            let end = padded.and_then(|padded| start.checked_add(padded));
            let name = &head[..100];
            let name = &name[..name.iter().position(|b| *b == 0).unwrap_or(100)];
            if size > bytes - start {
                let name = String::from_utf8_lossy(name).into_owned();
                return Ok(Err(Defect::Place { name }));
            }
            match head[156] {
                b'0' | 0 => {
                    let name = match check_name(name) {
                        Ok(name) => name.to_owned(),
                        Err(defect) => return Ok(Err(defect)),
                    };
                    if files.iter().any(|(known, ..)| *known == name) {
                        return Ok(Err(Defect::Duplicate { name }));
                    }
                    if files.len() == 64 {
                        return wrong("has more files than one of PyTorch's");
                    }
                    files.push((name, start, size));
                }
                // Remarks of newer writers about the file that follows, such as its time.
                b'x' | b'g' => {}
                _ => {
                    let name = crate::printable(&String::from_utf8_lossy(name), 80);
                    let kind = "a link, a folder or a device";
                    return Ok(Err(Defect::Kind { name, kind }));
                }
            }
            let Some(end) = end else {
                return wrong("is damaged");
            };
            at = end;
        }
        Ok(Ok(Self { files }))
    }

    /// Where the file of this name lies, and its size.
    pub(crate) fn find(&self, name: &str) -> Result<(u64, u64), Defect> {
        let found = self.files.iter().find(|(known, ..)| known == name);
        found
            .map(|(_, start, size)| (*start, *size))
            .ok_or_else(|| Defect::Missing {
                name: name.to_owned(),
            })
    }
}

/// A number in octal digits, with spaces before and a space or zero behind it.
fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    match digits {
        "" => Some(0),
        digits => u64::from_str_radix(digits, 8).ok(),
    }
}

/// Whether the head's bytes add up to the sum in it, for which spaces stand meanwhile.
fn checksum_fits(head: &[u8]) -> bool {
    let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = head[148..156].iter().map(|byte| u64::from(*byte)).sum();
    number(&head[148..156]).is_some_and(|stated| stated != 0 && stated == sum - own + 8 * 32)
}
