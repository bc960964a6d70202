//! `verify` against PyTorch's outputs and gradients: the files in `references` were made by `make.py` there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cortical_explain::{Departure, Reference, TOLERANCE, Verifiable, Verification, verify};
use cortical_io::{TensorFile, save_tensors};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references")
}

/// The model that a fault is planted in: tensors and configuration, as files have them.
struct Model {
    name: &'static str,
    tensors: Vec<(String, Tensor)>,
    config: Value,
    layers: String,
}

impl Model {
    fn read(name: &'static str) -> Self {
        let at = folder();
        let (weights, config) = match name {
            "net" => (at.join("net.weights.safetensors"), Value::Null),
            _ => {
                let config = fs::read_to_string(at.join(name).join("config.json")).unwrap();
                let config = serde_json::from_str(&config).unwrap();
                (at.join(name).join("model.safetensors"), config)
            }
        };
        let file = TensorFile::open(weights).unwrap();
        Self {
            name,
            tensors: file.load_all(&Device::Cpu).unwrap(),
            config,
            layers: fs::read_to_string(at.join("net.toml")).unwrap(),
        }
    }

    /// Changes a tensor.
    fn change(&mut self, name: &str, change: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>) {
        let found = self.tensors.iter_mut().find(|(own, _)| own == name);
        let (_, tensor) = found.unwrap_or_else(|| panic!("{} has no {name}", self.name));
        let changed = change(tensor).unwrap().contiguous().unwrap();
        assert_eq!(changed.dims(), tensor.dims(), "{name}");
        *tensor = changed;
    }

    fn swap(&mut self, a: &str, b: &str) {
        let at = |name: &str| {
            self.tensors
                .iter()
                .position(|(own, _)| own == name)
                .unwrap()
        };
        let (a, b) = (at(a), at(b));
        let tensor = self.tensors[a].1.clone();
        self.tensors[a].1 = std::mem::replace(&mut self.tensors[b].1, tensor);
    }

    /// Writes it and compares it with its reference.
    fn verify(&self) -> Verification {
        let written = tempfile::tempdir().unwrap();
        let path = self.write(written.path());
        let reference = folder().join(format!("{}.reference.safetensors", self.name));
        let reference = Reference::open(&reference).unwrap();
        verify(&Verifiable::open(&path).unwrap(), &reference, TOLERANCE).unwrap()
    }

