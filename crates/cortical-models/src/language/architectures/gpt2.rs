//! GPT-2.

use super::super::architecture::{Architecture, Config, Model, Names, Sizes};
use super::super::decoder::refuse;
use super::super::describe::{BLOCK, attention, sum};
use super::super::gguf_description::GgufDescription;
use super::super::head::Head;
use super::super::json::JsonFields;
use super::super::keys::Keys;
use super::super::parts::{
    Change, Part, TensorList, TensorSpec, activation, activation_name, check_divides, check_layers,
};
use super::super::table::TokenTable;
use super::super::widths::{self, BlockWidths};
use crate::error::Result;
use candle_core::Tensor;
use cortical_attention::{Memory, attend_texts, observed_attention};
use cortical_dense::{Layout, Linear};
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Description, Embedding, Init, Layer, LayerNorm, Params, Pass, Scope, View, product,
};
use cortical_tensor::ops::{Attention, HeadOrder};
use serde_json::{Value, json};

/// Radford et al., "Language models are unsupervised multitask learners" (2019).
#[derive(Debug)]
pub(super) struct Gpt2;

impl Architecture for Gpt2 {
    fn names(&self) -> Names {
        Names {
            model_type: "gpt2",
            class: "GPT2",
            gguf: Some("gpt2"),
            body: "transformer.",
            classifier_class: "GPT2",
            classifier: ("score", false),
        }
    }

    fn read(&'static self, fields: &mut JsonFields) -> Result<Box<dyn Config>> {
        Ok(Box::new(Gpt2Config::read(fields)?))
    }

    fn read_gguf(&'static self, keys: &Keys<'_>, head: Head) -> Result<Box<dyn Config>> {
        Ok(Box::new(Gpt2Config::read_gguf(keys, head)?))
    }

    fn presets(&'static self) -> Vec<(&'static str, Box<dyn Config>)> {
        let sizes = [
            ("gpt2", 768, 12, 12),
            ("gpt2-medium", 1024, 24, 16),
            ("gpt2-large", 1280, 36, 20),
            ("gpt2-xl", 1600, 48, 25),
        ];
        let make = |(name, width, layers, heads)| {
            let config = Gpt2Config::new(width, layers, heads);
            (name, Box::new(config) as Box<dyn Config>)
        };
        sizes.map(make).into()
    }
}

/// What a GPT-2 is made of.
#[derive(Clone, Debug, PartialEq)]
struct Gpt2Config {
    /// Tokens.
    vocab_size: usize,
    /// Positions.
    n_positions: usize,
    /// Width.
    n_embd: usize,
    /// Blocks.
    n_layer: usize,
    /// Heads.
    n_head: usize,
    /// Neurons of the feed-forward sublayer.
    n_inner: usize,
    /// What they do with their sums.
    activation: Activation,
    /// The `eps` of the norms.
    eps: f64,
    /// Whether scores are divided by the root of a head's size.
    scale_by_root: bool,
    /// Whether scores are divided by the number of the block as well.
    scale_by_layer: bool,
    /// Whether the head uses the table of the tokens.
    tied: bool,
}

