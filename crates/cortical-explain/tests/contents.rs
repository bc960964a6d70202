//! What paths hold: every form of a model, and what is said of everything else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use cortical_explain::{Contents, Kind};
use cortical_models::language::preset;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../cortical-models/fixtures")
        .join(name)
}

/// A safetensors file with zeros that take no room on the disk.
fn sparse(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let mut end = 0_u64;
    let entries = tensors.iter().map(|(name, shape)| {
        let start = end;
        end += 2 * shape.iter().map(|d| *d as u64).product::<u64>();
        format!(r#""{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
    });
    let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

fn save(path: &Path, tensors: &[(&str, &[usize])]) {
    let tensors: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, shape)| {
            let tensor = Tensor::ones(*shape, DType::F32, &Device::Cpu).unwrap();
            ((*name).to_owned(), tensor)
        })
        .collect();
    cortical_io::save_tensors(path, &tensors, &Default::default()).unwrap();
}

#[test]
fn a_folder_of_138_gigabytes_is_inspected_in_less_than_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let config = preset("llama2-70b").unwrap().config;
    let tensors: Vec<(String, Vec<usize>)> = config
        .tensors()
        .into_iter()
        .map(|spec| (spec.name, spec.shape))
        .collect();
    let mut map = Vec::new();
    for (at, part) in tensors.chunks(tensors.len().div_ceil(15)).enumerate() {
        let name = format!("model-{:05}-of-00015.safetensors", at + 1);
        sparse(&folder.path().join(&name), part);
        map.extend(
            part.iter()
                .map(|(tensor, _)| format!("\"{tensor}\":\"{name}\"")),
        );
    }
    let index = format!("{{\"weight_map\":{{{}}}}}", map.join(","));
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    fs::write(folder.path().join("config.json"), config.to_json().unwrap()).unwrap();

    let began = Instant::now();
    let contents = Contents::open(folder.path()).unwrap();
    let root = contents.tree();
    let took = began.elapsed();
    assert_eq!(contents.bytes(), Some(2 * 68_976_648_192));
    assert_eq!(root.parameters, 68_976_648_192);
    let model = root
        .children
        .iter()
        .find(|node| node.name == "model")
        .unwrap();
    let layers = model
        .children
        .iter()
        .find(|node| node.name == "layers")
        .unwrap();
    assert_eq!(layers.children.len(), 1, "blocks that are alike stand once");
    assert_eq!(layers.children[0].name, "0-79");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn every_form_of_a_model_is_opened() {
    let check = |path: PathBuf, what: &str, parameters: usize| {
        let contents = Contents::open(&path).unwrap();
        assert_eq!(contents.what, what, "{}", path.display());
        assert_eq!(contents.parameters(), parameters, "{}", path.display());
        contents
    };
    let llama = check(fixture("llama"), "folder of a model", total("llama"));
    assert!(
        llama.multiply_adds().is_some() && llama.remarks.is_empty(),
        "{:?}",
        llama.remarks
    );
    let tied = Contents::open(&fixture("llama-tied-alias")).unwrap();
    assert_eq!(tied.ties.len(), 1, "{:?}", tied.ties);
    let shards = check(
        fixture("mistral-window"),
        "folder of a model",
        total("mistral-window"),
    );
    let index = fixture("mistral-window").join("model.safetensors.index.json");
    check(index, "safetensors files", shards.parameters());

    let file = fixture("llama").join("model.gguf");
    let gguf = check(file, "GGUF file", llama.parameters());
    assert_eq!(gguf.kinds(), llama.kinds());
    assert_eq!(gguf.multiply_adds(), llama.multiply_adds());
    assert!(
        gguf.entries
            .iter()
            .any(|entry| entry.name == "blk.0.attn_q.weight"
                && entry.common_name() == "model.layers.0.self_attn.q_proj.weight")
    );

    // A folder with one GGUF file, and one with parts that no index lists.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("llama").join("model.gguf"),
        folder.path().join("a.gguf"),
    )
    .unwrap();
    check(folder.path().into(), "GGUF file", llama.parameters());
    let folder = tempfile::tempdir().unwrap();
    save(
        &folder.path().join("a.safetensors"),
        &[("fc1.weight", &[2, 3])],
    );
    save(
        &folder.path().join("b.safetensors"),
        &[("bn1.weight", &[3]), ("bn1.running_mean", &[3])],
    );
    let parts = check(folder.path().into(), "folder of safetensors files", 9);
    assert_eq!(parts.kinds(), [(Kind::FeedForward, 6), (Kind::Norm, 3)]);
}

