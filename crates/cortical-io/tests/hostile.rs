//! Files that were cut, altered or made to harm are refused with a typed error: no panic, no large allocation.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use cortical_io::{Defect, Error, Metadata, TensorFile, limits, save_tensors};
use proptest::prelude::*;
use tempfile::TempDir;

/// A folder with one file, which can be given any content.
struct Victim {
    _folder: TempDir,
    path: PathBuf,
}

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        Self {
            _folder: folder,
            path,
        }
    }

    /// Opens the bytes in both ways, loads everything if that works, and returns the defect if it does not.
    fn open(&self, bytes: &[u8]) -> Option<Defect> {
        std::fs::write(&self.path, bytes).unwrap();
        let mut defects = [TensorFile::open(&self.path), TensorFile::map(&self.path)].map(
            |opened| match opened {
                Ok(file) => {
                    match file.load_all(&Device::Cpu) {
                        Ok(_) | Err(Error::NotLoadable { .. }) => {}
                        Err(error) => panic!("an accepted file did not load: {error}"),
                    }
                    None
                }
                Err(Error::Malformed { defect, .. }) => Some(defect),
                Err(error) => panic!("not a defect of the file: {error}"),
            },
        );
        let names = defects
            .each_ref()
            .map(|d| d.as_ref().map(ToString::to_string));
        assert_eq!(names[0], names[1], "the two ways to open differ");
        defects[0].take()
    }

    fn json(&self, json: &str, data: &[u8]) -> Option<Defect> {
        self.open(&[&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat())
    }
}