impl Gpt2Config {
    /// The sizes of a published GPT-2.
    fn new(n_embd: usize, n_layer: usize, n_head: usize) -> Self {
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

    fn read(fields: &mut JsonFields) -> Result<Self> {
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
        check_divides("n_head", n_head, "n_embd", n_embd)?;
        // It moves a scale before a product, which changes nothing in single precision.
        let _ = fields.flag("reorder_and_upcast_attn")?;
        fields.only("add_cross_attention", &[json!(false)])?;
        Ok(Self {
            vocab_size: fields.size_or("vocab_size", 50_257)?,
            n_positions,
            n_embd,
            n_layer,
            n_head,
            n_inner: fields.size_or("n_inner", n_embd.saturating_mul(4))?,
            activation: activation(fields, "activation_function", "gelu_new")?,
            eps: fields.positive("layer_norm_epsilon")?.unwrap_or(1e-5),
            scale_by_root: fields.flag("scale_attn_weights")?.unwrap_or(true),
            scale_by_layer: fields
                .flag("scale_attn_by_inverse_layer_idx")?
                .unwrap_or(false),
            tied: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }

    fn read_gguf(keys: &Keys<'_>, head: Head) -> Result<Self> {
        let (width, layers) = (keys.need("embedding_length")?, keys.need("block_count")?);
        let heads = keys.need("attention.head_count")?;
        check_layers(layers)?;
        if !width.is_multiple_of(heads) {
            let value = keys.get("attention.head_count");
            let expected = format!("a divisor of {width}");
            return Err(keys.wrong("attention.head_count", &expected, value));
        }
        Ok(Self {
            vocab_size: keys.vocabulary()?,
            n_positions: keys.need("context_length")?,
            n_inner: keys.size("feed_forward_length")?.unwrap_or(4 * width),
            eps: keys
                .positive("attention.layer_norm_epsilon")?
                .unwrap_or(1e-5),
            tied: head == Head::Tied,
            ..Self::new(width, layers, heads)
        })
    }
}

impl Config for Gpt2Config {
    fn names(&self) -> Names {
        Gpt2.names()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab: self.vocab_size,
            hidden: self.n_embd,
            layers: self.n_layer,
            positions: self.n_positions,
            position_table: true,
            init_std: 0.02,
        }
    }

    fn set_vocab_size(&mut self, tokens: usize) {
        self.vocab_size = tokens;
    }

    fn untie(&mut self) {
        self.tied = false;
    }

    fn head(&self) -> Head {
        Head::tied(self.tied)
    }

    fn cache_width(&self) -> usize {
        2_usize.saturating_mul(self.n_embd)
    }

    fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        let (d, plain) = (self.n_embd, Change::None);
        let mut list = TensorList::new(prefix);
        let table = [self.vocab_size, d];
        list.add(("wte", "token_embd"), "weight", table, Part::Tokens, plain);
        let table = [self.n_positions, d];
        let names = ("wpe", "position_embd");
        list.add(names, "weight", table, Part::Positions, plain);
        let norm = |list: &mut TensorList<'_>, names: (&str, &str)| {
            list.add(names, "weight", [d], Part::Norm, plain);
            list.add(names, "bias", [d], Part::Norm, plain);
        };
        for layer in 0..self.n_layer {
            list.enter("h", layer);
            let (qkv, inner) = (3 * d, self.n_inner);
            for (names, shape, part) in [
                (("attn.c_attn", "attn_qkv"), [qkv, d], Part::QueryKeyValue),
                (("attn.c_proj", "attn_output"), [d, d], Part::Output),
                (("mlp.c_fc", "ffn_up"), [inner, d], Part::Up),
                (("mlp.c_proj", "ffn_down"), [d, inner], Part::Down),
            ] {
                list.linear(names, shape, true, part, Change::Columns);
            }
            norm(&mut list, ("ln_1", "attn_norm"));
            norm(&mut list, ("ln_2", "ffn_norm"));
        }
        list.leave();
        norm(&mut list, ("ln_f", "output_norm"));
        list.end(head, self.vocab_size, d)
    }

    fn widths(&self) -> Option<BlockWidths> {
        // A head is as wide as the model divided by their number, so none can go.
        let fc = ("mlp.c_fc".to_owned(), widths::MAKES_COLUMNS, 1, true);
        let proj = ("mlp.c_proj".to_owned(), widths::READS_COLUMNS, 1, false);
        Some(BlockWidths {
            stack: "h",
            heads: None,
            inner: (self.n_inner, vec![fc, proj]),
        })
    }

    fn narrow(&mut self, _heads: usize, inner: usize) {
        self.n_inner = inner;
    }

    fn build(&self, prefix: &str, params: &Params) -> Result<Box<dyn Model>> {
        Ok(Box::new(Gpt2Model::build(self, prefix, params)?))
    }

    fn describe_to(&self, out: &mut GgufDescription) -> std::result::Result<(), String> {
        refuse(
            self.activation != Activation::GeluTanh,
            "its activation function",
        )?;
        refuse(
            self.scale_by_layer || !self.scale_by_root,
            "its own scale of attention",
        )?;
        out.size("vocab_size", self.vocab_size)?;
        out.size("context_length", self.n_positions)?;
        out.size("embedding_length", self.n_embd)?;
        out.size("feed_forward_length", self.n_inner)?;
        out.size("block_count", self.n_layer)?;
        out.size("attention.head_count", self.n_head)?;
        out.number("attention.layer_norm_epsilon", self.eps);
        Ok(())
    }

    fn write(&self) -> Option<Value> {
        let name = match self.activation {
            Activation::GeluTanh => "gelu_new",
            other => activation_name(other)?,
        };
        Some(json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "activation_function": name,
            "layer_norm_epsilon": self.eps,
            "scale_attn_weights": self.scale_by_root,
            "scale_attn_by_inverse_layer_idx": self.scale_by_layer,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
        }))
    }

    fn settle(&mut self, has: &dyn Fn(&str) -> bool) -> (&'static str, Head) {
        let prefix = match has("wte.weight") {
            true => "",
            false => self.prefix(),
        };
        (prefix, Head::tied(self.tied && !has("lm_head.weight")))
    }

    fn is_spare(&self, name: &str) -> bool {
        name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
    }

    fn pads(&self) -> bool {
        true
    }
}

