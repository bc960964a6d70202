//! Low-rank changes in PEFT's files: there and back, merged, with a head over classes.

use super::super::adapter::{CONFIG, is_part};
use super::super::class_head::is_head;
use super::super::{LanguageModel, LoadOptions, Loaded, TextClassifier, open};
use super::super::{load_adapter, merged_tensors, read_adapter_config, save_adapter};
use candle_core::Tensor;
use cortical_io::{read_text, save_tensors, write_atomic};
use cortical_neuron::Adapters;
use std::path::Path;

fn adapted(dora: bool) -> Loaded {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let options = LoadOptions {
        adapters: Some(Adapters {
            rank: 2,
            alpha: 4.0,
            targets: vec!["q_proj".to_owned(), "v_proj".to_owned()],
            dora,
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
        let config = read_adapter_config(folder.path()).unwrap();
        assert_eq!(Some(config), first.params.adapters());
        let second = adapted(dora);
        load_adapter(folder.path(), &second.params).unwrap();
        for (a, b) in first.params.all().iter().zip(second.params.all()) {
            let same = (a.tensor() - b.tensor())
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap();
            assert_eq!(same.to_scalar::<f32>().unwrap(), 0.0, "{}", a.name());
        }
        let error = load_adapter(folder.path(), &adapted(!dora).params)
            .unwrap_err()
            .to_string();
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
        read_adapter_config(folder.path()).unwrap_err().to_string()
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
        (r#""use_rslora": true"#, "use_rslora is true"),
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
    ] {
        let error = lora(field);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_says_only_how_a_change_was_trained_is_known() {
    let folder = tempfile::tempdir().unwrap();
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
        read_adapter_config(folder.path()).unwrap();
    }
}
