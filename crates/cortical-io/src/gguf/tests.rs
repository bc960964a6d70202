//! Whole files are read, and every crafted one is refused without a panic and without its memory.

use super::*;
use proptest::prelude::*;

/// A file put together piece by piece.
#[derive(Clone)]
struct Maker {
    version: u32,
    values: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
    data: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

impl Maker {
    fn small() -> Self {
        let mut list = 8_u32.to_le_bytes().to_vec();
        list.extend(2_u64.to_le_bytes());
        list.extend(text("a"));
        list.extend(text("bc"));
        let mut numbers = 5_u32.to_le_bytes().to_vec();
        numbers.extend(2_u64.to_le_bytes());
        numbers.extend((-1_i32).to_le_bytes());
        numbers.extend(7_i32.to_le_bytes());
        let mut data = Vec::new();
        data.extend([1.0_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()));
        data.resize(32, 0);
        data.extend([0, 0x3c]);
        data.extend([3_u8; 32]);
        Self {
            version: 3,
            values: vec![
                ("general.architecture".to_owned(), 8, text("llama")),
                (
                    "llama.block_count".to_owned(),
                    4,
                    2_u32.to_le_bytes().to_vec(),
                ),
                ("eps".to_owned(), 6, 0.5_f32.to_le_bytes().to_vec()),
                ("yes".to_owned(), 7, vec![1]),
                ("tokens".to_owned(), 9, list),
                ("types".to_owned(), 9, numbers),
            ],
            tensors: vec![
                ("norm".to_owned(), vec![2], 0, 0),
                ("w".to_owned(), vec![32, 1], 8, 32),
            ],
            data,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.values.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.values {
            out.extend(text(key));
            out.extend(kind.to_le_bytes());
            out.extend(value);
        }
        for (name, sizes, kind, start) in &self.tensors {
            out.extend(text(name));
            out.extend((sizes.len() as u32).to_le_bytes());
            out.extend(sizes.iter().flat_map(|d| d.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(start.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(&self.data);
        out
    }
}

fn open(bytes: &[u8]) -> Result<GgufFile> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    GgufFile::open(&path)
}

fn defect(bytes: &[u8]) -> GgufDefect {
    match open(bytes) {
        Err(Error::Gguf { defect, .. }) => defect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_are_parts_of_the_whole() {
    let mut maker = Maker::small();
    maker.tensors[1].1 = vec![32, 3];
    for row in 1..3_u8 {
        maker.data.extend([0, 0x3c + row]);
        maker.data.extend((0..32).map(|i| i + row));
    }
    let file = open(&maker.bytes()).unwrap();
    let rows = |name: &str, rows| file.load_rows(name, rows).unwrap();
    let whole = |name: &str| {
        let tensor = file.load(name, &Device::Cpu).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let all = whole("w");
    assert_eq!(rows("w", 0..3), all);
    assert_eq!(rows("w", 1..3), all[32..]);
    assert_eq!(rows("w", 2..2), [] as [f32; 0]);
    assert_eq!(rows("norm", 0..1), whole("norm"));
    let error = file.load_rows("w", 2..4).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Elements {
                from: 64,
                asked: 64,
                count: 96,
                ..
            }
        ),
        "{error}"
    );
    assert!(file.load_rows("w", usize::MAX - 1..usize::MAX).is_err());
}

#[test]
fn a_small_file_is_read_whole() {
    for version in [2, 3] {
        let maker = Maker {
            version,
            ..Maker::small()
        };
        let file = open(&maker.bytes()).unwrap();
        assert_eq!(file.version(), version);
        assert_eq!(
            file.value("general.architecture")
                .and_then(GgufValue::as_text),
            Some("llama")
        );
        assert_eq!(
            file.value("llama.block_count").and_then(GgufValue::as_u64),
            Some(2)
        );
        assert_eq!(file.value("eps").and_then(GgufValue::as_f64), Some(0.5));
        assert_eq!(file.value("yes").and_then(GgufValue::as_bool), Some(true));
        assert_eq!(
            file.value("tokens").and_then(GgufValue::as_texts).unwrap(),
            ["a", "bc"]
        );
        assert_eq!(
            file.value("types")
                .and_then(GgufValue::as_integers)
                .unwrap(),
            [-1, 7]
        );
        let norm = file.load("norm", &Device::Cpu).unwrap();
        assert_eq!(norm.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        let w = file.load("w", &Device::Cpu).unwrap();
        assert_eq!(w.to_vec2::<f32>().unwrap(), [[3.0; 32]]);
        assert_eq!(file.info("w").unwrap().shape(), [1, 32]);
        assert_eq!(file.quantized("w").unwrap().unwrap().format(), Format::Q8_0);
        assert!(file.quantized("norm").unwrap().is_none());
        assert!(matches!(
            file.load("v", &Device::Cpu),
            Err(Error::NoTensor { .. })
        ));
    }
}

#[test]
fn crafted_files_are_refused_with_what_is_wrong() {
    let small = Maker::small();
    let with = |change: &dyn Fn(&mut Maker)| {
        let mut maker = small.clone();
        change(&mut maker);
        defect(&maker.bytes())
    };
    assert_eq!(defect(b"GGML\x03\0\0\0"), GgufDefect::Magic);
    assert!(matches!(defect(b"GG"), GgufDefect::Cut { .. }));
    assert_eq!(with(&|m| m.version = 1), GgufDefect::Version { got: 1 });
    assert!(matches!(
        with(&|m| m.version = 3_u32.swap_bytes()),
        GgufDefect::Version { .. }
    ));
    assert!(matches!(
        with(&|m| m.values[0].1 = 99),
        GgufDefect::Kind { got: 99, .. }
    ));
    assert!(matches!(
        with(&|m| m.values[4].2[0] = 9),
        GgufDefect::Nested { .. }
    ));
    assert!(matches!(
        with(&|m| m.values[1].0 = "eps".into()),
        GgufDefect::Duplicate { .. }
    ));
    assert!(matches!(
        with(&|m| m.tensors[1].0 = "norm".into()),
        GgufDefect::Duplicate { .. }
    ));
    assert!(matches!(
        with(&|m| m.tensors[1].0 = String::new()),
        GgufDefect::Name { .. }
    ));
    assert!(matches!(
        with(&|m| m.tensors[1].2 = 19),
        GgufDefect::Type { got: 19, .. }
    ));
    assert!(matches!(
        with(&|m| m.tensors[1].1[0] = 33),
        GgufDefect::Blocks { block: 32, .. }
    ));
    assert!(matches!(
        with(&|m| m.tensors[1].1 = vec![1; 5]),
        GgufDefect::Dimensions { .. }
    ));
    let huge = with(&|m| m.tensors[1].1 = vec![1 << 40, 1 << 40]);
    assert!(matches!(huge, GgufDefect::Dimensions { .. }));
    for (start, why) in [
        (0, "over"),
        (33, "not where"),
        (64, "behind"),
        (u64::MAX - 31, "behind"),
    ] {
        let place = with(&|m| m.tensors[1].3 = start).to_string();
        assert!(place.contains(why), "{place}");
    }
    let alignment = with(&|m| {
        m.values
            .push(("general.alignment".into(), 4, 3_u32.to_le_bytes().to_vec()));
    });
    assert_eq!(alignment, GgufDefect::Alignment { got: 3 });
    let bad_text = with(&|m| {
        let last = m.values[0].2.len() - 1;
        m.values[0].2[last] = 0xff;
    });
    assert!(matches!(bad_text, GgufDefect::Text { .. }));
}

#[test]
fn counts_that_the_file_cannot_hold_are_not_believed() {
    let bytes = Maker::small().bytes();
    for (at, what) in [(8, "tensors"), (16, "values")] {
        for count in [u64::MAX, 1 << 60, 1 << 40] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            let defect = defect(&bytes);
            assert!(
                matches!(defect, GgufDefect::Count { what: w, .. } if w == what),
                "{defect}"
            );
        }
    }
    // The length of the first key, and the length of the first list.
    let mut long = bytes.clone();
    long[24..32].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    assert!(matches!(defect(&long), GgufDefect::Cut { .. }));
    let mut maker = Maker::small();
    maker.values[4].2[4..12].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    assert!(matches!(defect(&maker.bytes()), GgufDefect::Count { .. }));
}

/// Sizes and counts whose products do not fit, as in holes that other readers have had.
#[test]
fn products_that_wrap_are_noticed() {
    let with = |change: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::small();
        change(&mut maker);
        defect(&maker.bytes())
    };
    // Dimensions whose product, or whose product with the size of an element or block, comes round to little.
    for (sizes, kind) in [
        (vec![1_u64 << 32, 1 << 32], 0),
        (vec![1 << 62, 4], 0),
        (vec![1 << 62], 0),
        (vec![(1 << 62) + 1], 1),
        (vec![32, 1 << 59], 8),
        (vec![32, u64::MAX / 32 + 1], 8),
        (vec![256, 1 << 56, 1 << 7], 14),
        (vec![1 << 63, 2, 1, 1], 30),
        (vec![0, u64::MAX, u64::MAX], 0),
    ] {
        let defect = with(&|m| {
            m.tensors[1].1.clone_from(&sizes);
            m.tensors[1].2 = kind;
        });
        let fits = matches!(
            defect,
            GgufDefect::Dimensions { .. } | GgufDefect::Place { .. }
        );
        assert!(fits, "{sizes:?}: {defect}");
    }
    // A place whose end wraps.
    let wraps = with(&|m| m.tensors[1].3 = u64::MAX - 31);
    assert!(matches!(wraps, GgufDefect::Place { .. }), "{wraps}");
    // Lists whose bytes wrap, and lists of texts that are endless.
    for (kind, count) in [
        (12_u32, (1_u64 << 61) + 1),
        (5, 1 << 62),
        (8, 1 << 61),
        (8, u64::MAX),
        (0, u64::MAX),
    ] {
        let list = [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let defect = with(&|m| m.values[4].2.clone_from(&list));
        assert!(
            matches!(defect, GgufDefect::Count { .. }),
            "{kind} {count}: {defect}"
        );
    }
    // 43 bytes that ask for a list of lists without end.
    let mut short = b"GGUF\x03\0\0\0".to_vec();
    short.extend(0_u64.to_le_bytes());
    short.extend(1_u64.to_le_bytes());
    short.extend(text("abc"));
    short.extend(9_u32.to_le_bytes());
    short.extend(9_u32.to_le_bytes());
    assert_eq!(short.len(), 43);
    assert!(matches!(defect(&short), GgufDefect::Nested { .. }));
}

#[test]
fn every_cut_is_noticed() {
    let bytes = Maker::small().bytes();
    for end in 0..bytes.len() {
        assert!(open(&bytes[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..6)) {
        let mut bytes = Maker::small().bytes();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        if let Ok(file) = open(&bytes) {
            for tensor in file.tensors() {
                if tensor.count() < 1 << 20 {
                    let _ = file.load(tensor.name(), &Device::Cpu);
                    let _ = file.quantized(tensor.name());
                }
            }
        }
    }
}
