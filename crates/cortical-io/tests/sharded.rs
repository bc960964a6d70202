//! A model in several files is opened through its index, if the index and the files agree.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use candle_core::{Device, Tensor};
use cortical_io::{Error, IndexDefect, Metadata, ModelFiles, load_into, save_tensors};
use cortical_neuron::{Init, Params};
use cortical_tensor::Seed;

const INDEX: &str = "model.safetensors.index.json";

fn file(folder: &Path, name: &str, tensors: &[(&str, f32)]) {
    let tensor = |value| Tensor::new(&[value], &Device::Cpu).unwrap();
    let named: Vec<_> = tensors
        .iter()
        .map(|&(name, value)| (name.to_owned(), tensor(value)))
        .collect();
    save_tensors(folder.join(name), &named, &Metadata::new()).unwrap();
}

/// A folder with two files and this index.
fn model(index: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "1.safetensors", &[("a", 1.0), ("b", 2.0)]);
    file(folder.path(), "2.safetensors", &[("c", 3.0)]);
    std::fs::write(folder.path().join(INDEX), index).unwrap();
    folder
}

const GOOD: &str = r#"{"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}}"#;

#[test]
fn tensors_of_all_files_are_found() {
    let folder = model(GOOD);
    for path in [folder.path().to_owned(), folder.path().join(INDEX)] {
        let model = ModelFiles::open(path).unwrap();
        let names: Vec<_> = model.tensors().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(model.files().len(), 2);
        assert_eq!(model.load_all(&Device::Cpu).unwrap().len(), 3);
        let c = model.load("c", &Device::Cpu).unwrap();
        assert_eq!(c.to_vec1::<f32>().unwrap(), [3.0]);
        assert!(matches!(
            model.load("d", &Device::Cpu),
            Err(Error::NoTensor { .. })
        ));
    }
}

