//! Files as others write them: keys of older GGUF files, one name for weights that are shared, fields that change
//! nothing.

use super::*;
use cortical_io::{read_text, write_atomic};
use cortical_kernels::sparse::{Precision, SparseMatrix};

fn write(path: &Path, text: &str) {
    write_atomic(path, |file| file.write_all(text.as_bytes())).unwrap();
}

#[test]
fn linear_positions_without_a_type_are_those_of_transformers() {
    let folder = fixture("llama-linear-rope");
    let (ids, want) = expected(&folder);
    for name in ["factor.gguf", "scale_linear.gguf"] {
        let loaded = open(folder.join(name), &LoadOptions::default()).unwrap();
        let difference = difference(&output(&loaded.model, &ids), &want);
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn a_table_that_is_stored_as_the_head_is_there_once() {
    let bytes = |name: &str| {
        let loaded = open(fixture(name), &LoadOptions::default()).unwrap();
        assert_eq!(loaded.model.config().head(), Head::Tied, "{name}");
        assert_eq!(
            Some(loaded.params.count()),
            loaded.model.config().parameters(),
            "{name}"
        );
        loaded.stored_bytes
    };
    // A file of PyTorch's has it under both names.
    assert_eq!(bytes("llama-tied-alias"), bytes("llama-pickled"));
}

#[test]
fn names_that_would_fit_are_told() {
    let from = fixture("llama");
    let folder = tempfile::tempdir().unwrap();
    let file = TensorFile::open(from.join("model.safetensors")).unwrap();
    let tensors = file.load_all(&Device::Cpu).unwrap().into_iter();
    let tensors: Vec<_> = tensors
        .map(|(name, tensor)| (format!("module.{name}"), tensor))
        .collect();
    let path = folder.path().join("model.safetensors");
    cortical_io::save_tensors(path, &tensors, &Default::default()).unwrap();
    let error = |config: &str| {
        write(&folder.path().join("config.json"), config);
        open(folder.path(), &LoadOptions::default())
            .unwrap_err()
            .to_string()
    };
    let config = config_text(&from);
    let message = error(&config);
    assert!(
        message.ends_with("; 21 of 21 names fit with the rule 'module.*=*', as `cortical convert --rename` takes it"),
        "{message}"
    );
    let message = error(&config.replace(r#""model_type": "llama""#, r#""model_type": "mine""#));
    assert!(
        message.contains(r#"model_type is "mine"; supported are"#)
            && message.contains("called as those of llama, with --rename 'module.*=*'"),
        "{message}"
    );
}

#[test]
fn changes_are_those_of_peft() {
    for name in [
        "lora-head",
        "lora-head-tied",
        "lora-patterns",
        "lora-regex",
        "lora-layers",
        "lora-saved",
        "lora-saved-tied",
        "lora-biases",
    ] {
        let loaded = open(fixture(name), &LoadOptions::default()).unwrap();
        let (ids, want) = expected(&fixture(name));
        let difference = difference(&output(&loaded.model, &ids), &want);
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn a_change_of_a_shared_head_makes_it_a_head_of_its_own() {
    let loaded = open(fixture("lora-head-tied"), &LoadOptions::default()).unwrap();
    let (ids, want) = expected(&fixture("lora-head-tied"));
    let tensors = merged_tensors(&loaded.model, &loaded.params).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = loaded.model.config().to_json().unwrap();
    assert!(
        config.contains(r#""tie_word_embeddings": false"#),
        "{config}"
    );
    write(&folder.path().join("config.json"), &config);
    let file = folder.path().join("model.safetensors");
    cortical_io::save_tensors(file, &tensors, &Default::default()).unwrap();
    let merged = open(folder.path(), &LoadOptions::default()).unwrap();
    let difference = difference(&output(&merged.model, &ids), &want);
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn fields_that_change_nothing_are_known() {
    for field in [
        r#""unsloth_fixed": true"#,
        r#""attn_implementation": "sdpa""#,
        r#""unk_token_id": 0"#,
        r#""_attn_implementation": "eager""#,
    ] {
        let text = format!(r#"{{"model_type": "llama", {field}}}"#);
        LanguageConfig::from_json(&text).unwrap();
    }
}

#[test]
fn messages_name_the_file_and_quote_it_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let error = |text: &str| {
        write(&path, text);
        open(folder.path(), &LoadOptions::default())
            .unwrap_err()
            .to_string()
    };
    for (text, part) in [
        ("{", "config.json: this is no JSON"),
        (
            r#"{"model_type": "llama", "x\u001b[2J": 1}"#,
            r"config.json: x\u{1b}[2J is 1",
        ),
        (
            r#"{"model_type": "lla\u009bma"}"#,
            r#"model_type is "lla\u{9b}ma""#,
        ),
        (
            r#"{"model_type": "llama", "odd": "\u202ex"}"#,
            r#"odd is "\u{202e}x""#,
        ),
    ] {
        let error = error(text);
        assert!(error.contains(part), "{error}");
    }
    let long = error(&format!(
        r#"{{"model_type": "llama", "{0}": "{0}"}}"#,
        "y".repeat(9000)
    ));
    assert!(long.len() < 600, "{long}");
}

#[test]
fn sparse_weights_of_a_folder_give_the_scores_of_the_dense_ones() {
    let from = fixture("llama");
    let (ids, _) = expected(&from);
    let folder = tempfile::tempdir().unwrap();
    let config = read_text(from.join("config.json"), 1 << 20).unwrap();
    let mut scores = Vec::new();
    for is_sparse in [false, true] {
        let file = TensorFile::open(from.join("model.safetensors")).unwrap();
        let mut tensors = Vec::new();
        for (name, tensor) in file.load_all(&Device::Cpu).unwrap() {
            let Some((rows, cols)) = tensor.dims2().ok().filter(|_| name.contains("_proj")) else {
                tensors.push((name, tensor));
                continue;
            };
            let mut weights: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            weights.iter_mut().step_by(2).for_each(|w| *w = 0.0);
            if is_sparse {
                let matrix = SparseMatrix::from_dense(rows, cols, &weights, Precision::F32);
                tensors.extend(cortical_io::sparse_tensors(&name, &matrix).unwrap());
            } else {
                let dense = Tensor::from_vec(weights, (rows, cols), &Device::Cpu).unwrap();
                tensors.push((name, dense));
            }
        }
        write(&folder.path().join("config.json"), &config);
        let path = folder.path().join("model.safetensors");
        cortical_io::save_tensors(path, &tensors, &Default::default()).unwrap();
        let loaded = open(folder.path(), &LoadOptions::default()).unwrap();
        let name = "model.layers.0.mlp.up_proj.weight";
        assert_eq!(loaded.params.get(name).is_err(), is_sparse);
        // As parameters, for training, they are dense.
        let single = LoadOptions {
            weights: Weights::Single,
            ..LoadOptions::default()
        };
        let single = open(folder.path(), &single).unwrap();
        assert!(single.params.get(name).is_ok());
        scores.extend([output(&loaded.model, &ids), output(&single.model, &ids)]);
    }
    for other in &scores[1..] {
        let difference = difference(other, &scores[0]);
        assert!(difference < 1e-5, "{difference}");
    }
}
