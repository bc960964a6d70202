//! A small Llama: trained, read a prompt, and asked for one token after the other.

use super::training::{Training, inference};
use super::{Size, classes};
use crate::error::Result;
use crate::measure::{Cost, Job, Output, Workload};
use candle_core::{D, Device, Tensor};
use cortical_attention::{Cache, DecoderBlock, GroupedQueryAttention, Rotary};
use cortical_dense::Linear;
use cortical_kernels::rope::Pairs;
use cortical_neuron::{Embedding, Layer, Params, Pass, RmsNorm};
use cortical_tensor::Seed;

/// The sizes of a model.
#[derive(Clone, Copy)]
struct Shape {
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
}

impl Shape {
    /// Five heads of 64 and a vocabulary of a prime number of tokens.
    fn odd(size: Size) -> Self {
        Self {
            vocabulary: size.pick(5003, 41),
            hidden: size.pick(320, 20),
            layers: size.pick(4, 2),
            heads: size.pick(5, 2),
            feed_forward: size.pick(840, 22),
        }
    }

    fn new(size: Size) -> Self {
        Self {
            vocabulary: size.pick(4096, 40),
            hidden: size.pick(288, 16),
            layers: size.pick(6, 2),
            heads: size.pick(6, 2),
            feed_forward: size.pick(768, 24),
        }
    }

    /// Weights that a product reads: those of all blocks, and of the head.
    fn products(&self) -> usize {
        let Self {
            vocabulary,
            hidden,
            layers,
            feed_forward,
            ..
        } = *self;
        layers * (4 * hidden * hidden + 3 * hidden * feed_forward) + hidden * vocabulary
    }

    fn parameters(&self) -> usize {
        self.products() + self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden
    }

    /// Operations of all scores and weighted sums of one sequence of `rows`, where each row sees itself and those
    /// before.
    fn attention(&self, rows: usize) -> f64 {
        (self.layers * 2 * 2 * self.hidden * rows * (rows + 1) / 2) as f64
    }
}

struct Llama {
    embedding: Embedding,
    blocks: Vec<DecoderBlock>,
    norm: RmsNorm,
    head: Linear,
}

impl Llama {
    fn new(shape: Shape, params: &Params) -> Result<Self> {
        let Shape {
            vocabulary,
            hidden,
            layers,
            heads,
            feed_forward,
        } = shape;
        let rotary = Rotary::new(hidden / heads, 10_000.0, Pairs::Halves);
        let attention = GroupedQueryAttention::config(hidden, heads).rotary(rotary);
        let block = |layer: usize| {
            DecoderBlock::config(hidden, feed_forward, attention.clone())
                .build(&params.at(&format!("model.layers.{layer}")))
        };
        Ok(Self {
            embedding: Embedding::config(vocabulary, hidden)
                .build(&params.at("model.embed_tokens"))?,
            blocks: (0..layers).map(block).collect::<Result<_, _>>()?,
            norm: RmsNorm::config(&[hidden]).build(&params.at("model.norm"))?,
            head: Linear::config(hidden, vocabulary)
                .bias(false)
                .build(&params.at("lm_head"))?,
        })
    }

    /// The normed state behind every token: `[n, rows]` to `[n, rows, hidden]`.
    fn hidden(
        &self,
        tokens: &Tensor,
        caches: &mut [Cache],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let mut x = self.embedding.forward(tokens, pass)?; // [n, rows, hidden]
        let mut caches = caches.iter_mut();
        for block in &self.blocks {
            x = block.run(&x, caches.next().into(), pass)?;
        }
        self.norm.forward(&x, pass)
    }

    /// The logits behind every token: `[n, rows]` to `[n, rows, vocabulary]`.
    fn logits(
        &self,
        tokens: &Tensor,
        caches: &mut [Cache],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        self.head.forward(&self.hidden(tokens, caches, pass)?, pass)
    }

