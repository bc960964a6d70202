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

/// The widths of the network.
const WIDTHS: [usize; 4] = [784, 512, 256, 10];
/// Its weights and biases.
const PARAMETERS: f64 = (784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10) as f64;

struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    fn new(params: &Params) -> Result<Self> {
        let [input, wide, narrow, out] = WIDTHS;
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
        let x = self.fc1.forward(x, pass)?; // [n, 784] -> [n, 512]
        let x = self.fc2.forward(&x, pass)?; // [n, 256]
        self.fc3.forward(&x, pass) // [n, 10]
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let training = [32, 256].map(|batch| {
        let name = format!("mlp_train_b{batch}");
        let batch = size.pick(batch, 3);
        Workload::new(name, (batch as f64, "samples/s"), move || {
            let params = Params::new(&Device::Cpu, Seed(0));
            let inputs = normal("inputs", &[batch, WIDTHS[0]])?;
            let labels = classes("labels", WIDTHS[3], &[batch])?;
            Training::new(Mlp::new(&params)?, params, inputs, labels)
        })
        .times(10, 60)
        .cost(training_cost(batch))
    });
    let alone = Workload::new("mlp_infer_b1", (1.0, "samples/s"), || {
        let params = Params::new(&Device::Cpu, Seed(0));
        Ok(inference(
            Mlp::new(&params)?,
            normal("inputs", &[1, WIDTHS[0]])?,
        ))
    })
    .times(50, 300)
    .cost(Cost::operations(products(1, 0)).and_moving(PARAMETERS));
    training.into_iter().chain([alone]).collect()
}

/// Operations of the products of all layers but the first `skip`, once.
fn products(batch: usize, skip: usize) -> f64 {
    let layers = WIDTHS.windows(2).skip(skip);
    layers.map(|w| (2 * batch * w[0] * w[1]) as f64).sum()
}

/// Forward, the gradient of each weight, and of each input but the first, which nobody asks for.
fn training_cost(batch: usize) -> Cost {
    Cost::operations(2.0 * products(batch, 0) + products(batch, 1)).and_adamw(PARAMETERS)
}
