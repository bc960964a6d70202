//! Two convolutions, the second pooled, and two dense layers, on pictures of 28 × 28.

use super::training::{Training, inference};
use super::{Size, classes, normal};
use crate::error::Result;
use crate::measure::{Cost, Workload};
use candle_core::{Device, Tensor};
use cortical_conv::Conv2d;
use cortical_dense::Linear;
use cortical_kernels::activation::Activation::Relu;
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::Seed;

struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

impl Cnn {
    fn new(params: &Params) -> Result<Self> {
        Ok(Self {
            conv1: Conv2d::config(1, 32, 3)
                .activation(Relu)
                .build(&params.at("conv1"))?,
            conv2: Conv2d::config(32, 64, 3)
                .activation(Relu)
                .max_pool(2)
                .build(&params.at("conv2"))?,
            fc1: Linear::config(9216, 128)
                .activation(Relu)
                .build(&params.at("fc1"))?,
            fc2: Linear::config(128, 10).build(&params.at("fc2"))?,
        })
    }
}

impl Layer for Cnn {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let x = self.conv1.forward(x, pass)?; // [n, 1, 28, 28] -> [n, 32, 26, 26]
        let x = self.conv2.forward(&x, pass)?; // [n, 64, 12, 12], pooled
        let x = self.fc1.forward(&x.flatten_from(1)?, pass)?; // [n, 9216] -> [n, 128]
        self.fc2.forward(&x, pass) // [n, 10]
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let batch = size.pick(64, 2);
    let training = Workload::new("cnn_train_b64", (batch as f64, "samples/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = normal("inputs", &[batch, 1, 28, 28])?;
        let labels = classes("labels", 10, &[batch])?;
        Training::new(Cnn::new(&params)?, params, inputs, labels)
    })
    .times(3, 15)
    .cost(training_cost(batch));
    let several = infer("cnn_infer_b64", batch).times(3, 15);
    let one = infer("cnn_infer_b1", 1).times(20, 100);
    vec![training, several, one]
}

fn infer(name: &str, batch: usize) -> Workload {
    let operations = batch as f64 * (CONV1 + CONV2 + FC1 + FC2);
    Workload::new(name, (batch as f64, "samples/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = normal("inputs", &[batch, 1, 28, 28])?;
        Ok(inference(Cnn::new(&params)?, inputs))
    })
    .cost(Cost::operations(operations).and_moving(PARAMETERS))
}

// Operations of each layer for one picture, forward.
const CONV1: f64 = (2 * 26 * 26 * 32 * 9) as f64;
const CONV2: f64 = (2 * 24 * 24 * 64 * 32 * 9) as f64;
const FC1: f64 = (2 * 9216 * 128) as f64;
const FC2: f64 = (2 * 128 * 10) as f64;
/// Weights and biases.
const PARAMETERS: f64 = (32 * 9 + 32 + 64 * 32 * 9 + 64 + 9216 * 128 + 128 + 1280 + 10) as f64;

/// Forward, and two products backward in each layer but the first, whose input needs no gradient.
fn training_cost(batch: usize) -> Cost {
    let operations = 2.0 * CONV1 + 3.0 * (CONV2 + FC1 + FC2);
    Cost::operations(batch as f64 * operations).and_adamw(PARAMETERS)
}
