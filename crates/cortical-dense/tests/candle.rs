//! Our layers inside a candle program, and a candle program's layers inside ours: both train.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::{Optimizer, VarBuilder, VarMap};
use cortical_dense::{Linear, Mlp};
use cortical_kernels::activation::Activation::Tanh;
use cortical_neuron::loss::mse_loss;
use cortical_neuron::{Dropout, FromModule, Layer, Params, Pass, Sequential};
use cortical_tensor::Seed;

/// Four points of exclusive or.
fn points() -> (Tensor, Tensor) {
    let x = [[0.0_f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    let y = [[0.0_f32], [1.0], [1.0], [0.0]];
    (
        Tensor::new(&x, &Device::Cpu).unwrap(),
        Tensor::new(&y, &Device::Cpu).unwrap(),
    )
}

fn number(t: &Tensor) -> f32 {
    t.to_scalar().unwrap()
}

#[test]
fn our_layers_train_in_a_candle_program() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let net = Mlp::config(&[2, 8, 1])
        .activation(Tanh)
        .build(&params.root())
        .unwrap();
    // From here on everything is candle's: the module, the loss, the graph, the optimizer.
    let module = net.as_module().training(params.rng("pass"));
    let mut optimizer = candle_nn::AdamW::new_lr(params.vars(), 0.05).unwrap();
    let (x, y) = points();
    let mut losses = Vec::new();
    for _ in 0..300 {
        let loss = candle_nn::loss::mse(&module.forward(&x).unwrap(), &y).unwrap();
        optimizer.backward_step(&loss).unwrap();
        losses.push(number(&loss));
    }
    assert!(
        losses[0] > 0.1 && losses[299] < 0.01,
        "{} {}",
        losses[0],
        losses[299]
    );
    // The module that evaluates sees the trained weights and keeps no graph.
    let y = net.as_module().forward(&x).unwrap();
    assert!(!y.track_op());
    assert!(number(&candle_nn::loss::mse(&y, &points().1).unwrap()) < 0.01);
}

#[test]
fn a_training_module_drops_and_an_evaluating_one_does_not() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let net = Sequential::new(&params.root())
        .then(|at| Dropout::new(0.5, at))
        .unwrap();
    let x = Tensor::ones((1, 64), DType::F32, &Device::Cpu).unwrap();
    let training = net.as_module().training(params.rng("pass"));
    let run = |m: &dyn Module| m.forward(&x).unwrap().to_vec2::<f32>().unwrap();
    let (first, second) = (run(&training), run(&training));
    assert_ne!(first, second, "each pass draws anew");
    assert!(first[0].contains(&0.0));
    assert_eq!(run(&net.as_module()), [[1.0; 64]]);
}

#[test]
fn a_candle_module_trains_in_our_network() {
    let params = Params::new(&Device::Cpu, Seed(1));
    // A piece of a candle program, with its own variables.
    let vars = VarMap::new();
    let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let theirs = candle_nn::linear(2, 8, builder.pp("theirs")).unwrap();
    let owned: Vec<(String, Var)> = {
        let data = vars.data().lock().unwrap();
        let mut owned: Vec<_> = data.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        owned.sort_by(|a, b| a.0.cmp(&b.0));
        owned
    };
    for (name, var) in &owned {
        // candle draws from a stream without a seed; some of its draws diverge at this rate.
        let values = (0..var.elem_count()).map(|i| (i * 7 % 11) as f32 / 11.0 - 0.5);
        let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
        var.set(&values.reshape(var.dims()).unwrap()).unwrap();
        params.adopt(name, var.clone()).unwrap();
    }
    let net = Sequential::new(&params.root())
        .push(FromModule::new(theirs))
        .push(Tanh)
        .then(|at| Linear::config(8, 1).build(at))
        .unwrap();
    let (x, y) = points();
    let before = params
        .get("theirs.weight")
        .unwrap()
        .tensor()
        .copy()
        .unwrap();
    let mut rng = params.rng("pass");
    let mut losses = Vec::new();
    for _ in 0..600 {
        let out = net.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        let loss = mse_loss(&out, &y).unwrap();
        params.backward(&loss).unwrap(); // an adopted variable without a gradient would be an error
        for param in params.all() {
            let step = (param.grad().unwrap() * -0.3).unwrap();
            let moved = (param.tensor() + step).unwrap();
            param.set(&moved).unwrap();
        }
        params.zero_grad();
        losses.push(number(&loss));
    }
    assert!(
        losses[0] > 0.1 && losses[599] < 0.02,
        "{} {}",
        losses[0],
        losses[599]
    );
    let after = params.get("theirs.weight").unwrap();
    let moved = (after.tensor() - before)
        .unwrap()
        .abs()
        .unwrap()
        .sum_all()
        .unwrap();
    assert!(
        number(&moved) > 0.1,
        "the candle module's own variables have moved"
    );
    // Frozen, they are left out, and what they compute is still differentiated on its way.
    params.freeze("theirs").unwrap();
    let out = net.forward(&x, &mut Pass::train(&mut rng)).unwrap();
    params.backward(&mse_loss(&out, &y).unwrap()).unwrap();
    assert!(params.get("2.weight").unwrap().grad().is_some());
}
