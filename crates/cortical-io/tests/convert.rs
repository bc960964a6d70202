//! Models from one format to another: what can be kept is kept bit for bit, and the rest is rounded to nearest.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cortical_io::{
    AnyModel, ConvertOptions, Converted, Element, Error, ModelFiles, Rename, Result, TensorType,
    convert,
};
use cortical_kernels::quantized::Format;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn run(from: &Path, to: &Path, change: impl FnOnce(&mut ConvertOptions)) -> Result<Converted> {
    let mut options = ConvertOptions::default();
    change(&mut options);
    convert(&AnyModel::open(from)?, to, &options)
}

/// The same tensors, names, types, shapes and bytes.
fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (AnyModel::open(a).unwrap(), AnyModel::open(b).unwrap());
    assert_eq!(a.tensors().len(), b.tensors().len());
    for tensor in a.tensors() {
        let name = tensor.name();
        assert_eq!(Some(tensor), b.info(name), "{name}");
        let bytes = |model: &AnyModel| {
            let mut bytes = vec![0; tensor.bytes() as usize];
            model.read_bytes(name, 0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(&a), bytes(&b), "{name}");
    }
}

fn floats(ids: std::ops::Range<usize>, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = ids
        .map(|i| ((i * 7919) % 1000) as f32 / 333.0 - 1.5)
        .collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn small(path: &Path) {
    let tensors = [
        ("a.weight".to_owned(), floats(0..512, &[2, 256])),
        ("a.bias".to_owned(), floats(5..7, &[2])),
        ("b.weight".to_owned(), floats(9..105, &[3, 32])),
        (
            "steps".to_owned(),
            Tensor::new(&[7_i64], &Device::Cpu).unwrap(),
        ),
    ];
    let metadata = [("made by".to_owned(), "a test".to_owned())].into();
    cortical_io::save_tensors(path, &tensors, &metadata).unwrap();
}

#[test]
fn every_type_stays_what_it_is_through_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    for (name, reference) in [
        ("new", "new"),
        ("zip-3", "zip"),
        ("views", "views"),
        ("tar", "tar"),
    ] {
        let out = folder.path().join(format!("{name}.safetensors"));
        run(&fixture(&format!("pytorch/{name}.pt")), &out, |_| {}).unwrap();
        assert_same(&out, &fixture(&format!("pytorch/{reference}.safetensors")));
        // What has been written once is written again with the same bytes.
        let again = folder.path().join("again.safetensors");
        run(&out, &again, |_| {}).unwrap();
        assert_eq!(
            std::fs::read(&out).unwrap(),
            std::fs::read(&again).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn npz_goes_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    run(
        &fixture("numpy/packed.npz"),
        &place("a.safetensors"),
        |_| {},
    )
    .unwrap();
    run(&place("a.safetensors"), &place("b.npz"), |_| {}).unwrap();
    assert_same(&place("a.safetensors"), &place("b.npz"));
    assert_same(&place("b.npz"), &fixture("numpy/arrays.safetensors"));
    let error = run(&fixture("pytorch/new.pt"), &place("c.npz"), |_| {}).unwrap_err();
    assert!(matches!(error, Error::NoSuchType { .. }), "{error}");
}

#[test]
fn gguf_comes_back_from_safetensors_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let original = fixture("gguf/quantized.gguf");
    let done = run(&original, &place("a.safetensors"), |_| {}).unwrap();
    assert_eq!((done.tensors, done.kept_as_bytes), (14, 12));
    run(&place("a.safetensors"), &place("b"), |o| {
        o.shard_bytes = Some(1000);
    })
    .unwrap();
    run(&place("b"), &place("c.gguf"), |_| {}).unwrap();
    assert_same(&original, &place("c.gguf"));
    let values = |path: &Path| {
        AnyModel::open(path)
            .unwrap()
            .gguf()
            .unwrap()
            .values()
            .clone()
    };
    assert_eq!(values(&original), values(&place("c.gguf")));
    // Without the way round, in the same order too.
    run(&original, &place("e.gguf"), |_| {}).unwrap();
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert!(bytes(&original) == bytes(&place("e.gguf")));
    // As numbers.
    run(&original, &place("d.safetensors"), |o| {
        o.dtype = Some(TensorType::Plain(Element::F32));
    })
    .unwrap();
    let (numbers, want) = (
        place("d.safetensors"),
        fixture("gguf/quantized.safetensors"),
    );
    let model = AnyModel::open(&numbers).unwrap();
    for tensor in AnyModel::open(&want).unwrap().tensors() {
        let load = |model: &AnyModel| {
            let tensor = model.load(tensor.name(), &Device::Cpu).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(
            load(&model),
            load(&AnyModel::open(&want).unwrap()),
            "{}",
            tensor.name()
        );
    }
}

#[test]
fn numbers_are_rounded_and_whole_ones_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    small(&place("a.safetensors"));
    for (element, dtype) in [
        (Element::F16, DType::F16),
        (Element::BF16, DType::BF16),
        (Element::F64, DType::F64),
    ] {
        let out = place("b.safetensors");
        run(&place("a.safetensors"), &out, |o| {
            o.dtype = Some(TensorType::Plain(element));
        })
        .unwrap();
        let (a, b) = (
            AnyModel::open(place("a.safetensors")).unwrap(),
            AnyModel::open(&out).unwrap(),
        );
        let weight = |model: &AnyModel| model.load("a.weight", &Device::Cpu).unwrap();
        let want = weight(&a).to_dtype(dtype).unwrap();
        assert_eq!(format!("{want}"), format!("{}", weight(&b)));
        let sum = (want - weight(&b))
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap();
        assert_eq!(sum.to_scalar::<f64>().unwrap(), 0.0);
        assert_eq!(
            b.info("steps").unwrap().kind(),
            TensorType::Plain(Element::I64)
        );
        assert_eq!(b.metadata()["made by"], "a test");
    }
}

#[test]
fn gguf_gets_types_that_llama_cpp_takes() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    small(&place("a.safetensors"));
    let leave = |o: &mut ConvertOptions| o.renames.push("steps=".parse().unwrap());
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4K] {
        run(&place("a.safetensors"), &place("b.gguf"), |o| {
            leave(o);
            o.dtype = Some(TensorType::Quantized(format));
        })
        .unwrap();
        let model = AnyModel::open(place("b.gguf")).unwrap();
        let kind = |name: &str| model.info(name).unwrap().kind();
        assert_eq!(kind("a.weight"), TensorType::Quantized(format));
        assert_eq!(kind("a.bias"), TensorType::Plain(Element::F32));
        let short = match format {
            Format::Q4K => TensorType::Plain(Element::F16),
            format => TensorType::Quantized(format),
        };
        assert_eq!(kind("b.weight"), short);
        let weight = model.load("a.weight", &Device::Cpu).unwrap();
        let difference = (weight - floats(0..512, &[2, 256]))
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 0.2);
    }
    let error = run(&place("a.safetensors"), &place("c.gguf"), |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("cannot hold elements I64"),
        "{error}"
    );
    assert!(!place("c.gguf").exists());
    let error = run(&place("a.safetensors"), &place("c.safetensors"), |o| {
        o.dtype = Some(TensorType::Quantized(Format::Q8_0));
    });
    assert!(matches!(error, Err(Error::NoSuchType { .. })));
}

