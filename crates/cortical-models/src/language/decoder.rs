//! Llama and its relatives: Mistral, Qwen2, Qwen3.

use super::json::JsonFields;
use super::parts::{Part, TensorSpec, activation, layer_name};
use super::rope::Rope;
use super::table::TokenTable;
use super::{Head, Model, ModelCache};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_attention::{DecoderBlock, GroupedQueryAttention, SwiGlu};
use cortical_kernels::activation::Activation;
use cortical_neuron::{Init, Layer, Params, Pass, Projection, RmsNorm};
use serde_json::json;

/// Which relative of Llama a model is; what they differ in stands in the other fields of a [`DecoderConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// Llama 2 and 3, and models of their form: TinyLlama, SmolLM2.
    Llama,
    /// Mistral: a window of attention.
    Mistral,
    /// Qwen2: biases of queries, keys and values.
    Qwen2,
    /// Qwen3: norms of queries and keys.
    Qwen3,
}

impl Family {
    /// The `model_type` of its `config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }
}

/// What a Llama-like model is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Which relative.
    pub family: Family,
    /// Tokens.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Neurons of the feed-forward half.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads of queries.
    pub num_heads: usize,
    /// Heads of keys and values.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// What the gate does with its sum.
    pub activation: Activation,
    /// The `eps` of the norms.
    pub eps: f64,
    /// Rotary positions.
    pub rope: Rope,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the output of attention has biases.
    pub out_bias: bool,
    /// Whether the feed-forward half has biases.
    pub mlp_bias: bool,
    /// How many positions a query sees, in the blocks that `windowed` names.
    pub window: Option<usize>,
    /// Which blocks have the window.
    pub windowed: Vec<bool>,
    /// Whether the head uses the table of the tokens.
    pub tied: bool,
    /// The standard deviation of first weights.
    pub init_std: f64,
}

/// Sizes that `config.json` may leave out.
struct Defaults {
    hidden_size: usize,
    intermediate_size: usize,
    vocab_size: usize,
    num_kv_heads: Option<usize>,
    head_dim: Option<usize>,
    max_positions: usize,
}

impl DecoderConfig {
    /// A plain model of a family with what its other fields are by default.
    #[must_use]
    pub fn new(
        family: Family,
        vocab_size: usize,
        [hidden_size, intermediate_size]: [usize; 2],
        num_layers: usize,
        [num_heads, num_kv_heads]: [usize; 2],
        rope: Rope,
    ) -> Self {
        Self {
            family,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim: hidden_size / num_heads.max(1),
            activation: Activation::Silu,
            eps: 1e-5,
            rope,
            qkv_bias: family == Family::Qwen2,
            out_bias: false,
            mlp_bias: false,
            window: None,
            windowed: vec![false; num_layers],
            tied: false,
            init_std: 0.02,
        }
    }

