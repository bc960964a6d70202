//! Crafted archives are refused with what is wrong, and nothing is read twice or outside of them.

use super::*;

/// A zip archive put together piece by piece.
#[derive(Clone)]
struct Maker {
    files: Vec<(Head, Head, Vec<u8>)>,
    remark: Vec<u8>,
    before_directory: Vec<u8>,
}

/// What stands of a file at its own place or in the directory.
#[derive(Clone)]
struct Head {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    attributes: u32,
    place: Option<u32>,
}

impl Maker {
    fn small() -> Self {
        let file = |name: &str, data: &[u8]| {
            let head = Head {
                name: name.into(),
                flags: 0,
                method: 0,
                crc: crc32fast::hash(data),
                packed: data.len() as u32,
                size: data.len() as u32,
                attributes: 0,
                place: None,
            };
            (head.clone(), head, data.to_vec())
        };
        Self {
            files: vec![file("a/one", b"first"), file("a/two", b"second one")],
            remark: Vec::new(),
            before_directory: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let fields = |head: &Head| {
            let mut out = 20_u16.to_le_bytes().to_vec();
            out.extend(
                [head.flags, head.method, 0, 0]
                    .map(u16::to_le_bytes)
                    .concat(),
            );
            out.extend(
                [head.crc, head.packed, head.size]
                    .map(u32::to_le_bytes)
                    .concat(),
            );
            out.extend([head.name.len() as u16, 0].map(u16::to_le_bytes).concat());
            out
        };
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (local, central, data) in &self.files {
            directory.extend(b"PK\x01\x02\x14\x03");
            directory.extend(fields(central));
            directory.extend([0; 6]);
            directory.extend(central.attributes.to_le_bytes());
            directory.extend(central.place.unwrap_or(out.len() as u32).to_le_bytes());
            directory.extend(&central.name);
            out.extend(b"PK\x03\x04");
            out.extend(fields(local));
            out.extend(&local.name);
            out.extend(data);
        }
        out.extend(&self.before_directory);
        let start = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        let count = self.files.len() as u16;
        out.extend([count, count].map(u16::to_le_bytes).concat());
        out.extend(
            [directory.len() as u32, start]
                .map(u32::to_le_bytes)
                .concat(),
        );
        out.extend((self.remark.len() as u16).to_le_bytes());
        out.extend(&self.remark);
        out
    }
}

fn open(bytes: &[u8]) -> Result<Zip, ArchiveDefect> {
    let read = |at: u64, out: &mut [u8]| {
        let from = bytes
            .get(at as usize..)
            .and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    Zip::read(bytes.len() as u64, &read).unwrap()
}

#[test]
fn a_small_archive_is_read() {
    let mut maker = Maker::small();
    for remark in [
        &b""[..],
        b"a remark",
        b"PK\x05\x06 as a remark that is no directory",
    ] {
        maker.remark = remark.to_vec();
        let bytes = maker.bytes();
        let zip = open(&bytes).unwrap();
        let two = zip.find("a/two").unwrap();
        assert_eq!(
            &bytes[two.start as usize..][..two.size as usize],
            b"second one"
        );
        assert!(zip.find("two").is_none());
    }
}

#[test]
fn crafted_archives_are_refused_with_what_is_wrong() {
    let refused = |change: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::small();
        change(&mut maker);
        open(&maker.bytes()).unwrap_err()
    };
    // Names that lead out, or that readers read differently.
    for name in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "C:x",
        "a\\..\\x",
        "",
        "a\0b",
        "./x",
        "a\nb",
    ] {
        let defect = refused(&|m| {
            m.files[1].0.name = name.into();
            m.files[1].1.name = name.into();
        });
        assert!(
            matches!(defect, ArchiveDefect::Name { .. }),
            "{name:?}: {defect}"
        );
    }
    let defect = refused(&|m| m.files[1].1.name = vec![0xff]);
    assert!(matches!(defect, ArchiveDefect::Name { .. }), "{defect}");
    // The directory says one thing, the file another.
    let disagree = |change: &dyn Fn(&mut Maker), expected: &str| match refused(change) {
        ArchiveDefect::Disagree { what, .. } => assert_eq!(what, expected),
        other => panic!("{other}"),
    };
    disagree(&|m| m.files[0].0.name = b"a/eno".into(), "name");
    disagree(&|m| m.files[0].0.name = b"a/two".into(), "name");
    disagree(&|m| m.files[0].0.method = 8, "kind of packing");
    disagree(&|m| m.files[0].0.flags = 1, "encryption");
    disagree(&|m| m.files[0].0.size = 4, "size");
    disagree(&|m| m.files[0].0.packed = 4, "size");
    disagree(&|m| m.files[0].0.crc = 1, "checksum");
    // The same name twice.
    let twice = refused(&|m| {
        m.files[1].0.name = b"a/one".into();
        m.files[1].1.name = b"a/one".into();
    });
    assert_eq!(
        twice,
        ArchiveDefect::Duplicate {
            name: "a/one".into()
        }
    );
    // Files over each other, in the directory, or behind the end.
    for place in [0, 3, 60, 4000, u32::MAX - 1] {
        let defect = refused(&|m| m.files[1].1.place = Some(place));
        assert!(
            matches!(defect, ArchiveDefect::Place { .. }),
            "{place}: {defect}"
        );
    }
    let long = refused(&|m| {
        let (local, central, _) = &mut m.files[1];
        for head in [local, central] {
            (head.size, head.packed) = (11, 11);
        }
    });
    assert!(matches!(long, ArchiveDefect::Place { .. }), "{long}");
    // What is packed in other ways, encrypted, a link.
    for (change, kind) in [
        (
            &(|head: &mut Head| head.method = 12) as &dyn Fn(&mut Head),
            "other than deflate",
        ),
        (&|head| head.flags = 1, "encrypted"),
        (&|head| head.attributes = 0o120_777 << 16, "a link"),
    ] {
        let defect = refused(&|m| change(&mut m.files[0].1)).to_string();
        assert!(defect.contains(kind), "{defect}");
    }
    // Bombs: stored bytes that become more, packed ones that become too many.
    let bomb = refused(&|m| m.files[0].1.size = 1 << 30);
    assert!(matches!(bomb, ArchiveDefect::Bomb { .. }), "{bomb}");
    let bomb = refused(&|m| {
        m.files[0].1.method = 8;
        m.files[0].1.size = 5 * 1033;
    });
    assert!(matches!(bomb, ArchiveDefect::Bomb { .. }), "{bomb}");
    // Something between the files and the directory, where another directory could be.
    let gap = |m: &mut Maker| m.before_directory = b"PK\x01\x02".to_vec();
    let mut maker = Maker::small();
    gap(&mut maker);
    assert!(
        open(&maker.bytes()).is_ok(),
        "a gap between files is none of our business"
    );
    let mut moved = Maker::small().bytes();
    let end = moved.len() - 22;
    moved.splice(end..end, *b"____");
    assert!(matches!(open(&moved), Err(ArchiveDefect::Directory { .. })));
}