    fn write(&self, at: &Path) -> PathBuf {
        let path = at.join("model.safetensors");
        if self.name != "net" {
            fs::write(at.join("config.json"), self.config.to_string()).unwrap();
            save_tensors(&path, &self.tensors, &Default::default()).unwrap();
            return at.to_owned();
        }
        // What a training writes beside the weights.
        let recipe = format!(
            "version = 2\n[data]\nname = \"net\"\n[model]\nkind = \"layers\"\n{}",
            self.layers
        );
        let recipe = cortical_train::Recipe::from_toml(&recipe, None, &[]).unwrap();
        let layers = recipe.samples().unwrap().model.layers();
        let plan = cortical_models::Plan::new(&layers, &[1, 8, 8], 4).unwrap();
        let classes = serde_json::json!(["a", "b", "c", "d"]).to_string();
        let inputs = cortical_data::Inputs::new(vec![0.0; 64], &[1, 8, 8]).unwrap();
        let preprocess = serde_json::to_string(inputs.preprocess()).unwrap();
        let metadata = [
            ("cortical.model", "1".to_owned()),
            ("cortical.kind", "classifier".to_owned()),
            ("cortical.network", "layers".to_owned()),
            ("cortical.layers", plan.to_json()),
            ("cortical.preprocess", preprocess),
            ("cortical.classes", classes),
            ("cortical.input_shape", "[1,8,8]".to_owned()),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        save_tensors(&path, &self.tensors, &metadata).unwrap();
        path
    }
}

const MODELS: [&str; 4] = ["net", "llama", "gpt2", "bert"];

#[test]
fn models_agree_with_pytorch_layer_by_layer_and_in_every_gradient() {
    for (name, layers, gradients) in [
        ("net", 5, 10),
        ("llama", 25, 21),
        ("gpt2", 16, 28),
        ("bert", 20, 37),
    ] {
        let found = Model::read(name).verify();
        let worst = found
            .layers
            .iter()
            .map(|layer| layer.error)
            .fold(0.0, f64::max);
        let worst_gradient = found.gradients.iter().map(|g| g.error).fold(0.0, f64::max);
        assert_eq!(
            found.departure, None,
            "{name}: {worst:e} {worst_gradient:e}"
        );
        assert!(
            found.agrees(),
            "{name}: {:?} {:?}",
            found.missing_parameters,
            found.extra_parameters
        );
        // Far from the tolerance.
        assert!(
            worst < TOLERANCE / 3.0 && worst_gradient < 4.0 * TOLERANCE,
            "{name}: {worst:e} {worst_gradient:e}"
        );
        assert!(found.layers.len() >= layers, "{name}: {:?}", found.layers);
        assert!(
            found.gradients.len() >= gradients,
            "{name}: {}",
            found.gradients.len()
        );
        assert!(
            found.output.is_some_and(|output| output.so_far < TOLERANCE),
            "{name}"
        );
    }
}

fn transposed(t: &Tensor) -> candle_core::Result<Tensor> {
    let rank = t.rank();
    t.transpose(rank - 2, rank - 1)
}

fn zeros(t: &Tensor) -> candle_core::Result<Tensor> {
    t.zeros_like()
}

fn ones(t: &Tensor) -> candle_core::Result<Tensor> {
    t.ones_like()
}

/// The first row in the place of the second.
fn doubled_row(t: &Tensor) -> candle_core::Result<Tensor> {
    let first = t.narrow(0, 0, 1)?;
    let rest = t.narrow(0, 2, t.dim(0)? - 2)?;
    Tensor::cat(&[&first, &first, &rest], 0)
}

/// Each row in the place of the one before.
fn shifted(t: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::cat(&[t.narrow(0, 1, t.dim(0)? - 1)?, t.narrow(0, 0, 1)?], 0)
}

type Plant = Box<dyn Fn(&mut Model)>;

fn tensor(name: &str, change: fn(&Tensor) -> candle_core::Result<Tensor>) -> Plant {
    let name = name.to_owned();
    Box::new(move |model| model.change(&name, change))
}

fn config(key: &'static str, value: Value) -> Plant {
    Box::new(move |model| model.config[key] = value.clone())
}

fn recipe(from: &'static str, to: &'static str) -> Plant {
    Box::new(move |model| {
        assert!(model.layers.contains(from));
        model.layers = model.layers.replacen(from, to, 1);
    })
}

/// Faults by the model that they are planted in and the layer that is at fault.
fn faults() -> Vec<(&'static str, String, Plant)> {
    let mut all: Vec<(&'static str, String, Plant)> = Vec::new();
    let mut add = |model: &'static str, layer: &str, plant: Plant| {
        all.push((model, layer.to_owned(), plant));
    };
    // A Llama: transposed projections, a swapped gate, norms without their scales, and numbers of the configuration.
    for layer in 0..2 {
        let block = format!("model.layers.{layer}");
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            let at = format!("{block}.self_attn.{part}");
            add("llama", &at, tensor(&format!("{at}.weight"), transposed));
        }
        let (gate, up) = (
            format!("{block}.mlp.gate_proj"),
            format!("{block}.mlp.up_proj"),
        );
        let names = [format!("{gate}.weight"), format!("{up}.weight")];
        add(
            "llama",
            &gate,
            Box::new(move |model| model.swap(&names[0], &names[1])),
        );
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            let at = format!("{block}.{norm}");
            add("llama", &at, tensor(&format!("{at}.weight"), ones));
        }
        let down = format!("{block}.mlp.down_proj");
        add(
            "llama",
            &down,
            tensor(&format!("{down}.weight"), doubled_row),
        );
    }
    add("llama", "model.norm", tensor("model.norm.weight", ones));
    add("llama", "lm_head", tensor("lm_head.weight", doubled_row));
    add(
        "llama",
        "model.embed_tokens",
        tensor("model.embed_tokens.weight", shifted),
    );
    add(
        "llama",
        "model.layers.0.input_layernorm",
        config("rms_norm_eps", 1e-5.into()),
    );
    // Positions turn between the projections in and the one out; so does the gate's function in a feed-forward layer.
    let theta = serde_json::json!({ "rope_theta": 100.0, "rope_type": "default" });
    add(
        "llama",
        "model.layers.0.self_attn.o_proj",
        config("rope_parameters", theta),
    );
    add(
        "llama",
        "model.layers.0.mlp.down_proj",
        config("hidden_act", "gelu".into()),
    );
    // A GPT-2: missing biases, transposed projections, heads.
    for layer in 0..2 {
        let block = format!("transformer.h.{layer}");
        for part in [
            "attn.c_attn",
            "attn.c_proj",
            "mlp.c_fc",
            "mlp.c_proj",
            "ln_1",
            "ln_2",
        ] {
            let at = format!("{block}.{part}");
            add("gpt2", &at, tensor(&format!("{at}.bias"), zeros));
        }
        let at = format!("{block}.attn.c_proj");
        add("gpt2", &at, tensor(&format!("{at}.weight"), transposed));
    }
    add(
        "gpt2",
        "transformer.ln_f",
        tensor("transformer.ln_f.bias", zeros),
    );
    add(
        "gpt2",
        "transformer.wpe",
        tensor("transformer.wpe.weight", doubled_row),
    );
    add(
        "gpt2",
        "transformer.h.0.ln_1",
        config("layer_norm_epsilon", 0.1.into()),
    );
    add(
        "gpt2",
        "transformer.h.0.attn.c_proj",
        config("n_head", 4.into()),
    );
    add(
        "gpt2",
        "transformer.h.0.mlp.c_proj",
        config("activation_function", "relu".into()),
    );
    // A BERT: queries in the place of keys, missing biases.
    for layer in 0..2 {
        let attention = format!("encoder.layer.{layer}.attention.self");
        let names = ["query", "key"].map(|part| format!("{attention}.{part}.weight"));
        let plant: Plant = Box::new(move |model| model.swap(&names[0], &names[1]));
        add("bert", &format!("{attention}.query"), plant);
        let at = format!("encoder.layer.{layer}.attention.output.dense");
        add("bert", &at, tensor(&format!("{at}.bias"), zeros));
        let at = format!("encoder.layer.{layer}.output.LayerNorm");
        add("bert", &at, tensor(&format!("{at}.weight"), ones));
    }
    add(
        "bert",
        "embeddings.LayerNorm",
        config("layer_norm_eps", 0.1.into()),
    );
    // A network of our own: turned filters, missing biases, other functions.
    for layer in ["conv1", "conv2"] {
        add("net", layer, tensor(&format!("{layer}.weight"), transposed));
        add("net", layer, tensor(&format!("{layer}.bias"), zeros));
    }
    add("net", "bn", tensor("bn.running_mean", zeros));
    add("net", "bn", recipe("eps = 0.01", "eps = 0.00001"));
    add("net", "fc1", tensor("fc1.weight", transposed));
    add("net", "fc2", tensor("fc2.bias", zeros));
    // The function between two layers is seen by the one behind it.
    add(
        "net",
        "conv2",
        recipe(
            "eps = 0.01, activation = \"relu\"",
            "eps = 0.01, activation = \"gelu\"",
        ),
    );
    add(
        "net",
        "fc2",
        recipe("activation = \"tanh\"", "activation = \"sigmoid\""),
    );
    all
}

