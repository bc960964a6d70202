//! One layer as data: what a recipe says and a model file keeps.

use cortical_kernels::activation::Activation;
use toml::{Table, Value};

use crate::activations::{self, ACTIVATIONS};
use crate::fields::{FieldValue, Fields};
use cortical_settings::{FieldError, nearest, show};

/// How many outputs a layer has: a number, or as many as the data has classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// This many.
    Fixed(usize),
    /// One for each class, written `"classes"`.
    Classes,
}

/// A layer of a network, without the sizes that follow from its input.
///
/// In a recipe a layer is a table with one key, or a word where there is nothing to set:
///
/// ```toml
/// layers = [
///   { conv2d = { out_channels = 32, kernel_size = 3, activation = "relu", max_pool = 2 } },
///   { conv2d = { out_channels = 32, kernel_size = 3, bias = false } },
///   { batch_norm = { activation = "relu" } },
///   { max_pool2d = 2 },
///   "flatten",
///   { dropout = 0.25 },
///   { linear = { out_features = 128, activation = "relu", name = "fc1" } },
///   { activation = "tanh" },
///   { linear = "classes" },
/// ]
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayerSpec {
    /// Convolution over pictures.
    Conv2d {
        /// The prefix of its parameters' names; `conv1`, `conv2`, ... when absent.
        name: Option<String>,
        /// Number of filters.
        out_channels: usize,
        /// Height and width of a filter.
        kernel_size: usize,
        /// Steps between neighbouring outputs.
        stride: usize,
        /// Zeros added at each edge.
        padding: usize,
        /// Whether there is a bias for each filter.
        bias: bool,
        /// What each neuron does with its sum.
        activation: Activation,
        /// Size of the max pooling that follows, in the same operation.
        max_pool: Option<usize>,
    },
    /// Each channel brought to mean 0 and variance 1, then scaled and shifted.
    BatchNorm {
        /// The prefix of its parameters' names; `bn1`, `bn2`, ... when absent.
        name: Option<String>,
        /// What is done to each value afterwards.
        activation: Activation,
    },
    /// The largest value of each window.
    MaxPool2d {
        /// Height and width of a window.
        kernel_size: usize,
        /// Steps between neighbouring windows.
        stride: usize,
    },
    /// A sample's values in one row.
    Flatten,
    /// Some values set to zero while training.
    Dropout {
        /// The probability that a value is.
        p: f64,
    },
    /// A row of neurons that read everything.
    Linear {
        /// The prefix of its parameters' names; `fc1`, `fc2`, ... when absent.
        name: Option<String>,
        /// Number of neurons.
        out_features: Width,
        /// Whether each neuron has a bias.
        bias: bool,
        /// What each neuron does with its sum.
        activation: Activation,
    },
    /// A function of each value.
    Activation(Activation),
}

/// The kinds of layers by name.
const KINDS: [&str; 7] = [
    "activation",
    "batch_norm",
    "conv2d",
    "dropout",
    "flatten",
    "linear",
    "max_pool2d",
];

impl FieldValue for Width {
    const EXPECTED: &'static str = "a whole number or \"classes\"";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if text == "classes" => Some(Self::Classes),
            other => usize::from_value(other).map(Self::Fixed),
        }
    }
}

impl Width {
    fn to_value(self) -> Value {
        match self {
            Self::Fixed(n) => integer(n),
            Self::Classes => Value::from("classes"),
        }
    }
}