    pub(crate) fn read(family: Family, fields: &mut JsonFields) -> Result<Self> {
        let defaults = match family {
            Family::Llama => Defaults {
                hidden_size: 4096,
                intermediate_size: 11_008,
                vocab_size: 32_000,
                num_kv_heads: None,
                head_dim: None,
                max_positions: 2048,
            },
            Family::Mistral => Defaults {
                hidden_size: 4096,
                intermediate_size: 14_336,
                vocab_size: 32_000,
                num_kv_heads: Some(8),
                head_dim: None,
                max_positions: 131_072,
            },
            Family::Qwen2 | Family::Qwen3 => Defaults {
                hidden_size: 4096,
                intermediate_size: 22_016,
                vocab_size: 151_936,
                num_kv_heads: Some(32),
                head_dim: (family == Family::Qwen3).then_some(128),
                max_positions: 32_768,
            },
        };
        let hidden_size = fields.size("hidden_size")?.unwrap_or(defaults.hidden_size);
        let intermediate = fields.size("intermediate_size")?;
        let num_layers = fields.size("num_hidden_layers")?.unwrap_or(32);
        let num_heads = fields.size("num_attention_heads")?.unwrap_or(32);
        let kv_given = fields.has("num_key_value_heads");
        let num_kv_heads = fields.size("num_key_value_heads")?;
        // An explicit null means as many as there are heads.
        let num_kv_heads = match (num_kv_heads, kv_given) {
            (Some(heads), _) => heads,
            (None, true) => num_heads,
            (None, false) => defaults.num_kv_heads.unwrap_or(num_heads),
        };
        check_layers(num_layers)?;
        let head_dim = match fields.size("head_dim")?.or(defaults.head_dim) {
            Some(dim) => dim,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                return Err(Error::Config {
                    field: "num_attention_heads".to_owned(),
                    expected: format!("a divisor of hidden_size, {hidden_size}"),
                    got: num_heads.to_string(),
                });
            }
        };
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(Error::Config {
                field: "num_key_value_heads".to_owned(),
                expected: format!("a divisor of num_attention_heads, {num_heads}"),
                got: num_kv_heads.to_string(),
            });
        }
        if !head_dim.is_multiple_of(2) {
            return Err(Error::Config {
                field: "head_dim".to_owned(),
                expected: "an even number, for rotary positions turn pairs".to_owned(),
                got: head_dim.to_string(),
            });
        }
        let max_positions = fields.size("max_position_embeddings")?;
        let max_positions = max_positions.unwrap_or(defaults.max_positions);
        let (qkv_bias, out_bias, mlp_bias) = read_biases(family, fields)?;
        let (window, windowed) = read_window(family, fields, num_layers)?;
        Ok(Self {
            family,
            vocab_size: fields.size("vocab_size")?.unwrap_or(defaults.vocab_size),
            hidden_size,
            intermediate_size: intermediate.unwrap_or(defaults.intermediate_size),
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
            activation: activation(fields, "hidden_act", "silu")?,
            eps: fields.positive("rms_norm_eps")?.unwrap_or(1e-6),
            rope: Rope::read(fields, max_positions, head_dim)?,
            qkv_bias,
            out_bias,
            mlp_bias,
            window,
            windowed,
            tied: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            init_std: 0.02,
        })
    }

    pub(crate) fn tensors(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let width = self.num_heads.saturating_mul(self.head_dim);
        let kv = self.num_kv_heads.saturating_mul(self.head_dim);
        let mut all = vec![TensorSpec::new(
            format!("{prefix}embed_tokens.weight"),
            [self.vocab_size, d],
            Part::Tokens,
        )];
        for layer in 0..self.num_layers {
            let name = |rest: &str| layer_name(prefix, "layers", layer, rest);
            let mut linear = |place: &str, out: usize, input: usize, bias: bool, part: Part| {
                all.push(TensorSpec::new(
                    name(&format!("{place}.weight")),
                    [out, input],
                    part,
                ));
                if bias {
                    all.push(TensorSpec::new(
                        name(&format!("{place}.bias")),
                        [out],
                        Part::Bias,
                    ));
                }
            };
            linear("self_attn.q_proj", width, d, self.qkv_bias, Part::Query);
            linear("self_attn.k_proj", kv, d, self.qkv_bias, Part::Key);
            linear("self_attn.v_proj", kv, d, self.qkv_bias, Part::Value);
            linear("self_attn.o_proj", d, width, self.out_bias, Part::Output);
            linear("mlp.gate_proj", inner, d, self.mlp_bias, Part::Gate);
            linear("mlp.up_proj", inner, d, self.mlp_bias, Part::Up);
            linear("mlp.down_proj", d, inner, self.mlp_bias, Part::Down);
            if self.family == Family::Qwen3 {
                for norm in ["q_norm", "k_norm"] {
                    let name = name(&format!("self_attn.{norm}.weight"));
                    all.push(TensorSpec::new(name, [self.head_dim], Part::Norm));
                }
            }
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                all.push(TensorSpec::new(
                    name(&format!("{norm}.weight")),
                    [d],
                    Part::Norm,
                ));
            }
        }
        all.push(TensorSpec::new(
            format!("{prefix}norm.weight"),
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

/// The most blocks that a description may ask for.
pub(crate) fn check_layers(layers: usize) -> Result<()> {
    match layers {
        0..=4096 => Ok(()),
        _ => Err(Error::Config {
            field: "num_hidden_layers".to_owned(),
            expected: "at most 4096".to_owned(),
            got: layers.to_string(),
        }),
    }
}

fn read_biases(family: Family, fields: &mut JsonFields) -> Result<(bool, bool, bool)> {
    Ok(match family {
        Family::Llama => {
            let attention = fields.flag("attention_bias")?.unwrap_or(false);
            (
                attention,
                attention,
                fields.flag("mlp_bias")?.unwrap_or(false),
            )
        }
        Family::Qwen3 => {
            let attention = fields.flag("attention_bias")?.unwrap_or(false);
            (attention, attention, false)
        }
        Family::Mistral => (false, false, false),
        Family::Qwen2 => (true, false, false),
    })
}

/// The window, and which blocks have it.
fn read_window(
    family: Family,
    fields: &mut JsonFields,
    layers: usize,
) -> Result<(Option<usize>, Vec<bool>)> {
    match family {
        Family::Llama => Ok((None, vec![false; layers])),
        Family::Mistral => {
            let given = fields.has("sliding_window");
            let window = fields.size("sliding_window")?;
            let window = if given { window } else { Some(4096) };
            Ok((window, vec![window.is_some(); layers]))
        }
        Family::Qwen2 | Family::Qwen3 => {
            let used = fields.flag("use_sliding_window")?.unwrap_or(false);
            let given = fields.has("sliding_window");
            let window = fields.size("sliding_window")?;
            let window = if given { window } else { Some(4096) };
            let window = window.filter(|_| used);
            let from = fields.whole("max_window_layers")?.unwrap_or(28);
            let windowed = match fields.texts("layer_types")? {
                None => (0..layers).map(|i| window.is_some() && i >= from).collect(),
                Some(types) => read_types(&types, layers, window)?,
            };
            Ok((window, windowed))
        }
    }
}

fn read_types(types: &[String], layers: usize, window: Option<usize>) -> Result<Vec<bool>> {
    let wrong = |expected: String, got: String| Error::Config {
        field: "layer_types".to_owned(),
        expected,
        got,
    };
    if types.len() != layers {
        let got = format!("{} entries", types.len());
        return Err(wrong(format!("one entry for each of {layers} layers"), got));
    }
    let windowed = |kind: &String| match (kind.as_str(), window) {
        ("full_attention", _) => Ok(false),
        ("sliding_attention", Some(_)) => Ok(true),
        ("sliding_attention", None) => Err(wrong(
            "use_sliding_window and sliding_window beside sliding_attention".to_owned(),
            "neither".to_owned(),
        )),
        (other, _) => Err(wrong(
            "full_attention or sliding_attention".to_owned(),
            json!(other).to_string(),
        )),
    };
    types.iter().map(windowed).collect()
}

/// A Llama-like model: a table of tokens, blocks, a norm and a head.
#[derive(Debug)]
pub(crate) struct Decoder {
    tokens: TokenTable,
    blocks: Vec<DecoderBlock>,
    norm: RmsNorm,
}

impl Decoder {
    pub(crate) fn build(config: &DecoderConfig, prefix: &str, params: &Params) -> Result<Self> {
        let (d, eps) = (config.hidden_size, config.eps);
        let normal = |std: f64| Init::Normal { mean: 0.0, std };
        // What adds to the stream of every block begins smaller, so that the sum over blocks does not grow (GPT-2, section 2.3).
        let inner = normal(config.init_std);
        let outer = normal(config.init_std / (2.0 * config.num_layers.max(1) as f64).sqrt());
        let place = |name: &str| params.at(&format!("{prefix}{name}"));
        let rotary = config.rope.rotary(config.head_dim);
        let tokens = TokenTable::build(config.vocab_size, d, inner, &place("embed_tokens"))?;
        let mut blocks = Vec::new();
        for layer in 0..config.num_layers {
            let windowed = config.windowed.get(layer).copied().unwrap_or(false);
            let window = config.window.filter(|_| windowed);
            let attention = GroupedQueryAttention::config(d, config.num_heads)
                .num_kv_heads(config.num_kv_heads)
                .head_dim(config.head_dim)
                .bias(config.qkv_bias)
                .out_bias(config.out_bias)
                .window(window)
                .head_norm((config.family == Family::Qwen3).then_some(eps))
                .rotary(rotary.clone())
                .init(inner, outer);
            let feed_forward = SwiGlu::config(d, config.intermediate_size)
                .bias(config.mlp_bias)
                .activation(config.activation)
                .init(inner, outer);
            let block = DecoderBlock::config(d, config.intermediate_size, attention)
                .feed_forward(feed_forward)
                .eps(eps)
                .build(&place(&format!("layers.{layer}")))?;
            blocks.push(block);
        }
        let norm = RmsNorm::config(&[d]).eps(eps).build(&place("norm"))?;
        Ok(Self {
            tokens,
            blocks,
            norm,
        })
    }
}

impl Model for Decoder {
    fn hidden(
        &self,
        ids: &Tensor,
        mut cache: Option<&mut ModelCache>,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let mut x = self.tokens.look_up(ids, pass)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_mut().and_then(|cache| cache.layers.get_mut(i));
            x = block.run(&x, cache, pass)?;
        }
        self.norm.forward(&x, pass)
    }

    fn tokens(&self) -> &TokenTable {
        &self.tokens
    }

    fn projections(&self) -> Vec<&Projection> {
        self.blocks
            .iter()
            .flat_map(DecoderBlock::projections)
            .collect()
    }
}
