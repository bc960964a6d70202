//! Tests of figures, orientations, silencing and language models.

use super::collect::{Collector, Place};
use super::orientation::Orientation;
use super::silence::Silencer;
use super::*;
use candle_core::{Device, Tensor};
use cortical_kernels::activation::Activation;
use cortical_models::language::{LanguageModel, preset};
use cortical_models::{Network, Plan};
use cortical_neuron::{Layer, Observer, Params, View};
use cortical_tensor::Seed;

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn figures_of_a_neuron_are_those_by_hand() {
    let place = Place {
        channels_first: false,
        activation: Activation::Tanh,
    };
    let mut collector = Collector::new(vec![("a".to_owned(), place)], 2, |_| true);
    // Three inputs of two neurons; then a fourth input.
    collector.begin(&[0, 1, 2], &[0, 0, 1, 1]);
    collector.activation("a", &tensor(&[1.0, -0.5, 0.999, 0.5, 1.0, -0.5], &[3, 2]));
    collector.activation("unknown", &tensor(&[1.0; 6], &[3, 2]));
    collector.begin(&[3], &[0, 0, 1, 1]);
    collector.activation("a", &tensor(&[0.995, 2.0], &[1, 2]));
    let layers = collector.finish().unwrap();
    assert_eq!((layers.len(), layers[0].units.len()), (1, 2));
    let [a, b] = &layers[0].units[..] else {
        panic!()
    };
    assert_eq!((a.state, b.state), (State::Saturated, State::Alive));
    assert!((b.mean - 0.375).abs() < 1e-7);
    let squares = (0.25 + 0.25 + 0.25 + 4.0) / 4.0 - 0.375 * 0.375_f64;
    assert!((b.spread - squares.sqrt()).abs() < 1e-7, "{}", b.spread);
    assert_eq!((b.range, b.fires), ([-0.5, 2.0], 0.5));
    // Positive means: 0.25 over class 0, 1 over class 1.
    let (class, selectivity) = b.class.unwrap();
    assert!(
        class == 1 && (selectivity - 0.6).abs() < 1e-9,
        "{selectivity}"
    );
    let order: Vec<usize> = b.top.iter().map(|top| top.input).collect();
    assert_eq!(order[..2], [3, 1]);
}