#[test]
fn shards_hold_what_fits_and_an_index_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    small(&place("a.safetensors"));
    let done = run(&place("a.safetensors"), &place("split"), |o| {
        o.shard_bytes = Some(2100);
    })
    .unwrap();
    let names: Vec<_> = done
        .files
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json"
        ]
    );
    assert_eq!(ModelFiles::open(place("split")).unwrap().files().len(), 2);
    assert_same(&place("a.safetensors"), &place("split"));
    let index = std::fs::read_to_string(place("split/model.safetensors.index.json")).unwrap();
    assert!(index.contains("\"total_size\": 2448"), "{index}");
    run(&place("split"), &place("b.safetensors"), |_| {}).unwrap();
    let bytes = |name: &str| std::fs::read(place(name)).unwrap();
    assert!(bytes("b.safetensors").ends_with(&bytes("a.safetensors")[1000..]));
    // One that is larger than the limit stands alone.
    let done = run(&place("a.safetensors"), &place("c.safetensors"), |o| {
        o.shard_bytes = Some(1);
    })
    .unwrap();
    assert_eq!(done.files.len(), 5);
    assert_same(&place("a.safetensors"), &place("c.safetensors.index.json"));
}

#[test]
fn names_are_changed_left_out_and_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    small(&place("a.safetensors"));
    let rules = |rules: &[&str]| {
        rules
            .iter()
            .map(|rule| rule.parse().unwrap())
            .collect::<Vec<Rename>>()
    };
    let done = run(&place("a.safetensors"), &place("b.safetensors"), |o| {
        o.renames = rules(&["steps=", "*.weight=net.*.w"]);
    })
    .unwrap();
    assert_eq!((done.tensors, done.left_out), (3, 1));
    let model = AnyModel::open(place("b.safetensors")).unwrap();
    let mut names: Vec<_> = model.tensors().iter().map(|t| t.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.bias", "net.a.w", "net.b.w"]);
    let error = run(&place("a.safetensors"), &place("c.safetensors"), |o| {
        o.renames = rules(&["*.weight=x"]);
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("would both be called \"x\""), "{error}");
    for name in ["c.bin", "c.pt", "c.txt"] {
        let error = run(&place("a.safetensors"), &place(name), |_| {}).unwrap_err();
        assert!(matches!(error, Error::Ending { .. }), "{error}");
    }
    let error = run(&place("a.safetensors"), &place("c.safetensors"), |o| {
        o.renames = rules(&["steps=../x"]);
    });
    assert!(error.unwrap_err().to_string().contains("is not a name"));
    assert!(!place("c.safetensors").exists());
}