#[test]
fn every_cut_and_count_is_noticed() {
    let bytes = Maker::small().bytes();
    for end in 0..bytes.len() {
        assert!(open(&bytes[..end]).is_err(), "cut at {end}");
    }
    let end = bytes.len() - 22;
    for (at, what) in [(10, "entries"), (12, "size"), (16, "start")] {
        for value in [0_u16, 1, 3, u16::MAX] {
            let mut bytes = bytes.clone();
            bytes[end + at..][..2].copy_from_slice(&value.to_le_bytes());
            assert!(open(&bytes).is_err(), "{what} {value}");
        }
    }
}

#[test]
fn tar_archives_are_judged_too() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch/tar.pt");
    let bytes = std::fs::read(path).unwrap();
    let open = |bytes: &[u8]| {
        let read = |at: u64, out: &mut [u8]| {
            out.copy_from_slice(&bytes[at as usize..][..out.len()]);
            Ok(())
        };
        Tar::read(bytes.len() as u64, &read).unwrap()
    };
    let (start, size) = open(&bytes).unwrap().find("pickle").unwrap();
    assert!(Tar::is_tar(&bytes) && start + size < bytes.len() as u64);
    assert!(matches!(
        open(&bytes).unwrap().find("x"),
        Err(ArchiveDefect::Missing { .. })
    ));
    // The head of the first file with another size, kind or name, and its sum made right again.
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes[..512].iter().map(|b| u32::from(*b)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        open(&bytes).unwrap_err()
    };
    assert!(matches!(
        with(124, b"77777777777\0"),
        ArchiveDefect::Place { .. }
    ));
    assert!(matches!(with(156, b"2"), ArchiveDefect::Kind { .. }));
    assert!(matches!(with(0, b"../../x\0"), ArchiveDefect::Name { .. }));
    assert!(matches!(
        with(0, b"tensors\0"),
        ArchiveDefect::Duplicate { .. }
    ));
    let mut damaged = bytes;
    damaged[0] ^= 1;
    assert!(matches!(
        open(&damaged),
        Err(ArchiveDefect::Directory { .. })
    ));
}
