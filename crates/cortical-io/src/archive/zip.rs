//! Zip archives: the directory at the end, compared with what stands at each file's own place.

use std::collections::HashMap;
use std::io;

use super::{ArchiveDefect as Defect, check_name};

const END: [u8; 4] = *b"PK\x05\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Bytes of the records without their names and remarks.
const END_BYTES: u64 = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: u64 = 30;
/// The remark at the end has at most so many bytes.
const REMARK_BYTES: u64 = 65_535;
/// Packing reaches at most 1032 to 1.
const DEFLATE_RATIO: u64 = 1032;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZipEntry {
    pub(crate) name: String,
    pub(crate) method: Method,
    /// Where its bytes begin.
    pub(crate) start: u64,
    pub(crate) packed: u64,
    pub(crate) size: u64,
    pub(crate) crc: u32,
}

/// The checked directory of an archive.
#[derive(Debug)]
pub(crate) struct Zip {
    pub(crate) entries: Vec<ZipEntry>,
    index: HashMap<String, usize>,
}

/// Reads at a place of the archive.
type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// An entry of the directory before its own place has been looked at.
struct Listed {
    entry: ZipEntry,
    flags: u16,
    local: u64,
}

impl Zip {
    /// Reads the directory of an archive of `bytes` bytes.
    pub(crate) fn read(bytes: u64, read: ReadAt<'_>) -> io::Result<Result<Self, Defect>> {
        let wrong = |why| Ok(Err(Defect::Directory { why }));
        let (start, size, count) = match find_directory(bytes, read)? {
            Ok(found) => found,
            Err(why) => return wrong(why),
        };
        let Ok(size) = usize::try_from(size) else {
            return wrong("is too large");
        };
        if count
            .checked_mul(CENTRAL_BYTES as u64)
            .is_none_or(|need| need > size as u64)
        {
            return wrong("has fewer entries than it says");
        }
        // It lies in the file, as was just seen.
        let mut directory = vec![0; size];
        read(start, &mut directory)?;
        let mut listed = Vec::new();
        let mut rest = &directory[..];
        for _ in 0..count {
            match central(&mut rest) {
                Some(Ok(entry)) => listed.push(entry),
                Some(Err(defect)) => return Ok(Err(defect)),
                None => return wrong("is damaged"),
            }
        }
        if !rest.is_empty() {
            return wrong("has more bytes than its entries");
        }
        // By their places, so that what lies over another is seen.
        listed.sort_by_key(|listed| listed.local);
        let mut zip = Self {
            entries: Vec::new(),
            index: HashMap::new(),
        };
        let mut free = 0;
        for Listed {
            mut entry,
            flags,
            local,
        } in listed
        {
            let place = Defect::Place {
                name: entry.name.clone(),
            };
            if local < free || local.checked_add(LOCAL_BYTES).is_none_or(|end| end > start) {
                return Ok(Err(place));
            }
            entry.start = match at_its_place(&entry, flags, local, start, read)? {
                Ok(at) => at,
                Err(defect) => return Ok(Err(defect)),
            };
            free = match entry.start.checked_add(entry.packed) {
                Some(end) if end <= start => end,
                _ => return Ok(Err(place)),
            };
            if zip
                .index
                .insert(entry.name.clone(), zip.entries.len())
                .is_some()
            {
                return Ok(Err(Defect::Duplicate { name: entry.name }));
            }
            zip.entries.push(entry);
        }
        Ok(Ok(zip))
    }

    /// The file of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&ZipEntry> {
        self.index.get(name).map(|at| &self.entries[*at])
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Where the directory begins, its bytes and the number of its entries.
fn find_directory(
    bytes: u64,
    read: ReadAt<'_>,
) -> io::Result<Result<(u64, u64, u64), &'static str>> {
    if bytes < END_BYTES {
        return Ok(Err("is missing"));
    }
    let tail_bytes = bytes.min(END_BYTES + REMARK_BYTES);
    let mut tail = vec![0; tail_bytes as usize];
    read(bytes - tail_bytes, &mut tail)?;
    let last = tail.len() - END_BYTES as usize;
    // The remark reaches to the end of the file exactly.
    let fits = |at: &usize| {
        tail[*at..].starts_with(&END) && usize::from(u16_at(&tail, at + 20)) == last - at
    };
    let Some(at) = (0..=last).rev().find(fits) else {
        return Ok(Err("is missing"));
    };
    let record = &tail[at..at + END_BYTES as usize];
    let end = bytes - tail_bytes + at as u64;
    let (disk, first_disk) = (u16_at(record, 4), u16_at(record, 6));
    let (here, all) = (u16_at(record, 8), u16_at(record, 10));
    let (size, start) = (u32_at(record, 12), u32_at(record, 16));
    let mut found = (u64::from(start), u64::from(size), u64::from(all));
    let mut behind = end;
    let mut locator = [0; 20];
    if end >= 20 {
        read(end - 20, &mut locator)?;
    }
    if locator.starts_with(&END_64_LOCATOR) {
        let at = u64_at(&locator, 8);
        let mut record = [0; 56];
        if at.checked_add(56).is_none_or(|own_end| own_end > end - 20) {
            return Ok(Err("points outside the archive"));
        }
        read(at, &mut record)?;
        let own_end = u64_at(&record, 4)
            .checked_add(12)
            .and_then(|n| n.checked_add(at));
        if !record.starts_with(&END_64) || own_end != Some(end - 20) {
            return Ok(Err("is damaged"));
        }
        let large = [
            u64_at(&record, 48),
            u64_at(&record, 40),
            u64_at(&record, 32),
        ];
        // What the small record says is the same, or that it has no room for it.
        let agree = (start == u32::MAX || u64::from(start) == large[0])
            && (size == u32::MAX || u64::from(size) == large[1])
            && (all == u16::MAX || u64::from(all) == large[2]);
        if !agree || u64_at(&record, 24) != large[2] {
            return Ok(Err("says two different things"));
        }
        found = (large[0], large[1], large[2]);
        behind = at;
    } else if disk != first_disk || here != all {
        return Ok(Err("is of an archive in several parts"));
    }
    // Nothing stands before or behind it that a reader could take for another directory.
    if found.0.checked_add(found.1) != Some(behind) {
        return Ok(Err("is not where it should be"));
    }
    Ok(Ok(found))
}

