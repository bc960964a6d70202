//! The small Llama.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::silu;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor};

pub(crate) const VOCABULARY: usize = 4096;
pub(crate) const ROWS: usize = 256;
const WIDTH: usize = 288;
const BLOCKS: usize = 6;
const HEADS: usize = 6;
const HEAD: usize = WIDTH / HEADS;
const FEED_FORWARD: usize = 768;

/// Cosines and sines of all positions, `[1, 1, rows, head / 2]`.
pub(crate) struct Angles {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Angles {
    pub(crate) fn new(device: &Device) -> Self {
        let frequency = |i: usize| 10_000_f32.powf(-2.0 * i as f32 / HEAD as f32);
        let angles: Vec<f32> = (0..ROWS)
            .flat_map(|row| (0..HEAD / 2).map(move |i| row as f32 * frequency(i)))
            .collect();
        let angles = Tensor::<1>::from_floats(angles.as_slice(), device);
        let angles: Tensor<4> = angles.reshape([1, 1, ROWS, HEAD / 2]);
        Self {
            cos: angles.clone().cos(),
            sin: angles.sin(),
        }
    }

    /// Rotates the first half of each head with the second.
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (a, b) = (
            x.clone().narrow(3, 0, HEAD / 2),
            x.narrow(3, HEAD / 2, HEAD / 2),
        );
        let first = a.clone() * self.cos.clone() - b.clone() * self.sin.clone();
        let second = a * self.sin.clone() + b * self.cos.clone();
        Tensor::cat(vec![first, second], 3)
    }
}

#[derive(Module, Debug)]
struct Block {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
    norm1: RmsNorm,
    norm2: RmsNorm,
}

impl Block {
    fn new(device: &Device) -> Self {
        let linear = |input: usize, output: usize| {
            let config = LinearConfig::new(input, output).with_bias(false);
            config.init(device)
        };
        let norm = || RmsNormConfig::new(WIDTH).with_epsilon(1e-5).init(device);
        Self {
            q: linear(WIDTH, WIDTH),
            k: linear(WIDTH, WIDTH),
            v: linear(WIDTH, WIDTH),
            o: linear(WIDTH, WIDTH),
            gate: linear(WIDTH, FEED_FORWARD),
            up: linear(WIDTH, FEED_FORWARD),
            down: linear(FEED_FORWARD, WIDTH),
            norm1: norm(),
            norm2: norm(),
        }
    }

    fn forward(&self, x: Tensor<3>, angles: &Angles) -> Tensor<3> {
        let x = x.clone() + self.attention(self.norm1.forward(x), angles);
        let normed = self.norm2.forward(x.clone());
        let hidden = silu(self.gate.forward(normed.clone())) * self.up.forward(normed);
        x + self.down.forward(hidden)
    }

    fn attention(&self, x: Tensor<3>, angles: &Angles) -> Tensor<3> {
        let [batch, rows, width] = x.dims();
        let heads = |linear: &Linear| -> Tensor<4> {
            let projected = linear.forward(x.clone());
            projected
                .reshape([batch, rows, HEADS, HEAD])
                .swap_dims(1, 2)
        };
        let q = angles.rotate(heads(&self.q));
        let k = angles.rotate(heads(&self.k));
        let causal = AttentionModuleOptions {
            is_causal: true,
            ..Default::default()
        };
        let mixed = attention(q, k, heads(&self.v), None, None, causal);
        self.o
            .forward(mixed.swap_dims(1, 2).reshape([batch, rows, width]))
    }
}

/// Embedding, blocks, norm, head.
#[derive(Module, Debug)]
pub(crate) struct Llama {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
}

impl Llama {
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(VOCABULARY, WIDTH).init(device),
            blocks: (0..BLOCKS).map(|_| Block::new(device)).collect(),
            norm: RmsNormConfig::new(WIDTH).with_epsilon(1e-5).init(device),
            head: LinearConfig::new(WIDTH, VOCABULARY)
                .with_bias(false)
                .init(device),
        }
    }

    /// `[n, rows]` to `[n · rows, vocabulary]`.
    pub(crate) fn forward(&self, tokens: Tensor<2, Int>, angles: &Angles) -> Tensor<2> {
        let mut x = self.embedding.forward(tokens);
        for block in &self.blocks {
            x = block.forward(x, angles);
        }
        self.head.forward(self.norm.forward(x)).flatten(0, 1)
    }
}
