//! A Llama-like model that was built.

use super::super::architecture::Model;
use super::super::describe::BLOCK;
use super::super::table::TokenTable;
use super::form::QkNorm;
use super::relative::DecoderConfig;
use crate::error::Result;
use candle_core::Tensor;
use cortical_attention::{DecoderBlock, GroupedQueryAttention, Memory, SwiGlu};
use cortical_dense::Linear;
use cortical_neuron::{Description, Init, Layer, Params, Pass, RmsNorm};

/// A table of tokens, blocks and a norm.
#[derive(Debug)]
pub(crate) struct Decoder {
    tokens: TokenTable,
    /// What vectors of tokens are multiplied by.
    token_scale: f64,
    blocks: Vec<DecoderBlock>,
    norm: RmsNorm,
    turns_with_length: bool,
}

impl Decoder {
    pub(crate) fn build(config: &DecoderConfig, prefix: &str, params: &Params) -> Result<Self> {
        let (d, eps) = (config.hidden_size, config.eps);
        let form = config.relative.form();
        let normal = |std: f64| Init::Normal { mean: 0.0, std };
        // What adds to the stream of every block begins smaller, so that the sum over blocks does not grow (GPT-2,
        // section 2.3).
        let inner = normal(config.init_std);
        let outer = normal(config.init_std / (2.0 * config.num_layers.max(1) as f64).sqrt());
        let place = |name: &str| params.at(&format!("{prefix}{name}"));
        // Blocks with the same positions share one table of angles.
        let rotary = config.rope.rotary(config.head_dim);
        let other = config.window_rope.as_ref();
        let window_rotary = other.map_or_else(|| rotary.clone(), |r| r.rotary(config.head_dim));
        let tokens = TokenTable::build(
            [config.vocab_size, d],
            config.pad_token,
            inner,
            &place("embed_tokens"),
        )?;
        let mut blocks = Vec::new();
        for layer in 0..config.num_layers {
            let window = config.window_of(layer);
            let attention = GroupedQueryAttention::config(d, config.num_heads)
                .num_kv_heads(config.num_kv_heads)
                .head_dim(config.head_dim)
                .bias(config.qkv_bias)
                .out_bias(config.out_bias)
                .window(window)
                .head_norm((form.qk_norm != QkNorm::None).then_some(eps))
                .norm_over_width(form.qk_norm == QkNorm::Width)
                .norm_plus_one(form.norm_offset)
                .fused(form.fused)
                .scale(config.query_scalar.map(|scalar| scalar.sqrt().recip()))
                .softcap(config.attention_softcap)
                .init(inner, outer);
            let attention = match (config.is_rotated(layer), window) {
                (false, _) => attention,
                (true, None) => attention.rotary(rotary.clone()),
                (true, Some(_)) => attention.rotary(window_rotary.clone()),
            };
            let feed_forward = SwiGlu::config(d, config.intermediate_size)
                .bias(config.mlp_bias)
                .fused(form.fused)
                .activation(config.activation)
                .init(inner, outer);
            let block = DecoderBlock::config(d, config.intermediate_size, attention)
                .feed_forward(feed_forward)
                .eps(eps)
                .norms(form.norms.names())
                .norm_plus_one(form.norm_offset)
                .build(&place(&format!("layers.{layer}")))?;
            blocks.push(block);
        }
        let norm = RmsNorm::config(&[d]).eps(eps).plus_one(form.norm_offset);
        let norm = norm.build(&place("norm"))?;
        Ok(Self {
            tokens,
            token_scale: match form.scaled_tokens {
                true => (d as f64).sqrt(),
                false => 1.0,
            },
            blocks,
            norm,
            turns_with_length: rotary.is_by_length() || window_rotary.is_by_length(),
        })
    }
}

impl Model for Decoder {
    fn embed(
        &self,
        ids: &Tensor,
        _positions: &[u32],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let x = self.tokens.look_up(ids, pass)?;
        match self.token_scale {
            1.0 => Ok(x),
            scale => Ok(x.affine(scale, 0.0)?),
        }
    }

    fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn block(
        &self,
        index: usize,
        x: &Tensor,
        memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        self.blocks[index].run(x, memory, pass)
    }

    fn finish(&self, x: Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        self.norm.forward(&x, pass)
    }

    fn describe(&self, rows: usize) -> cortical_neuron::Result<Vec<Description>> {
        let sample = [rows, self.tokens.dim()];
        let mut all = vec![self.tokens.describe(rows)?];
        if self.token_scale != 1.0 {
            all.push(Description::new("Scale", "", &sample));
        }
        for block in &self.blocks {
            let mut block = block.describe(&sample)?;
            block.kind = BLOCK;
            all.push(block);
        }
        all.push(self.norm.describe(&sample)?);
        Ok(all)
    }

    fn tokens(&self) -> &TokenTable {
        &self.tokens
    }

    fn turns_with_length(&self) -> bool {
        self.turns_with_length
    }

    fn projections(&self) -> Vec<&Linear> {
        self.blocks
            .iter()
            .flat_map(DecoderBlock::projections)
            .collect()
    }
}
