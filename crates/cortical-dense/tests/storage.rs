//! One linear layer over parameters in rows, parameters in columns, quantized weights and low-rank changes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{DType, Device, Tensor};
use cortical_dense::{Layout, Linear};
use cortical_kernels::activation::Activation;
use cortical_kernels::constant::ConstantMatrix;
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use cortical_kernels::sparse::{Precision, SparseMatrix};
use cortical_neuron::{Adapters, Error, Layer, Params, Pass, Result, Source};
use cortical_tensor::Seed;
use std::sync::Arc;

/// Whose weights are quantized to eight bits, and which has nothing else.
#[derive(Debug)]
struct Quantized;

impl Source for Quantized {
    fn tensor(&self, _: &str, _: &[usize]) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn quantized(&self, _: &str, shape: &[usize]) -> Result<Option<Arc<QuantizedMatrix>>> {
        let count = shape[0] * shape[1];
        let values: Vec<f32> = (0..count).map(|i| ((i * 7) % 11) as f32 * 0.01).collect();
        let matrix = QuantizedMatrix::quantize(Format::Q8_0, shape[0], shape[1], &values);
        Ok(Some(matrix.unwrap().into()))
    }
}

/// Whose weights have every second connection.
#[derive(Debug)]
struct Sparse;

impl Source for Sparse {
    fn tensor(&self, _: &str, _: &[usize]) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn constant(&self, _: &str, shape: &[usize]) -> Result<Option<Arc<dyn ConstantMatrix>>> {
        let count = shape[0] * shape[1];
        let values: Vec<f32> = (0..count)
            .map(|i| (i % 2 * ((i * 7) % 11)) as f32 * 0.01)
            .collect();
        let matrix = SparseMatrix::from_dense(shape[0], shape[1], &values, Precision::F32);
        Ok(Some(Arc::new(matrix)))
    }
}

const INPUTS: usize = 32;

fn store(adapters: Option<bool>) -> Params {
    let params = Params::new(&Device::Cpu, Seed(1));
    params.adapt(adapters.map(|dora| Adapters {
        rank: 2,
        alpha: 4.0,
        targets: vec!["fc".to_string()],
        dora,
        ..Adapters::default()
    }));
    params
}

/// Every kind of weights, with biases and an activation.
fn layers() -> Vec<(&'static str, Params, Linear)> {
    let build = |params: Params, layout: Layout| {
        let config = Linear::config(INPUTS, 3).activation(Activation::Tanh);
        let layer = config.layout(layout).build(&params.at("fc")).unwrap();
        // B begins at zero, which hides what stands behind it.
        for param in params.all().iter().filter(|p| p.name().contains("lora_B")) {
            param
                .set(&param.tensor().affine(1.0, 0.1).unwrap())
                .unwrap();
        }
        (params, layer)
    };
    let source = Params::with_source(&Device::Cpu, Seed(1), DType::F32, Arc::new(Quantized));
    let sparse = Params::with_source(&Device::Cpu, Seed(1), DType::F32, Arc::new(Sparse));
    let cases = [
        ("rows", store(None), Layout::Rows),
        ("columns", store(None), Layout::Columns),
        ("rows with LoRA", store(Some(false)), Layout::Rows),
        ("columns with LoRA", store(Some(false)), Layout::Columns),
        ("rows with DoRA", store(Some(true)), Layout::Rows),
        ("columns with DoRA", store(Some(true)), Layout::Columns),
        ("quantized", source, Layout::Rows),
        ("sparse", sparse, Layout::Rows),
    ];
    let cases = cases.into_iter().map(|(what, params, layout)| {
        let (params, layer) = build(params, layout);
        (what, params, layer)
    });
    cases.collect()
}

