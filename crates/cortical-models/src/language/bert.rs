//! BERT.

use super::decoder::check_layers;
use super::json::JsonFields;
use super::parts::{Part, TensorSpec, activation, layer_name};
use super::table::TokenTable;
use super::{Model, ModelCache};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Embedding, Init, Layer, LayerNorm, Params, Pass, Projection, Scope};
use cortical_tensor::ops::{self, Attention, HeadOrder};
use serde_json::json;

/// What a BERT is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Neurons of the feed-forward half.
    pub intermediate_size: usize,
    /// What they do with their sums.
    pub activation: Activation,
    /// The `eps` of the norms.
    pub eps: f64,
    /// Positions.
    pub max_positions: usize,
    /// Kinds of segments.
    pub type_vocab_size: usize,
    /// Whether the file has the pooler, which classification starts from.
    pub pooler: bool,
}

impl BertConfig {
    /// The sizes of a published BERT.
    #[must_use]
    pub fn new(hidden_size: usize, num_layers: usize, num_heads: usize) -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size,
            num_layers,
            num_heads,
            intermediate_size: hidden_size.saturating_mul(4),
            activation: Activation::Gelu,
            eps: 1e-12,
            max_positions: 512,
            type_vocab_size: 2,
            pooler: true,
        }
    }

    pub(crate) fn read(fields: &mut JsonFields) -> Result<Self> {
        let hidden_size = fields.size("hidden_size")?.unwrap_or(768);
        let num_heads = fields.size("num_attention_heads")?.unwrap_or(12);
        let num_layers = fields.size("num_hidden_layers")?.unwrap_or(12);
        check_layers(num_layers)?;
        if !hidden_size.is_multiple_of(num_heads) {
            return Err(Error::Config {
                field: "num_attention_heads".to_owned(),
                expected: format!("a divisor of hidden_size, {hidden_size}"),
                got: num_heads.to_string(),
            });
        }
        fields.only("position_embedding_type", &[json!("absolute")])?;
        fields.only("is_decoder", &[json!(false)])?;
        fields.only("add_cross_attention", &[json!(false)])?;
        for unused in [
            "directionality",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
            // The head over tokens is not part of what is computed here.
            "tie_word_embeddings",
        ] {
            let _ = fields.take(unused);
        }
        Ok(Self {
            vocab_size: fields.size("vocab_size")?.unwrap_or(30_522),
            hidden_size,
            num_layers,
            num_heads,
            intermediate_size: fields.size("intermediate_size")?.unwrap_or(3072),
            activation: activation(fields, "hidden_act", "gelu")?,
            eps: fields.positive("layer_norm_eps")?.unwrap_or(1e-12),
            max_positions: fields.size("max_position_embeddings")?.unwrap_or(512),
            type_vocab_size: fields.size("type_vocab_size")?.unwrap_or(2),
            pooler: true,
        })
    }

    pub(crate) fn tensors(&self, prefix: &str) -> Vec<TensorSpec> {
        let d = self.hidden_size;
        let table = |name: &str, rows: usize, part: Part| {
            TensorSpec::new(format!("{prefix}embeddings.{name}.weight"), [rows, d], part)
        };
        let mut all = vec![
            table("word_embeddings", self.vocab_size, Part::Tokens),
            table("position_embeddings", self.max_positions, Part::Positions),
            table(
                "token_type_embeddings",
                self.type_vocab_size,
                Part::Segments,
            ),
        ];
        let norm = |all: &mut Vec<TensorSpec>, name: String| {
            all.push(TensorSpec::new(format!("{name}.weight"), [d], Part::Norm));
            all.push(TensorSpec::new(format!("{name}.bias"), [d], Part::Norm));
        };
        let linear =
            |all: &mut Vec<TensorSpec>, name: String, [out, input]: [usize; 2], part: Part| {
                all.push(TensorSpec::new(
                    format!("{name}.weight"),
                    [out, input],
                    part,
                ));
                all.push(TensorSpec::new(format!("{name}.bias"), [out], Part::Bias));
            };
        norm(&mut all, format!("{prefix}embeddings.LayerNorm"));
        for layer in 0..self.num_layers {
            let name = |rest: &str| layer_name(prefix, "encoder.layer", layer, rest);
            linear(&mut all, name("attention.self.query"), [d, d], Part::Query);
            linear(&mut all, name("attention.self.key"), [d, d], Part::Key);
            linear(&mut all, name("attention.self.value"), [d, d], Part::Value);
            linear(
                &mut all,
                name("attention.output.dense"),
                [d, d],
                Part::Output,
            );
            norm(&mut all, name("attention.output.LayerNorm"));
            linear(
                &mut all,
                name("intermediate.dense"),
                [self.intermediate_size, d],
                Part::Up,
            );
            linear(
                &mut all,
                name("output.dense"),
                [d, self.intermediate_size],
                Part::Down,
            );
            norm(&mut all, name("output.LayerNorm"));
        }
        if self.pooler {
            linear(
                &mut all,
                format!("{prefix}pooler.dense"),
                [d, d],
                Part::Pooler,
            );
        }
        all
    }
}

