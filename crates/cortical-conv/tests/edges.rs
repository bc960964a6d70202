//! What one convolution neuron can see: a detector of vertical edges written by hand, and one that is learned from
//! labelled pictures.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{D, Device, Tensor};
use cortical_conv::Conv2d;
use cortical_kernels::activation::Activation::Relu;
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Affine, Layer, Params, Pass};
use cortical_tensor::{Rng, Seed, ops};

const SIDE: usize = 8;

/// A picture with one edge at a random place and of random contrast, in noise; light on either side.
fn picture(rng: &mut Rng, vertical: bool) -> Vec<f32> {
    let at = 2 + rng.below(SIDE as u64 - 4) as usize;
    let (dark, light) = (0.5 * rng.uniform() - 1.0, 1.0 - 0.5 * rng.uniform());
    let turned = rng.uniform() < 0.5;
    let mut pixels = Vec::with_capacity(SIDE * SIDE);
    for row in 0..SIDE {
        for column in 0..SIDE {
            let beyond = if vertical { column >= at } else { row >= at };
            let value = if beyond == turned { dark } else { light };
            pixels.push((value + 0.1 * rng.normal()) as f32);
        }
    }
    pixels
}

/// `[n, 1, 8, 8]`, every other one with a vertical edge, and labels: 1 for vertical.
fn pictures(n: usize, rng: &mut Rng) -> (Tensor, Tensor) {
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let pixels: Vec<f32> = labels
        .iter()
        .flat_map(|label| picture(rng, *label == 1))
        .collect();
    (
        Tensor::from_vec(pixels, (n, 1, SIDE, SIDE), &Device::Cpu).unwrap(),
        Tensor::from_vec(labels, n, &Device::Cpu).unwrap(),
    )
}

/// The strongest answer of each picture.
fn strongest(answers: &Tensor) -> Vec<f32> {
    let all = answers.abs().unwrap().flatten_from(1).unwrap();
    all.max(D::Minus1).unwrap().to_vec1().unwrap()
}

#[test]
fn a_detector_by_hand_answers_to_vertical_edges_only() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let edges = Conv2d::config(1, 1, 3)
        .bias(false)
        .build(&params.at("edges"))
        .unwrap();
    let detector = [[[[-1.0_f32, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]]];
    params
        .set(
            "edges.weight",
            &Tensor::new(&detector, &Device::Cpu).unwrap(),
        )
        .unwrap();
    let (x, labels) = pictures(40, &mut Rng::new(Seed(2), "pictures"));
    let answers = strongest(&edges.forward(&x, &mut Pass::eval()).unwrap());
    for (answer, label) in answers.iter().zip(labels.to_vec1::<u32>().unwrap()) {
        // An edge has a contrast of 1 at least, three rows of which add up; noise adds up to much less.
        assert_eq!(*answer > 2.0, label == 1, "{answer}");
    }
}

/// Two kinds of neurons slide over the picture, the strongest answer of each is kept, and two neurons read those.
struct Eye {
    conv: Conv2d,
    head: Affine,
}

impl Eye {
    fn new(params: &Params) -> Self {
        let conv = Conv2d::config(1, 2, 3).activation(Relu).max_pool(SIDE - 2);
        Self {
            conv: conv.build(&params.at("conv")).unwrap(),
            head: Affine::build(&params.at("head"), &[2, 2], true, Default::default()).unwrap(),
        }
    }

    fn see(&self, x: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let seen = self.conv.forward(x, pass).unwrap().flatten_from(1).unwrap(); // [n, 2]
        let (weight, bias) = self.head.inputs(pass);
        ops::linear(&seen, weight, bias, self.head.activation()).unwrap()
    }
}

/// How much a kernel answers to a step along an axis: the difference between its first and last line along it.
fn along(kernel: &[Vec<f32>], vertical: bool) -> f32 {
    let line = |i: usize| -> f32 {
        (0..3)
            .map(|j| if vertical { kernel[j][i] } else { kernel[i][j] })
            .sum()
    };
    (line(2) - line(0)).abs()
}

#[test]
fn a_network_learns_a_detector_from_labelled_pictures() {
    let params = Params::new(&Device::Cpu, Seed(3));
    let eye = Eye::new(&params);
    let mut rng = Rng::new(Seed(4), "pictures");
    for _ in 0..300 {
        let (x, labels) = pictures(32, &mut rng);
        let loss = cross_entropy(
            &eye.see(&x, &mut Pass::train(&mut params.rng("pass"))),
            &labels,
        );
        params.backward(&loss.unwrap()).unwrap();
        for param in params.all() {
            // Plain gradient descent: against the gradient, a little.
            let step = (param.grad().unwrap() * -0.1).unwrap();
            param.set(&(param.tensor() + step).unwrap()).unwrap();
        }
        params.zero_grad();
    }
    // It names pictures that it has never seen.
    let (x, labels) = pictures(200, &mut Rng::new(Seed(5), "unseen"));
    let named = eye.see(&x, &mut Pass::eval()).argmax(D::Minus1).unwrap();
    let right = named
        .eq(&labels)
        .unwrap()
        .to_dtype(candle_core::DType::F32)
        .unwrap();
    let right = right.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(right > 0.97, "{right} of the pictures named right");
    // And what it has learned is a detector of edges: its kernels have a direction.
    let kernels = eye
        .conv
        .weight()
        .tensor()
        .squeeze(1)
        .unwrap()
        .to_vec3::<f32>()
        .unwrap();
    let strongest = kernels
        .iter()
        .map(|k| (along(k, true) - along(k, false)).abs());
    assert!(strongest.fold(0.0, f32::max) > 1.0, "{kernels:?}");
}
