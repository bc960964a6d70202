//! The tensors of a Llama-like model: the names of each stand here and nowhere else.

use super::super::head::Head;
use super::super::parts::{Change, Part, TensorList, TensorSpec};
use super::super::widths::{self, BlockWidths};
use super::form::QkNorm;
use super::relative::DecoderConfig;

impl DecoderConfig {
    /// What can be removed from its blocks, by the tensors of [`list`](Self::list).
    pub(super) fn widths(&self) -> Option<BlockWidths> {
        let form = self.relative.form();
        if form.fused {
            // Queries, keys and values behind each other in one tensor.
            return None;
        }
        let (queries, dim) = (self.num_heads / self.num_kv_heads, self.head_dim);
        let attention = |name: &str| format!("self_attn.{name}");
        let mut heads = vec![
            (
                attention("q_proj"),
                widths::MAKES,
                queries * dim,
                self.qkv_bias,
            ),
            (attention("k_proj"), widths::MAKES, dim, self.qkv_bias),
            (attention("v_proj"), widths::MAKES, dim, self.qkv_bias),
            (attention("o_proj"), widths::READS, queries * dim, false),
        ];
        if form.qk_norm == QkNorm::Width {
            heads.push((attention("q_norm"), widths::FOLLOWS, queries * dim, false));
            heads.push((attention("k_norm"), widths::FOLLOWS, dim, false));
        }
        let mlp = |name: &str| format!("mlp.{name}");
        Some(BlockWidths {
            stack: "layers",
            heads: Some((self.num_kv_heads, heads)),
            inner: (
                self.intermediate_size,
                vec![
                    (mlp("gate_proj"), widths::MAKES, 1, self.mlp_bias),
                    (mlp("up_proj"), widths::MAKES, 1, self.mlp_bias),
                    (mlp("down_proj"), widths::READS, 1, false),
                ],
            ),
        })
    }

    pub(super) fn list(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let width = self.num_heads.saturating_mul(self.head_dim);
        let kv = self.num_kv_heads.saturating_mul(self.head_dim);
        let form = self.relative.form();
        let scale = match form.norm_offset {
            true => Change::PlusOne,
            false => Change::None,
        };
        let pairs = |heads: usize| match form.gguf.pairs {
            true => Change::Pairs(heads),
            false => Change::None,
        };
        let mut list = TensorList::new(prefix);
        let table = ("embed_tokens", "token_embd");
        let shape = [self.vocab_size, d];
        list.add(table, "weight", shape, Part::Tokens, Change::None);
        for layer in 0..self.num_layers {
            list.enter("layers", layer);
            let (bias, plain) = (self.qkv_bias, Change::None);
            if form.fused {
                let out = width.saturating_add(kv.saturating_mul(2));
                let names = ("self_attn.qkv_proj", "attn_qkv");
                list.linear(names, [out, d], bias, Part::QueryKeyValue, plain);
            } else {
                let names = ("self_attn.q_proj", "attn_q");
                list.linear(names, [width, d], bias, Part::Query, pairs(self.num_heads));
                let names = ("self_attn.k_proj", "attn_k");
                list.linear(names, [kv, d], bias, Part::Key, pairs(self.num_kv_heads));
                let names = ("self_attn.v_proj", "attn_v");
                list.linear(names, [kv, d], bias, Part::Value, plain);
            }
            let names = ("self_attn.o_proj", "attn_output");
            list.linear(names, [d, width], self.out_bias, Part::Output, plain);
            let bias = self.mlp_bias;
            if form.fused {
                let names = ("mlp.gate_up_proj", "ffn_up");
                let out = inner.saturating_mul(2);
                list.linear(names, [out, d], bias, Part::GateUp, plain);
            } else {
                let names = ("mlp.gate_proj", "ffn_gate");
                list.linear(names, [inner, d], bias, Part::Gate, plain);
                let names = ("mlp.up_proj", "ffn_up");
                list.linear(names, [inner, d], bias, Part::Up, plain);
            }
            let names = ("mlp.down_proj", "ffn_down");
            list.linear(names, [d, inner], bias, Part::Down, plain);
            let qk = match form.qk_norm {
                QkNorm::None => None,
                QkNorm::Head => Some([self.head_dim; 2]),
                QkNorm::Width => Some([width, kv]),
            };
            if let Some([q, k]) = qk {
                let names = ("self_attn.q_norm", "attn_q_norm");
                list.add(names, "weight", [q], Part::Norm, scale);
                let names = ("self_attn.k_norm", "attn_k_norm");
                list.add(names, "weight", [k], Part::Norm, scale);
            }
            for names in form.norms.0.into_iter().flatten() {
                list.add(names, "weight", [d], Part::Norm, scale);
            }
        }
        list.leave();
        list.add(("norm", "output_norm"), "weight", [d], Part::Norm, scale);
        list.end(head, self.vocab_size, d)
    }
}
