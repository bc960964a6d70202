//! Low-rank changes in PEFT's files: there and back, merged, with a head over classes.

use super::super::adapter::{AdapterFiles, CONFIG, is_part};
use super::super::class_head::is_head;
use super::super::{LanguageModel, LoadOptions, Loaded, TextClassifier, open};
use super::super::{merged_tensors, save_adapter};
use candle_core::Tensor;
use cortical_io::{TensorFile, read_text, save_tensors, write_atomic};
use cortical_neuron::Adapters;
use serde_json::{Value, json};
use std::path::Path;

fn adapted(dora: bool) -> Loaded {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let options = LoadOptions {
        adapters: Some(Adapters {
            rank: 2,
            alpha: 4.0,
            targets: vec!["q_proj".to_owned(), "v_proj".to_owned()],
            dora,
            ..Adapters::default()
        }),
        ..Default::default()
    };
    open(fixture, &options).unwrap()
}

#[test]
fn changes_come_back_from_their_files() {
    for dora in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let first = adapted(dora);
        for param in first.params.all().iter().filter(|p| is_part(p.name())) {
            let other = param.tensor().affine(1.0, 0.25).unwrap();
            param.set(&other).unwrap();
        }
        save_adapter(folder.path(), &first.params, first.model.config(), "tiny").unwrap();
        let files = AdapterFiles::open(folder.path()).unwrap();
        let tensors = first.model.config().tensors();
        let config = files.adapters(&tensors).unwrap();
        assert_eq!(Some(config), first.params.adapters());
        let second = adapted(dora);
        files.load(&second.params, false).unwrap();
        for (a, b) in first.params.all().iter().zip(second.params.all()) {
            let same = (a.tensor() - b.tensor())
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap();
            assert_eq!(same.to_scalar::<f32>().unwrap(), 0.0, "{}", a.name());
        }
        let error = files.load(&adapted(!dora).params, false).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("lora_magnitude_vector"), "{error}");
    }
}

#[test]
fn merged_tensors_are_a_model_that_computes_the_same() {
    let adapted = adapted(true);
    for param in adapted.params.all().iter().filter(|p| is_part(p.name())) {
        let other = param.tensor().affine(1.0, 0.1).unwrap();
        param.set(&other).unwrap();
    }
    let ids = Tensor::new(&[[1_u32, 5, 7]], &candle_core::Device::Cpu).unwrap();
    let scores = |model: &LanguageModel| -> Vec<f32> {
        let mut pass = cortical_neuron::Pass::eval();
        let scores = model.logits(&ids, None, &mut pass).unwrap();
        scores.flatten_all().unwrap().to_vec1().unwrap()
    };
    let beside = scores(&adapted.model);
    let tensors = merged_tensors(&adapted.model, &adapted.params).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = adapted.model.config().to_json().unwrap();
    let path = folder.path().join("config.json");
    write_atomic(path, |file| file.write_all(config.as_bytes())).unwrap();
    let file = folder.path().join("model.safetensors");
    save_tensors(file, &tensors, &Default::default()).unwrap();
    let merged = open(folder.path(), &LoadOptions::default()).unwrap();
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let plain = open(plain, &LoadOptions::default()).unwrap();
    let far = |a: &[f32], b: &[f32]| {
        let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        each.fold(0.0, f32::max)
    };
    let merged = scores(&merged.model);
    assert!(far(&beside, &merged) < 1e-4, "merged");
    assert!(
        far(&beside, &scores(&plain.model)) > 1e-3,
        "the change acts"
    );
}