impl LayerSpec {
    /// The name of the layer's kind, as a recipe writes it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::Flatten => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::Linear { .. } => "linear",
            Self::Activation(_) => "activation",
        }
    }

    /// Reads a layer; messages call it `path`.
    ///
    /// # Errors
    /// A kind or a field that does not exist, a missing field, a value of the wrong type or outside its range.
    pub fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        let empty = Table::new();
        let (kind, options) = match value {
            Value::String(kind) => (kind.as_str(), &Value::Table(empty)),
            Value::Table(table) if table.len() == 1 => match table.iter().next() {
                Some((kind, options)) => (kind.as_str(), options),
                None => return Err(not_a_layer(path, value)),
            },
            other => return Err(not_a_layer(path, other)),
        };
        let path = format!("{path}.{kind}");
        match kind {
            "conv2d" => conv2d(&path, options),
            "batch_norm" => batch_norm(&path, options),
            "max_pool2d" => max_pool2d(&path, options),
            "flatten" => match options {
                Value::Table(table) if table.is_empty() => Ok(Self::Flatten),
                other => Err(wrong_type(&path, "no settings", other)),
            },
            "dropout" => dropout(&path, options),
            "linear" => linear(&path, options),
            "activation" => activation(&path, options),
            unknown => Err(FieldError::Name {
                path: path.trim_end_matches(&format!(".{kind}")).to_owned(),
                what: "kind of layer",
                found: unknown.chars().take(60).collect(),
                nearest: nearest(unknown, KINDS).map(|near| format!("{near:?}")),
                known: KINDS.map(str::to_owned).to_vec(),
            }),
        }
    }

    /// The layer as a recipe writes it, with every default filled in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut options = Table::new();
        let mut set = |key: &str, value: Value| options.insert(key.to_owned(), value);
        match self {
            Self::Flatten => return Value::from("flatten"),
            Self::Dropout { p } => return single("dropout", Value::from(*p)),
            Self::Activation(activation) => {
                return single("activation", Value::from(activations::name(*activation)));
            }
            Self::Conv2d {
                name,
                out_channels,
                kernel_size,
                stride,
                padding,
                bias,
                activation,
                max_pool,
            } => {
                if let Some(name) = name {
                    set("name", Value::from(name.as_str()));
                }
                set("out_channels", integer(*out_channels));
                set("kernel_size", integer(*kernel_size));
                set("stride", integer(*stride));
                set("padding", integer(*padding));
                set("bias", Value::from(*bias));
                set("activation", Value::from(activations::name(*activation)));
                if let Some(size) = max_pool {
                    set("max_pool", integer(*size));
                }
            }
            Self::BatchNorm { name, activation } => {
                if let Some(name) = name {
                    set("name", Value::from(name.as_str()));
                }
                set("activation", Value::from(activations::name(*activation)));
            }
            Self::MaxPool2d {
                kernel_size,
                stride,
            } => {
                set("kernel_size", integer(*kernel_size));
                set("stride", integer(*stride));
            }
            Self::Linear {
                name,
                out_features,
                bias,
                activation,
            } => {
                if let Some(name) = name {
                    set("name", Value::from(name.as_str()));
                }
                set("out_features", out_features.to_value());
                set("bias", Value::from(*bias));
                set("activation", Value::from(activations::name(*activation)));
            }
        }
        single(self.kind(), Value::Table(options))
    }
}

/// A size as TOML's integer; sizes that were read fit, for they came from one.
fn integer(n: usize) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A table with one key.
fn single(key: &str, value: Value) -> Value {
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

fn wrong_type(path: &str, expected: &str, found: &Value) -> FieldError {
    FieldError::Type {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found: show(found),
    }
}

fn not_a_layer(path: &str, found: &Value) -> FieldError {
    wrong_type(
        path,
        "a layer such as \"flatten\" or { linear = { out_features = 10 } }",
        found,
    )
}

/// The options of a layer as fields, or an error that says what may stand there.
fn options<'a>(path: &str, value: &'a Value, expected: &str) -> Result<Fields<'a>, FieldError> {
    match value {
        Value::Table(table) => Ok(Fields::new(path, table)),
        other => Err(wrong_type(path, expected, other)),
    }
}

/// The field `activation`; the identity when absent.
fn read_activation(fields: &mut Fields<'_>) -> Result<Activation, FieldError> {
    match fields.get::<String>("activation")? {
        None => Ok(Activation::Identity),
        Some(name) => fields.choose("activation", "activation", &name, ACTIVATIONS),
    }
}