#[test]
fn the_layer_of_every_planted_fault_is_named() {
    let faults = faults();
    assert!(faults.len() >= 50, "{}", faults.len());
    let mut wrong = Vec::new();
    for (number, (model, layer, plant)) in faults.iter().enumerate() {
        let mut model = Model::read(model);
        plant(&mut model);
        let found = model.verify();
        match &found.departure {
            Some(Departure::Forward { layer: named, .. }) if named == layer => {}
            other => wrong.push(format!("{number} in {} {layer}: {other:?}", model.name)),
        }
        assert!(!found.agrees());
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        faults.len()
    );
}

/// A reference with some tensors changed.
fn reference(
    name: &str,
    change: impl Fn(&str, &Tensor) -> Option<Tensor>,
) -> (tempfile::TempDir, Reference) {
    let file = folder().join(format!("{name}.reference.safetensors"));
    let tensors = TensorFile::open(file)
        .unwrap()
        .load_all(&Device::Cpu)
        .unwrap();
    let tensors: Vec<(String, Tensor)> = tensors
        .into_iter()
        .filter_map(|(name, t)| Some((name.clone(), change(&name, &t)?)))
        .collect();
    let written = tempfile::tempdir().unwrap();
    let path = written.path().join("reference.safetensors");
    save_tensors(&path, &tensors, &Default::default()).unwrap();
    let reference = Reference::open(&path).unwrap();
    (written, reference)
}