#[test]
fn a_single_file_is_a_model_too_and_comes_before_an_index() {
    let folder = model(GOOD);
    file(folder.path(), "model.safetensors", &[("x", 5.0)]);
    for path in [
        folder.path().to_owned(),
        folder.path().join("model.safetensors"),
    ] {
        let model = ModelFiles::open(path).unwrap();
        assert_eq!(
            model
                .tensors()
                .map(|tensor| tensor.name())
                .collect::<Vec<_>>(),
            ["x"]
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let error = ModelFiles::open(empty.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

#[test]
fn a_model_is_loaded_from_several_files() {
    let folder = model(GOOD);
    let params = Params::new(&Device::Cpu, Seed(1));
    for name in ["c", "a", "b"] {
        params.root().param(name, &[1], Init::ZEROS).unwrap();
    }
    load_into(folder.path(), &params).unwrap();
    let b = params.get("b").unwrap().tensor().to_vec1::<f32>().unwrap();
    assert_eq!(b, [2.0]);
}

#[test]
fn an_index_that_lies_is_refused() {
    let check =
        |index: &str, want: fn(&IndexDefect) -> bool| match ModelFiles::open(model(index).path()) {
            Err(Error::Index { defect, .. }) => assert!(want(&defect), "{index}: {defect}"),
            other => panic!("{index}: {other:?}"),
        };
    for json in [
        "",
        "[]",
        "{}",
        r#"{"weight_map":7}"#,
        r#"{"weight_map":{"a":7}}"#,
        r#"{"weight_map":{},"weight_map":{}}"#,
    ] {
        check(json, |defect| matches!(defect, IndexDefect::Json(_)));
    }
    check(&"[".repeat(1 << 20), |defect| {
        matches!(defect, IndexDefect::Json(_))
    });
    let twice = GOOD.replace(r#""c":"#, r#""a":"2.safetensors","c":"#);
    check(&twice, |defect| {
        defect.to_string().contains("\"a\" appears twice")
    });
    for name in ["../1.safetensors", "/etc/passwd", r"..\\1", "", "..", "C:x"] {
        let index = GOOD.replace("1.safetensors", name);
        check(&index, |defect| {
            matches!(defect, IndexDefect::FileName { .. })
        });
    }
    let unlisted = GOOD.replace(r#""b":"1.safetensors","#, "");
    check(
        &unlisted,
        |d| matches!(d, IndexDefect::NotListed { tensor, .. } if tensor == "b"),
    );
    let elsewhere = GOOD.replace(r#""b":"1.safetensors""#, r#""b":"2.safetensors""#);
    check(
        &elsewhere,
        |d| matches!(d, IndexDefect::NotListed { tensor, .. } if tensor == "b"),
    );
    let missing = GOOD.replace(r#""c":"#, r#""d":"2.safetensors","c":"#);
    check(
        &missing,
        |d| matches!(d, IndexDefect::NotThere { tensor, .. } if tensor == "d"),
    );
    check(&" ".repeat((16 << 20) + 1), |d| {
        matches!(d, IndexDefect::TooLong { .. })
    });

    let absent = ModelFiles::open(model(&GOOD.replace("2.safe", "3.safe")).path());
    assert!(matches!(absent, Err(Error::Read { .. })), "{absent:?}");
}

#[test]
fn files_of_pytorchs_are_a_model_too() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch/zip-2.pt");
    let whole = cortical_io::PytorchFile::open(&fixture).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pytorch_model.bin");
    std::fs::copy(&fixture, &file).unwrap();
    let same = |model: &ModelFiles| {
        assert_eq!(model.format(), "PyTorch");
        assert!(model.files().is_empty());
        let names: Vec<&str> = model.tensors().map(|tensor| tensor.name()).collect();
        let want: Vec<&str> = whole.tensors().iter().map(|tensor| tensor.name()).collect();
        assert_eq!(names, want);
        for tensor in whole.tensors() {
            let mut numbers = [vec![0.0; tensor.count()], vec![0.0; tensor.count()]];
            model
                .read_numbers(tensor.name(), 0, &mut numbers[0])
                .unwrap();
            let any = cortical_io::AnyModel::open(&fixture).unwrap();
            any.read_numbers(tensor.name(), 0, &mut numbers[1]).unwrap();
            assert_eq!(numbers[0], numbers[1], "{}", tensor.name());
        }
        assert!(
            model
                .read_numbers(names[0], usize::MAX, &mut [0.0])
                .is_err()
        );
        assert!(model.load("nowhere", &Device::Cpu).is_err());
    };
    same(&ModelFiles::open(folder.path()).unwrap());
    same(&ModelFiles::open(&file).unwrap());
    // The same under an index.
    let part = folder.path().join("pytorch_model-00001-of-00001.bin");
    std::fs::rename(&file, &part).unwrap();
    let names = whole.tensors().iter().map(|tensor| tensor.name());
    let map = names.map(|name| format!("{name:?}: \"pytorch_model-00001-of-00001.bin\""));
    let map: Vec<String> = map.collect();
    let path = folder.path().join("pytorch_model.bin.index.json");
    let open = |map: &[String]| {
        let index = format!("{{\"weight_map\": {{{}}}}}", map.join(", "));
        std::fs::write(&path, index).unwrap();
        ModelFiles::open(folder.path())
    };
    same(&open(&map).unwrap());
    let wrong = |map: &[String], want: fn(&IndexDefect) -> bool| match open(map) {
        Err(Error::Index { defect, .. }) => assert!(want(&defect), "{defect}"),
        other => panic!("{other:?}"),
    };
    wrong(&map[1..], |defect| {
        matches!(defect, IndexDefect::NotListed { .. })
    });
    let more = [
        &map[..],
        &["\"more\": \"pytorch_model-00001-of-00001.bin\"".to_owned()],
    ]
    .concat();
    wrong(&more, |defect| {
        matches!(defect, IndexDefect::NotThere { .. })
    });
    let outside: Vec<String> = map
        .iter()
        .map(|entry| entry.replace(": \"", ": \"../"))
        .collect();
    wrong(&outside, |defect| {
        matches!(defect, IndexDefect::FileName { .. })
    });
}