/// The next entry of the directory; `None` where it is cut.
fn central(rest: &mut &[u8]) -> Option<Result<Listed, Defect>> {
    let (head, behind) = rest.split_at_checked(CENTRAL_BYTES)?;
    if !head.starts_with(&CENTRAL) {
        return None;
    }
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
    let (name, behind) = behind.split_at_checked(lengths[0])?;
    let (extra, behind) = behind.split_at_checked(lengths[1])?;
    let (_, behind) = behind.split_at_checked(lengths[2])?;
    *rest = behind;
    let name = match check_name(name) {
        Ok(name) => name.to_owned(),
        Err(defect) => return Some(Err(defect)),
    };
    let kind = |kind| {
        Some(Err(Defect::Kind {
            name: name.clone(),
            kind,
        }))
    };
    let (flags, method) = (u16_at(head, 8), u16_at(head, 10));
    // Unix's kind of file stands in the upper half of the attributes.
    if head[5] == 3 && u32_at(head, 38) >> 28 == 0o12 {
        return kind("a link");
    }
    if flags & (1 | 1 << 6 | 1 << 13) != 0 {
        return kind("encrypted");
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return kind("packed in a way other than deflate"),
    };
    let small = [24, 20, 42].map(|at| u32_at(head, at));
    let Some([size, packed, local]) = widened(small, extra) else {
        return Some(Err(Defect::Directory { why: "is damaged" }));
    };
    let fits = match method {
        Method::Stored => size == packed,
        Method::Deflated => packed
            .checked_mul(DEFLATE_RATIO)
            .is_none_or(|most| size <= most),
    };
    if !fits {
        return Some(Err(Defect::Bomb { name, size, packed }));
    }
    let entry = ZipEntry {
        name,
        method,
        start: 0,
        packed,
        size,
        crc: u32_at(head, 16),
    };
    Some(Ok(Listed {
        entry,
        flags,
        local,
    }))
}

/// Numbers of 32 bits, or those of 64 bits that the extra field has in the place of those that say so.
fn widened<const N: usize>(small: [u32; N], mut extra: &[u8]) -> Option<[u64; N]> {
    let mut numbers = small.map(u64::from);
    if !small.contains(&u32::MAX) {
        return Some(numbers);
    }
    while let Some((head, behind)) = extra.split_at_checked(4) {
        let (mut field, behind) = behind.split_at_checked(u16_at(head, 2).into())?;
        if u16_at(head, 0) == 1 {
            for number in numbers.iter_mut().filter(|n| **n == u64::from(u32::MAX)) {
                let (wide, rest) = field.split_at_checked(8)?;
                *number = u64_at(wide, 0);
                field = rest;
            }
            return Some(numbers);
        }
        extra = behind;
    }
    None
}

/// Compares what stands at a file's own place with the directory; where its bytes begin.
fn at_its_place(
    entry: &ZipEntry,
    flags: u16,
    local: u64,
    directory: u64,
    read: ReadAt<'_>,
) -> io::Result<Result<u64, Defect>> {
    let name = || entry.name.clone();
    let disagree = |what| Ok(Err(Defect::Disagree { name: name(), what }));
    let mut head = [0; LOCAL_BYTES as usize];
    read(local, &mut head)?;
    if !head.starts_with(&LOCAL) {
        return Ok(Err(Defect::Place { name: name() }));
    }
    let lengths = [26, 28].map(|at| u64::from(u16_at(&head, at)));
    let names = local + LOCAL_BYTES;
    let start = names + lengths[0] + lengths[1];
    if start > directory {
        return Ok(Err(Defect::Place { name: name() }));
    }
    let mut own = vec![0; (lengths[0] + lengths[1]) as usize];
    read(names, &mut own)?;
    let (own_name, extra) = own.split_at(lengths[0] as usize);
    if own_name != entry.name.as_bytes() {
        return disagree("name");
    }
    let method = match u16_at(&head, 8) {
        0 => Some(Method::Stored),
        8 => Some(Method::Deflated),
        _ => None,
    };
    if method != Some(entry.method) {
        return disagree("kind of packing");
    }
    if (u16_at(&head, 6) ^ flags) & 1 != 0 {
        return disagree("encryption");
    }
    let small = [22, 18].map(|at| u32_at(&head, at));
    // Written as a stream: sizes and checksum stand behind the bytes, and nothing here.
    let later = u16_at(&head, 6) & 1 << 3 != 0;
    if later && small.iter().all(|n| matches!(*n, 0 | u32::MAX)) {
        return Ok(Ok(start));
    }
    match widened(small, extra) {
        Some([size, packed]) if (size, packed) == (entry.size, entry.packed) => {}
        _ => return disagree("size"),
    }
    let crc = u32_at(&head, 14);
    if crc != entry.crc && !(later && crc == 0) {
        return disagree("checksum");
    }
    Ok(Ok(start))
}