#[test]
fn a_fault_of_the_backward_pass_alone_is_told_from_one_of_the_forward_pass() {
    // Behind fc1 on the way back: everything before it has another gradient.
    let before = ["grad.conv1", "grad.bn", "grad.conv2"];
    let (_at, reference) = reference("net", |name, t| {
        let is_before = before.iter().any(|start| name.starts_with(start));
        Some(if is_before {
            (t * 1.01).unwrap()
        } else {
            t.clone()
        })
    });
    let written = tempfile::tempdir().unwrap();
    let path = Model::read("net").write(written.path());
    let found = verify(&Verifiable::open(&path).unwrap(), &reference, TOLERANCE).unwrap();
    let Some(Departure::Gradient { parameter, ahead }) = found.departure.clone() else {
        panic!("{:?}", found.departure);
    };
    assert_eq!(
        (&parameter[..], ahead.as_deref()),
        ("conv2.bias", Some("fc1.weight"))
    );
    assert!(found.layers.iter().all(|layer| !found.departs(layer)));
}

#[test]
fn missing_and_extra_names_are_listed_and_an_error_does_not_spread() {
    let (_at, reference) = reference("net", |name, t| match name {
        "grad.fc2.bias" | "output.fc2" => None,
        // One number of one layer.
        "output.conv2" => Some((t + 1.0).unwrap()),
        _ => Some(t.clone()),
    });
    let written = tempfile::tempdir().unwrap();
    let path = Model::read("net").write(written.path());
    let found = verify(&Verifiable::open(&path).unwrap(), &reference, TOLERANCE).unwrap();
    assert_eq!(found.extra_parameters, ["fc2.bias"]);
    assert!(
        found.extra_layers.contains(&"fc2".to_owned()),
        "{:?}",
        found.extra_layers
    );
    let departing: Vec<&str> = found
        .layers
        .iter()
        .filter(|layer| found.departs(layer))
        .map(|layer| &layer.name[..])
        .collect();
    // fc1 is computed from what the reference says that conv2 gives, and its own output was computed from another.
    assert_eq!(departing, ["conv2", "fc1"]);
    assert!(!found.agrees());
}

#[test]
fn what_is_no_reference_or_of_another_model_is_refused() {
    let written = tempfile::tempdir().unwrap();
    let path = Model::read("net").write(written.path());
    let model = Verifiable::open(&path).unwrap();
    // A reference of tokens for a network of pictures, and pictures for a language model.
    let tokens = Reference::open(&folder().join("llama.reference.safetensors")).unwrap();
    let error = verify(&model, &tokens, TOLERANCE).unwrap_err().to_string();
    assert!(error.contains("was it made with another model?"), "{error}");
    let pictures = Reference::open(&folder().join("net.reference.safetensors")).unwrap();
    let llama = Verifiable::open(&folder().join("llama")).unwrap();
    let error = verify(&llama, &pictures, TOLERANCE)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tokens"), "{error}");
    // A model is no reference.
    let error = Reference::open(&path).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("docs/dump.py"),
        "{error}"
    );
    // Truncated anywhere, or with a token that is not there.
    let whole = fs::read(folder().join("llama.reference.safetensors")).unwrap();
    let cut = written.path().join("cut.safetensors");
    for end in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&cut, &whole[..end]).unwrap();
        assert!(Reference::open(&cut).is_err(), "{end}");
    }
    for ids in [vec![-1_i64, 2], vec![3, 10_000]] {
        let (_at, reference) = reference("llama", |name, t| match name {
            "input" => Some(Tensor::from_vec(ids.clone(), (1, 2), &Device::Cpu).unwrap()),
            _ => Some(t.clone()),
        });
        assert!(verify(&llama, &reference, TOLERANCE).is_err(), "{ids:?}");
    }
}

#[test]
fn what_is_not_finite_departs() {
    let (_at, reference) = reference("net", |name, t| match name {
        "output.fc1" => Some(
            t.affine(f64::NAN, 0.0)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap(),
        ),
        _ => Some(t.clone()),
    });
    let written = tempfile::tempdir().unwrap();
    let path = Model::read("net").write(written.path());
    let found = verify(&Verifiable::open(&path).unwrap(), &reference, TOLERANCE).unwrap();
    let Some(Departure::Forward { layer, .. }) = &found.departure else {
        panic!("{:?}", found.departure);
    };
    assert_eq!(layer, "fc1");
}

#[test]
fn the_models_of_this_folder_are_all_there() {
    for name in MODELS {
        assert!(!Model::read(name).tensors.is_empty());
    }
}
