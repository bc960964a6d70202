//! The tensors of a language model, and which part of it each belongs to.

use super::head::Head;
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
    /// Projections to queries, keys and values in one (GPT-2, Phi-3).
    QueryKeyValue,
    /// Projections from attention back to the model's width.
    Output,
    /// Gates of the feed-forward sublayers.
    Gate,
    /// Gates and projections up in one (Phi-3).
    GateUp,
    /// Projections up to the feed-forward sublayers' width.
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
            Self::GateUp => "feed-forward gate and up",
            Self::Up => "feed-forward up",
            Self::Down => "feed-forward down",
            Self::Norm => "norms",
            Self::Bias => "biases",
            Self::Head => "head",
            Self::Pooler => "pooler",
        }
    }
}

/// What differs between a tensor in Hugging Face's files and in GGUF files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    #[default]
    None,
    /// Columns in Hugging Face's files are rows in GGUF files.
    Columns,
    /// Rows of so many heads, which GGUF files have with the two numbers of a rotated pair side by side.
    Pairs(usize),
    /// Scales of a norm that adds one to them, which GGUF files have with the one added.
    PlusOne,
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
    /// Its name in GGUF files, where they have it, and how it is stored there.
    pub(crate) gguf: Option<(String, Change)>,
}

impl TensorSpec {
    pub(crate) fn new<const N: usize>(name: String, shape: [usize; N], part: Part) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            part,
            gguf: None,
        }
    }

    /// With the name that GGUF files have for it.
    pub(crate) fn gguf(mut self, name: String, change: Change) -> Self {
        self.gguf = Some((name, change));
        self
    }

    /// Its elements; `None` when they cannot be counted.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1_usize, |n, d| n.checked_mul(*d))
    }
}

/// A number with commas between its thousands: `11,008`.
#[must_use]
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The tensors of a model, collected layer by layer under both of their names.
#[derive(Debug)]
pub(crate) struct TensorList<'a> {
    all: Vec<TensorSpec>,
    prefix: &'a str,
    /// What stands before the names of a block, in both kinds of files.
    block: (String, String),
}

impl<'a> TensorList<'a> {
    /// An empty list of tensors whose names begin with `prefix`.
    pub(crate) fn new(prefix: &'a str) -> Self {
        Self {
            all: Vec::new(),
            prefix,
            block: (prefix.to_owned(), String::new()),
        }
    }

    /// What is added now belongs to a block of this number in `stack`.
    pub(crate) fn enter(&mut self, stack: &str, layer: usize) {
        self.block = (
            format!("{}{stack}.{layer}.", self.prefix),
            format!("blk.{layer}."),
        );
    }

    /// What is added now belongs to no block.
    pub(crate) fn leave(&mut self) {
        self.block = (self.prefix.to_owned(), String::new());
    }

    /// A tensor by the end of its names.
    pub(crate) fn add<const N: usize>(
        &mut self,
        (name, gguf): (&str, &str),
        kind: &str,
        shape: [usize; N],
        part: Part,
        change: Change,
    ) {
        let spec = TensorSpec::new(format!("{}{name}.{kind}", self.block.0), shape, part);
        self.all.push(match gguf {
            "" => spec,
            gguf => spec.gguf(format!("{}{gguf}.{kind}", self.block.1), change),
        });
    }

    /// A weight, and as many biases as it has outputs if there are any.
    pub(crate) fn linear(
        &mut self,
        names: (&str, &str),
        [out, input]: [usize; 2],
        bias: bool,
        part: Part,
        change: Change,
    ) {
        let shape = match change {
            Change::Columns => [input, out],
            _ => [out, input],
        };
        self.add(names, "weight", shape, part, change);
        if bias {
            let change = match change {
                Change::Columns => Change::None,
                other => other,
            };
            self.add(names, "bias", [out], Part::Bias, change);
        }
    }

    /// All of them, with the head that the model ends with: it has a name without prefix.
    pub(crate) fn end(mut self, head: Head, vocab: usize, width: usize) -> Vec<TensorSpec> {
        if head == Head::Own {
            let spec = TensorSpec::new("lm_head.weight".to_owned(), [vocab, width], Part::Head);
            self.all
                .push(spec.gguf("output.weight".to_owned(), Change::None));
        }
        self.all
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

/// Refuses a number that does not divide another.
pub(crate) fn check_divides(name: &str, number: usize, of: &str, whole: usize) -> Result<()> {
    match whole.is_multiple_of(number) {
        true => Ok(()),
        false => Err(Error::Config {
            field: name.to_owned(),
            expected: format!("a divisor of {of}, {whole}"),
            got: number.to_string(),
        }),
    }
}

/// Activations by the names that transformers has for them; the first name of each is the one that is written.
const ACTIVATIONS: [(Activation, &[&str]); 11] = [
    (Activation::Silu, &["silu", "swish"]),
    (Activation::Gelu, &["gelu", "gelu_python"]),
    (
        Activation::GeluTanh,
        &[
            "gelu_pytorch_tanh",
            "gelu_new",
            "gelu_fast",
            "gelu_python_tanh",
            "gelu_accurate",
        ],
    ),
    (Activation::Relu, &["relu"]),
    (Activation::Relu6, &["relu6"]),
    (Activation::LEAKY_RELU, &["leaky_relu"]),
    (Activation::Sigmoid, &["sigmoid"]),
    (Activation::Tanh, &["tanh"]),
    (Activation::Mish, &["mish"]),
    (Activation::Hardswish, &["hardswish"]),
    (Activation::Identity, &["linear"]),
];

/// An activation by the name that transformers has for it.
pub(crate) fn activation_by_name(name: &str) -> Option<Activation> {
    let mut all = ACTIVATIONS.iter();
    all.find(|(_, names)| names.contains(&name))
        .map(|(activation, _)| *activation)
}

/// The name that transformers has for an activation, if it has one.
pub(crate) fn activation_name(activation: Activation) -> Option<&'static str> {
    let mut all = ACTIVATIONS.iter();
    all.find(|(known, _)| *known == activation)
        .map(|(_, names)| names[0])
}

/// Reads the name of an activation from a field.
pub(crate) fn activation(fields: &mut JsonFields, name: &str, default: &str) -> Result<Activation> {
    let text = fields.text(name)?.unwrap_or_else(|| default.to_owned());
    activation_by_name(&text).ok_or_else(|| Error::UnsupportedConfig {
        field: name.to_owned(),
        got: format!("{text:?}"),
        expected: ACTIVATIONS.map(|(_, names)| names.join(", ")).join(", "),
    })
}
