//! Tables of PyTorch's that lie about storages, or lead in circles.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use cortical_io::{Error, PytorchFile};

/// The older form around a table: the number that it begins with, version, system, table, names of storages, storages.
fn legacy(table: &[u8], keys: &[u8], storages: &[u8]) -> Vec<u8> {
    [
        &b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."[..],
        b"\x80\x02",
        table,
        b".\x80\x02",
        keys,
        b".",
        storages,
    ]
    .concat()
}

/// `_rebuild_tensor_v2` of storage `0` of four floats, with these arguments behind it.
fn tensor(arguments: &[u8]) -> Vec<u8> {
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"[..],
        b"0X\x03\0\0\0cpuK\x04NtQ",
        arguments,
        b"\x89NtR",
    ]
    .concat()
}

fn four_floats() -> Vec<u8> {
    let numbers = [1_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    [&4_u64.to_le_bytes()[..], &numbers].concat()
}

fn open(bytes: &[u8]) -> Result<PytorchFile, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    std::fs::write(&path, bytes).unwrap();
    PytorchFile::open(&path)
}

const KEYS: &[u8] = b"](X\x01\0\0\x000e";

fn refused(table: &[u8]) -> String {
    // Without storages where the table names none.
    let parts = match table.windows(7).any(|part| part == b"storage") {
        true => (KEYS, four_floats()),
        false => (&b"]"[..], Vec::new()),
    };
    open(&legacy(table, parts.0, &parts.1))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_small_one_is_read() {
    let table = tensor(b"K\x01K\x03\x85K\x01\x85");
    let file = open(&legacy(&table, KEYS, &four_floats())).unwrap();
    let numbers = file.load("tensor", &candle_core::Device::Cpu).unwrap();
    assert_eq!(numbers.to_vec1::<f32>().unwrap(), [2.0, 3.0, 4.0]);
}

#[test]
fn tensors_stay_in_their_storage() {
    let reaches = "reaches behind its storage";
    for (arguments, reason) in [
        (&b"K\x02K\x03\x85K\x01\x85"[..], reaches),
        (b"K\x00K\x03\x85K\x02\x85", reaches),
        (b"K\x04)) ", reaches),
        (
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x85K\x01\x85",
            reaches,
        ),
        (
            b"K\x00K\x03\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85",
            reaches,
        ),
        (
            b"\x8a\x01\xffK\x02\x85K\x01\x85",
            "described by something else",
        ),
        (
            b"K\x00\x8a\x01\xff\x85K\x01\x85",
            "described by something else",
        ),
        (
            b"K\x00K\x02\x85\x8a\x01\xff\x85",
            "described by something else",
        ),
        (b"K\x00K\x02\x85)", "described by something else"),
        (b"K\x00NK\x01\x85", "described by something else"),
        (
            b"K\x00(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t)",
            "dimensions",
        ),
        (
            b"K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87K\0K\0K\0\x87",
            "more elements than can be counted",
        ),
        // Four floats that become two gigabytes.
        (b"K\x00J\0\0\0\x20\x85K\x00\x85", "repeats its numbers"),
    ] {
        let arguments = arguments.strip_suffix(b" ").unwrap_or(arguments);
        let message = refused(&tensor(arguments));
        assert!(message.contains(reason), "{reason}: {message}");
    }
}

#[test]
fn storages_are_what_the_file_has() {
    let table = tensor(b"K\x00K\x04\x85K\x01\x85");
    let check = |keys: &[u8], storages: &[u8], reason: &str| {
        let message = open(&legacy(&table, keys, storages))
            .unwrap_err()
            .to_string();
        assert!(message.contains(reason), "{reason}: {message}");
    };
    check(b"]", b"", "are not in the file");
    check(b"](X\x01\0\0\x001e", &four_floats(), "list of storages");
    check(
        b"](X\x01\0\0\x000X\x01\0\0\x000e",
        &[four_floats(), four_floats()].concat(),
        "list of storages",
    );
    check(KEYS, b"", "cut short");
    check(KEYS, &four_floats()[..23], "cut short");
    check(
        KEYS,
        &[&3_u64.to_le_bytes()[..], &[0; 12]].concat(),
        "reaches behind",
    );
    check(
        KEYS,
        &[&(u64::MAX / 4).to_le_bytes()[..], &[0; 16]].concat(),
        "cut short",
    );
    check(
        KEYS,
        &[&u64::MAX.to_le_bytes()[..], &[0; 16]].concat(),
        "size of a storage",
    );
}

#[test]
fn tables_do_not_lead_in_circles() {
    // A list in itself; lists of the same list twice, thirty times.
    assert!(
        refused(b"]q\x00h\x00a").contains("nested"),
        "{}",
        refused(b"]q\x00h\x00a")
    );
    let mut doubling = b"]q\x00".to_vec();
    for i in 0..30_u8 {
        doubling.extend([b'h', i, b'h', i, 0x86, b'q', i + 1]);
    }
    assert!(refused(&doubling).contains("nested"));
    let mut deep = vec![b']'; 200];
    deep.extend([b'a'; 199]);
    assert!(refused(&deep).contains("nested"));
    // The same tensor under very many names.
    let mut many = b"](".to_vec();
    many.extend(tensor(b"K\x00)) ".strip_suffix(b" ").unwrap()));
    many.extend(b"q\x00");
    many.extend(b"h\x00".repeat(200_000));
    many.push(b'e');
    assert!(refused(&many).contains("memory"), "{}", refused(&many));
    // Names that other files may not have, and the same one twice.
    let named = |names: &[&str]| {
        let mut table = b"}(".to_vec();
        for name in names {
            table.push(b'X');
            table.extend((name.len() as u32).to_le_bytes());
            table.extend(name.as_bytes());
            table.extend(tensor(b"K\x00)) ".strip_suffix(b" ").unwrap()));
        }
        table.push(b'u');
        refused(&table)
    };
    for name in ["../x", "/x", "a\nb", "a\\b"] {
        assert!(named(&[name]).contains("not a name"), "{name}");
    }
    assert!(named(&["a", "a"]).contains("appears twice"));
}

#[test]
fn every_cut_of_every_form_is_noticed() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch");
    for name in ["zip-2.pt", "legacy-2.pt", "legacy-5.pt", "one.pt"] {
        let bytes = std::fs::read(fixtures.join(name)).unwrap();
        for end in (0..bytes.len()).step_by(if bytes.len() > 2000 { 23 } else { 5 }) {
            assert!(open(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
    }
}
