//! Against transformers: the same logits for every fixture, with a cache as without; sizes of published models; what is
//! refused.

mod adapter;
mod files;
mod published;
mod relatives;

use super::*;
use crate::Error;
use candle_core::{DType, Device, Tensor};
use cortical_io::TensorFile;
use cortical_kernels::quantized::{FEW_ROWS, Format};
use cortical_neuron::{Adapters, Params, Pass};
use cortical_tensor::Seed;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The fixtures that `fixtures/make.py` writes.
const FIXTURES: [&str; 24] = [
    "bert",
    "bert-masked",
    "gemma2",
    "gemma3",
    "gpt2",
    "gpt2-scaled",
    "llama",
    "llama-bf16",
    "llama-biases-older",
    "llama-dynamic-rope",
    "llama-grouped-tied",
    "llama-linear-rope",
    "llama-pickled",
    "llama-pickled-shards",
    "llama-tied-alias",
    "llama-yarn-rope",
    "llama3-rope",
    "mistral-window",
    "olmo2",
    "phi3",
    "phi3-longrope",
    "qwen2",
    "qwen3",
    "smollm3",
];

fn fixtures() -> Vec<PathBuf> {
    FIXTURES.map(fixture).to_vec()
}

fn config_text(folder: &Path) -> String {
    cortical_io::read_text(folder.join("config.json"), 1 << 20).unwrap()
}

/// The tokens of a fixture `[1, n]`, and what transformers computes for them.
fn expected(folder: &Path) -> (Tensor, Tensor) {
    let file = TensorFile::open(folder.join("expected.safetensors")).unwrap();
    let load = |name: &str| file.load(name, &Device::Cpu).ok();
    let ids = load("ids").unwrap().unsqueeze(0).unwrap();
    (
        ids,
        load("logits")
            .or_else(|| load("last_hidden_state"))
            .unwrap(),
    )
}

/// What the model gives for all tokens at once.
fn output(model: &LanguageModel, ids: &Tensor) -> Tensor {
    let mut pass = Pass::eval();
    let hidden = model.hidden(ids, None, &mut pass).unwrap();
    let out = match model.has_head() {
        true => model.scores(&hidden, &mut pass).unwrap(),
        false => hidden,
    };
    out.squeeze(0).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar()
        .unwrap()
}

#[test]
fn logits_are_those_of_transformers() {
    for folder in fixtures() {
        let loaded = open(&folder, &LoadOptions::default()).unwrap();
        let (ids, want) = expected(&folder);
        let difference = difference(&output(&loaded.model, &ids), &want);
        assert!(difference < 1e-4, "{}: {difference}", folder.display());
    }
}

#[test]
fn a_cache_changes_nothing() {
    for folder in fixtures() {
        let model = open(&folder, &LoadOptions::default()).unwrap().model;
        if !model.has_head() {
            continue;
        }
        let (ids, _) = expected(&folder);
        let (rows, whole) = (ids.dim(1).unwrap(), output(&model, &ids));
        // Some positions turn with the length of the text: what the cache holds was computed for a shorter one, so only
        // a text that is read at once is the same.
        let name = folder.to_string_lossy();
        let dynamic = name.contains("dynamic") || name.contains("longrope");
        let cuts = match dynamic {
            true => vec![vec![rows]],
            false => vec![vec![1; rows], vec![rows - 3, 1, 2], vec![4, rows - 4]],
        };
        for sizes in cuts {
            let (mut cache, mut at) = (model.cache(), 0);
            for size in sizes {
                let part = ids.narrow(1, at, size).unwrap();
                let got = model
                    .logits(&part, Some(&mut cache), &mut Pass::eval())
                    .unwrap();
                at += size;
                assert_eq!(cache.len(), at);
                let want = whole.narrow(0, at - size, size).unwrap();
                let difference = difference(&got.squeeze(0).unwrap(), &want);
                assert!(
                    difference < 1e-5,
                    "{} at {at}: {difference}",
                    folder.display()
                );
            }
        }
    }
}

