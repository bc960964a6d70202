//! The tensors of a language model, and which part of it each belongs to.

use super::json::JsonFields;
use crate::error::{Error, Result};
use cortical_kernels::activation::Activation;

/// A part of a language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The table of tokens.
    Tokens,
    /// The table of positions.
    Positions,
    /// The table of kinds of segments (BERT).
    Segments,
    /// Projections to queries.
    Query,
    /// Projections to keys.
    Key,
    /// Projections to values.
    Value,
    /// Projections to queries, keys and values in one (GPT-2).
    QueryKeyValue,
    /// Projections from attention back to the model's width.
    Output,
    /// Gates of the feed-forward halves.
    Gate,
    /// Projections up to the feed-forward halves' width.
    Up,
    /// Projections down from it.
    Down,
    /// Scales and shifts of norms.
    Norm,
    /// Biases.
    Bias,
    /// The head that scores tokens.
    Head,
    /// The pooler on top of BERT.
    Pooler,
}

impl Part {
    /// The part in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "token embedding",
            Self::Positions => "position embedding",
            Self::Segments => "segment embedding",
            Self::Query => "queries",
            Self::Key => "keys",
            Self::Value => "values",
            Self::QueryKeyValue => "queries, keys, values",
            Self::Output => "attention output",
            Self::Gate => "feed-forward gate",
            Self::Up => "feed-forward up",
            Self::Down => "feed-forward down",
            Self::Norm => "norms",
            Self::Bias => "biases",
            Self::Head => "head",
            Self::Pooler => "pooler",
        }
    }
}

/// A tensor that a model has, by its name in Hugging Face's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Where it belongs.
    pub part: Part,
}

impl TensorSpec {
    pub(crate) fn new<const N: usize>(name: String, shape: [usize; N], part: Part) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            part,
        }
    }

    /// Its elements; `None` when they cannot be counted.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1_usize, |n, d| n.checked_mul(*d))
    }
}

/// `prefix` + `stack.layer.rest`
pub(crate) fn layer_name(prefix: &str, stack: &str, layer: usize, rest: &str) -> String {
    format!("{prefix}{stack}.{layer}.{rest}")
}

/// An activation by the name that transformers has for it.
pub(crate) fn activation(fields: &mut JsonFields, name: &str, default: &str) -> Result<Activation> {
    let text = fields.text(name)?.unwrap_or_else(|| default.to_owned());
    Ok(match text.as_str() {
        "silu" | "swish" => Activation::Silu,
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" => {
            Activation::GeluTanh
        }
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "leaky_relu" => Activation::LEAKY_RELU,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "mish" => Activation::Mish,
        "hardswish" => Activation::Hardswish,
        "linear" => Activation::Identity,
        _ => {
            return Err(Error::UnsupportedConfig {
                field: name.to_owned(),
                got: format!("{text:?}"),
                expected: "silu, gelu, gelu_new, gelu_pytorch_tanh, relu, relu6, leaky_relu, sigmoid, tanh, mish, hardswish or linear"
                    .to_owned(),
            });
        }
    })
}