fn total(name: &str) -> usize {
    let files = cortical_io::ModelFiles::open(fixture(name)).unwrap();
    files.tensors().map(cortical_io::TensorInfo::count).sum()
}

#[test]
fn low_rank_changes_are_trained_and_their_model_is_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture("llama").join(name), base.join(name)).unwrap();
    }
    let changes = folder.path().join("changes");
    fs::create_dir(&changes).unwrap();
    let config = format!(
        r#"{{"base_model_name_or_path":{:?},"peft_type":"LORA","target_modules":["q_proj"]}}"#,
        base.display().to_string()
    );
    fs::write(changes.join("adapter_config.json"), config).unwrap();
    let layer = "base_model.model.model.layers.0.self_attn.q_proj";
    let (a, b) = (
        format!("{layer}.lora_A.weight"),
        format!("{layer}.lora_B.weight"),
    );
    save(
        &changes.join("adapter_model.safetensors"),
        &[(&a, &[2, 16]), (&b, &[16, 2])],
    );

    let contents = Contents::open(&changes).unwrap();
    assert_eq!(contents.parameters(), total("llama") + 64);
    assert_eq!(contents.trainable(), Some(64));
    let change = contents
        .entries
        .iter()
        .find(|entry| entry.name.ends_with("lora_A.weight"));
    assert_eq!(
        change.unwrap().name,
        "model.layers.0.self_attn.q_proj.lora_A.weight"
    );
    assert_eq!(contents.stats(change.unwrap()).unwrap().mean(), 1.0);

    // Tables and norms that were trained as a whole are not counted twice, nor a head that is there for its change.
    let contents = Contents::open(&fixture("lora-saved")).unwrap();
    assert_eq!(contents.parameters(), total("llama") + 992);
    assert_eq!(contents.trainable(), Some(992 + 2 * 40 * 16 + 5 * 16));
    let contents = Contents::open(&fixture("lora-head")).unwrap();
    let change = 2 * 2 * (16 + 16) + 2 * (16 + 40);
    assert_eq!(contents.parameters(), total("llama") + change);
    assert_eq!(contents.trainable(), Some(change));

    fs::remove_dir_all(&base).unwrap();
    let contents = Contents::open(&changes).unwrap();
    assert_eq!(
        (contents.what, contents.parameters()),
        ("low-rank changes", 64)
    );
    assert!(contents.remarks[0].starts_with("the model that they belong to is not shown"));
}

#[test]
fn statistics_read_every_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // More than one piece, not a whole number of pieces, and no piece like another.
    let count = (1 << 16) * 2 + 5;
    let numbers: Vec<f32> = (0..count).map(|i| (i % 7) as f32).collect();
    let tensor = Tensor::from_vec(numbers.clone(), count, &Device::Cpu).unwrap();
    let bf16 = tensor.to_dtype(DType::BF16).unwrap();
    let tensors = [("a".to_owned(), tensor), ("b".to_owned(), bf16)];
    cortical_io::save_tensors(&path, &tensors, &Default::default()).unwrap();
    let contents = Contents::open(&path).unwrap();
    let zeros = numbers.iter().filter(|x| **x == 0.0).count();
    let squares: f64 = numbers.iter().map(|x| f64::from(*x).powi(2)).sum();
    for entry in &contents.entries {
        let stats = contents.stats(entry).unwrap();
        assert_eq!(
            (stats.count, stats.zeros, stats.squares),
            (count, zeros, squares)
        );
        assert_eq!((stats.largest, stats.non_finite), (6.0, 0));
    }
    let described = Contents::open("gpt2".as_ref()).unwrap();
    let error = described.stats(&described.entries[0]).unwrap_err();
    assert!(
        error.to_string().starts_with("gpt2 has no weights"),
        "{error}"
    );
}

