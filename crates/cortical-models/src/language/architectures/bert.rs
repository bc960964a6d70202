//! BERT.

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
use cortical_attention::{Memory, observed_attention};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Embedding, Init, Layer, LayerNorm, Params, Pass, Scope, View};
use cortical_tensor::ops::{Attention, HeadOrder};
use serde_json::{Value, json};

/// Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding" (2018).
#[derive(Debug)]
pub(super) struct Bert;

impl Architecture for Bert {
    fn names(&self) -> Names {
        Names {
            model_type: "bert",
            class: "Bert",
            gguf: Some("bert"),
            body: "bert.",
            classifier_class: "Bert",
            classifier: ("classifier", true),
        }
    }

    fn read(&'static self, fields: &mut JsonFields) -> Result<Box<dyn Config>> {
        Ok(Box::new(BertConfig::read(fields)?))
    }

    fn read_gguf(&'static self, keys: &Keys<'_>, _head: Head) -> Result<Box<dyn Config>> {
        Ok(Box::new(BertConfig::read_gguf(keys)?))
    }

    fn presets(&'static self) -> Vec<(&'static str, Box<dyn Config>)> {
        let sizes = [("bert-base", 768, 12, 12), ("bert-large", 1024, 24, 16)];
        let make = |(name, width, layers, heads)| {
            let config = BertConfig::new(width, layers, heads);
            (name, Box::new(config) as Box<dyn Config>)
        };
        sizes.map(make).into()
    }
}

/// What a BERT is made of.
#[derive(Clone, Debug, PartialEq)]
struct BertConfig {
    /// Tokens.
    vocab_size: usize,
    /// Width.
    hidden_size: usize,
    /// Blocks.
    num_layers: usize,
    /// Heads.
    num_heads: usize,
    /// Neurons of the feed-forward sublayer.
    intermediate_size: usize,
    /// What they do with their sums.
    activation: Activation,
    /// The `eps` of the norms.
    eps: f64,
    /// Positions.
    max_positions: usize,
    /// Kinds of segments.
    type_vocab_size: usize,
    /// The token whose vector gets no gradient.
    pad_token: Option<u32>,
    /// Whether the file has the pooler, which classification starts from.
    pooler: bool,
}

impl BertConfig {
    /// The sizes of a published BERT.
    fn new(hidden_size: usize, num_layers: usize, num_heads: usize) -> Self {
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
            pad_token: Some(0),
            pooler: true,
        }
    }

    fn read(fields: &mut JsonFields) -> Result<Self> {
        let hidden_size = fields.size_or("hidden_size", 768)?;
        let num_heads = fields.size_or("num_attention_heads", 12)?;
        let num_layers = fields.size_or("num_hidden_layers", 12)?;
        check_layers(num_layers)?;
        check_divides("num_attention_heads", num_heads, "hidden_size", hidden_size)?;
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
            vocab_size: fields.size_or("vocab_size", 30_522)?,
            hidden_size,
            num_layers,
            num_heads,
            intermediate_size: fields.size_or("intermediate_size", 3072)?,
            activation: activation(fields, "hidden_act", "gelu")?,
            eps: fields.positive("layer_norm_eps")?.unwrap_or(1e-12),
            max_positions: fields.size_or("max_position_embeddings", 512)?,
            type_vocab_size: fields.size_or("type_vocab_size", 2)?,
            pad_token: fields.token("pad_token_id", Some(0))?,
            pooler: true,
        })
    }
}

impl BertConfig {
    fn read_gguf(keys: &Keys<'_>) -> Result<Self> {
        let (width, layers) = (keys.need("embedding_length")?, keys.need("block_count")?);
        let heads = keys.need("attention.head_count")?;
        check_layers(layers)?;
        if !width.is_multiple_of(heads) {
            let value = keys.get("attention.head_count");
            let expected = format!("a divisor of {width}");
            return Err(keys.wrong("attention.head_count", &expected, value));
        }
        if let Some(value) = keys.get("attention.causal")
            && value.as_bool() != Some(false)
        {
            let expected = "false: a BERT sees the whole text";
            return Err(keys.wrong("attention.causal", expected, Some(value)));
        }
        Ok(Self {
            vocab_size: keys.vocabulary()?,
            intermediate_size: keys.need("feed_forward_length")?,
            eps: keys
                .positive("attention.layer_norm_epsilon")?
                .unwrap_or(1e-12),
            max_positions: keys.need("context_length")?,
            type_vocab_size: keys.rows("token_types.weight").unwrap_or(2),
            pad_token: None,
            pooler: false,
            ..Self::new(width, layers, heads)
        })
    }
}