#[test]
fn a_cache_that_is_cut_goes_on_from_there() {
    let model = open(fixture("llama"), &LoadOptions::default())
        .unwrap()
        .model;
    let (ids, _) = expected(&fixture("llama"));
    let mut cache = model.cache();
    let first = model
        .logits(&ids, Some(&mut cache), &mut Pass::eval())
        .unwrap();
    cache.truncate(4);
    let rest = ids.narrow(1, 4, ids.dim(1).unwrap() - 4).unwrap();
    let again = model
        .logits(&rest, Some(&mut cache), &mut Pass::eval())
        .unwrap();
    let want = first.narrow(1, 4, rest.dim(1).unwrap()).unwrap();
    assert!(difference(&again, &want) < 1e-5);
}

#[test]
fn published_sizes_are_exact() {
    let sizes = [
        ("llama2-7b", 6_738_415_616),
        ("llama2-13b", 13_015_864_320),
        ("llama2-70b", 68_976_648_192),
        ("llama3-8b", 8_030_261_248),
        ("llama3-70b", 70_553_706_496),
        ("llama3.1-8b", 8_030_261_248),
        ("llama3.2-1b", 1_235_814_400),
        ("llama3.2-3b", 3_212_749_824),
        ("tinyllama", 1_100_048_384),
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("smollm2-1.7b", 1_711_376_384),
        ("mistral-7b", 7_241_732_096),
        ("qwen2-0.5b", 494_032_768),
        ("qwen2-1.5b", 1_543_714_304),
        ("qwen2-7b", 7_615_616_512),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-8b", 8_190_735_360),
        ("gemma2-2b", 2_614_341_888),
        ("gemma2-9b", 9_241_705_984),
        ("gemma2-27b", 27_227_128_320),
        ("gemma3-270m", 268_098_176),
        ("gemma3-1b", 999_885_952),
        ("phi3-mini", 3_821_079_552),
        ("phi4", 14_659_507_200),
        ("olmo2-1b", 1_484_916_736),
        ("olmo2-7b", 7_298_617_344),
        ("olmo2-13b", 13_716_198_400),
        ("smollm3-3b", 3_075_098_624),
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("bert-base", 109_482_240),
        ("bert-large", 335_141_888),
    ];
    for (name, size) in sizes {
        let config = preset(name).unwrap().config;
        assert_eq!(config.parameters(), Some(size), "{name}");
        assert_eq!(Account::new(&config).total, size, "{name}");
    }
    let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
    assert!(names.iter().all(|name| preset(name).is_some()));
    assert!(preset("llama2-8b").is_none());
}

#[test]
fn a_built_model_has_the_tensors_that_its_configuration_lists() {
    for folder in fixtures() {
        let config = LanguageConfig::from_json(&config_text(&folder)).unwrap();
        let params = Params::new(&Device::Cpu, Seed(1));
        LanguageModel::build(&config, &params).unwrap();
        let mut built: Vec<_> = params
            .all()
            .iter()
            .map(|p| (p.name().to_owned(), p.dims().to_vec()))
            .collect();
        let mut listed: Vec<_> = config
            .tensors()
            .into_iter()
            .map(|t| (t.name, t.shape))
            .collect();
        built.sort();
        listed.sort();
        assert_eq!(built, listed, "{}", folder.display());
    }
}