/// `h = norm(x + attention(x))`, `y = norm(h + W₂ gelu(W₁ h))`.
#[derive(Debug)]
struct Block {
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
    attention_norm: LayerNorm,
    up: Projection,
    down: Projection,
    norm: LayerNorm,
    heads: usize,
    name: String,
}

const INIT: Init = Init::Normal {
    mean: 0.0,
    std: 0.02,
};

fn linear(scope: &Scope, input: usize, out: usize, activation: Activation) -> Result<Projection> {
    let config = Projection::config(input, out).bias(true).init(INIT);
    Ok(config.activation(activation).build(scope)?)
}

impl Block {
    fn build(config: &BertConfig, scope: &Scope) -> Result<Self> {
        let (d, inner, plain) = (
            config.hidden_size,
            config.intermediate_size,
            Activation::Identity,
        );
        let norm = |name: &str| {
            LayerNorm::config(&[d])
                .eps(config.eps)
                .build(&scope.at(name))
        };
        Ok(Self {
            query: linear(&scope.at("attention.self.query"), d, d, plain)?,
            key: linear(&scope.at("attention.self.key"), d, d, plain)?,
            value: linear(&scope.at("attention.self.value"), d, d, plain)?,
            output: linear(&scope.at("attention.output.dense"), d, d, plain)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up: linear(&scope.at("intermediate.dense"), d, inner, config.activation)?,
            down: linear(&scope.at("output.dense"), inner, d, plain)?,
            norm: norm("output.LayerNorm")?,
            heads: config.num_heads,
            name: scope.path().to_owned(),
        })
    }

    fn run(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let attended = self.attend(x, pass).map_err(|e| e.in_layer(&self.name))?;
        let h = self.attention_norm.forward(&(x + attended)?, pass)?;
        let inner = self.up.apply(&h, pass)?;
        self.norm
            .forward(&(&h + self.down.apply(&inner, pass)?)?, pass)
    }

    fn attend(&self, x: &Tensor, pass: &Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let (batch, rows, d) = x.dims3()?;
        let heads = |layer: &Projection| -> cortical_neuron::Result<Tensor> {
            Ok(layer
                .apply(x, pass)?
                .reshape((batch, rows, self.heads, d / self.heads))?)
        };
        let options = Attention {
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let (q, k, v) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let y = ops::attention(&q, &k, &v, options)?;
        self.output.apply(&y.flatten_from(2)?, pass)
    }
}

/// A BERT: tables of tokens, positions and segments, and blocks that see the whole text.
#[derive(Debug)]
pub(crate) struct Bert {
    words: TokenTable,
    positions: Embedding,
    segments: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    pooler: Option<Projection>,
}

impl Bert {
    pub(crate) fn build(config: &BertConfig, prefix: &str, params: &Params) -> Result<Self> {
        let d = config.hidden_size;
        let place = |name: &str| params.at(&format!("{prefix}{name}"));
        let table = |name: &str, rows: usize| {
            Embedding::config(rows, d)
                .init(INIT)
                .build(&place(&format!("embeddings.{name}")))
        };
        let block = |i: usize| Block::build(config, &place(&format!("encoder.layer.{i}")));
        let pooler = || linear(&place("pooler.dense"), d, d, Activation::Tanh);
        let words = place("embeddings.word_embeddings");
        Ok(Self {
            words: TokenTable::build(config.vocab_size, d, INIT, &words)?,
            positions: table("position_embeddings", config.max_positions)?,
            segments: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::config(&[d])
                .eps(config.eps)
                .build(&place("embeddings.LayerNorm"))?,
            blocks: (0..config.num_layers).map(block).collect::<Result<_>>()?,
            pooler: config.pooler.then(pooler).transpose()?,
        })
    }
}

impl Model for Bert {
    fn hidden(
        &self,
        ids: &Tensor,
        _cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let positions = Tensor::arange(0, ids.dim(1)? as u32, ids.device())?;
        let segments = self.segments.forward(&ids.zeros_like()?, pass)?;
        let positions = self.positions.forward(&positions, pass)?;
        let words = self.words.look_up(ids, pass)?;
        let x = (words + segments)?.broadcast_add(&positions)?;
        let mut x = self.norm.forward(&x, pass)?;
        for block in &self.blocks {
            x = block.run(&x, pass)?;
        }
        Ok(x)
    }

    fn tokens(&self) -> &TokenTable {
        &self.words
    }

    fn pooled(
        &self,
        hidden: &Tensor,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        self.pooler
            .as_ref()
            .map(|pooler| pooler.apply(&first, pass))
            .transpose()
    }

    fn projections(&self) -> Vec<&Projection> {
        self.blocks
            .iter()
            .flat_map(|b| [&b.query, &b.key, &b.value, &b.output, &b.up, &b.down])
            .collect()
    }
}