impl Config for BertConfig {
    fn names(&self) -> Names {
        Bert.names()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab: self.vocab_size,
            hidden: self.hidden_size,
            layers: self.num_layers,
            positions: self.max_positions,
            position_table: true,
            init_std: 0.02,
        }
    }

    fn set_vocab_size(&mut self, tokens: usize) {
        // Other tokens: none of them is known to stand for padding.
        (self.vocab_size, self.pad_token) = (tokens, None);
    }

    fn head(&self) -> Head {
        Head::None
    }

    fn prefix(&self) -> &'static str {
        ""
    }

    fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        let (d, inner, plain) = (self.hidden_size, self.intermediate_size, Change::None);
        let mut list = TensorList::new(prefix);
        for ((name, gguf), rows, part) in [
            (
                ("word_embeddings", "token_embd"),
                self.vocab_size,
                Part::Tokens,
            ),
            (
                ("position_embeddings", "position_embd"),
                self.max_positions,
                Part::Positions,
            ),
            (
                ("token_type_embeddings", "token_types"),
                self.type_vocab_size,
                Part::Segments,
            ),
        ] {
            let name = format!("embeddings.{name}");
            list.add((&name, gguf), "weight", [rows, d], part, plain);
        }
        let norm = |list: &mut TensorList<'_>, names: (&str, &str)| {
            list.add(names, "weight", [d], Part::Norm, plain);
            list.add(names, "bias", [d], Part::Norm, plain);
        };
        norm(&mut list, ("embeddings.LayerNorm", "token_embd_norm"));
        for layer in 0..self.num_layers {
            list.enter("encoder.layer", layer);
            for (names, shape, part) in [
                (("attention.self.query", "attn_q"), [d, d], Part::Query),
                (("attention.self.key", "attn_k"), [d, d], Part::Key),
                (("attention.self.value", "attn_v"), [d, d], Part::Value),
                (
                    ("attention.output.dense", "attn_output"),
                    [d, d],
                    Part::Output,
                ),
                (("intermediate.dense", "ffn_up"), [inner, d], Part::Up),
                (("output.dense", "ffn_down"), [d, inner], Part::Down),
            ] {
                list.linear(names, shape, true, part, plain);
            }
            norm(
                &mut list,
                ("attention.output.LayerNorm", "attn_output_norm"),
            );
            norm(&mut list, ("output.LayerNorm", "layer_output_norm"));
        }
        list.leave();
        if self.pooler {
            list.linear(("pooler.dense", ""), [d, d], true, Part::Pooler, plain);
        }
        list.end(head, self.vocab_size, d)
    }

    fn widths(&self) -> Option<BlockWidths> {
        // A head is as wide as the model divided by their number, so none can go.
        let up = ("intermediate.dense".to_owned(), widths::MAKES, 1, true);
        let down = ("output.dense".to_owned(), widths::READS, 1, false);
        Some(BlockWidths {
            stack: "encoder.layer",
            heads: None,
            inner: (self.intermediate_size, vec![up, down]),
        })
    }

    fn narrow(&mut self, _heads: usize, inner: usize) {
        self.intermediate_size = inner;
    }

    fn build(&self, prefix: &str, params: &Params) -> Result<Box<dyn Model>> {
        Ok(Box::new(BertModel::build(self, prefix, params)?))
    }

    fn describe_to(&self, out: &mut GgufDescription) -> std::result::Result<(), String> {
        let is_gelu = matches!(self.activation, Activation::Gelu | Activation::GeluTanh);
        refuse(!is_gelu, "its activation function")?;
        if self.activation == Activation::Gelu {
            out.remark(
                "llama.cpp computes GELU by its approximation with tanh, whose results differ by up to 0.0005"
                    .to_owned(),
            );
        }
        out.size("vocab_size", self.vocab_size)?;
        out.size("context_length", self.max_positions)?;
        out.size("embedding_length", self.hidden_size)?;
        out.size("feed_forward_length", self.intermediate_size)?;
        out.size("block_count", self.num_layers)?;
        out.size("attention.head_count", self.num_heads)?;
        out.number("attention.layer_norm_epsilon", self.eps);
        out.flag("attention.causal", false);
        out.general("tokenizer.ggml.token_type_count", self.type_vocab_size)
    }

    fn write(&self) -> Option<Value> {
        Some(json!({
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": activation_name(self.activation)?,
            "layer_norm_eps": self.eps,
            "max_position_embeddings": self.max_positions,
            "type_vocab_size": self.type_vocab_size,
            "pad_token_id": self.pad_token,
            "torch_dtype": "float32",
        }))
    }

    fn settle(&mut self, has: &dyn Fn(&str) -> bool) -> (&'static str, Head) {
        let prefix = match has("bert.embeddings.word_embeddings.weight") {
            true => self.names().body,
            false => "",
        };
        self.pooler = has(&format!("{prefix}pooler.dense.weight"));
        (prefix, Head::None)
    }

    fn is_spare(&self, name: &str) -> bool {
        // Heads for other tasks stand beside it.
        let mut heads = ["cls.", "classifier.", "qa_outputs."].iter();
        name.ends_with("embeddings.position_ids") || heads.any(|head| name.starts_with(head))
    }

    fn pads(&self) -> bool {
        false
    }
}