fn input() -> Tensor {
    let x = Tensor::arange(0.0_f32, 2.0 * INPUTS as f32, &Device::Cpu).unwrap();
    let x = x.reshape((2, INPUTS)).unwrap();
    (x * 0.02).unwrap()
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_parameter_gets_the_gradient_of_training_in_an_evaluation_that_wants_it() {
    for (what, params, layer) in layers() {
        let mut gradients = Vec::new();
        for tracked in [false, true] {
            let mut rng = params.rng("pass");
            let mut pass = match tracked {
                false => Pass::train(&mut rng),
                true => Pass::eval().tracked(),
            };
            let y = layer.forward(&input(), &mut pass).unwrap();
            // A parameter without a gradient is an error.
            let done = params.backward(&y.sqr().unwrap().sum_all().unwrap());
            done.unwrap_or_else(|e| panic!("{what}, tracked {tracked}: {e}"));
            let all = params.all().into_iter();
            gradients.push(all.map(|p| numbers(&p.grad().unwrap())).collect::<Vec<_>>());
            params.zero_grad();
        }
        assert_eq!(gradients[0], gradients[1], "{what}");
        let zeros = |g: &Vec<f32>| g.iter().all(|g| *g == 0.0);
        assert!(!gradients[0].iter().any(zeros), "{what}: {gradients:?}");
    }
}

#[test]
fn an_evaluation_has_no_graph_and_a_pass_for_candle_has_candles() {
    for (what, params, layer) in layers() {
        let y = layer.forward(&input(), &mut Pass::eval()).unwrap();
        assert!(!y.track_op(), "{what}");
        let mut pass = Pass::eval().for_candle();
        let tracked = layer.forward(&input(), &mut pass).unwrap();
        assert_eq!(numbers(&tracked), numbers(&y), "{what}");
        let grads = tracked.sum_all().unwrap().backward().unwrap();
        for var in params.vars() {
            assert!(grads.get(&var).is_some(), "{what}");
        }
    }
}

#[test]
fn the_loss_of_a_head_is_that_of_its_scores_however_its_weights_lie() {
    let labels = Tensor::new(&[2_u32, 0], &Device::Cpu).unwrap();
    let build = |params: &Params, layout: Layout| {
        let config = Linear::config(INPUTS, 3).layout(layout);
        config.build(&params.at("fc")).unwrap()
    };
    let source = Params::with_source(&Device::Cpu, Seed(1), DType::F32, Arc::new(Quantized));
    for layer in [
        build(&store(None), Layout::Rows),
        build(&store(None), Layout::Columns),
        build(&store(Some(true)), Layout::Rows),
        build(&source, Layout::Rows),
    ] {
        let mut pass = Pass::eval();
        let loss = layer.loss(&input(), &labels, &mut pass).unwrap();
        let scores = layer.forward(&input(), &mut pass).unwrap();
        let want = cortical_neuron::loss::cross_entropy(&scores, &labels).unwrap();
        let [got, want] = [loss, want].map(|l| l.to_scalar::<f32>().unwrap());
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
}

#[test]
fn a_merged_change_gives_the_same_output_and_comes_out_again_bit_for_bit() {
    for (what, params, layer) in layers() {
        let before: Vec<_> = params.named_tensors();
        let before: Vec<_> = before.iter().map(|(_, t)| numbers(t)).collect();
        let apart = numbers(&layer.apply(&input(), &mut Pass::eval()).unwrap());
        layer.merge().unwrap();
        layer.merge().unwrap(); // once is enough
        let merged = numbers(&layer.apply(&input(), &mut Pass::eval()).unwrap());
        for (a, b) in apart.iter().zip(&merged) {
            assert!((a - b).abs() < 1e-5, "{what}: {apart:?} {merged:?}");
        }
        let plain = layer.plain_inputs(&Pass::eval()).is_some();
        assert_eq!(plain, what.starts_with("rows"), "{what}");
        layer.unmerge().unwrap();
        let plain = layer.plain_inputs(&Pass::eval()).is_some();
        assert_eq!(plain, what == "rows", "{what}");
        let after: Vec<_> = params.named_tensors();
        let after: Vec<_> = after.iter().map(|(_, t)| numbers(t)).collect();
        assert_eq!(before, after, "{what}");
    }
}

#[test]
fn a_description_counts_the_change_and_only_what_are_parameters() {
    for (what, params, layer) in layers() {
        let described = layer.describe(&[5, INPUTS]);
        let described = described.unwrap();
        assert_eq!(described.parameters, params.count(), "{what}");
        if what == "quantized" || what == "sparse" {
            assert!(layer.weight().is_none());
            let want = format!("out = 3, its weights are {what}");
            assert_eq!(described.formula, want);
            // Every second weight of the sparse ones is 0, and of the others one in eleven.
            let left = if what == "sparse" { 44 } else { 96 };
            assert_eq!(
                (described.connections, described.multiply_adds),
                (5 * left, 5 * 96)
            );
            continue;
        }
        let want = match what.split(" with ").nth(1) {
            Some("LoRA") => "out·in + out = 3·32 + 3 + 2·(32 + 3)",
            Some(_) => "out·in + out = 3·32 + 3 + 2·(32 + 3) + 3",
            None => "out·in + out = 3·32 + 3",
        };
        assert_eq!(described.formula, want);
        assert_eq!(layer.is_adapted(), what.contains("with"));
    }
}

#[test]
fn quantized_weights_take_no_low_rank_change() {
    let params = Params::with_source(&Device::Cpu, Seed(1), DType::F32, Arc::new(Quantized));
    params.adapt(store(Some(false)).adapters());
    let error = Linear::config(INPUTS, 3).build(&params.at("fc"));
    assert_eq!(
        error.unwrap_err().to_string(),
        "\"fc\" is quantized, so it cannot be adapted; load the model with weights in f32"
    );
}

#[test]
fn a_tied_weight_has_to_have_the_layers_shape_and_a_free_name() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let first = Linear::config(2, 2).build(&params.at("in")).unwrap();
    let weight = first.weight().unwrap();
    let tied = Linear::config(2, 2).bias(false);
    let tied = tied.build_tied(&params.at("out"), weight).unwrap();
    assert!(tied.weight().unwrap().is_same(weight));
    let wrong = Linear::config(2, 3).build_tied(&params.at("b"), weight);
    assert!(matches!(wrong.unwrap_err(), Error::ValueShape { .. }));
    let taken = Linear::config(2, 2).build_tied(&params.at("out"), weight);
    assert!(matches!(taken.unwrap_err(), Error::NameTaken { .. }));
}
