//! GPT-2.

use super::decoder::check_layers;
use super::json::JsonFields;
use super::parts::{Part, TensorSpec, activation, layer_name};
use super::table::TokenTable;
use super::{Head, Model, ModelCache};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_attention::Cache;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Embedding, Init, Layer, LayerNorm, Layout, Params, Pass, Projection, Scope};
use cortical_tensor::ops::{self, Attention, HeadOrder};
use serde_json::json;

/// What a GPT-2 is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpt2Config {
    /// Tokens.
    pub vocab_size: usize,
    /// Positions.
    pub n_positions: usize,
    /// Width.
    pub n_embd: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Heads.
    pub n_head: usize,
    /// Neurons of the feed-forward half.
    pub n_inner: usize,
    /// What they do with their sums.
    pub activation: Activation,
    /// The `eps` of the norms.
    pub eps: f64,
    /// Whether scores are divided by the root of a head's size.
    pub scale_by_root: bool,
    /// Whether scores are divided by the number of the block as well.
    pub scale_by_layer: bool,
    /// Whether the head uses the table of the tokens.
    pub tied: bool,
}

impl Gpt2Config {
    /// The sizes of a published GPT-2.
    #[must_use]
    pub fn new(n_embd: usize, n_layer: usize, n_head: usize) -> Self {
        Self {
            vocab_size: 50_257,
            n_positions: 1024,
            n_embd,
            n_layer,
            n_head,
            n_inner: n_embd.saturating_mul(4),
            activation: Activation::GeluTanh,
            eps: 1e-5,
            scale_by_root: true,
            scale_by_layer: false,
            tied: true,
        }
    }

    pub(crate) fn read(fields: &mut JsonFields) -> Result<Self> {
        // Both names of a size are used; GPT-2's own one counts.
        let mut size = |own: &str, other: &str, default: usize| -> Result<usize> {
            let other = fields.size(other)?;
            Ok(fields.size(own)?.or(other).unwrap_or(default))
        };
        let n_embd = size("n_embd", "hidden_size", 768)?;
        let n_layer = size("n_layer", "num_hidden_layers", 12)?;
        let n_head = size("n_head", "num_attention_heads", 12)?;
        let n_positions = size("n_positions", "max_position_embeddings", 1024)?;
        check_layers(n_layer)?;
        if !n_embd.is_multiple_of(n_head) {
            return Err(Error::Config {
                field: "n_head".to_owned(),
                expected: format!("a divisor of n_embd, {n_embd}"),
                got: n_head.to_string(),
            });
        }
        // It moves a scale before a product, which changes nothing in single precision.
        let _ = fields.flag("reorder_and_upcast_attn")?;
        fields.only("add_cross_attention", &[json!(false)])?;
        let n_inner = fields.size("n_inner")?;
        Ok(Self {
            vocab_size: fields.size("vocab_size")?.unwrap_or(50_257),
            n_positions,
            n_embd,
            n_layer,
            n_head,
            n_inner: n_inner.unwrap_or(n_embd.saturating_mul(4)),
            activation: activation(fields, "activation_function", "gelu_new")?,
            eps: fields.positive("layer_norm_epsilon")?.unwrap_or(1e-5),
            scale_by_root: fields.flag("scale_attn_weights")?.unwrap_or(true),
            scale_by_layer: fields
                .flag("scale_attn_by_inverse_layer_idx")?
                .unwrap_or(false),
            tied: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }

    pub(crate) fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        let d = self.n_embd;
        let mut all = vec![
            TensorSpec::new(
                format!("{prefix}wte.weight"),
                [self.vocab_size, d],
                Part::Tokens,
            ),
            TensorSpec::new(
                format!("{prefix}wpe.weight"),
                [self.n_positions, d],
                Part::Positions,
            ),
        ];
        for layer in 0..self.n_layer {
            let name = |rest: &str| layer_name(prefix, "h", layer, rest);
            let linear = [
                ("attn.c_attn", d, 3 * d, Part::QueryKeyValue),
                ("attn.c_proj", d, d, Part::Output),
                ("mlp.c_fc", d, self.n_inner, Part::Up),
                ("mlp.c_proj", self.n_inner, d, Part::Down),
            ];
            for (place, input, out, part) in linear {
                all.push(TensorSpec::new(
                    name(&format!("{place}.weight")),
                    [input, out],
                    part,
                ));
                all.push(TensorSpec::new(
                    name(&format!("{place}.bias")),
                    [out],
                    Part::Bias,
                ));
            }
            for norm in ["ln_1", "ln_2"] {
                all.push(TensorSpec::new(
                    name(&format!("{norm}.weight")),
                    [d],
                    Part::Norm,
                ));
                all.push(TensorSpec::new(
                    name(&format!("{norm}.bias")),
                    [d],
                    Part::Norm,
                ));
            }
        }
        all.push(TensorSpec::new(
            format!("{prefix}ln_f.weight"),
            [d],
            Part::Norm,
        ));
        all.push(TensorSpec::new(
            format!("{prefix}ln_f.bias"),
            [d],
            Part::Norm,
        ));
        if head == Head::Own {
            all.push(TensorSpec::new(
                "lm_head.weight".to_owned(),
                [self.vocab_size, d],
                Part::Head,
            ));
        }
        all
    }
}

/// `h = x + attention(norm(x))`, `y = h + W₂ gelu(W₁ norm(h))`.
#[derive(Debug)]
struct Block {
    ln_1: LayerNorm,
    c_attn: Projection,
    attn_c_proj: Projection,
    ln_2: LayerNorm,
    c_fc: Projection,
    mlp_c_proj: Projection,
    heads: usize,
    scale: f64,
    name: String,
}

impl Block {
    fn build(config: &Gpt2Config, layer: usize, scope: &Scope) -> Result<Self> {
        let d = config.n_embd;
        let norm = |name: &str| {
            LayerNorm::config(&[d])
                .eps(config.eps)
                .build(&scope.at(name))
        };
        let std = 0.02;
        let small = std / (2.0 * config.n_layer as f64).sqrt();
        let linear = |name: &str, input: usize, out: usize, std: f64, act: Activation| {
            Projection::config(input, out)
                .bias(true)
                .layout(Layout::Columns)
                .activation(act)
                .init(Init::Normal { mean: 0.0, std })
                .build(&scope.at(name))
        };
        let plain = Activation::Identity;
        let mut scale = if config.scale_by_root {
            ((d / config.n_head) as f64).sqrt().recip()
        } else {
            1.0
        };
        if config.scale_by_layer {
            scale /= (layer + 1) as f64;
        }
        Ok(Self {
            ln_1: norm("ln_1")?,
            c_attn: linear("attn.c_attn", d, 3 * d, std, plain)?,
            attn_c_proj: linear("attn.c_proj", d, d, small, plain)?,
            ln_2: norm("ln_2")?,
            c_fc: linear("mlp.c_fc", d, config.n_inner, std, config.activation)?,
            mlp_c_proj: linear("mlp.c_proj", config.n_inner, d, small, plain)?,
            heads: config.n_head,
            scale,
            name: scope.path().to_owned(),
        })
    }