#[test]
fn fields_that_change_the_mathematics_are_refused_by_name() {
    let read = |extra: &str| {
        let text = format!(
            r#"{{"model_type": "llama", "hidden_size": 16, "num_attention_heads": 4{extra}}}"#
        );
        LanguageConfig::from_json(&text).map_err(|error| error.to_string())
    };
    assert!(read("").is_ok());
    for harmless in [
        r#", "use_cache": true, "torch_dtype": "bfloat16", "initializer_range": 0.1"#,
        r#", "attention_dropout": 0.1, "pretraining_tp": 2, "rope_scaling": null"#,
        r#", "some_new_switch": false, "rope_interleaved": false"#,
    ] {
        assert!(read(harmless).is_ok(), "{harmless}");
    }
    let refused = [
        (
            r#", "logit_scale": 0.25"#,
            "logit_scale is 0.25, and llama has no such field",
        ),
        (
            r#", "final_logit_softcapping": 30.0"#,
            "final_logit_softcapping is 30.0",
        ),
        (
            r#", "partial_rotary_factor": 0.5"#,
            "partial_rotary_factor is 0.5, which is not supported",
        ),
        (r#", "rope_interleaved": true"#, "rope_interleaved is true"),
        (
            r#", "hidden_act": "quick_gelu""#,
            "hidden_act is \"quick_gelu\", which is not supported",
        ),
        (
            r#", "sliding_window": 8"#,
            "sliding_window is 8, and llama has no such field",
        ),
        (
            r#", "quantization_config": {"bits": 4}"#,
            "quantization_config is {\"bits\":4}, which is not supported",
        ),
        (
            r#", "num_key_value_heads": 3"#,
            "num_key_value_heads is 3, expected a divisor",
        ),
        (
            r#", "head_dim": 5"#,
            "head_dim is 5, expected an even number",
        ),
        (
            r#", "num_hidden_layers": 99999"#,
            "num_hidden_layers is 99999",
        ),
        (
            r#", "vocab_size": -1"#,
            "vocab_size is -1, expected a whole number",
        ),
        (r#", "rms_norm_eps": "small""#, "rms_norm_eps is \"small\""),
        (
            r#", "rope_scaling": {"type": "su", "factor": 2}"#,
            "rope_parameters.rope_type is \"su\"",
        ),
        (
            r#", "rope_scaling": {"type": "linear"}"#,
            "rope_scaling.factor is missing",
        ),
        (
            r#", "rope_scaling": {"type": "linear", "factor": 2, "odd": 1}"#,
            "rope_scaling.odd is 1",
        ),
        (
            r#", "rope_parameters": {"full_attention": {"rope_type": "default"}}"#,
            "rope_parameters.full_attention is",
        ),
    ];
    for (extra, message) in refused {
        let error = read(extra).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let other = LanguageConfig::from_json(r#"{"model_type": "mamba"}"#)
        .unwrap_err()
        .to_string();
    assert!(
        other.contains("llama, mistral, qwen2, qwen3, gemma2,") && other.contains("gpt2 and bert"),
        "{other}"
    );
    assert!(matches!(
        LanguageConfig::from_json("[1]"),
        Err(Error::Config { .. })
    ));
    assert!(matches!(
        LanguageConfig::from_json("{"),
        Err(Error::Json { .. })
    ));
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let llama = fixture("llama");
    let tensors = TensorFile::open(llama.join("model.safetensors")).unwrap();
    let tensors = tensors.load_all(&Device::Cpu).unwrap();
    let model = folder.path().join("model.safetensors");
    cortical_io::save_tensors(model, &tensors, &Default::default()).unwrap();
    let (path, text) = (folder.path().join("config.json"), config_text(&llama));
    let error = |from: &str, to: &str| {
        assert!(text.contains(from));
        let changed = text.replace(from, to);
        cortical_io::write_atomic(&path, |file| file.write_all(changed.as_bytes())).unwrap();
        open(folder.path(), &LoadOptions::default())
            .unwrap_err()
            .to_string()
    };
    let wider = error("\"intermediate_size\": 24", "\"intermediate_size\": 25");
    assert!(wider.contains("model.layers.0.mlp.gate_proj.weight has shape [24, 16], the configuration says [25, 16]"), "{wider}");
    let deeper = error("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000");
    assert!(
        deeper.contains("is missing") && deeper.contains("more"),
        "{deeper}"
    );
    let fewer = error("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    assert!(
        fewer.contains("model.layers.1.input_layernorm.weight [16] is not in the model"),
        "{fewer}"
    );
    let none = open(folder.path().join("nothing"), &LoadOptions::default()).unwrap_err();
    assert!(
        none.to_string()
            .contains("expected a folder with config.json"),
        "{none}"
    );
}

#[test]
fn tokens_outside_the_model_are_errors() {
    let gpt2 = open(fixture("gpt2"), &LoadOptions::default())
        .unwrap()
        .model;
    let hidden = |ids: Tensor| {
        gpt2.hidden(&ids, None, &mut Pass::eval())
            .unwrap_err()
            .to_string()
    };
    let long = hidden(Tensor::zeros((1, 33), DType::U32, &Device::Cpu).unwrap());
    assert!(
        long.contains("positions for 32 tokens, but the text has 33"),
        "{long}"
    );
    let unknown = hidden(Tensor::new(&[[3_u32, 40]], &Device::Cpu).unwrap());
    assert!(
        unknown.contains("indices[1] is 40, but must be below 40"),
        "{unknown}"
    );
    let empty = hidden(Tensor::zeros((1, 0), DType::U32, &Device::Cpu).unwrap());
    assert!(empty.contains("at least one token"), "{empty}");
    let bert = open(fixture("bert"), &LoadOptions::default())
        .unwrap()
        .model;
    let ids = Tensor::new(&[[3_u32, 4]], &Device::Cpu).unwrap();
    let none = bert
        .logits(&ids, None, &mut Pass::eval())
        .unwrap_err()
        .to_string();
    assert!(none.contains("has no head"), "{none}");
}

#[test]
fn quantized_weights_stay_close_to_their_originals() {
    let folder = fixture("llama-grouped-tied");
    let (ids, want) = expected(&folder);
    // Of so many rows nothing but the weights is rounded.
    let copies = FEW_ROWS / ids.dim(1).unwrap() + 1;
    let texts = ids.repeat((copies, 1)).unwrap();
    for (format, limit) in [
        (Format::Bf16, 0.1),
        (Format::F16, 0.02),
        (Format::Int8, 0.2),
    ] {
        let weights = Weights::Quantized(format);
        let options = LoadOptions {
            weights,
            ..Default::default()
        };
        let loaded = open(&folder, &options).unwrap();
        assert!(
            loaded
                .params
                .all()
                .iter()
                .all(|p| p.name().contains("norm"))
        );
        let mut pass = Pass::eval();
        let scores = loaded.model.logits(&texts, None, &mut pass).unwrap();
        let difference = difference(&scores.get(0).unwrap(), &want);
        assert!(difference < limit, "{format:?}: {difference}");
    }
    let weights = Weights::Quantized(Format::Q8_0);
    let options = LoadOptions {
        weights,
        ..Default::default()
    };
    let error = open(&folder, &options).unwrap_err().to_string();
    assert!(
        error.contains("rows of 16 weights cannot be quantized as q8_0"),
        "{error}"
    );
}

#[test]
fn every_parameter_of_a_trained_model_gets_a_gradient() {
    for name in ["llama", "qwen3", "gpt2"] {
        let options = LoadOptions {
            weights: Weights::Single,
            ..Default::default()
        };
        let Loaded { model, params, .. } = open(fixture(name), &options).unwrap();
        let (ids, _) = expected(&fixture(name));
        let n = ids.dim(1).unwrap() - 1;
        let mut rng = params.rng("pass");
        let mut pass = Pass::train(&mut rng);
        let logits = model
            .logits(&ids.narrow(1, 0, n).unwrap(), None, &mut pass)
            .unwrap();
        let labels = ids.narrow(1, 1, n).unwrap().flatten_all().unwrap();
        let logits = logits.flatten_to(1).unwrap();
        let loss = cortical_neuron::loss::cross_entropy(&logits, &labels).unwrap();
        let missing = params.backward_partial(&loss).unwrap();
        // GPT-2's table has positions that the text does not reach, which get zeros, so that nothing is missing.
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[test]
fn a_merged_change_computes_the_same() {
    for (dora, name, target) in [
        (false, "llama", "q_proj"),
        (true, "llama", "down_proj"),
        (false, "gpt2", "c_attn"),
    ] {
        let adapters = Adapters {
            rank: 2,
            alpha: 8.0,
            targets: vec![target.to_owned()],
            dora,
            ..Adapters::default()
        };
        let options = LoadOptions {
            adapters: Some(adapters),
            ..Default::default()
        };
        let Loaded { model, params, .. } = open(fixture(name), &options).unwrap();
        let (ids, want) = expected(&fixture(name));
        let plain = output(&model, &ids);
        assert!(
            difference(&plain, &want) < 1e-4,
            "a change begins with nothing"
        );
        for param in params.all().iter().filter(|p| p.name().contains("lora_B")) {
            let ones = param
                .tensor()
                .ones_like()
                .unwrap()
                .affine(0.03, 0.0)
                .unwrap();
            param.set(&ones).unwrap();
        }
        let changed = output(&model, &ids);
        assert!(difference(&changed, &want) > 1e-3, "the change acts");
        model.projections().iter().for_each(|p| p.merge().unwrap());
        assert!(difference(&output(&model, &ids), &changed) < 1e-4, "merged");
        model
            .projections()
            .iter()
            .for_each(|p| p.unmerge().unwrap());
        assert_eq!(difference(&output(&model, &ids), &changed), 0.0, "unmerged");
    }
}