#[test]
fn files_of_pytorch_and_numpy_are_looked_into() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cortical-io/tests/fixtures");
    let folder = tempfile::tempdir().unwrap();
    let check = |from: &str, to: &str, what: &str, name: &str, norm: f64| {
        fs::copy(fixtures.join(from), folder.path().join(to)).unwrap();
        for path in [folder.path().join(to), folder.path().to_owned()] {
            let contents = Contents::open(&path).unwrap();
            assert_eq!(contents.what, what);
            let text = cortical_explain::diff(&contents, &Contents::open(&path).unwrap()).unwrap();
            assert!(text.is_same());
            let tensor = text.tensors.iter().find(|t| t.name == name).unwrap();
            let change = tensor.change.as_ref().unwrap();
            assert!(
                (change.sides[0].norm() - norm).abs() < 1e-6,
                "{}",
                change.sides[0].norm()
            );
        }
        fs::remove_file(folder.path().join(to)).unwrap();
    };
    check(
        "pytorch/zip-2.pt",
        "a.bin",
        "PyTorch file",
        "list.1.x",
        8_f64.sqrt(),
    );
    check(
        "pytorch/legacy-4.pt",
        "a.pth",
        "PyTorch file",
        "float32",
        19_f64.sqrt() / 4.0,
    );
    check(
        "numpy/single.npy",
        "a.npy",
        "NumPy file",
        "a",
        30_f64.sqrt(),
    );
}

#[test]
fn mistakes_are_told_by_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let check = |path: &Path, want: &str| {
        let error = Contents::open(path).unwrap_err().to_string();
        assert!(error.contains(want), "expected {want:?} in: {error}");
    };
    check(folder.path(), "holds no model: it has nothing in it");
    fs::write(place("notes.txt"), "x").unwrap();
    check(
        folder.path(),
        "holds no model: it has notes.txt; expected model.safetensors",
    );
    fs::write(place("pytorch_model.bin"), b"PK\x03\x04....").unwrap();
    check(folder.path(), "is not a usable PyTorch file");
    check(&place("pytorch_model.bin"), "is not a usable PyTorch file");
    fs::remove_file(place("pytorch_model.bin")).unwrap();
    fs::write(place("other.json"), "{\"a\": 1}").unwrap();
    check(&place("other.json"), "neither a config.json");
    fs::write(place("config.json"), "{\"model_type\": \"mamba\"}").unwrap();
    check(folder.path(), "model_type is \"mamba\"; supported are");
    fs::write(place("config.json"), "{\"model_type\":").unwrap();
    check(folder.path(), "this is no JSON");
    check("llama2-8b".as_ref(), "did you mean \"llama2-7b\"?");
    check(&place("nowhere"), "does not exist");

    // Hostile and damaged files.
    fs::write(place("a.safetensors"), [0xff; 64]).unwrap();
    check(&place("a.safetensors"), "is not a usable safetensors file");
    check(folder.path(), "is not a usable safetensors file");
    fs::remove_file(place("a.safetensors")).unwrap();
    let gguf = fs::read(fixture("llama").join("model.gguf")).unwrap();
    for cut in [5, 100, gguf.len() / 2, gguf.len() - 40] {
        fs::write(place("cut.gguf"), &gguf[..cut]).unwrap();
        check(&place("cut.gguf"), "cut.gguf");
    }
    fs::write(place("second.gguf"), &gguf).unwrap();
    check(
        folder.path(),
        "holds several models: cut.gguf, second.gguf; name one of them",
    );

    // Parts that an index lists and that are not there, and one tensor in two parts.
    let parts = place("parts");
    fs::create_dir(&parts).unwrap();
    fs::write(
        parts.join("model.safetensors.index.json"),
        r#"{"weight_map":{"a":"gone.safetensors"}}"#,
    )
    .unwrap();
    check(&parts, "gone.safetensors");
    fs::remove_file(parts.join("model.safetensors.index.json")).unwrap();
    save(&parts.join("a.safetensors"), &[("w", &[2])]);
    save(&parts.join("b.safetensors"), &[("w", &[2])]);
    check(&parts, "both have a tensor \"w\"");
}

#[test]
fn a_stranger_decides_neither_how_deep_the_tree_is_nor_how_long_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let deep = "a.".repeat(400);
    let tensors: Vec<(String, Vec<usize>)> = (0..5000)
        .map(|i| (format!("{i}.{deep}{i}"), vec![0]))
        .collect();
    sparse(&path, &tensors);
    let began = Instant::now();
    let root = Contents::open(&path).unwrap().tree();
    assert_eq!(root.parameters, 0);
    assert!(began.elapsed() < Duration::from_secs(20));
}
