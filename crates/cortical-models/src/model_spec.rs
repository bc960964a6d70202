//! A whole network as data: a preset by name, or a list of layers.

use cortical_kernels::activation::Activation;
use toml::{Table, Value};

use crate::activations::{self, ACTIVATIONS};
use crate::fields::Fields;
use crate::layer_spec::{LayerSpec, Width};
use cortical_settings::FieldError;

/// The network that a recipe asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelSpec {
    /// Two padded 3×3 convolutions of 32 filters, the second pooled, and two dense layers with dropout between: for small pictures.
    DigitsCnn,
    /// The network of LeCun et al. 1998 in the size that today's introductions use: two 3×3 convolutions of 32 and 64 filters,
    /// the second pooled, and dense layers of 128 neurons and of one for each class.
    LeNet,
    /// Dense layers, one after the other.
    Mlp {
        /// The number of neurons of each hidden layer.
        hidden: Vec<usize>,
        /// What each hidden neuron does with its sum.
        activation: Activation,
        /// Dropout after each hidden layer; 0 for none.
        dropout: f64,
    },
    /// One dense layer: multinomial logistic regression.
    Softmax,
    /// Whatever the recipe lists.
    Layers(Vec<LayerSpec>),
}

/// What is known about a kind of network before it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in `model.kind`.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "digits-cnn",
        summary: "two 3x3 convolutions, pooling, two dense layers, dropout: for small pictures",
    },
    Kind {
        name: "lenet",
        summary: "convolutions of 32 and 64 filters, pooling, dense layers of 128 and the classes",
    },
    Kind {
        name: "mlp",
        summary: "dense layers: hidden = [64], activation = \"relu\", dropout = 0.0",
    },
    Kind {
        name: "softmax",
        summary: "one dense layer: multinomial logistic regression",
    },
    Kind {
        name: "layers",
        summary: "layer by layer: layers = [{ linear = 64 }, ...]",
    },
];

/// A dense layer with ReLU.
fn dense(name: &str, out_features: Width, activation: Activation) -> LayerSpec {
    LayerSpec::Linear {
        name: Some(name.to_owned()),
        out_features,
        bias: true,
        activation,
    }
}

/// A 3×3 convolution with ReLU.
fn conv3x3(name: &str, out_channels: usize, padding: usize, max_pool: Option<usize>) -> LayerSpec {
    LayerSpec::Conv2d {
        name: Some(name.to_owned()),
        out_channels,
        kernel_size: 3,
        stride: 1,
        padding,
        bias: true,
        activation: Activation::Relu,
        max_pool,
    }
}