    fn loss(
        &self,
        tokens: &Tensor,
        labels: &Tensor,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        self.head
            .loss(&self.hidden(tokens, &mut [], pass)?, labels, pass)
    }
}

impl Layer for Llama {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        Ok(self.logits(x, &mut [], pass)?.flatten_to(1)?) // [n · rows, vocabulary]
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let shape = Shape::new(size);
    let (batch, rows) = (size.pick(4, 2), size.pick(256, 5));
    vec![
        training("llama15m_train_b4_t256", shape, batch, rows),
        prefill(shape, rows),
        decode(shape, rows, size.pick(64, 3)),
        training(
            "odd_llama_5x64_train_b3_t100",
            Shape::odd(size),
            size.pick(3, 2),
            size.pick(100, 5),
        ),
    ]
}

fn training(name: &str, shape: Shape, batch: usize, rows: usize) -> Workload {
    let tokens = batch * rows;
    let forward = (2 * tokens * shape.products()) as f64 + batch as f64 * shape.attention(rows);
    Workload::new(name, (tokens as f64, "tokens/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = classes("inputs", shape.vocabulary, &[batch, rows])?;
        let labels = classes("labels", shape.vocabulary, &[batch, rows])?;
        let llama = Llama::new(shape, &params)?;
        Training::with_loss(llama, Llama::loss, params, inputs, labels)
    })
    .times(2, 9)
    .cost(Cost::operations(3.0 * forward).and_adamw(shape.parameters() as f64))
}

fn prefill(shape: Shape, rows: usize) -> Workload {
    let operations = (2 * rows * shape.products()) as f64 + shape.attention(rows);
    Workload::new(
        "llama15m_prefill_t256",
        (rows as f64, "tokens/s"),
        move || {
            let params = Params::new(&Device::Cpu, Seed(0));
            let prompt = classes("prompt", shape.vocabulary, &[1, rows])?;
            Ok(inference(Llama::new(shape, &params)?, prompt))
        },
    )
    .times(2, 9)
    .cost(Cost::operations(operations))
}

fn decode(shape: Shape, rows: usize, tokens: usize) -> Workload {
    // Every token reads all weights, and the keys and values of what was before it.
    let seen = tokens * rows + tokens * (tokens + 1) / 2;
    let read = (tokens * shape.products() + 2 * shape.layers * shape.hidden * seen) as f64;
    let mut cost = Cost::operations(2.0 * read).and_moving(read);
    cost.working_set /= tokens as f64;
    Workload::new("llama15m_decode", (tokens as f64, "tokens/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        Ok(Decoding {
            prompt: classes("prompt", shape.vocabulary, &[1, rows])?,
            llama: Llama::new(shape, &params)?,
            caches: Vec::new(),
            next: None,
            tokens,
        })
    })
    .times(1, 5)
    .parts(tokens)
    .cost(cost)
}

/// The most likely token, again and again, behind a prompt that was read before.
struct Decoding {
    llama: Llama,
    prompt: Tensor,
    caches: Vec<Cache>,
    /// The token behind everything that was read.
    next: Option<Tensor>,
    tokens: usize,
}

impl Decoding {
    fn read(&mut self, tokens: &Tensor) -> Result<Tensor> {
        let logits = self
            .llama
            .logits(tokens, &mut self.caches, &mut Pass::eval())?;
        let last = logits.narrow(1, logits.dim(1)? - 1, 1)?;
        Ok(last.argmax(D::Minus1)?)
    }
}

impl Job for Decoding {
    fn prepare(&mut self) -> Result<()> {
        self.caches = self.llama.blocks.iter().map(|_| Cache::new()).collect();
        self.next = Some(self.read(&self.prompt.clone())?);
        Ok(())
    }

    fn step(&mut self) -> Result<Output> {
        let mut next = self.next.take().unwrap_or_else(|| self.prompt.clone());
        for _ in 0..self.tokens {
            next = self.read(&next)?;
        }
        Ok(next.into())
    }
}
