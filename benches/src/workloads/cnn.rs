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

/// What differs from one network to the next.
#[derive(Clone, Copy)]
struct Shape {
    /// Of the two convolutions' outputs.
    channels: [usize; 2],
    /// Height and width of both kernels.
    kernel: usize,
    /// Neurons between picture and classes.
    hidden: usize,
}

const USUAL: Shape = Shape {
    channels: [32, 64],
    kernel: 3,
    hidden: 128,
};
const ODD: Shape = Shape {
    channels: [24, 40],
    kernel: 5,
    hidden: 200,
};
const CLASSES: usize = 10;

impl Shape {
    /// Height and width behind each convolution, and behind the pool.
    fn sides(&self) -> [usize; 3] {
        let first = 29 - self.kernel;
        let second = first + 1 - self.kernel;
        [first, second, second / 2]
    }

    /// Numbers in a picture that the dense layers read.
    fn features(&self) -> usize {
        self.channels[1] * self.sides()[2].pow(2)
    }

    /// Operations of each layer for one picture, forward.
    fn operations(&self) -> [f64; 4] {
        let ([first, second], [a, b, _]) = (self.channels, self.sides());
        let kernel = self.kernel.pow(2);
        [
            a * a * first * kernel,
            b * b * second * first * kernel,
            self.features() * self.hidden,
            self.hidden * CLASSES,
        ]
        .map(|multiply_adds| (2 * multiply_adds) as f64)
    }

    /// Weights and biases.
    fn parameters(&self) -> f64 {
        let ([first, second], kernel) = (self.channels, self.kernel.pow(2));
        let convolutions = (kernel + 1) * first + (first * kernel + 1) * second;
        (convolutions + (self.features() + 1) * self.hidden + (self.hidden + 1) * CLASSES) as f64
    }
}

impl Cnn {
    fn new(shape: Shape, params: &Params) -> Result<Self> {
        let [first, second] = shape.channels;
        Ok(Self {
            conv1: Conv2d::config(1, first, shape.kernel)
                .activation(Relu)
                .build(&params.at("conv1"))?,
            conv2: Conv2d::config(first, second, shape.kernel)
                .activation(Relu)
                .max_pool(2)
                .build(&params.at("conv2"))?,
            fc1: Linear::config(shape.features(), shape.hidden)
                .activation(Relu)
                .build(&params.at("fc1"))?,
            fc2: Linear::config(shape.hidden, CLASSES).build(&params.at("fc2"))?,
        })
    }
}

// Shapes are those of the usual network.
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
    let several = infer("cnn_infer_b64", batch).times(3, 15);
    let one = infer("cnn_infer_b1", 1).times(20, 100);
    vec![
        train("cnn_train_b64", USUAL, batch),
        several,
        one,
        train("odd_cnn_24_40_train_b48", ODD, size.pick(48, 2)),
    ]
}

fn train(name: &str, shape: Shape, batch: usize) -> Workload {
    Workload::new(name, (batch as f64, "samples/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = normal("inputs", &[batch, 1, 28, 28])?;
        let labels = classes("labels", CLASSES, &[batch])?;
        Training::new(Cnn::new(shape, &params)?, params, inputs, labels)
    })
    .times(3, 15)
    .cost(training_cost(shape, batch))
}

fn infer(name: &str, batch: usize) -> Workload {
    let operations = batch as f64 * USUAL.operations().iter().sum::<f64>();
    Workload::new(name, (batch as f64, "samples/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = normal("inputs", &[batch, 1, 28, 28])?;
        Ok(inference(Cnn::new(USUAL, &params)?, inputs))
    })
    .cost(Cost::operations(operations).and_moving(USUAL.parameters()))
}

/// Forward, and two products backward in each layer but the first, whose input needs no gradient.
fn training_cost(shape: Shape, batch: usize) -> Cost {
    let [conv1, conv2, fc1, fc2] = shape.operations();
    let operations = 2.0 * conv1 + 3.0 * (conv2 + fc1 + fc2);
    Cost::operations(batch as f64 * operations).and_adamw(shape.parameters())
}
