//! Three dense layers, 784-512-256-10, with ReLU between them.

use super::training::{Training, inference};
use super::{Size, classes, normal};
use crate::error::Result;
use crate::measure::{Cost, Workload};
use candle_core::{Device, Tensor};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation::Relu;
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::Seed;

/// Inputs, neurons of the two layers between, and classes.
type Widths = [usize; 4];

const WIDTHS: Widths = [784, 512, 256, 10];
/// Nothing in it is a multiple of 16 but the inputs.
const ODD: Widths = [784, 200, 200, 11];

struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    fn new([input, wide, narrow, out]: Widths, params: &Params) -> Result<Self> {
        Ok(Self {
            fc1: Linear::config(input, wide)
                .activation(Relu)
                .build(&params.at("fc1"))?,
            fc2: Linear::config(wide, narrow)
                .activation(Relu)
                .build(&params.at("fc2"))?,
            fc3: Linear::config(narrow, out).build(&params.at("fc3"))?,
        })
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let x = self.fc1.forward(x, pass)?; // [n, 784] -> [n, 512], of the usual one
        let x = self.fc2.forward(&x, pass)?; // [n, 256]
        self.fc3.forward(&x, pass) // [n, 10]
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let training = |name: &str, widths: Widths, batch| {
        let batch = size.pick(batch, 3);
        Workload::new(name, (batch as f64, "samples/s"), move || {
            let params = Params::new(&Device::Cpu, Seed(0));
            let inputs = normal("inputs", &[batch, widths[0]])?;
            let labels = classes("labels", widths[3], &[batch])?;
            Training::new(Mlp::new(widths, &params)?, params, inputs, labels)
        })
        .times(10, 60)
        .cost(training_cost(&widths, batch))
    };
    let alone = Workload::new("mlp_infer_b1", (1.0, "samples/s"), || {
        let params = Params::new(&Device::Cpu, Seed(0));
        Ok(inference(
            Mlp::new(WIDTHS, &params)?,
            normal("inputs", &[1, WIDTHS[0]])?,
        ))
    })
    .times(50, 300)
    .cost(Cost::operations(products(&WIDTHS, 1)).and_moving(parameters(&WIDTHS)));
    vec![
        training("mlp_train_b32", WIDTHS, 32),
        training("mlp_train_b256", WIDTHS, 256),
        alone,
        training("odd_mlp_200_train_b48", ODD, 48),
    ]
}

/// Operations of the products of the layers, once.
fn products(widths: &[usize], batch: usize) -> f64 {
    let layers = widths.windows(2);
    layers.map(|w| (2 * batch * w[0] * w[1]) as f64).sum()
}

/// Weights and biases.
fn parameters(widths: &[usize]) -> f64 {
    let layers = widths.windows(2);
    layers.map(|w| ((w[0] + 1) * w[1]) as f64).sum()
}

/// Forward, the gradient of each weight, and of each input but the first, which nobody asks for.
fn training_cost(widths: &[usize], batch: usize) -> Cost {
    let operations = 2.0 * products(widths, batch) + products(&widths[1..], batch);
    Cost::operations(operations).and_adamw(parameters(widths))
}