#[test]
fn a_head_over_classes_goes_with_the_changes() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let classifier = |folder: &Path, adapters: Option<Adapters>| {
        let options = LoadOptions {
            adapters,
            ..Default::default()
        };
        TextClassifier::open(folder, 2, &options).unwrap()
    };
    let (first, params) = classifier(&base, adapted(false).params.adapters());
    for param in params.all() {
        if is_part(param.name()) || is_head(param.name()) {
            let other = param.tensor().affine(1.0, 0.25).unwrap();
            param.set(&other).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let config = first.model().config();
    save_adapter(folder.path(), &params, config, &base.display().to_string()).unwrap();
    let text = read_text(folder.path().join(CONFIG), 1 << 20).unwrap();
    assert!(
        text.contains("SEQ_CLS") && text.contains("modules_to_save"),
        "{text}"
    );
    let (second, _) = classifier(folder.path(), None);
    let mut pass = cortical_neuron::Pass::eval();
    let texts = [vec![1, 5, 7], vec![2]];
    let [a, b] = [&first, &second].map(|c| {
        let logits = c.logits(&texts, &mut pass).unwrap();
        logits.to_vec2::<f32>().unwrap()
    });
    assert_eq!(a, b);
    // A model without such a head has no use for it.
    let error = open(folder.path(), &LoadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("score.weight"), "{error}");
}

#[test]
fn other_kinds_of_changes_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join(CONFIG);
        write_atomic(path, |file| file.write_all(text.as_bytes())).unwrap();
        AdapterFiles::open(folder.path()).unwrap_err().to_string()
    };
    assert!(read(r#"{"peft_type": "IA3"}"#).contains("adapter_config.json: peft_type is \"IA3\""));
    assert!(read("{").contains("adapter_config.json: this is no JSON"));
    let lora = |field: &str| {
        read(&format!(
            r#"{{"peft_type": "LORA", "target_modules": ["q_proj"], {field}}}"#
        ))
    };
    assert!(read(r#"{"peft_type": "LORA", "r": 4}"#).contains("target_modules is missing"));
    for (field, part) in [
        (r#""bias": "some""#, "bias is \"some\""),
        (
            r#""trainable_token_indices": [1]"#,
            "trainable_token_indices is",
        ),
        (
            r#""init_lora_weights": "pissa""#,
            "init_lora_weights is \"pissa\"",
        ),
        (
            r#""init_lora_weights": "pissa_niter_16""#,
            "init_lora_weights is",
        ),
        (r#""init_lora_weights": "olora""#, "init_lora_weights is"),
        (r#""init_lora_weights": "corda""#, "init_lora_weights is"),
        (r#""init_lora_weights": "eva""#, "init_lora_weights is"),
        (r#""init_lora_weights": "loftq""#, "init_lora_weights is"),
        (r#""init_lora_weights": "mica""#, "init_lora_weights is"),
        (
            r#""alora_invocation_tokens": [3, 4]"#,
            "alora_invocation_tokens is",
        ),
        (
            r#""alora_invocation_tokens": []"#,
            "alora_invocation_tokens is",
        ),
        (r#""use_qalora": true"#, "use_qalora is true"),
        (r#""lora_bias": true"#, "lora_bias is true"),
        (r#""target_parameters": ["x"]"#, "target_parameters is"),
        (r#""use_bdlora": {"nblocks": 2}"#, "use_bdlora is"),
        (r#""kasa_config": {"beta": 1}"#, "kasa_config is"),
        (r#""of_tomorrow": 1"#, "of_tomorrow is 1"),
        (
            r#""rank_pattern": {"(q": 1}"#,
            "rank_pattern is \"(q\", expected a regular expression (",
        ),
        (
            r#""rank_pattern": {"q": 0}"#,
            "rank_pattern.q is 0, expected a whole number",
        ),
        // Brackets that would fit those that are put around it.
        (
            r#""exclude_modules": "a)|(?:b""#,
            "exclude_modules is \"a)|(?:b\", expected a regular expression (",
        ),
        (
            r#""alpha_pattern": {"a)|(?:b": 2}"#,
            "alpha_pattern is \"a)|(?:b\", expected a regular expression (",
        ),
        (
            r#""r": 2"#,
            "has no adapter_model.safetensors beside its adapter_config.json; save the changes again with PEFT",
        ),
        (
            r#""exclude_modules": 3"#,
            "exclude_modules is 3, expected a list of names or a regular expression",
        ),
        (
            r#""layers_to_transform": "1""#,
            "layers_to_transform is \"1\", expected the numbers of layers",
        ),
    ] {
        let error = lora(field);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_says_only_how_a_change_was_trained_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let none: [(String, Tensor); 0] = [];
    save_tensors(
        folder.path().join("adapter_model.safetensors"),
        &none,
        &Default::default(),
    )
    .unwrap();
    for field in [
        r#""init_lora_weights": "gaussian""#,
        r#""lora_dropout": 0.1"#,
        r#""unsloth_fixed": true"#,
        r#""loftq_config": {}"#,
        r#""peft_version": "1.0""#,
    ] {
        let text = format!(r#"{{"peft_type": "LORA", "target_modules": ["q_proj"], {field}}}"#);
        let path = folder.path().join(CONFIG);
        write_atomic(path, |file| file.write_all(text.as_bytes())).unwrap();
        AdapterFiles::open(folder.path()).unwrap();
    }
}

/// The changes of a fixture, with other fields and tensors, and what opening them says.
fn refused(fields: &[(&str, Value)], tensors: &[(&str, &[usize])]) -> String {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let adapter = base.with_file_name("lora-patterns");
    let folder = tempfile::tempdir().unwrap();
    let text = read_text(adapter.join(CONFIG), 1 << 20).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["base_model_name_or_path"] = base.display().to_string().into();
    for (name, value) in fields {
        config[*name] = value.clone();
    }
    write_atomic(folder.path().join(CONFIG), |file| {
        file.write_all(config.to_string().as_bytes())
    })
    .unwrap();
    let file = TensorFile::open(adapter.join("adapter_model.safetensors")).unwrap();
    let device = candle_core::Device::Cpu;
    let stored = file.tensors().iter();
    let mut all: Vec<(String, Tensor)> = stored
        .map(|info| {
            (
                info.name().to_owned(),
                file.load(info.name(), &device).unwrap(),
            )
        })
        .collect();
    for (name, shape) in tensors {
        let zeros = Tensor::zeros(*shape, candle_core::DType::F32, &device).unwrap();
        all.push((format!("base_model.model.{name}"), zeros));
    }
    let path = folder.path().join("adapter_model.safetensors");
    save_tensors(path, &all, &Default::default()).unwrap();
    let error = open(folder.path(), &LoadOptions::default()).unwrap_err();
    error.to_string()
}

#[test]
fn changes_that_do_not_fit_are_refused_before_they_are_made() {
    let expect = |error: String, part: &str| assert!(error.contains(part), "{error}");
    // A rank that no memory holds.
    expect(
        refused(&[("r", json!(1_u64 << 39))], &[]),
        "model.layers.0.mlp.down_proj.lora_A.weight has shape [2, 24], the configuration says rank 549755813888",
    );
    expect(
        refused(&[("target_modules", json!("all-linear"))], &[]),
        "model.layers.0.self_attn.k_proj.lora_A.weight of rank 2 is missing",
    );
    expect(
        refused(&[("target_modules", json!(["q_proj"]))], &[]),
        "v_proj.lora_A.weight [2, 16] is not in the model",
    );
    // As many steps as the length of a name has parts, and more.
    expect(
        refused(
            &[("target_modules", json!(r"(?=(([a-z_.0-9]*)*)*!)\1"))],
            &[],
        ),
        "target_modules is \"(?=(([a-z_.0-9]*)*)*!)\\\\1\", expected a regular expression that takes fewer steps",
    );
    expect(
        refused(&[("modules_to_save", json!(["lm_head"]))], &[]),
        "lm_head, which modules_to_save names, is missing",
    );
    expect(
        refused(
            &[("modules_to_save", json!(["adapter"]))],
            &[("model.adapter.weight", &[3])],
        ),
        "model.adapter.weight [3] is not in the model",
    );
    expect(
        refused(
            &[("modules_to_save", json!(["norm"]))],
            &[("model.norm.weight", &[3])],
        ),
        "model.norm.weight has shape [3], the model [16]",
    );
    expect(
        refused(&[], &[("model.embed_tokens.lora_embedding_A", &[2, 40])]),
        "adapter_config.json: target_modules is model.embed_tokens, a table of tokens, which is not supported; supported is a linear layer",
    );
}
