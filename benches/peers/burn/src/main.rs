//! Burn's side of the comparison: `burn-peer [NAME…]` prints one JSON line for each workload it can express.
#![recursion_limit = "256"]

mod llama;
mod measure;
mod networks;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Int, Tensor};
use measure::Measure;

fn main() {
    let measure = Measure::new(std::env::args().skip(1).collect());
    gemm(&measure);
    mlp(&measure);
    cnn(&measure);
    convolution(&measure);
    language_model(&measure);
}

/// A device whose tensors record no graph.
fn plain() -> Device {
    Device::flex()
}

/// A device whose tensors do.
fn recording() -> Device {
    Device::flex().autodiff()
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Numbers below `classes`, from a linear congruence.
fn classes<const D: usize>(classes: usize, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) % classes as u64) as i32
    };
    let values: Vec<i32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::<1, Int>::from_ints(values.as_slice(), device).reshape(shape)
}

/// Waits until everything that was asked for is done.
fn finish(device: &Device) {
    device.sync().expect("the processor does not fail");
}

fn gemm(measure: &Measure) {
    let device = plain();
    for n in [256, 1024, 2048] {
        let name = format!("gemm_f32_{n}");
        if measure.wants(&name) {
            let (a, b) = (normal([n, n], &device), normal([n, n], &device));
            let gflop = 2.0 * (n as f64).powi(3) / 1e9;
            measure.time(&name, (gflop, "GFLOP/s"), (3, 15), || {
                let _product = a.clone().matmul(b.clone());
                finish(&device);
            });
        }
    }
}

fn mlp(measure: &Measure) {
    let device = recording();
    for batch in [32, 256] {
        let name = format!("mlp_train_b{batch}");
        if measure.wants(&name) {
            let x = normal([batch, 784], &device);
            let labels = classes(10, [batch], &device);
            let (rate, network) = ((batch as f64, "samples/s"), networks::Mlp::new(&device));
            let forward = |network: &networks::Mlp| network.forward(x.clone());
            measure.train(&name, rate, (10, 60), network, labels, forward, &device);
        }
    }
    if measure.wants("mlp_infer_b1") {
        let device = plain();
        let network = networks::Mlp::new(&device);
        let x = normal([1, 784], &device);
        measure.time("mlp_infer_b1", (1.0, "samples/s"), (50, 300), || {
            let _logits = network.forward(x.clone());
            finish(&device);
        });
    }
}

fn cnn(measure: &Measure) {
    if measure.wants("cnn_train_b64") {
        let device = recording();
        let x = normal([64, 1, 28, 28], &device);
        let labels = classes(10, [64], &device);
        let (rate, network) = ((64.0, "samples/s"), networks::Cnn::new(&device));
        let forward = |network: &networks::Cnn| network.forward(x.clone());
        measure.train(
            "cnn_train_b64",
            rate,
            (3, 15),
            network,
            labels,
            forward,
            &device,
        );
    }
    for (name, batch, times) in [
        ("cnn_infer_b64", 64, (3, 15)),
        ("cnn_infer_b1", 1, (20, 100)),
    ] {
        if measure.wants(name) {
            let device = plain();
            let network = networks::Cnn::new(&device);
            let x = normal([batch, 1, 28, 28], &device);
            measure.time(name, (batch as f64, "samples/s"), times, || {
                let _logits = network.forward(x.clone());
                finish(&device);
            });
        }
    }
}

/// One convolution with the gradients of input and weight.
fn convolution(measure: &Measure) {
    let name = "conv3x3_64_fwdbwd";
    if !measure.wants(name) {
        return;
    }
    let device = recording();
    let x = normal([32, 64, 32, 32], &device).require_grad();
    let weight = (normal([64, 64, 3, 3], &device) * 0.1)
        .detach()
        .require_grad();
    let gflop = 3.0 * 2.0 * (32 * 64 * 32 * 32 * 64 * 9) as f64 / 1e9;
    measure.time(name, (gflop, "GFLOP/s"), (2, 9), || {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let y = conv2d(x.clone(), weight.clone(), None, options);
        let gradients = y.sum().backward();
        let both = (x.grad(&gradients), weight.grad(&gradients));
        assert!(
            matches!(both, (Some(_), Some(_))),
            "both gradients are there"
        );
        finish(&device);
    });
}

fn language_model(measure: &Measure) {
    let name = "llama15m_train_b4_t256";
    if !measure.wants(name) {
        return;
    }
    let device = recording();
    let angles = llama::Angles::new(&device);
    let tokens = classes(llama::VOCABULARY, [4, llama::ROWS], &device);
    let labels = classes(llama::VOCABULARY, [4 * llama::ROWS], &device);
    let forward = |llama: &llama::Llama| llama.forward(tokens.clone(), &angles);
    let (rate, network) = ((1024.0, "tokens/s"), llama::Llama::new(&device));
    measure.train(name, rate, (2, 9), network, labels, forward, &device);
}
