//! ResNet-20 for pictures of 3 × 32 × 32: three stages of 16, 32 and 64 channels, three blocks each.
//!
//! He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016), section 4.2, with projections where
//! the size changes.

use super::training::Training;
use super::{Size, classes, normal};
use crate::error::Result;
use crate::measure::{Cost, Workload};
use candle_core::{Device, Tensor};
use cortical_conv::{AdaptiveAvgPool2d, Conv2d};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation::{self, Identity, Relu};
use cortical_neuron::{BatchNorm, Layer, Params, Pass, Scope};
use cortical_tensor::Seed;

/// Channels of the stages; the height and width are halved at the second and third.
const STAGES: [usize; 3] = [16, 32, 64];
const BLOCKS: usize = 3;

/// A convolution without bias and the norm behind it, perhaps with an activation.
struct Normed {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Normed {
    fn new(
        [input, output]: [usize; 2],
        (kernel, stride): (usize, usize),
        activation: Activation,
        [conv, norm]: [&Scope; 2],
    ) -> Result<Self> {
        let norm = BatchNorm::config(output)
            .activation(activation)
            .build(norm)?;
        Ok(Self {
            conv: Conv2d::config(input, output, kernel)
                .stride(stride)
                .padding(kernel / 2)
                .bias(false)
                .build(conv)?,
            norm,
        })
    }

    /// `activation(norm(conv(x)) + branch)`
    fn forward_residual(
        &self,
        x: &Tensor,
        branch: &Tensor,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let x = self.conv.forward(x, pass)?;
        self.norm.forward_residual(&x, branch, pass)
    }
}

impl Layer for Normed {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let x = self.conv.forward(x, pass)?;
        self.norm.forward(&x, pass)
    }
}

/// `relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x))`, each norm in one pass with what follows it.
struct Block {
    first: Normed,
    second: Normed,
    /// The projection where the shape changes.
    shortcut: Option<Normed>,
}

impl Block {
    fn new(input: usize, output: usize, stride: usize, scope: &Scope) -> Result<Self> {
        let at = |name: &str| scope.at(name);
        let shortcut = if stride == 1 && input == output {
            None
        } else {
            let (conv, norm) = (at("downsample.0"), at("downsample.1"));
            let scopes = [&conv, &norm];
            Some(Normed::new([input, output], (1, stride), Identity, scopes)?)
        };
        let first = [&at("conv1"), &at("bn1")];
        let second = [&at("conv2"), &at("bn2")];
        Ok(Self {
            first: Normed::new([input, output], (3, stride), Relu, first)?,
            second: Normed::new([output, output], (3, 1), Relu, second)?,
            shortcut,
        })
    }
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let y = self.first.forward(x, pass)?;
        match &self.shortcut {
            Some(shortcut) => {
                let branch = shortcut.forward(x, pass)?;
                self.second.forward_residual(&y, &branch, pass)
            }
            None => self.second.forward_residual(&y, x, pass),
        }
    }
}

struct ResNet20 {
    stem: Normed,
    blocks: Vec<Block>,
    pool: AdaptiveAvgPool2d,
    fc: Linear,
}

impl ResNet20 {
    fn new(params: &Params) -> Result<Self> {
        let scopes = [&params.at("conv1"), &params.at("bn1")];
        let stem = Normed::new([3, STAGES[0]], (3, 1), Relu, scopes)?;
        let mut blocks = Vec::new();
        let mut input = STAGES[0];
        for (stage, output) in STAGES.into_iter().enumerate() {
            for block in 0..BLOCKS {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let scope = params.at(&format!("layer{}.{block}", stage + 1));
                blocks.push(Block::new(input, output, stride, &scope)?);
                input = output;
            }
        }
        Ok(Self {
            stem,
            blocks,
            pool: AdaptiveAvgPool2d::new(1)?,
            fc: Linear::config(input, 10).build(&params.at("fc"))?,
        })
    }
}

impl Layer for ResNet20 {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let mut x = self.stem.forward(x, pass)?; // [n, 16, 32, 32]
        for block in &self.blocks {
            x = block.forward(&x, pass)?; // in the end [n, 64, 8, 8]
        }
        let x = self.pool.forward(&x, pass)?.flatten_from(1)?; // [n, 64]
        self.fc.forward(&x, pass) // [n, 10]
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (batch, side) = (size.pick(32, 2), size.pick(32, 8));
    let name = "resnet20_train_b32";
    let training = Workload::new(name, (batch as f64, "samples/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = normal("inputs", &[batch, 3, side, side])?;
        let labels = classes("labels", 10, &[batch])?;
        Training::new(ResNet20::new(&params)?, params, inputs, labels)
    });
    vec![training.times(2, 9).cost(training_cost(batch, side))]
}

/// Three products a convolution, but two for the first, whose input needs no gradient. Norms move every picture
/// besides, mostly within caches; they are left out, so the floor is a low one.
fn training_cost(batch: usize, side: usize) -> Cost {
    let pixels = |stage: usize| (batch * (side >> stage) * (side >> stage)) as f64;
    let product = |stage: usize, input: usize, output: usize, taps: usize| {
        2.0 * pixels(stage) * (input * output * taps) as f64
    };
    let mut operations = 2.0 * product(0, 3, STAGES[0], 9);
    let mut parameters = (3 * STAGES[0] * 9 + 2 * STAGES[0] + 64 * 10 + 10) as f64;
    let mut add = |stage: usize, input: usize, output: usize, taps: usize| {
        operations += 3.0 * product(stage, input, output, taps);
        parameters += (input * output * taps + 2 * output) as f64;
    };
    let mut input = STAGES[0];
    for (stage, output) in STAGES.into_iter().enumerate() {
        if input != output {
            add(stage, input, output, 1);
        }
        for _ in 0..BLOCKS {
            add(stage, input, output, 9);
            add(stage, output, output, 9);
            input = output;
        }
    }
    Cost::operations(operations).and_adamw(parameters)
}
