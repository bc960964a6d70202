//! A network described in a recipe is the Rust struct of the same layers, bit for bit: at first, in training and
//! afterwards.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{Device, Tensor};
use cortical_conv::{Conv2d, MaxPool2d};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation::{Relu, Tanh};
use cortical_models::{ModelSpec, Network, Plan};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Dropout, Flatten, Layer, Params, Pass, Result, network};
use cortical_tensor::{Rng, Seed};

const RECIPE: &str = r#"
layers = [
  { conv2d = { out_channels = 6, kernel_size = 3, padding = 1, activation = "relu", max_pool = 2 } },
  { conv2d = { out_channels = 8, kernel_size = 3, activation = "tanh", bias = false } },
  { max_pool2d = 2 },
  "flatten",
  { dropout = 0.25 },
  { linear = { out_features = 16, activation = "relu" } },
  { linear = "classes" },
]
"#;

network! {
    /// The recipe's layers, named as it names them.
    struct Net {
        conv1: Conv2d = Conv2d::config(1, 6, 3).padding(1).activation(Relu).max_pool(2),
        conv2: Conv2d = Conv2d::config(6, 8, 3).activation(Tanh).bias(false),
        fc1: Linear = Linear::config(8, 16).activation(Relu),
        fc2: Linear = Linear::config(16, 3),
    }
}

struct Whole {
    net: Net,
    dropout: Dropout,
}

impl Layer for Whole {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = self.net.conv1.forward(x, pass)?;
        let x = self.net.conv2.forward(&x, pass)?;
        let x = MaxPool2d::config(2).build()?.forward(&x, pass)?;
        let x = Flatten::default().forward(&x, pass)?;
        let x = self.dropout.forward(&x, pass)?;
        let x = self.net.fc1.forward(&x, pass)?;
        self.net.fc2.forward(&x, pass)
    }
}

/// Every parameter's name and bits.
fn bits(params: &Params) -> Vec<(String, Vec<u32>)> {
    let all = params.all().into_iter().map(|p| {
        let values = p.tensor().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (
            p.name().to_string(),
            values.into_iter().map(f32::to_bits).collect(),
        )
    });
    all.collect()
}

/// A few steps of gradient descent with dropout, and the bits of every loss.
fn train(layer: &dyn Layer, params: &Params) -> Vec<u32> {
    let mut data = Rng::new(Seed(9), "data");
    let mut rng = params.rng("pass");
    let mut losses = Vec::new();
    for _ in 0..4 {
        let pixels: Vec<f32> = (0..4 * 100).map(|_| data.normal() as f32).collect();
        let x = Tensor::from_vec(pixels, (4, 1, 10, 10), &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32, 1, 2, 1], &Device::Cpu).unwrap();
        let logits = layer.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        let loss = cross_entropy(&logits, &labels).unwrap();
        params.backward(&loss).unwrap();
        for param in params.all() {
            let step = (param.grad().unwrap() * -0.05).unwrap();
            param.set(&(param.tensor() + step).unwrap()).unwrap();
        }
        params.zero_grad();
        losses.push(loss.to_scalar::<f32>().unwrap().to_bits());
    }
    losses
}

#[test]
fn a_recipe_builds_what_the_struct_is() {
    let table: toml::Table = RECIPE.parse().unwrap();
    let spec = ModelSpec::read("model", &table).unwrap();
    let plan = Plan::new(&spec.layers(), &[1, 10, 10], 3).unwrap();
    let by_recipe = Params::new(&Device::Cpu, Seed(5));
    let recipe = Network::build(&plan, &by_recipe).unwrap();

    let by_struct = Params::new(&Device::Cpu, Seed(5));
    let whole = Whole {
        net: Net::build(&by_struct.root()).unwrap(),
        // Dropout has no parameters; its random stream has the recipe's name for the layer.
        dropout: Dropout::new(0.25, &by_struct.at("dropout5")).unwrap(),
    };
    assert_eq!(bits(&by_recipe), bits(&by_struct), "as they begin");
    assert_eq!(
        train(&recipe, &by_recipe),
        train(&whole, &by_struct),
        "losses"
    );
    assert_eq!(bits(&by_recipe), bits(&by_struct), "after training");

    let described = recipe.describe(&[1, 10, 10]).unwrap();
    assert_eq!(described.parameters, by_struct.count());
    assert_eq!(described.output, [3]);
    let first = &described.parts[0];
    assert_eq!(first.formula, "out·(in / groups)·kernel + out = 6·1·9 + 6");
    assert_eq!((first.connections, first.multiply_adds), (5400, 5400));
}