/// A small good file.
fn good() -> Vec<u8> {
    let victim = Victim::new();
    let named = [
        (
            "conv1.weight".to_owned(),
            Tensor::zeros((2, 1, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap(),
        ),
        (
            "steps".to_owned(),
            Tensor::new(&[1_i64, 2], &Device::Cpu).unwrap(),
        ),
        (
            "none".to_owned(),
            Tensor::zeros((0, 4), candle_core::DType::F16, &Device::Cpu).unwrap(),
        ),
    ];
    let metadata: Metadata = [("format".to_owned(), "pt".to_owned())].into();
    save_tensors(&victim.path, &named, &metadata).unwrap();
    std::fs::read(&victim.path).unwrap()
}

/// Asserts that the tensor description `info`, over 8 bytes of data, is refused by a defect whose text has `want`.
fn refused(info: &str, want: &str) {
    let defect = Victim::new().json(&format!("{{\"x\":{info}}}"), &[0; 8]);
    let got = defect
        .unwrap_or_else(|| panic!("accepted {info}"))
        .to_string();
    assert!(
        got.contains(want),
        "{info}: {got:?} does not contain {want:?}"
    );
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let (victim, good) = (Victim::new(), good());
    assert!(victim.open(&good).is_none());
    for length in 0..good.len() {
        match victim
            .open(&good[..length])
            .expect("a cut file was accepted")
        {
            Defect::NoHeader { got } => assert_eq!(got, length as u64),
            Defect::HeaderCut { .. } => assert!(length < good.len() - 88),
            Defect::Size { got, .. } => assert_eq!(got as usize, length - (good.len() - 88)),
            other => panic!("cut to {length} bytes: {other}"),
        }
    }
    let appended = victim.open(&[&good[..], &[0]].concat()).unwrap();
    assert!(appended.to_string().contains("appended"), "{appended}");
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    let (victim, good) = (Victim::new(), good());
    for length in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 40, good.len() as u64] {
        let bytes = [&length.to_le_bytes(), &good[8..]].concat();
        assert!(
            matches!(victim.open(&bytes), Some(Defect::HeaderCut { expected, .. }) if expected == length)
        );
    }
    let long = vec![b' '; limits::HEADER_BYTES as usize + 9];
    let bytes = [&(limits::HEADER_BYTES + 1).to_le_bytes()[..], &long].concat();
    assert!(matches!(
        victim.open(&bytes),
        Some(Defect::HeaderTooLong { .. })
    ));
}

#[test]
fn shapes_types_and_spans_must_agree() {
    let max = u64::MAX;
    refused(
        r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#,
        "needs 12 bytes, its offsets are 0 to 8",
    );
    refused(
        r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#,
        "needs 8 bytes, its offsets are 8 to 0",
    );
    refused(
        r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#,
        "starts at 4",
    );
    refused(
        r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#,
        "end at byte 4",
    );
    refused(
        r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#,
        "cut short",
    );
    refused(
        &format!(
            r#"{{"dtype":"F32","shape":[2],"data_offsets":[{},{max}]}}"#,
            max - 8
        ),
        "starts at",
    );
    refused(
        &format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":[{max},7]}}"#),
        "needs 8 bytes",
    );
    for shape in [
        format!("[{max}]"),
        format!("[{max},{max}]"),
        "[4294967296,4294967296,0]".to_owned(),
        format!("[0,{max},2]"),
    ] {
        refused(
            &format!(r#"{{"dtype":"U8","shape":{shape},"data_offsets":[0,0]}}"#),
            "than can be counted",
        );
    }
    refused(
        r#"{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,8]}"#,
        "needs 9223372036854775808 bytes",
    );
    refused(
        r#"{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}"#,
        "than can be counted",
    );
}

#[test]
fn tensors_lie_side_by_side_without_overlap_or_hole() {
    let two = |a: &str, b: &str| {
        let json = format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        );
        Victim::new().json(&json, &[0; 8])
    };
    assert!(two("[0,4]", "[4,8]").is_none());
    assert!(two("[4,8]", "[0,4]").is_none());
    for (a, b) in [
        ("[0,4]", "[0,4]"),
        ("[0,4]", "[3,7]"),
        ("[0,4]", "[5,9]"),
        ("[1,5]", "[5,9]"),
    ] {
        assert!(matches!(two(a, b), Some(Defect::Gap { .. })), "{a} {b}");
    }
}

#[test]
fn the_header_has_what_the_format_prescribes_and_nothing_twice() {
    let ok = r#""dtype":"U8","shape":[8],"data_offsets":[0,8]"#;
    refused(r#"{"shape":[8],"data_offsets":[0,8]}"#, "no \"dtype\"");
    refused(r#"{"dtype":"U8","data_offsets":[0,8]}"#, "no \"shape\"");
    refused(r#"{"dtype":"U8","shape":[8]}"#, "no \"data_offsets\"");
    refused(
        &format!(r#"{{{ok},"stride":[1]}}"#),
        "unknown field \"stride\"; known are dtype",
    );
    refused(
        &format!(r#"{{{ok},"dtype":"U8"}}"#),
        "\"dtype\" appears twice",
    );
    refused(
        &format!(r#"{{{ok},"shape":[8]}}"#),
        "\"shape\" appears twice",
    );
    refused(
        r#"{"dtype":"C32","shape":[1],"data_offsets":[0,8]}"#,
        "\"C32\"; known are BOOL, U8",
    );
    refused(
        r#"{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}"#,
        "invalid value",
    );
    refused(
        r#"{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}"#,
        "invalid type",
    );
    refused(
        r#"{"dtype":"U8","shape":[8],"data_offsets":[0,4,8]}"#,
        "trailing characters",
    );
    refused("[]", "an object that describes tensor \"x\"");
    refused("null", "an object that describes tensor \"x\"");

    let victim = Victim::new();
    let twice = format!(r#"{{"x":{{{ok}}},"x":{{{ok}}}}}"#);
    assert!(
        matches!(victim.json(&twice, &[0; 8]), Some(Defect::Duplicate { name }) if name == "x")
    );
    // The same name written in two ways is the same name.
    let twice = format!(r#"{{"x":{{{ok}}},"\u0078":{{{ok}}}}}"#);
    assert!(
        matches!(victim.json(&twice, &[0; 8]), Some(Defect::Duplicate { name }) if name == "x")
    );
    let metadata = r#"{"__metadata__":{},"__metadata__":{}}"#;
    assert!(matches!(
        victim.json(metadata, &[]),
        Some(Defect::Duplicate { .. })
    ));
    let metadata = r#"{"__metadata__":{"a":"1","a":"2"}}"#;
    assert!(matches!(victim.json(metadata, &[]), Some(Defect::Duplicate { name }) if name == "a"));
    for json in [
        "",
        "[]",
        "{}x",
        "{",
        "\u{feff}{}",
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"__metadata__":[]}"#,
    ] {
        assert!(
            matches!(victim.json(json, &[]), Some(Defect::Json(_))),
            "{json}"
        );
    }
    assert!(victim.json("{}   ", &[]).is_none());
}

#[test]
fn names_that_are_no_names_are_refused() {
    let victim = Victim::new();
    let long = "x".repeat(limits::NAME_BYTES + 1);
    for name in [
        "",
        "../../etc/passwd",
        "a/..",
        "/a",
        r"a\\b",
        r"a\u0000",
        r"\u001b[31m",
        &long,
    ] {
        let json = format!(r#"{{"{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#);
        assert!(
            matches!(victim.json(&json, &[]), Some(Defect::Name { .. })),
            "{name}"
        );
    }
    for name in ["layers.0/kernel:0", "a..b", "é", r"\u0061"] {
        let json = format!(r#"{{"{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#);
        assert!(victim.json(&json, &[]).is_none(), "{name}");
    }
}

#[test]
fn nesting_ranks_and_crowds_are_refused_where_they_start() {
    let deep = "[".repeat(1_000_000);
    refused(&deep, "an object that describes");
    refused(&"{\"x\":".repeat(100_000), "unknown field");
    refused(&format!(r#"{{"dtype":"U8","shape":{deep}"#), "invalid type");
    let rank = format!("[{}1]", "1,".repeat(100_000));
    refused(
        &format!(r#"{{"dtype":"U8","shape":{rank},"data_offsets":[0,8]}}"#),
        "more than 8 dimensions",
    );

    let many = |count: usize| {
        let tensor = |i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
        let json = (0..count).map(tensor).collect::<Vec<_>>().join(",");
        Victim::new().json(&format!("{{{json}}}"), &[])
    };
    assert!(many(limits::TENSORS).is_none());
    assert!(matches!(
        many(limits::TENSORS + 1),
        Some(Defect::TooManyTensors)
    ));
}

#[test]
fn types_without_tensors_can_be_listed_and_not_loaded() {
    let victim = Victim::new();
    assert!(
        victim
            .json(
                r#"{"x":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}"#,
                &[0; 8]
            )
            .is_none()
    );
    let file = TensorFile::open(&victim.path).unwrap();
    assert_eq!(file.tensors()[0].count(), 1);
    let error = file.load("x", &Device::Cpu).unwrap_err().to_string();
    assert!(
        error.contains("has elements U64, which cannot be loaded; convert it to one of BOOL, U8"),
        "{error}"
    );
    let error = file.load("y", &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("has no tensor \"y\""), "{error}");
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        TensorFile::open(folder.path()),
        Err(Error::NotAFile { .. })
    ));
    assert!(matches!(
        TensorFile::open(folder.path().join("none")),
        Err(Error::Read { .. })
    ));
}

/// Sizes in a file make us reserve no more than the file's own size and the header's limit allow.
#[cfg(target_os = "linux")]
#[test]
fn stated_sizes_are_not_allocated() {
    let peak_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmPeak:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let victim = Victim::new();
    let before = peak_kib();
    for shift in [33, 36, 40, 60] {
        let json = format!(
            r#"{{"x":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#,
            1_u64 << shift
        );
        assert!(matches!(
            victim.json(&json, &[0; 8]),
            Some(Defect::Size { .. })
        ));
        let bytes = [&(1_u64 << shift).to_le_bytes()[..], b"{}"].concat();
        assert!(matches!(
            victim.open(&bytes),
            Some(Defect::HeaderCut { .. })
        ));
    }
    // Other tests run meanwhile and need some hundreds of MiB of addresses; the smallest size above is 8 GiB.
    assert!(peak_kib() - before < 4 << 20, "{} KiB", peak_kib() - before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = good();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        Victim::new().open(&bytes);
    }

    #[test]
    fn altered_headers_never_panic(
        cut in any::<prop::sample::Index>(),
        length in 0..12_usize,
        insert in r#"[\[\]{}",:0-9\\a-z_ -]{0,12}"#,
    ) {
        let good = good();
        let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        let (json, data) = good[8..].split_at(header);
        let start = cut.index(json.len());
        let end = (start + length).min(json.len());
        let json = [&json[..start], insert.as_bytes(), &json[end..]].concat();
        Victim::new().open(&[&(json.len() as u64).to_le_bytes(), &json[..], data].concat());
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        Victim::new().open(&bytes);
    }
}
