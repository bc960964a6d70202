//! Language models lose weights, heads and neurons, and what is written is what others open.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_io::TensorFile;
use cortical_kernels::sparse::Precision;
use cortical_models::language::{LanguageConfig, LanguageModel, LoadOptions, open};
use cortical_neuron::{Params, Pass};
use cortical_prune::{Amount, By, Ranked, TextRemoval, TextRequest, prune_text};
use cortical_tensor::Seed;
use cortical_text::Tokenizer;

/// Two blocks of four heads of queries, of which pairs share keys and values.
const LLAMA: &str = r#"{"model_type": "llama", "vocab_size": 258, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}"#;
const GPT2: &str = r#"{"model_type": "gpt2", "vocab_size": 258, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64}"#;

/// Writes a model into a folder, after `change` has had its way with it.
fn write(folder: &Path, config: &str, change: impl Fn(&Params)) -> PathBuf {
    let config = LanguageConfig::from_json(config).unwrap();
    let params = Params::new(&Device::Cpu, Seed(4));
    LanguageModel::build(&config, &params).unwrap();
    change(&params);
    let path = folder.join("model");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("config.json"), config.to_json().unwrap()).unwrap();
    let tokenizer = Tokenizer::bytes().to_json().unwrap();
    std::fs::write(path.join("tokenizer.json"), tokenizer).unwrap();
    cortical_io::save(path.join("model.safetensors"), &params).unwrap();
    path
}

fn request(model: &Path, out: &Path, removal: TextRemoval) -> TextRequest {
    TextRequest {
        model: model.to_owned(),
        out: out.to_owned(),
        removal,
        calibration: "the sea, the open sea, and the white whale in it. ".repeat(4),
        tokens: 128,
        test: "call me whatever you like, and go to the sea. ".repeat(12),
        pack: None,
        batches: vec![1],
        seed: 1,
    }
}

