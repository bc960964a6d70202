//! candle-nn's side of the comparison: `candle-peer [NAME…]` prints one JSON line for each workload it can express.

mod llama;
mod measure;
mod networks;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{Module, VarBuilder, VarMap, ops};
use measure::{Measure, Training};

fn main() -> Result<()> {
    let measure = Measure::new(std::env::args().skip(1).collect());
    gemm(&measure)?;
    mlp(&measure)?;
    cnn(&measure)?;
    convolution(&measure)?;
    lstm(&measure)?;
    llama::run(&measure)?;
    pointwise(&measure)
}

/// Samples of the standard normal distribution.
fn normal(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0_f32, 1.0, shape, &Device::Cpu)
}

/// Numbers below `classes`.
fn classes(classes: usize, shape: &[usize]) -> Result<Tensor> {
    Tensor::rand(0_f32, classes as f32, shape, &Device::Cpu)?.to_dtype(DType::U32)
}

/// A fresh store of parameters, and what layers are built from.
fn parameters() -> (VarMap, VarBuilder<'static>) {
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    (map, builder)
}

fn gemm(measure: &Measure) -> Result<()> {
    for n in [256, 1024, 2048] {
        let name = format!("gemm_f32_{n}");
        if !measure.wants(&name) {
            continue;
        }
        let (a, b) = (normal(&[n, n])?, normal(&[n, n])?);
        let gflop = 2.0 * (n as f64).powi(3) / 1e9;
        measure.time(&name, (gflop, "GFLOP/s"), (3, 15), || {
            a.matmul(&b).map(drop)
        })?;
    }
    Ok(())
}

fn mlp(measure: &Measure) -> Result<()> {
    for batch in [32, 256] {
        let name = format!("mlp_train_b{batch}");
        if measure.wants(&name) {
            let (map, builder) = parameters();
            let network = networks::mlp(builder)?;
            let mut training = Training::new(&map, normal(&[batch, 784])?, classes(10, &[batch])?)?;
            measure.time(&name, (batch as f64, "samples/s"), (10, 60), || {
                training.step(|x| network.forward(x))
            })?;
        }
    }
    if measure.wants("mlp_infer_b1") {
        let network = networks::mlp(parameters().1)?;
        let x = normal(&[1, 784])?;
        measure.time("mlp_infer_b1", (1.0, "samples/s"), (50, 300), || {
            network.forward(&x).map(drop)
        })?;
    }
    Ok(())
}

fn cnn(measure: &Measure) -> Result<()> {
    if measure.wants("cnn_train_b64") {
        let (map, builder) = parameters();
        let network = networks::Cnn::new(builder)?;
        let (inputs, labels) = (normal(&[64, 1, 28, 28])?, classes(10, &[64])?);
        let mut training = Training::new(&map, inputs, labels)?;
        measure.time("cnn_train_b64", (64.0, "samples/s"), (1, 5), || {
            training.step(|x| network.forward(x))
        })?;
    }
    for (name, batch, times) in [
        ("cnn_infer_b64", 64, (3, 15)),
        ("cnn_infer_b1", 1, (20, 100)),
    ] {
        if measure.wants(name) {
            let network = networks::Cnn::new(parameters().1)?;
            let x = normal(&[batch, 1, 28, 28])?;
            measure.time(name, (batch as f64, "samples/s"), times, || {
                network.forward(&x).map(drop)
            })?;
        }
    }
    Ok(())
}

/// One convolution with the gradients of input and weight.
fn convolution(measure: &Measure) -> Result<()> {
    let name = "conv3x3_64_fwdbwd";
    if !measure.wants(name) {
        return Ok(());
    }
    let x = Var::from_tensor(&normal(&[32, 64, 32, 32])?)?;
    let weight = Var::from_tensor(&(normal(&[64, 64, 3, 3])? * 0.1)?)?;
    let gflop = 3.0 * 2.0 * (32 * 64 * 32 * 32 * 64 * 9) as f64 / 1e9;
    measure.time(name, (gflop, "GFLOP/s"), (1, 5), || {
        let y = x.conv2d(&weight, 1, 1, 1, 1)?;
        y.sum_all()?.backward().map(drop)
    })
}

fn lstm(measure: &Measure) -> Result<()> {
    let name = "lstm_train_b32_t64";
    if !measure.wants(name) {
        return Ok(());
    }
    let (map, builder) = parameters();
    let network = networks::CharacterModel::new(builder)?;
    let (inputs, labels) = (classes(128, &[32, 64])?, classes(128, &[32 * 64])?);
    let mut training = Training::new(&map, inputs, labels)?;
    measure.time(name, ((32 * 64) as f64, "tokens/s"), (1, 5), || {
        training.step(|x| network.forward(x))
    })
}

/// Operations that are over once the numbers have passed.
fn pointwise(measure: &Measure) -> Result<()> {
    let numbers = 16 * 1024 * 1024;
    let rate = (2.0 * 4.0 * numbers as f64 / 1e9, "GB/s");
    if measure.wants("softmax_4096x4096") {
        let x = normal(&[4096, 4096])?;
        measure.time("softmax_4096x4096", rate, (2, 9), || {
            ops::softmax(&x, D::Minus1).map(drop)
        })?;
    }
    if measure.wants("relu_16m") {
        let x = normal(&[numbers])?;
        measure.time("relu_16m", rate, (2, 9), || x.relu().map(drop))?;
    }
    if measure.wants("gelu_erf_16m") {
        let x = normal(&[numbers])?;
        measure.time("gelu_erf_16m", rate, (2, 9), || x.gelu_erf().map(drop))?;
    }
    Ok(())
}