/// `h = norm(x + attention(x))`, `y = norm(h + W₂ gelu(W₁ h))`.
#[derive(Debug)]
struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    heads: usize,
    name: String,
}

const INIT: Init = Init::Normal {
    mean: 0.0,
    std: 0.02,
};

fn linear(scope: &Scope, input: usize, out: usize, activation: Activation) -> Result<Linear> {
    let config = Linear::config(input, out).bias(true).init(INIT);
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
        let y = (&h + self.down.apply_to_units(inner, pass)?)?;
        let y = self.norm.forward(&y, pass)?;
        pass.observe_in(View::Modules, &self.name, y)
    }

    fn describe(&self, sample: &[usize; 2]) -> cortical_neuron::Result<Description> {
        let inner = [sample[0], self.up.out_features()];
        let parts = vec![
            self.query.describe(sample)?,
            self.key.describe(sample)?,
            self.value.describe(sample)?,
            attention(&self.name, sample, self.heads, false),
            self.output.describe(sample)?,
            sum(sample),
            self.attention_norm.describe(sample)?,
            self.up.describe(sample)?,
            self.down.describe(&inner)?,
            sum(sample),
            self.norm.describe(sample)?,
        ];
        Ok(Description::of_parts(BLOCK, &self.name, parts, sample))
    }

    fn attend(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let (batch, rows, d) = x.dims3()?;
        let mut heads = |layer: &Linear| -> cortical_neuron::Result<Tensor> {
            Ok(layer
                .apply(x, pass)?
                .reshape((batch, rows, self.heads, d / self.heads))?)
        };
        let options = Attention {
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let (q, k, v) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let name = format!("{}.attention.self", self.name);
        let y = observed_attention(&name, [&q, &k, &v], options, pass)?;
        self.output.apply(&y.flatten_from(2)?, pass)
    }
}

/// A BERT: tables of tokens, positions and segments, and blocks that see the whole text.
#[derive(Debug)]
struct BertModel {
    words: TokenTable,
    positions: Embedding,
    segments: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    pooler: Option<Linear>,
}

impl BertModel {
    fn build(config: &BertConfig, prefix: &str, params: &Params) -> Result<Self> {
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
            words: TokenTable::build([config.vocab_size, d], config.pad_token, INIT, &words)?,
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

impl Model for BertModel {
    fn embed(
        &self,
        ids: &Tensor,
        _positions: &[u32],
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let positions = Tensor::arange(0, ids.dim(1)? as u32, ids.device())?;
        let segments = self.segments.forward(&ids.zeros_like()?, pass)?;
        let positions = self.positions.forward(&positions, pass)?;
        let words = self.words.look_up(ids, pass)?;
        let x = (words + segments)?.broadcast_add(&positions)?;
        self.norm.forward(&x, pass)
    }

    fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn block(
        &self,
        index: usize,
        x: &Tensor,
        _memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        self.blocks[index].run(x, pass)
    }

    fn finish(&self, x: Tensor, _pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        Ok(x)
    }

    fn describe(&self, rows: usize) -> cortical_neuron::Result<Vec<Description>> {
        let sample = [rows, self.words.dim()];
        let (words, segments) = (self.words.describe(rows)?, self.segments.describe(&[rows])?);
        let mut all = vec![words, segments, sum(&sample), sum(&sample)];
        all.push(self.norm.describe(&sample)?);
        for block in &self.blocks {
            all.push(block.describe(&sample)?);
        }
        // It reads the first token of a text only.
        if let Some(pooler) = &self.pooler {
            all.push(pooler.describe(&[self.words.dim()])?);
        }
        Ok(all)
    }

    fn tokens(&self) -> &TokenTable {
        &self.words
    }

    fn summary(
        &self,
        hidden: &Tensor,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        match &self.pooler {
            Some(pooler) => pooler.apply(&first, pass).map(Some),
            None => Ok(Some(first)),
        }
    }

    fn projections(&self) -> Vec<&Linear> {
        self.blocks
            .iter()
            .flat_map(|b| [&b.query, &b.key, &b.value, &b.output, &b.up, &b.down])
            .collect()
    }
}