/// `h = x + attention(norm(x))`, `y = h + W₂ gelu(W₁ norm(h))`.
#[derive(Debug)]
struct Block {
    ln_1: LayerNorm,
    c_attn: Linear,
    attn_c_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_c_proj: Linear,
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
            Linear::config(input, out)
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
        memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let normed = self.ln_1.forward(x, pass)?;
        let attended = self
            .attend(&normed, memory, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        let h = (x + attended)?;
        let normed = self.ln_2.forward(&h, pass)?;
        let inner = self.c_fc.apply(&normed, pass)?;
        let y = (&h + self.mlp_c_proj.apply_to_units(inner, pass)?)?;
        pass.observe_in(View::Modules, &self.name, y)
    }

    fn describe(&self, sample: &[usize; 2]) -> cortical_neuron::Result<Description> {
        let [rows, d] = *sample;
        let [c_attn, attn_c_proj] = [&self.c_attn, &self.attn_c_proj].map(|l| l.describe(sample));
        let inner = [rows, self.c_fc.out_features()];
        // Queries, keys and values are cut out of what one layer makes of them.
        let parts = product(sample);
        let attention = attention(&self.name, sample, self.heads, true).keeping([parts; 3]);
        debug_assert_eq!(self.c_attn.out_features(), 3 * d);
        let parts = vec![
            self.ln_1.describe(sample)?,
            c_attn?,
            attention,
            attn_c_proj?,
            sum(sample),
            self.ln_2.describe(sample)?,
            self.c_fc.describe(sample)?,
            self.mlp_c_proj.describe(&inner)?,
            sum(sample),
        ];
        Ok(Description::of_parts(BLOCK, &self.name, parts, sample))
    }

    fn attend(
        &self,
        x: &Tensor,
        memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let (batch, rows, d) = x.dims3()?;
        let qkv = self.c_attn.apply(x, pass)?;
        let part = |i: usize| {
            let part = qkv.narrow(2, i * d, d)?.contiguous()?;
            part.reshape((batch, rows, self.heads, d / self.heads))
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let name = format!("{}.attn", self.name);
        let options = |before| Attention {
            scale: Some(self.scale),
            causal: Some(before),
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let y = match memory {
            Memory::None => observed_attention(&name, [&q, &k, &v], options(0), pass)?,
            Memory::Text(cache) => {
                let before = cache.len();
                let (k, v) = cache.append(&k, &v)?;
                observed_attention(&name, [&q, &k, &v], options(before), pass)?
            }
            Memory::Texts(texts) => {
                attend_texts(&name, [&q, &k, &v], texts, None, options(0), pass)?
            }
        };
        let y = self.attn_c_proj.apply(&y.flatten_from(2)?, pass)?;
        pass.observe_in(View::Modules, &name, y)
    }
}

/// A GPT-2: tables of tokens and positions, blocks, a norm and a head.
#[derive(Debug)]
struct Gpt2Model {
    wte: TokenTable,
    wpe: Embedding,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
}

impl Gpt2Model {
    fn build(config: &Gpt2Config, prefix: &str, params: &Params) -> Result<Self> {
        let d = config.n_embd;
        let init = Init::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let place = |name: &str| params.at(&format!("{prefix}{name}"));
        let positions = Embedding::config(config.n_positions, d).init(init);
        let block = |i: usize| Block::build(config, i, &place(&format!("h.{i}")));
        Ok(Self {
            wte: TokenTable::build([config.vocab_size, d], None, init, &place("wte"))?,
            wpe: positions.build(&place("wpe"))?,
            blocks: (0..config.n_layer).map(block).collect::<Result<_>>()?,
            ln_f: LayerNorm::config(&[d])
                .eps(config.eps)
                .build(&place("ln_f"))?,
        })
    }
}

impl Model for Gpt2Model {
    fn embed(
        &self,
        ids: &Tensor,
        positions: &[u32],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let positions = Tensor::new(positions, ids.device())?;
        let positions = self.wpe.forward(&positions, pass)?;
        Ok(self.wte.look_up(ids, pass)?.broadcast_add(&positions)?)
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
        self.ln_f.forward(&x, pass)
    }

    fn describe(&self, rows: usize) -> cortical_neuron::Result<Vec<Description>> {
        let sample = [rows, self.wte.dim()];
        let mut all = vec![self.wte.describe(rows)?, sum(&sample)];
        for block in &self.blocks {
            all.push(block.describe(&sample)?);
        }
        all.push(self.ln_f.describe(&sample)?);
        Ok(all)
    }

    fn tokens(&self) -> &TokenTable {
        &self.wte
    }

    fn projections(&self) -> Vec<&Linear> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| [&b.c_attn, &b.attn_c_proj, &b.c_fc, &b.mlp_c_proj]);
        blocks.collect()
    }
}