/// The field `name`: what may stand before `.weight`.
fn read_name(fields: &mut Fields<'_>) -> Result<Option<String>, FieldError> {
    let name: Option<String> = fields.get("name")?;
    if let Some(name) = &name {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let holds = name.len() <= 100
            && name
                .split('.')
                .all(|part| !part.is_empty() && part.chars().all(plain));
        let expected = "letters, digits and _, at most 100, in parts separated by dots";
        fields.check("name", holds, expected, format_args!("{name:?}"))?;
    }
    Ok(name)
}

/// A size that must be at least 1.
fn positive(fields: &Fields<'_>, name: &str, n: usize) -> Result<usize, FieldError> {
    fields.check(name, n >= 1, "at least 1", n)?;
    Ok(n)
}

fn conv2d(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let mut fields = options(
        path,
        value,
        "settings such as { out_channels = 32, kernel_size = 3 }",
    )?;
    let name = read_name(&mut fields)?;
    let out_channels = fields.required("out_channels")?;
    let kernel_size = fields.required("kernel_size")?;
    let stride = fields.or("stride", 1)?;
    let padding = fields.or("padding", 0)?;
    let bias = fields.or("bias", true)?;
    let activation = read_activation(&mut fields)?;
    let max_pool = fields.get("max_pool")?;
    let spec = LayerSpec::Conv2d {
        name,
        out_channels: positive(&fields, "out_channels", out_channels)?,
        kernel_size: positive(&fields, "kernel_size", kernel_size)?,
        stride: positive(&fields, "stride", stride)?,
        padding,
        bias,
        activation,
        max_pool: max_pool
            .map(|size| positive(&fields, "max_pool", size))
            .transpose()?,
    };
    fields.finish()?;
    Ok(spec)
}

fn batch_norm(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let mut fields = options(path, value, "settings such as { activation = \"relu\" }")?;
    let spec = LayerSpec::BatchNorm {
        name: read_name(&mut fields)?,
        activation: read_activation(&mut fields)?,
    };
    fields.finish()?;
    Ok(spec)
}

fn max_pool2d(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let size = Table::from_iter([("kernel_size".to_owned(), value.clone())]);
    let mut fields = match value {
        Value::Integer(_) => Fields::new(path, &size),
        other => options(path, other, "a size, or { kernel_size = 2, stride = 2 }")?,
    };
    let kernel_size = fields.required("kernel_size")?;
    let kernel_size = positive(&fields, "kernel_size", kernel_size)?;
    let stride = fields.or("stride", kernel_size)?;
    let stride = positive(&fields, "stride", stride)?;
    fields.finish()?;
    Ok(LayerSpec::MaxPool2d {
        kernel_size,
        stride,
    })
}

fn dropout(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let Some(p) = f64::from_value(value) else {
        return Err(wrong_type(path, "a probability such as 0.25", value));
    };
    if !(0.0..1.0).contains(&p) {
        return Err(FieldError::Range {
            path: path.to_owned(),
            expected: "a probability from 0 to below 1".to_owned(),
            found: p.to_string(),
        });
    }
    Ok(LayerSpec::Dropout { p })
}

fn linear(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let width = Table::from_iter([("out_features".to_owned(), value.clone())]);
    let mut fields = match value {
        Value::Integer(_) | Value::String(_) => Fields::new(path, &width),
        other => options(
            path,
            other,
            "a number of outputs, or { out_features = 128, activation = \"relu\" }",
        )?,
    };
    let name = read_name(&mut fields)?;
    let out_features = fields.required("out_features")?;
    if let Width::Fixed(n) = out_features {
        positive(&fields, "out_features", n)?;
    }
    let bias = fields.or("bias", true)?;
    let activation = read_activation(&mut fields)?;
    fields.finish()?;
    Ok(LayerSpec::Linear {
        name,
        out_features,
        bias,
        activation,
    })
}