    fn run(
        &self,
        x: &Tensor,
        cache: Option<&mut Cache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let normed = self.ln_1.forward(x, pass)?;
        let attended = self
            .attend(&normed, cache, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        let h = (x + attended)?;
        let normed = self.ln_2.forward(&h, pass)?;
        let inner = self.c_fc.apply(&normed, pass)?;
        Ok((&h + self.mlp_c_proj.apply(&inner, pass)?)?)
    }

    fn attend(
        &self,
        x: &Tensor,
        cache: Option<&mut Cache>,
        pass: &Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let (batch, rows, d) = x.dims3()?;
        let before = cache.as_ref().map_or(0, |cache| cache.len());
        let qkv = self.c_attn.apply(x, pass)?;
        let part = |i: usize| {
            let part = qkv.narrow(2, i * d, d)?.contiguous()?;
            part.reshape((batch, rows, self.heads, d / self.heads))
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let (k, v) = match cache {
            Some(cache) => cache.append(&k, &v)?,
            None => (k, v),
        };
        let options = Attention {
            scale: Some(self.scale),
            causal: Some(before),
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let y = ops::attention(&q, &k, &v, options)?;
        self.attn_c_proj.apply(&y.flatten_from(2)?, pass)
    }
}

/// A GPT-2: tables of tokens and positions, blocks, a norm and a head.
#[derive(Debug)]
pub(crate) struct Gpt2 {
    wte: TokenTable,
    wpe: Embedding,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
}

impl Gpt2 {
    pub(crate) fn build(config: &Gpt2Config, prefix: &str, params: &Params) -> Result<Self> {
        let d = config.n_embd;
        let init = Init::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let place = |name: &str| params.at(&format!("{prefix}{name}"));
        let positions = Embedding::config(config.n_positions, d).init(init);
        let block = |i: usize| Block::build(config, i, &place(&format!("h.{i}")));
        Ok(Self {
            wte: TokenTable::build(config.vocab_size, d, init, &place("wte"))?,
            wpe: positions.build(&place("wpe"))?,
            blocks: (0..config.n_layer).map(block).collect::<Result<_>>()?,
            ln_f: LayerNorm::config(&[d])
                .eps(config.eps)
                .build(&place("ln_f"))?,
        })
    }
}

impl Model for Gpt2 {
    fn hidden(
        &self,
        ids: &Tensor,
        mut cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let before = cache.as_ref().map_or(0, |cache| cache.len()) as u32;
        let rows = ids.dim(1)? as u32;
        let positions = Tensor::arange(before, before + rows, ids.device())?;
        let positions = self.wpe.forward(&positions, pass)?;
        let mut x = self.wte.look_up(ids, pass)?.broadcast_add(&positions)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_mut().and_then(|cache| cache.layers.get_mut(i));
            x = block.run(&x, cache, pass)?;
        }
        self.ln_f.forward(&x, pass)
    }

    fn tokens(&self) -> &TokenTable {
        &self.wte
    }

    fn projections(&self) -> Vec<&Projection> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| [&b.c_attn, &b.attn_c_proj, &b.c_fc, &b.mlp_c_proj]);
        blocks.collect()
    }
}
