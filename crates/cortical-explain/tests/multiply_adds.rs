//! What `inspect` says of multiply-adds is what operations count when they run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use cortical_explain::Contents;
use cortical_kernels::activation::Activation;
use cortical_models::language::LanguageModel;
use cortical_models::{ModelSpec, Network, Plan};
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::{Seed, multiply_adds_of, ops};
use std::path::Path;

/// Runs a network on one sample and counts.
fn counted(plan: &Plan) -> u64 {
    let params = Params::new(&Device::Cpu, Seed(1));
    let network = Network::build(plan, &params).unwrap();
    let shape = [&[1], plan.input_shape()].concat();
    let x = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let (y, count) = multiply_adds_of(|| network.forward(&x, &mut Pass::eval()));
    assert_eq!(y.unwrap().dims(), [1, plan.classes()]);
    count
}

#[test]
fn networks() {
    for (name, want) in [
        ("mlp", Some(64 * 64 + 64 * 10)),
        ("lenet", None),
        // As He et al. have it, 40.6 million for the plain net and the shortcuts of option B on top.
        ("resnet20", Some(40_813_184)),
    ] {
        let contents = Contents::open(name.as_ref()).unwrap();
        let count = counted(contents.plan.as_ref().unwrap());
        assert_eq!(contents.multiply_adds(), Some(count), "{name}");
        assert_eq!(want.unwrap_or(count), count, "{name}");
    }
}

#[test]
fn a_recurrent_network() {
    for cell in ["lstm", "gru", "rnn"] {
        let memory = format!("{{ {cell} = {{ hidden_size = 7, output = \"last\" }} }}");
        let text = format!("layers = [{memory}, {{ linear = \"classes\" }}]");
        let spec = ModelSpec::read("model", &text.parse().unwrap()).unwrap();
        let plan = Plan::new(&spec.layers(), &[9, 5], 3).unwrap();
        let contents = Contents::of_plan("preset", Path::new(cell), plan).unwrap();
        let count = counted(contents.plan.as_ref().unwrap());
        assert_eq!(contents.multiply_adds(), Some(count), "{cell}");
        let gates = ["rnn", "", "gru", "lstm"]
            .iter()
            .position(|name| *name == cell);
        let gates = gates.unwrap() as u64 + 1;
        assert_eq!(count, 9 * gates * 7 * (5 + 7) + 7 * 3, "{cell}");
    }
}

/// Runs a language model on one text and counts, with the pooler of one that has it.
fn counted_text(contents: &Contents, tokens: usize) -> u64 {
    let params = Params::new(&Device::Cpu, Seed(1));
    let model = LanguageModel::build(contents.config.as_ref().unwrap(), &params).unwrap();
    let ids = Tensor::arange(0, tokens as u32, &Device::Cpu).unwrap();
    let ids = ids.unsqueeze(0).unwrap();
    let (done, count) = multiply_adds_of(|| match model.has_head() {
        true => model.logits(&ids, None, &mut Pass::eval()).map(|_| ()),
        false => {
            let hidden = model.hidden(&ids, None, &mut Pass::eval())?;
            let first = hidden.narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
            let weight = params.get("pooler.dense.weight").unwrap();
            ops::linear(&first, weight.tensor(), None, Activation::Tanh).unwrap();
            Ok(())
        }
    });
    done.unwrap();
    count
}

#[test]
fn language_models_with_their_attention() {
    let small = r#""num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 24, "vocab_size": 40,
        "num_attention_heads": 4, "max_position_embeddings": 64"#;
    let configs = [
        ("bert", format!("{{\"model_type\": \"bert\", {small}}}")),
        ("grouped", format!("{{\"model_type\": \"llama\", \"num_key_value_heads\": 2, {small}}}")),
        (
            "window",
            format!("{{\"model_type\": \"mistral\", \"sliding_window\": 5, \"num_key_value_heads\": 2, {small}}}"),
        ),
        ("qwen3", format!("{{\"model_type\": \"qwen3\", \"head_dim\": 4, \"num_key_value_heads\": 2, {small}}}")),
        (
            "gpt2",
            r#"{"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 40, "n_positions": 64}"#
                .to_owned(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![Contents::open("llama-tiny".as_ref()).unwrap()];
    for (name, text) in configs {
        let home = folder.path().join(name);
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("config.json"), text).unwrap();
        all.push(Contents::open(&home).unwrap());
    }
    for mut contents in all {
        for tokens in [1, 2, 13] {
            contents = contents.at_context(tokens);
            let count = counted_text(&contents, tokens);
            let name = contents.path.display();
            assert_eq!(
                contents.multiply_adds(),
                Some(count),
                "{name}, {tokens} tokens"
            );
            // The tree shows the same: attention stands among the tensors.
            assert_eq!(
                contents.tree().multiply_adds,
                count,
                "{name}, {tokens} tokens"
            );
        }
    }
}