fn activation(path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
    let table = Table::from_iter([("activation".to_owned(), value.clone())]);
    let prefix = path.trim_end_matches(".activation");
    read_activation(&mut Fields::new(prefix, &table)).map(LayerSpec::Activation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Result<LayerSpec, FieldError> {
        let table: Table = format!("x = {text}").parse().unwrap();
        LayerSpec::from_value("model.layers[0]", &table["x"])
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "{ conv2d = { out_channels = 32, kernel_size = 3, activation = \"relu\", max_pool = 2, name = \"c\" } }",
            "{ conv2d = { out_channels = 8, kernel_size = 5, stride = 2, padding = 2, bias = false } }",
            "{ max_pool2d = 2 }",
            "{ batch_norm = { name = \"norm\", activation = \"relu\" } }",
            "\"batch_norm\"",
            "{ max_pool2d = { kernel_size = 3, stride = 1 } }",
            "\"flatten\"",
            "{ flatten = {} }",
            "{ dropout = 0.25 }",
            "{ linear = { out_features = 128, activation = \"gelu\", name = \"head.fc\" } }",
            "{ linear = 10 }",
            "{ linear = \"classes\" }",
            "{ activation = \"tanh\" }",
        ] {
            let spec = layer(text).unwrap();
            let again = LayerSpec::from_value("x", &spec.to_value()).unwrap();
            assert_eq!(spec, again, "{text}");
        }
        assert_eq!(
            layer("{ max_pool2d = 3 }").unwrap(),
            LayerSpec::MaxPool2d {
                kernel_size: 3,
                stride: 3
            }
        );
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, want: &str| {
            assert_eq!(layer(text).unwrap_err().to_string(), want, "{text}");
        };
        check(
            "{ conv2 = { out_channels = 1, kernel_size = 1 } }",
            "model.layers[0]: there is no kind of layer \"conv2\"; did you mean \"conv2d\"?",
        );
        check(
            "{ conv2d = { out_channels = 1, kernel = 1 } }",
            "model.layers[0].conv2d.kernel_size is missing; expected a whole number, not negative",
        );
        check(
            "{ conv2d = { out_channels = 1, kernel_size = 1, strid = 1 } }",
            "there is no field model.layers[0].conv2d.strid; did you mean model.layers[0].conv2d.stride?",
        );
        check(
            "{ conv2d = { out_channels = 0, kernel_size = 1 } }",
            "model.layers[0].conv2d.out_channels: expected at least 1, found 0",
        );
        check(
            "{ linear = { out_features = \"class\" } }",
            "model.layers[0].linear.out_features: expected a whole number or \"classes\", found the text \"class\"",
        );
        check(
            "{ linear = { out_features = 2, activation = \"rellu\" } }",
            "model.layers[0].linear.activation: there is no activation \"rellu\"; did you mean \"relu\"?",
        );
        check(
            "{ linear = { out_features = 2, name = \"../x\" } }",
            "model.layers[0].linear.name: expected letters, digits and _, at most 100, in parts separated by dots, found \"../x\"",
        );
        check(
            "{ dropout = 1 }",
            "model.layers[0].dropout: expected a probability from 0 to below 1, found 1",
        );
        check(
            "{ dropout = \"a\" }",
            "model.layers[0].dropout: expected a probability such as 0.25, found the text \"a\"",
        );
        check(
            "{ activation = \"gleu\" }",
            "model.layers[0].activation: there is no activation \"gleu\"; did you mean \"gelu\"?",
        );
        check(
            "7",
            "model.layers[0]: expected a layer such as \"flatten\" or { linear = { out_features = 10 } }, found the number 7",
        );
        check(
            "{ a = 1, b = 2 }",
            "model.layers[0]: expected a layer such as \"flatten\" or { linear = { out_features = 10 } }, found the table { a = 1, b = 2 }",
        );
    }
}