#[test]
fn channels_answer_anywhere_and_a_constant_one_is_dead() {
    let place = Place {
        channels_first: true,
        activation: Activation::Relu,
    };
    let mut collector = Collector::new(vec![("c".to_owned(), place)], 0, |_| true);
    collector.begin(&[5, 6], &[]);
    // Two inputs, two channels, two places: the second channel is silent.
    let values = [0.0, 3.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    collector.activation("c", &tensor(&values, &[2, 2, 2, 1]));
    let layers = collector.finish().unwrap();
    let [a, b] = &layers[0].units[..] else {
        panic!()
    };
    assert_eq!(
        (a.fires, a.mean, a.top[0]),
        (
            1.0,
            1.25,
            Top {
                input: 5,
                output: 3.0
            }
        )
    );
    assert_eq!((b.state, b.fires, b.class), (State::Dead, 0.0, None));
}

#[test]
fn orientations_are_those_of_edges() {
    let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let turned = [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    // Dark above on the left: the edge rises to the right.
    let rising = [-2.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0, 2.0];
    let falling = [0.0, -1.0, -2.0, 1.0, 0.0, -1.0, 2.0, 1.0, 0.0];
    let spot = [0.0, -1.0, 0.0, -1.0, 4.0, -1.0, 0.0, -1.0, 0.0];
    for (weights, name) in [
        (sobel, "vertical"),
        (turned, "horizontal"),
        (rising, "diagonal /"),
        (falling, "diagonal \\"),
        (spot, "none"),
    ] {
        let found = Orientation::of(&weights, [1, 3, 3]).unwrap();
        assert_eq!(found.name(), name, "{found:?}");
        // Which side is light does not matter, and two channels are one.
        let both: Vec<f32> = weights.iter().chain(&weights).map(|w| -w).collect();
        assert_eq!(Orientation::of(&both, [2, 3, 3]).unwrap().name(), name);
    }
    assert!(Orientation::of(&[0.0; 9], [1, 3, 3]).is_none());
    assert!(Orientation::of(&[1.0], [1, 1, 1]).is_none());
    assert!(Orientation::of(&[f32::NAN; 9], [1, 3, 3]).is_none());
}

#[test]
fn patterns_with_stars_name_layers() {
    for (pattern, name, want) in [
        ("conv1", "conv1", true),
        ("conv1", "conv11", false),
        ("conv*", "conv11", true),
        ("*.mlp.*", "model.layers.0.mlp.down_proj.input", true),
        ("*mlp", "a.mlp.x", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern, name), want, "{pattern} {name}");
    }
}

/// A network with layers of every kind of shape, and its parameters.
fn network(layers: &str, shape: &[usize]) -> (Network, Params) {
    let recipe: toml::Table = format!("layers = {layers}").parse().unwrap();
    let spec = cortical_models::ModelSpec::read("model", &recipe).unwrap();
    let plan = Plan::new(&spec.layers(), shape, 3).unwrap();
    let params = Params::new(&Device::Cpu, Seed(1));
    (Network::build(&plan, &params).unwrap(), params)
}

#[test]
fn a_silenced_neuron_is_one_whose_outgoing_weights_are_zero() {
    let layers = r#"[{ conv2d = { name = "conv1", out_channels = 4, kernel_size = 3, activation = "relu", max_pool = 2 } },
        { conv2d = { name = "conv2", out_channels = 5, kernel_size = 2 } }, "flatten",
        { linear = { name = "fc1", out_features = 6, activation = "tanh" } }, { linear = { name = "fc2", out_features = "classes" } }]"#;
    let (network, params) = network(layers, &[1, 8, 8]);
    let x: Vec<f32> = (0..128)
        .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let x = tensor(&x, &[2, 1, 8, 8]);
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (layer, unit, reads, first) in [
        ("conv1", 2, "conv2.weight", true),
        ("fc1", 3, "fc2.weight", false),
    ] {
        let mut silencer = Silencer::new(layer, unit..unit + 1, first);
        let silenced = network
            .forward(&x, &mut Pass::eval().observed_by(&mut silencer))
            .unwrap();
        let before = params.get(reads).unwrap().tensor().copy().unwrap();
        let keep: Vec<f32> = (0..before.dim(1).unwrap())
            .map(|at| f32::from(u8::from(at != unit)))
            .collect();
        let mut shape = vec![1; before.rank()];
        shape[1] = keep.len();
        let keep = tensor(&keep, &shape);
        params
            .set(reads, &before.broadcast_mul(&keep).unwrap())
            .unwrap();
        let cut = network.forward(&x, &mut Pass::eval()).unwrap();
        params.set(reads, &before).unwrap();
        let whole = network.forward(&x, &mut Pass::eval()).unwrap();
        let far = |a: &Tensor, b: &Tensor| {
            numbers(a)
                .iter()
                .zip(numbers(b))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        assert!(far(&silenced, &cut) < 1e-6, "{layer}");
        assert!(
            far(&silenced, &whole) > 1e-4,
            "{layer}: it was heard before"
        );
        // From the layer on it is the same.
        struct Kept(&'static str, Option<Tensor>);
        impl Observer for Kept {
            fn activation(&mut self, layer: &str, output: &Tensor) {
                if layer == self.0 {
                    self.1 = Some(output.clone());
                }
            }
        }
        let mut kept = Kept(layer, None);
        network
            .forward(&x, &mut Pass::eval().observed_by(&mut kept))
            .unwrap();
        let output = kept.1.unwrap();
        let mut silencer = Silencer::new(layer, unit..unit + 1, first);
        let silent = silencer.replacement(layer, &output).unwrap().unwrap();
        let behind = network
            .forward_behind(layer, &silent, &mut Pass::eval())
            .unwrap()
            .unwrap();
        assert_eq!(numbers(&behind), numbers(&silenced), "{layer}");
    }
}

#[test]
fn every_kind_of_layer_can_be_silenced() {
    struct Zero(Vec<String>, Option<usize>);
    impl Observer for Zero {
        fn activation(&mut self, layer: &str, output: &Tensor) {
            match self.1 {
                None => self.0.push(layer.to_owned()),
                Some(at) if self.0[at] == layer => {
                    let sum = output.abs().unwrap().sum_all().unwrap();
                    assert_eq!(sum.to_scalar::<f32>().unwrap(), 0.0, "{layer}");
                }
                Some(_) => {}
            }
        }
        fn wants(&self, view: View) -> bool {
            self.1.is_some() && view == View::Replacements
        }
        fn replacement(
            &mut self,
            layer: &str,
            output: &Tensor,
        ) -> cortical_neuron::Result<Option<Tensor>> {
            let is_it = self.1.is_some_and(|at| self.0[at] == layer);
            Ok(is_it.then(|| output.zeros_like()).transpose()?)
        }
    }
    for (layers, shape) in [
        (
            r#"[{ conv2d = { out_channels = 4, kernel_size = 3 } }, { batch_norm = { activation = "relu" } },
            { residual = [{ conv2d = { out_channels = 4, kernel_size = 1 } }, "batch_norm"] },
            { conv_transpose2d = { out_channels = 2, kernel_size = 2 } }, { group_norm = 2 }, { activation = "silu" }, "flatten", { linear = "classes" }]"#,
            vec![1, 6, 6],
        ),
        (
            r#"[{ lstm = 6 }, "flatten", { linear = "classes" }]"#,
            vec![4, 5],
        ),
        (
            r#"[{ decoder_block = { num_heads = 2, intermediate_size = 12 } }, "flatten", { linear = "classes" }]"#,
            vec![4, 8],
        ),
        (
            r#"[{ multi_head_attention = 2 }, "layer_norm", "flatten", { linear = "classes" }]"#,
            vec![4, 8],
        ),
    ] {
        let (network, _params) = network(layers, &shape);
        let x = Tensor::ones(
            [&[2][..], &shape].concat(),
            candle_core::DType::F32,
            &Device::Cpu,
        )
        .unwrap();
        let mut seen = Zero(Vec::new(), None);
        network
            .forward(&x, &mut Pass::eval().observed_by(&mut seen))
            .unwrap();
        assert!(seen.0.len() > 2, "{:?}", seen.0);
        for at in 0..seen.0.len() {
            let mut zero = Zero(seen.0.clone(), Some(at));
            network
                .forward(&x, &mut Pass::eval().observed_by(&mut zero))
                .unwrap();
        }
    }
}

#[test]
fn a_language_model_shows_its_heads_and_its_neurons_tokens() {
    let config = preset("llama-tiny").unwrap().config;
    let params = Params::new(&Device::Cpu, Seed(1));
    let model = LanguageModel::build(&config, &params).unwrap();
    let tokens = |text: &str| TextTokens {
        ids: text.bytes().map(u32::from).collect(),
        words: text.chars().map(String::from).collect(),
    };
    let options = SurveyOptions {
        layers: vec!["model.layers.0.*".to_owned()],
        silence: Some(24),
    };
    let text = tokens("Call me Ishmael. Some years ago");
    let found = survey_language(&model, text, tokens("Call me"), &options).unwrap();
    assert_eq!(found.attention.len(), config.layers());
    for layer in &found.attention {
        assert_eq!(layer.size, [7, 7]);
        for head in &layer.heads {
            for (query, row) in head.weights.chunks(7).enumerate() {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(
                    row[query + 1..].iter().all(|weight| *weight == 0.0),
                    "nobody sees what comes later"
                );
            }
        }
    }
    assert_eq!(found.layers.len(), 1, "only the layer that was named");
    let layer = &found.layers[0];
    assert_eq!(layer.name, "model.layers.0.mlp.down_proj.input");
    assert!(
        layer
            .units
            .iter()
            .all(|unit| unit.silenced.is_some() && unit.top.len() == 9)
    );
    assert!(
        layer
            .units
            .iter()
            .any(|unit| unit.silenced.as_ref().unwrap().loss != 0.0)
    );
    let at = layer.units[0].top[0].input;
    assert!(
        found
            .text
            .context(at)
            .ends_with(&format!("[{}]", found.text.words[at]))
    );
    let html = language_page("Neurons of a model", &found);
    assert_eq!(
        html.matches("data:image/png").count(),
        found.attention.iter().map(|l| l.heads.len()).sum::<usize>()
    );
    assert!(survey_language(&model, tokens(""), tokens("a"), &options).is_err());
}