fn logits(folder: &Path) -> Vec<f32> {
    let loaded = open(folder, &LoadOptions::default()).unwrap();
    let ids = Tensor::new(&[[7_u32, 99, 30, 115, 101, 97]], &Device::Cpu).unwrap();
    let y = loaded.model.logits(&ids, None, &mut Pass::eval()).unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

/// Sets some rows (axis 0) or columns of a weight to 0.
fn clear(params: &Params, name: &str, axis: usize, gone: impl Fn(usize) -> bool) {
    let weight = params.get(name).unwrap();
    let dims = weight.dims();
    let mut shape = vec![1; dims.len()];
    shape[axis] = dims[axis];
    let mask = (0..dims[axis]).map(|at| if gone(at) { 0.0_f32 } else { 1.0 });
    let mask = Tensor::from_iter(mask, &Device::Cpu)
        .unwrap()
        .reshape(shape)
        .unwrap();
    weight
        .set(&weight.tensor().broadcast_mul(&mask).unwrap())
        .unwrap();
}

#[test]
fn heads_and_neurons_that_do_nothing_go_and_the_scores_stay() {
    for (calibrated, heads) in [(false, 0.5), (true, 0.5), (false, 0.0)] {
        let temporary = tempfile::tempdir().unwrap();
        let model = write(temporary.path(), LLAMA, |params| {
            for layer in 0..2 {
                let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
                let gone = |neuron: usize| neuron.is_multiple_of(2);
                clear(params, &name("mlp.gate_proj"), 0, gone);
                clear(params, &name("mlp.up_proj"), 0, gone);
                clear(params, &name("mlp.down_proj"), 1, gone);
                // The first pair of heads in one block, the second in the other.
                let first = |position: usize| (position / 8 == 0) == (layer == 0);
                if heads > 0.0 {
                    clear(params, &name("self_attn.q_proj"), 0, first);
                    clear(params, &name("self_attn.o_proj"), 1, first);
                    clear(params, &name("self_attn.k_proj"), 0, |at| first(2 * at));
                    clear(params, &name("self_attn.v_proj"), 0, |at| first(2 * at));
                }
            }
        });
        let out = temporary.path().join("narrow");
        let removal = TextRemoval::Widths {
            heads,
            inner: 0.5,
            calibrated,
        };
        let report = prune_text(&request(&model, &out, removal)).unwrap();
        assert!(report.after.parameters < report.before.parameters);
        let config = std::fs::read_to_string(out.join("config.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&config).unwrap();
        let left = if heads > 0.0 { (2, 1) } else { (4, 2) };
        assert_eq!(value["num_attention_heads"], left.0);
        assert_eq!(value["num_key_value_heads"], left.1);
        assert_eq!(
            (&value["intermediate_size"], &value["head_dim"]),
            (&12.into(), &4.into())
        );
        let (want, got) = (logits(&model), logits(&out));
        for (a, b) in want.iter().zip(&got) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

#[test]
fn neurons_of_a_gpt2_lie_in_columns_and_its_heads_stay() {
    let temporary = tempfile::tempdir().unwrap();
    let model = write(temporary.path(), GPT2, |params| {
        for layer in 0..2 {
            let name = |part: &str| format!("transformer.h.{layer}.mlp.{part}");
            let gone = |neuron: usize| neuron.is_multiple_of(2);
            clear(params, &name("c_fc.weight"), 1, gone);
            clear(params, &name("c_fc.bias"), 0, gone);
            clear(params, &name("c_proj.weight"), 0, gone);
        }
    });
    let out = temporary.path().join("narrow");
    let widths = |heads| TextRemoval::Widths {
        heads,
        inner: 0.5,
        calibrated: true,
    };
    prune_text(&request(&model, &out, widths(0.0))).unwrap();
    for (a, b) in logits(&model).iter().zip(&logits(&out)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let refused = temporary.path().join("refused");
    let error = prune_text(&request(&model, &refused, widths(0.5))).unwrap_err();
    assert!(error.to_string().contains("none can be removed"), "{error}");
    assert!(!refused.exists(), "half a model stayed");
}

#[test]
fn wanda_weighs_weights_by_what_they_read() {
    let temporary = tempfile::tempdir().unwrap();
    for (config, first) in [
        (LLAMA, "model.layers.0.self_attn.q_proj"),
        (GPT2, "transformer.h.0.attn.c_attn"),
    ] {
        let folder = tempfile::tempdir_in(temporary.path()).unwrap();
        let model = write(folder.path(), config, |_| ());
        let out = folder.path().join("sparse");
        let ranked = Ranked {
            by: By::Wanda,
            amount: Amount::OfRow(0.5),
        };
        let request = request(&model, &out, TextRemoval::Weights(ranked));
        let report = prune_text(&request).unwrap();
        let file = TensorFile::open(out.join("model.safetensors")).unwrap();
        let masks = TensorFile::open(out.join("masks.safetensors")).unwrap();
        let mut pruned = 0;
        for info in masks.tensors() {
            let mask = masks.load(info.name(), &Device::Cpu).unwrap();
            let weight = file.load(info.name(), &Device::Cpu).unwrap();
            let zero = weight
                .eq(0.0)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<u8>()
                .unwrap();
            let mask = mask.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert!(
                zero.iter()
                    .zip(&mask)
                    .all(|(zero, stays)| zero + stays == 1)
            );
            assert_eq!(2 * zero.iter().filter(|z| **z == 1).count(), zero.len());
            pruned += zero.len() / 2;
        }
        assert_eq!(report.after.pruned, pruned);
        // What the first layer reads can be said without this crate: it is the first norm's output.
        let loaded = open(&model, &LoadOptions::default()).unwrap();
        let tokenizer = Tokenizer::open(&model).unwrap();
        let ids = tokenizer.encode(&request.calibration).unwrap();
        let ids = Tensor::from_slice(&ids[..128], (2, 64), &Device::Cpu).unwrap();
        let mut norm = Norm::default();
        let mut pass = Pass::eval().observed_by(&mut norm);
        loaded.model.hidden(&ids, None, &mut pass).unwrap();
        let x = norm
            .0
            .unwrap()
            .reshape((128, 16))
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let norms: Vec<f32> = (0..16)
            .map(|j| x.iter().map(|row| row[j] * row[j]).sum::<f32>().sqrt())
            .collect();
        let name = format!("{first}.weight");
        let columns = config == GPT2;
        let rows = |file: &TensorFile| {
            let weight = file.load(&name, &Device::Cpu).unwrap();
            let weight = if columns { weight.t().unwrap() } else { weight };
            weight.to_vec2::<f32>().unwrap()
        };
        let before = rows(&TensorFile::open(model.join("model.safetensors")).unwrap());
        for (was, is) in before.iter().zip(rows(&file)) {
            let score = |j: usize| was[j].abs() * norms[j];
            let stays: Vec<f32> = (0..16).filter(|j| is[*j] != 0.0).map(score).collect();
            let gone: Vec<f32> = (0..16).filter(|j| is[*j] == 0.0).map(score).collect();
            assert_eq!((stays.len(), gone.len()), (8, 8));
            let least = stays.iter().copied().fold(f32::INFINITY, f32::min);
            assert!(
                gone.iter().all(|score| *score <= least * 1.0001),
                "{gone:?} {least}"
            );
        }
    }
}

/// The output of the first norm of the first block.
#[derive(Default)]
struct Norm(Option<Tensor>);

impl cortical_neuron::Observer for Norm {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        if layer.ends_with("input_layernorm") || layer.ends_with("ln_1") {
            self.0.get_or_insert_with(|| output.clone());
        }
    }
}

#[test]
fn a_packed_model_gives_the_same_scores_and_is_not_pruned_again() {
    let temporary = tempfile::tempdir().unwrap();
    let model = write(temporary.path(), LLAMA, |_| {});
    let removal = TextRemoval::Weights(Ranked {
        by: By::Magnitude,
        amount: Amount::OfLayer(0.9),
    });
    let out = |name: &str| temporary.path().join(name);
    prune_text(&request(&model, &out("dense"), removal.clone())).unwrap();
    let packed = TextRequest {
        pack: Some(Precision::F32),
        ..request(&model, &out("packed"), removal.clone())
    };
    let report = prune_text(&packed).unwrap();
    assert_eq!(report.after.parameters, report.before.parameters);
    assert!(
        report.remarks[0].contains("of 14 pruned layers"),
        "{report:?}"
    );
    for (a, b) in logits(&out("dense")).iter().zip(&logits(&out("packed"))) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    if report.remarks[0].starts_with("none") {
        return;
    }
    let again = prune_text(&request(&out("packed"), &out("again"), removal)).unwrap_err();
    assert!(again.to_string().contains("are packed"), "{again}");
}
