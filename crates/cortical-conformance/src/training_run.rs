//! Whole training runs: the losses of every step and the parameters at the end.

use crate::Stop;
use crate::given::{Given, Layout, numbers};
use crate::outcome::Judge;
use candle_core::{Device, Tensor};
use cortical_conv::{Conv2d, MaxPool2d};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Layer, Params, Pass, Result as LayerResult};
use cortical_optim::OptimizerConfig;
use cortical_tensor::{Seed, ops, with_fallback};
use serde_json::{Map, Value};

/// Trains the network in three ways: with activations and pooling fused into the layers, one operation after another,
/// and by candle's operations.
pub(crate) fn run(judge: &mut Judge<'_>) -> Result<(), Stop> {
    if judge.case.name != "lenet12" {
        return Err(Stop::UnknownSubject {
            kind: judge.case.kind.clone(),
            name: judge.case.name.clone(),
        });
    }
    train(judge, "fused", true)?;
    train(judge, "single", false)?;
    with_fallback(|| train(judge, "fallback", false))
}

/// Two convolutions, the second pooled, two dense layers.
struct LeNet12 {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
    fused: bool,
}

impl LeNet12 {
    fn new(params: &Params, sizes: [usize; 2], fused: bool) -> LayerResult<Self> {
        let [first, second] = sizes;
        let activation = if fused {
            Activation::Relu
        } else {
            Activation::Identity
        };
        let conv1 = Conv2d::config(1, first, 3).activation(activation);
        let conv2 = Conv2d::config(first, second, 3).activation(activation);
        let conv2 = if fused { conv2.max_pool(2) } else { conv2 };
        let fc1 = Linear::config(second * 16, 32).activation(activation);
        Ok(Self {
            conv1: conv1.build(&params.at("conv1"))?,
            conv2: conv2.build(&params.at("conv2"))?,
            fc1: fc1.build(&params.at("fc1"))?,
            fc2: Linear::config(32, 10).build(&params.at("fc2"))?,
            fused,
        })
    }
}

impl Layer for LeNet12 {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> LayerResult<Tensor> {
        let relu = |x: Tensor| match self.fused {
            true => Ok(x),
            false => ops::activate(&x, Activation::Relu),
        };
        let x = relu(self.conv1.forward(x, pass)?)?;
        let mut x = relu(self.conv2.forward(&x, pass)?)?;
        if !self.fused {
            x = MaxPool2d::config(2).build()?.forward(&x, pass)?;
        }
        let x = relu(self.fc1.forward(&x.flatten_from(1)?, pass)?)?;
        self.fc2.forward(&x, pass)
    }
}

fn train(judge: &mut Judge<'_>, way: &'static str, fused: bool) -> Result<(), Stop> {
    let given = Given::new(judge.case, Layout::Contiguous)?;
    let config = &judge.case.config;
    let size = |key: &str| {
        let size = config[key].as_u64().and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| Stop::Malformed {
            what: format!("config.{key}"),
        })
    };
    let params = Params::new(&Device::Cpu, Seed(0));
    let net = LeNet12::new(&params, [size("conv1")?, size("conv2")?], fused)?;
    for (name, value) in given.params() {
        params.set(name, value)?;
    }
    let mut optimizer = optimizer(config)?.build(&params, Vec::new())?;
    let mut rng = params.rng("pass");
    let mut losses = Vec::new();
    for _ in 0..size("steps")? {
        let logits = net.forward(given.input(0)?, &mut Pass::train(&mut rng))?;
        let loss = cross_entropy(&logits, given.input(1)?)?;
        params.zero_grad();
        params.backward(&loss)?;
        optimizer.step()?;
        losses.extend(numbers(&loss)?);
    }
    judge.compare(way, "losses", &losses, Some(&[losses.len()]))?;
    for param in params.all() {
        let what = format!("after.{}", param.name());
        judge.compare(way, &what, &numbers(param.tensor())?, Some(param.dims()))?;
    }
    Ok(())
}

/// `AdamW lr=3e-3 betas=(0.8,0.95) amsgrad=True`: PyTorch's name and its arguments.
fn optimizer(config: &Value) -> Result<OptimizerConfig, Stop> {
    let text = config["optimizer"].as_str().unwrap_or_default();
    let unknown = || Stop::UnknownOption {
        option: "optimizer".to_string(),
        value: text.to_string(),
    };
    let mut words = text.split_whitespace();
    let mut recipe = Map::new();
    recipe.insert("name".to_string(), words.next().ok_or_else(unknown)?.into());
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(unknown)?;
        let value = argument(value).ok_or_else(unknown)?;
        recipe.insert(key.to_string(), value);
    }
    serde_json::from_value(recipe.into()).map_err(|_| unknown())
}

/// A number, a truth value or some numbers in parentheses, as Python writes them without spaces.
fn argument(text: &str) -> Option<Value> {
    match text {
        "True" => Some(true.into()),
        "False" => Some(false.into()),
        _ => match text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
        {
            Some(list) => list.split(',').map(argument).collect(),
            None => text.parse::<f64>().ok().map(Value::from),
        },
    }
}
