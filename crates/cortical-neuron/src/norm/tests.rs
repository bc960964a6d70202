//! Names, running averages, and what is refused.

use crate::{BatchNorm, GroupNorm, InstanceNorm, Layer, LayerNorm, Params, Pass, RmsNorm};
use candle_core::{Device, Tensor};
use cortical_kernels::activation::Activation;
use cortical_tensor::{Seed, ops};

fn params() -> Params {
    Params::new(&Device::Cpu, Seed(1))
}

fn names(params: &Params) -> Vec<String> {
    params
        .named_tensors()
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn parameters_have_pytorchs_names() {
    let p = params();
    LayerNorm::config(&[3, 4]).build(&p.at("ln")).unwrap();
    RmsNorm::config(&[4]).build(&p.at("rms")).unwrap();
    GroupNorm::config(2, 4).build(&p.at("gn")).unwrap();
    InstanceNorm::config(4).build(&p.at("in")).unwrap();
    BatchNorm::config(4).build(&p.at("bn")).unwrap();
    let mut got = names(&p);
    got.sort();
    assert_eq!(
        got,
        [
            "bn.bias",
            "bn.num_batches_tracked",
            "bn.running_mean",
            "bn.running_var",
            "bn.weight",
            "gn.bias",
            "gn.weight",
            "ln.bias",
            "ln.weight",
            "rms.weight"
        ]
    );
}

#[test]
fn running_averages_follow_training_and_serve_evaluation() {
    for momentum in [Some(0.1), None] {
        let p = params();
        let bn = BatchNorm::config(1)
            .momentum(momentum)
            .eps(0.0)
            .build(&p.at("bn"))
            .unwrap();
        let mut rng = p.rng("pass");
        let x = Tensor::new(&[[1.0_f32], [3.0]], &Device::Cpu).unwrap();
        let y = bn.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[-1.0], [1.0]]);
        let number = |name: &str| p.buffer(name).unwrap().tensor().to_vec1::<f32>().unwrap()[0];
        // The batch has mean 2 and unbiased variance 2.
        let share = momentum.unwrap_or(1.0) as f32;
        assert!((number("bn.running_mean") - 2.0 * share).abs() < 1e-6);
        let var = (1.0 - share) + 2.0 * share;
        assert!((number("bn.running_var") - var).abs() < 1e-6);
        let before = names(&p).len();
        let y = bn
            .forward(&x, &mut Pass::eval())
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert!((y[0][0] - (1.0 - 2.0 * share) / var.sqrt()).abs() < 1e-6);
        assert!(
            (number("bn.running_var") - var).abs() < 1e-6,
            "evaluation changes nothing"
        );
        assert_eq!(names(&p).len(), before);
        let batches = p.buffer("bn.num_batches_tracked").unwrap().tensor();
        assert_eq!(batches.to_scalar::<i64>().unwrap(), 1);
    }
}

#[test]
fn a_fused_branch_and_activation_are_the_same_one_after_the_other() {
    let p = params();
    let fused = BatchNorm::config(4)
        .activation(Activation::Relu)
        .build(&p.at("fused"))
        .unwrap();
    let plain = BatchNorm::config(4).build(&p.at("plain")).unwrap();
    let x = Tensor::arange(0.0_f32, 160.0, &Device::Cpu).unwrap();
    let x = x.reshape((2, 4, 20)).unwrap().sin().unwrap();
    let branch = x.cos().unwrap();
    let mut rng = p.rng("pass");
    for mut pass in [Pass::train(&mut rng), Pass::eval()] {
        let got = fused.forward_residual(&x, &branch, &mut pass).unwrap();
        let normed = plain.forward(&x, &mut pass).unwrap();
        let want = ops::residual(&normed, &branch, Activation::Relu).unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(&got), numbers(&want));
        let got = fused.forward(&x, &mut pass).unwrap();
        let normed = plain.forward(&x, &mut pass).unwrap();
        let want = ops::activate(&normed, Activation::Relu).unwrap();
        assert_eq!(numbers(&got), numbers(&want));
    }
}

#[test]
fn gradients_reach_every_parameter() {
    let p = params();
    let layers: [Box<dyn Layer>; 4] = [
        Box::new(LayerNorm::config(&[5]).build(&p.at("ln")).unwrap()),
        Box::new(RmsNorm::config(&[5]).build(&p.at("rms")).unwrap()),
        Box::new(BatchNorm::config(4).build(&p.at("bn")).unwrap()),
        Box::new(GroupNorm::config(2, 4).build(&p.at("gn")).unwrap()),
    ];
    let mut rng = p.rng("pass");
    let mut pass = Pass::train(&mut rng);
    let mut x = Tensor::arange(0.0_f32, 60.0, &Device::Cpu)
        .unwrap()
        .reshape((3, 4, 5))
        .unwrap()
        .sin()
        .unwrap();
    for layer in &layers {
        x = layer.forward(&x, &mut pass).unwrap();
    }
    p.backward(&x.sqr().unwrap().sum_all().unwrap()).unwrap();
}

#[test]
fn impossible_options_are_refused() {
    let p = params();
    let error = GroupNorm::config(3, 4).build(&p.at("gn")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "num_groups must be a divisor of the channels, but is 3"
    );
    assert!(
        BatchNorm::config(3)
            .momentum(Some(2.0))
            .build(&p.at("bn"))
            .is_err()
    );
    let ln = LayerNorm::config(&[3]).build(&p.at("ln")).unwrap();
    let x = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let error = ln.forward(&x, &mut Pass::eval()).unwrap_err().to_string();
    assert!(
        error.starts_with("in layer \"ln\": layer_norm: x must have shape […, 3]"),
        "{error}"
    );
}

#[test]
fn a_scale_that_is_one_more_than_its_parameter_gets_the_same_gradient() {
    let p = params();
    let x = Tensor::new(&[[1.0_f32, 7.0], [-2.0, 0.5]], &Device::Cpu).unwrap();
    let plain = RmsNorm::config(&[2]).build(&p.at("plain")).unwrap();
    let shifted = RmsNorm::config(&[2]).plus_one(true);
    let shifted = shifted.build(&p.at("shifted")).unwrap();
    let mut rng = p.rng("pass");
    let [one, other] = [&plain, &shifted].map(|norm| {
        let y = norm.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        let loss = (&y * &x).unwrap().sum_all().unwrap();
        p.backward_partial(&loss).unwrap();
        let weight = norm.weight().unwrap();
        let first: Vec<f32> = weight.tensor().to_vec1().unwrap();
        let grad: Vec<f32> = weight.grad().unwrap().to_vec1().unwrap();
        (y.to_vec2::<f32>().unwrap(), first, grad)
    });
    assert_eq!(one.0, other.0);
    assert_eq!((one.1, other.1), (vec![1.0; 2], vec![0.0; 2]));
    assert_eq!(one.2, other.2);
    assert!(one.2.iter().all(|d| *d != 0.0));
}