impl ModelSpec {
    /// The kinds of networks that a recipe can name.
    #[must_use]
    pub fn kinds() -> &'static [Kind] {
        &KINDS
    }

    /// The name of this kind in `model.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DigitsCnn => "digits-cnn",
            Self::LeNet => "lenet",
            Self::Mlp { .. } => "mlp",
            Self::Softmax => "softmax",
            Self::Layers(_) => "layers",
        }
    }

    /// Reads the table `[model]`.
    ///
    /// ```
    /// use cortical_models::{ModelSpec, fields::Fields};
    /// let table: toml::Table = "kind = \"lenett\"".parse()?;
    /// let error = ModelSpec::read(Fields::new("model", &table)).unwrap_err();
    /// assert_eq!(error.to_string(), "model.kind: there is no kind of network \"lenett\"; did you mean \"lenet\"?");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    ///
    /// # Errors
    /// A kind or a field that does not exist, a value of the wrong type or outside its range.
    pub fn read(mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let layers: Option<Vec<Value>> = fields.get("layers")?;
        let kind: String = match &layers {
            Some(_) => fields.or("kind", "layers".to_owned())?,
            None => fields.required("kind")?,
        };
        let known = KINDS.map(|kind| (kind.name, kind.name));
        let spec = match fields.choose("kind", "kind of network", &kind, &known)? {
            "digits-cnn" => Self::DigitsCnn,
            "lenet" => Self::LeNet,
            "mlp" => {
                let hidden = fields.or("hidden", vec![64])?;
                let holds = hidden.iter().all(|&n| n >= 1);
                fields.check(
                    "hidden",
                    holds,
                    "sizes of at least 1",
                    format_args!("{hidden:?}"),
                )?;
                let name: String = fields.or("activation", "relu".to_owned())?;
                let activation = fields.choose("activation", "activation", &name, ACTIVATIONS)?;
                let dropout = fields.or("dropout", 0.0)?;
                let holds = (0.0..1.0).contains(&dropout);
                fields.check("dropout", holds, "a probability from 0 to below 1", dropout)?;
                Self::Mlp {
                    hidden,
                    activation,
                    dropout,
                }
            }
            "softmax" => Self::Softmax,
            _ => {
                let Some(layers) = &layers else {
                    return Err(FieldError::Missing {
                        path: fields.path_of("layers"),
                        expected: "a list of layers".to_owned(),
                    });
                };
                fields.check("layers", !layers.is_empty(), "at least one layer", "none")?;
                let path = fields.path_of("layers");
                let read = |(i, value)| LayerSpec::from_value(&format!("{path}[{i}]"), value);
                Self::Layers(
                    layers
                        .iter()
                        .enumerate()
                        .map(read)
                        .collect::<Result<_, _>>()?,
                )
            }
        };
        let listed = matches!(spec, Self::Layers(_)) || layers.is_none();
        let expected = "\"layers\" beside a list of layers, or no list";
        fields.check("kind", listed, expected, format_args!("{kind:?}"))?;
        fields.finish()?;
        Ok(spec)
    }

    /// The table `[model]` with every default filled in, in the order in which a person writes it.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("kind", Value::from(self.kind()))];
        match self {
            Self::Mlp {
                hidden,
                activation,
                dropout,
            } => {
                let hidden = hidden.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX));
                fields.push(("hidden", Value::from(hidden.collect::<Vec<_>>())));
                fields.push(("activation", Value::from(activations::name(*activation))));
                fields.push(("dropout", Value::from(*dropout)));
            }
            Self::Layers(layers) => {
                let layers = layers.iter().map(LayerSpec::to_value).collect();
                fields.push(("layers", Value::Array(layers)));
            }
            Self::DigitsCnn | Self::LeNet | Self::Softmax => {}
        }
        fields
    }

    /// The layers of the network, in order.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerSpec> {
        match self {
            Self::DigitsCnn => vec![
                conv3x3("conv1", 32, 1, None),
                conv3x3("conv2", 32, 1, Some(2)),
                LayerSpec::Flatten,
                LayerSpec::Dropout { p: 0.25 },
                dense("fc1", Width::Fixed(64), Activation::Relu),
                LayerSpec::Dropout { p: 0.25 },
                dense("fc2", Width::Classes, Activation::Identity),
            ],
            Self::LeNet => vec![
                conv3x3("conv1", 32, 0, None),
                conv3x3("conv2", 64, 0, Some(2)),
                LayerSpec::Flatten,
                dense("fc1", Width::Fixed(128), Activation::Relu),
                dense("fc2", Width::Classes, Activation::Identity),
            ],
            Self::Mlp {
                hidden,
                activation,
                dropout,
            } => {
                let mut layers = vec![LayerSpec::Flatten];
                for (i, &size) in hidden.iter().enumerate() {
                    let name = format!("fc{}", i + 1);
                    layers.push(dense(&name, Width::Fixed(size), *activation));
                    if *dropout > 0.0 {
                        layers.push(LayerSpec::Dropout { p: *dropout });
                    }
                }
                let name = format!("fc{}", hidden.len() + 1);
                layers.push(dense(&name, Width::Classes, Activation::Identity));
                layers
            }
            Self::Softmax => vec![
                LayerSpec::Flatten,
                dense("fc1", Width::Classes, Activation::Identity),
            ],
            Self::Layers(layers) => layers.clone(),
        }
    }

    /// The preset that suits samples of a shape best: a network that every data set can start with.
    #[must_use]
    pub fn suggested_for(input_shape: &[usize]) -> Self {
        match input_shape {
            [_, height, width] if *height >= 20 && *width >= 20 => Self::LeNet,
            [_, height, width] if *height >= 4 && *width >= 4 => Self::DigitsCnn,
            _ => Self::Mlp {
                hidden: vec![64],
                activation: Activation::Relu,
                dropout: 0.0,
            },
        }
    }
}

impl std::str::FromStr for ModelSpec {
    type Err = FieldError;

    /// A kind by its name, with its defaults.
    fn from_str(kind: &str) -> Result<Self, FieldError> {
        let table = Table::from_iter([("kind".to_owned(), Value::from(kind))]);
        Self::read(Fields::new("model", &table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ModelSpec, FieldError> {
        let table: Table = text.parse().unwrap();
        ModelSpec::read(Fields::new("model", &table))
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "kind = \"digits-cnn\"",
            "kind = \"lenet\"",
            "kind = \"mlp\"\nhidden = [3, 4]\nactivation = \"tanh\"\ndropout = 0.5",
            "kind = \"mlp\"\nhidden = []",
            "kind = \"softmax\"",
            "layers = [{ linear = 3 }, \"flatten\"]",
        ] {
            let spec = read(text).unwrap();
            let table = spec.to_fields().into_iter().map(|(k, v)| (k.to_owned(), v));
            let again = ModelSpec::read(Fields::new("model", &table.collect())).unwrap();
            assert_eq!(spec, again, "{text}");
        }
        for kind in ModelSpec::kinds()
            .iter()
            .filter(|kind| kind.name != "layers")
        {
            assert_eq!(kind.name.parse::<ModelSpec>().unwrap().kind(), kind.name);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, want: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), want, "{text}");
        };
        check("", "model.kind is missing; expected text in quotes");
        check(
            "kind = \"layers\"",
            "model.layers is missing; expected a list of layers",
        );
        check(
            "layers = []",
            "model.layers: expected at least one layer, found none",
        );
        check(
            "kind = \"lenet\"\nlayers = [\"flatten\"]",
            "model.kind: expected \"layers\" beside a list of layers, or no list, found \"lenet\"",
        );
        check(
            "kind = \"lenet\"\nhidden = [3]",
            "there is no field model.hidden; known: model.layers, model.kind",
        );
        check(
            "kind = \"mlp\"\nhidden = [3, 0]",
            "model.hidden: expected sizes of at least 1, found [3, 0]",
        );
        check(
            "kind = \"mlp\"\ndropout = 1.5",
            "model.dropout: expected a probability from 0 to below 1, found 1.5",
        );
        check(
            "layers = [{ linear = 3 }, { linear = { out_features = 3, activation = 1 } }]",
            "model.layers[1].linear.activation: expected text in quotes, found the number 1",
        );
    }
}
