//! The small Llama. Norm and rotation are the slow ones of candle-nn: its fast ones have no gradient.

use crate::measure::{Measure, Training};
use crate::{classes, parameters};
use candle_core::{D, Device, Module, Result, Tensor};
use candle_nn::rotary_emb::rope_slow;
use candle_nn::{Embedding, Linear, RmsNorm, VarBuilder, embedding, linear_no_bias, ops, rms_norm};

const VOCABULARY: usize = 4096;
const WIDTH: usize = 288;
const BLOCKS: usize = 6;
const HEADS: usize = 6;
const HEAD: usize = WIDTH / HEADS;
const FEED_FORWARD: usize = 768;
const ROWS: usize = 256;
const BATCH: usize = 4;

pub(crate) fn run(measure: &Measure) -> Result<()> {
    let name = "llama15m_train_b4_t256";
    if !measure.wants(name) {
        return Ok(());
    }
    let (map, builder) = parameters();
    let llama = Llama::new(builder)?;
    let inputs = classes(VOCABULARY, &[BATCH, ROWS])?;
    let labels = classes(VOCABULARY, &[BATCH * ROWS])?;
    let mut training = Training::new(&map, inputs, labels)?;
    measure.time(name, ((BATCH * ROWS) as f64, "tokens/s"), (1, 5), || {
        training.step(|tokens| llama.forward(tokens))
    })
}

/// What all blocks need to know about positions.
struct Positions {
    cos: Tensor,
    sin: Tensor,
    /// 0 where a row may look, −∞ where it may not.
    mask: Tensor,
}

impl Positions {
    fn new() -> Result<Self> {
        let device = &Device::Cpu;
        let frequency = |i: usize| 10_000_f32.powf(-2.0 * i as f32 / HEAD as f32);
        let angles: Vec<f32> = (0..ROWS)
            .flat_map(|row| (0..HEAD / 2).map(move |i| row as f32 * frequency(i)))
            .collect();
        let angles = Tensor::from_vec(angles, (ROWS, HEAD / 2), device)?;
        let mask: Vec<f32> = (0..ROWS * ROWS)
            .map(|at| {
                if at % ROWS > at / ROWS {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
            mask: Tensor::from_vec(mask, (1, 1, ROWS, ROWS), device)?,
        })
    }
}

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
    fn new(builder: VarBuilder<'_>) -> Result<Self> {
        let square = |name: &str| linear_no_bias(WIDTH, WIDTH, builder.pp(name));
        let wide = |name: &str| linear_no_bias(WIDTH, FEED_FORWARD, builder.pp(name));
        Ok(Self {
            q: square("q")?,
            k: square("k")?,
            v: square("v")?,
            o: square("o")?,
            gate: wide("gate")?,
            up: wide("up")?,
            down: linear_no_bias(FEED_FORWARD, WIDTH, builder.pp("down"))?,
            norm1: rms_norm(WIDTH, 1e-5, builder.pp("norm1"))?,
            norm2: rms_norm(WIDTH, 1e-5, builder.pp("norm2"))?,
        })
    }

    fn forward(&self, x: &Tensor, positions: &Positions) -> Result<Tensor> {
        let x = (x + self.attention(&self.norm1.forward_diff(x)?, positions)?)?;
        let normed = self.norm2.forward_diff(&x)?;
        let hidden = (self.gate.forward(&normed)?.silu()? * self.up.forward(&normed)?)?;
        &x + self.down.forward(&hidden)?
    }

    fn attention(&self, x: &Tensor, positions: &Positions) -> Result<Tensor> {
        let (batch, rows, _) = x.dims3()?;
        let heads = |linear: &Linear| -> Result<Tensor> {
            let projected = linear.forward(x)?.reshape((batch, rows, HEADS, HEAD))?;
            projected.transpose(1, 2)?.contiguous() // [n, heads, rows, head]
        };
        let q = rope_slow(&heads(&self.q)?, &positions.cos, &positions.sin)?;
        let k = rope_slow(&heads(&self.k)?, &positions.cos, &positions.sin)?;
        let scores = (q.matmul(&k.t()?.contiguous()?)? * (HEAD as f64).powf(-0.5))?;
        let weights = ops::softmax(&scores.broadcast_add(&positions.mask)?, D::Minus1)?;
        let mixed = weights.matmul(&heads(&self.v)?)?.transpose(1, 2)?;
        self.o
            .forward(&mixed.contiguous()?.reshape((batch, rows, WIDTH))?)
    }
}

struct Llama {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    positions: Positions,
}

impl Llama {
    fn new(builder: VarBuilder<'_>) -> Result<Self> {
        let block = |i: usize| Block::new(builder.pp(format!("blocks.{i}")));
        Ok(Self {
            embedding: embedding(VOCABULARY, WIDTH, builder.pp("embedding"))?,
            blocks: (0..BLOCKS).map(block).collect::<Result<_>>()?,
            norm: rms_norm(WIDTH, 1e-5, builder.pp("norm"))?,
            head: linear_no_bias(WIDTH, VOCABULARY, builder.pp("head"))?,
            positions: Positions::new()?,
        })
    }

    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let mut x = self.embedding.forward(tokens)?;
        for block in &self.blocks {
            x = block.forward(&x, &self.positions)?;
        }
        self.head
            .forward(&self.norm.forward_diff(&x)?)?
            .flatten_to(1)
    }
}
