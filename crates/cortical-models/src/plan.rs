//! Shapes through a network, known before anything is built.

use cortical_kernels::activation::Activation;
use toml::Value;

use crate::activations;
use crate::error::{Error, Result};
use crate::layer_spec::{LayerSpec, Width};

/// A layer whose sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedLayer {
    /// What the layer is, with its name and width filled in.
    pub spec: LayerSpec,
    /// The prefix of its parameters' names, if it has parameters.
    pub name: Option<String>,
    /// The shape of a sample that enters.
    pub input_shape: Vec<usize>,
    /// The shape of a sample that leaves.
    pub output_shape: Vec<usize>,
    /// How many parameters it has.
    pub parameters: usize,
}

impl PlannedLayer {
    /// What the layer is, in a line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let with = |activation: Activation| match activation {
            Activation::Identity => String::new(),
            other => format!(", {}", activations::name(other)),
        };
        match &self.spec {
            LayerSpec::Conv2d {
                kernel_size: k,
                stride,
                padding,
                activation,
                max_pool,
                ..
            } => {
                let mut text = format!("conv2d {k}x{k}");
                if *stride > 1 {
                    text += &format!(", stride {stride}");
                }
                if *padding > 0 {
                    text += &format!(", padding {padding}");
                }
                text += &with(*activation);
                if let Some(size) = max_pool {
                    text += &format!(", max pool {size}x{size}");
                }
                text
            }
            LayerSpec::MaxPool2d {
                kernel_size: k,
                stride,
            } if k == stride => format!("max pool {k}x{k}"),
            LayerSpec::MaxPool2d {
                kernel_size: k,
                stride,
            } => format!("max pool {k}x{k}, stride {stride}"),
            LayerSpec::BatchNorm { activation, .. } => format!("batch norm{}", with(*activation)),
            LayerSpec::Flatten => "flatten".to_owned(),
            LayerSpec::Dropout { p } => format!("dropout {p}"),
            LayerSpec::Linear { activation, .. } => format!("linear{}", with(*activation)),
            LayerSpec::Activation(activation) => activations::name(*activation).to_owned(),
        }
    }
}

/// A network whose every shape is known: enough to build it, and to say what it is.
///
/// ```
/// use cortical_models::{ModelSpec, Plan};
/// let plan = Plan::new(&ModelSpec::LeNet.layers(), &[1, 28, 28], 10)?;
/// assert_eq!(plan.parameters(), 1_199_882);
/// assert_eq!(plan.layers()[1].output_shape, [64, 12, 12]);
/// # Ok::<(), cortical_models::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    input_shape: Vec<usize>,
    classes: usize,
    layers: Vec<PlannedLayer>,
}

impl Plan {
    /// Follows a sample of `input_shape` through `layers` to one score for each of the `classes`.
    ///
    /// # Errors
    /// A layer that cannot take what the one before it gives; two layers of one name; sizes beyond what can be
    /// addressed; an end that is not one score for each class.
    pub fn new(layers: &[LayerSpec], input_shape: &[usize], classes: usize) -> Result<Self> {
        if input_shape.is_empty() || input_shape.contains(&0) {
            return Err(Error::InputShape {
                got: input_shape.to_vec(),
            });
        }
        let mut plan = Self {
            input_shape: input_shape.to_vec(),
            classes,
            layers: Vec::with_capacity(layers.len()),
        };
        let (mut convs, mut norms, mut linears) = (0, 0, 0);
        for spec in layers {
            let mut spec = spec.clone();
            match &mut spec {
                LayerSpec::Conv2d { name, .. } => {
                    convs += 1;
                    name.get_or_insert_with(|| format!("conv{convs}"));
                }
                LayerSpec::BatchNorm { name, .. } => {
                    norms += 1;
                    name.get_or_insert_with(|| format!("bn{norms}"));
                }
                LayerSpec::Linear {
                    name, out_features, ..
                } => {
                    linears += 1;
                    name.get_or_insert_with(|| format!("fc{linears}"));
                    if *out_features == Width::Classes {
                        *out_features = Width::Fixed(classes);
                    }
                }
                _ => {}
            }
            plan.push(spec)?;
        }
        if plan.output_shape() != [classes] {
            return Err(Error::Output {
                classes,
                got: plan.output_shape().to_vec(),
            });
        }
        Ok(plan)
    }

    /// Adds a layer whose name and width are filled in.
    fn push(&mut self, spec: LayerSpec) -> Result<()> {
        let index = self.layers.len() + 1;
        let name = match &spec {
            LayerSpec::Conv2d { name, .. }
            | LayerSpec::BatchNorm { name, .. }
            | LayerSpec::Linear { name, .. } => name.clone(),
            _ => None,
        };
        if let Some(name) = &name {
            let same = |layer: &PlannedLayer| layer.name.as_ref() == Some(name);
            if let Some(first) = self.layers.iter().position(same) {
                return Err(Error::DuplicateName {
                    name: name.clone(),
                    first: first + 1,
                    second: index,
                });
            }
        }
        let step = Step {
            index,
            spec: &spec,
            name: name.as_deref(),
            input: self.output_shape(),
        };
        let (output_shape, parameters) = step.infer()?;
        self.layers.push(PlannedLayer {
            input_shape: self.output_shape().to_vec(),
            spec,
            name,
            output_shape,
            parameters,
        });
        Ok(())
    }

    /// The shape of one sample.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of a sample after the last layer.
    #[must_use]
    pub fn output_shape(&self) -> &[usize] {
        let last = self.layers.last();
        last.map_or(&self.input_shape, |layer| &layer.output_shape)
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The layers with their shapes.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// How many parameters the network has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let counts = self.layers.iter().map(|layer| layer.parameters);
        counts.fold(0, usize::saturating_add)
    }

    /// The layers as one line of JSON with every name and width filled in: what a model file keeps.
    #[must_use]
    pub fn to_json(&self) -> String {
        let layers = self.layers.iter().map(|layer| layer.spec.to_value());
        serde_json::to_string(&layers.collect::<Vec<_>>()).expect("tables with text keys are JSON")
    }

    /// Reads what [`Plan::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is no list of layers; everything that [`Plan::new`] refuses.
    pub fn from_json(json: &str, input_shape: &[usize], classes: usize) -> Result<Self> {
        let values: Vec<Value> =
            serde_json::from_str(json).map_err(|why| Error::Description { why })?;
        let read = |(i, value)| LayerSpec::from_value(&format!("layers[{i}]"), value);
        let layers = values.iter().enumerate().map(read);
        Self::new(
            &layers.collect::<Result<Vec<_>, _>>()?,
            input_shape,
            classes,
        )
    }
}

/// One layer and what enters it.
struct Step<'a> {
    index: usize,
    spec: &'a LayerSpec,
    name: Option<&'a str>,
    input: &'a [usize],
}

impl Step<'_> {
    /// The shape that leaves, and the number of parameters.
    fn infer(&self) -> Result<(Vec<usize>, usize)> {
        match *self.spec {
            LayerSpec::Conv2d {
                out_channels,
                kernel_size,
                stride,
                padding,
                bias,
                max_pool,
                ..
            } => {
                let [channels, height, width] = self.picture()?;
                let side = |size| self.window(size, kernel_size, stride, padding);
                let (mut height, mut width) = (side(height)?, side(width)?);
                if let Some(size) = max_pool {
                    height = self.window(height, size, size, 0)?;
                    width = self.window(width, size, size, 0)?;
                }
                let weights = self.product(&[out_channels, channels, kernel_size, kernel_size])?;
                let output = vec![out_channels, height, width];
                self.product(&output)?;
                Ok((output, self.with_bias(weights, bias, out_channels)?))
            }
            LayerSpec::MaxPool2d {
                kernel_size,
                stride,
            } => {
                let [channels, height, width] = self.picture()?;
                let side = |size| self.window(size, kernel_size, stride, 0);
                Ok((vec![channels, side(height)?, side(width)?], 0))
            }
            // A scale and a shift for each channel.
            LayerSpec::BatchNorm { .. } => {
                let parameters = self.product(&[2, self.input[0]])?;
                Ok((self.input.to_vec(), parameters))
            }
            LayerSpec::Flatten => Ok((vec![self.product(self.input)?], 0)),
            LayerSpec::Dropout { .. } | LayerSpec::Activation(_) => Ok((self.input.to_vec(), 0)),
            LayerSpec::Linear {
                out_features, bias, ..
            } => {
                let [in_features] = *self.input else {
                    return Err(
                        self.wrong_input("[features]".to_owned(), "put \"flatten\" before it")
                    );
                };
                let Width::Fixed(out_features) = out_features else {
                    unreachable!("widths are filled in before a layer is pushed");
                };
                let weights = self.product(&[out_features, in_features])?;
                let parameters = self.with_bias(weights, bias, out_features)?;
                Ok((vec![out_features], parameters))
            }
        }
    }

    /// The input as channels, height and width.
    fn picture(&self) -> Result<[usize; 3]> {
        self.input.try_into().map_err(|_| {
            self.wrong_input(
                "pictures [channels, height, width]".to_owned(),
                "use linear layers, or give the data such a shape (data.input_shape)",
            )
        })
    }

    /// How often a window of `kernel` fits along a side of `size`.
    fn window(&self, size: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize> {
        let padded = padding
            .checked_mul(2)
            .and_then(|both| size.checked_add(both))
            .ok_or_else(|| self.too_large())?;
        let slack = padded.checked_sub(kernel).ok_or_else(|| {
            self.wrong_input(
                format!("sides of at least {kernel} for its {kernel}x{kernel} window"),
                "use a smaller window, more padding or fewer pools before it",
            )
        })?;
        Ok(slack / stride + 1)
    }

    fn with_bias(&self, weights: usize, bias: bool, outputs: usize) -> Result<usize> {
        let biases = if bias { outputs } else { 0 };
        weights.checked_add(biases).ok_or_else(|| self.too_large())
    }

    /// The product of sizes, which must leave room for four bytes each.
    fn product(&self, sizes: &[usize]) -> Result<usize> {
        sizes
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n))
            .filter(|n| *n <= isize::MAX as usize / 4)
            .ok_or_else(|| self.too_large())
    }

    /// Kind and name of the layer, for messages.
    fn label(&self) -> String {
        match self.name {
            Some(name) => format!("{} {name}", self.spec.kind()),
            None => self.spec.kind().to_owned(),
        }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge {
            index: self.index,
            layer: self.label(),
        }
    }

    fn wrong_input(&self, expected: String, advice: &'static str) -> Error {
        Error::LayerInput {
            index: self.index,
            layer: self.label(),
            expected,
            got: self.input.to_vec(),
            advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;
    use toml::Table;

    fn plan(layers: &str, input_shape: &[usize], classes: usize) -> Result<Plan> {
        let table: Table = format!("layers = {layers}").parse().unwrap();
        let spec = ModelSpec::read(crate::fields::Fields::new("model", &table))?;
        Plan::new(&spec.layers(), input_shape, classes)
    }

    #[test]
    fn presets_have_the_shapes_and_sizes_they_are_known_for() {
        let check = |spec: ModelSpec, input: &[usize], classes, parameters, shapes: &[&[usize]]| {
            let plan = Plan::new(&spec.layers(), input, classes).unwrap();
            let got: Vec<_> = plan.layers().iter().map(|l| &l.output_shape[..]).collect();
            assert_eq!((plan.parameters(), &got[..]), (parameters, shapes));
        };
        check(
            ModelSpec::LeNet,
            &[1, 28, 28],
            10,
            1_199_882,
            &[&[32, 26, 26], &[64, 12, 12], &[9216], &[128], &[10]],
        );
        check(
            ModelSpec::DigitsCnn,
            &[1, 8, 8],
            10,
            43_050,
            &[
                &[32, 8, 8],
                &[32, 4, 4],
                &[512],
                &[512],
                &[64],
                &[64],
                &[10],
            ],
        );
        check(ModelSpec::Softmax, &[4], 3, 15, &[&[4], &[3]]);
        check(
            "mlp".parse().unwrap(),
            &[1, 8, 8],
            10,
            64 * 64 + 64 + 650,
            &[&[64], &[64], &[10]],
        );
    }

    #[test]
    fn names_are_given_in_order_where_the_recipe_gives_none() {
        let layers = "[{ conv2d = { out_channels = 2, kernel_size = 3 } }, \"flatten\", { linear = { out_features = 5, name = \"mid\" } }, { linear = \"classes\" }]";
        let plan = plan(layers, &[1, 5, 5], 4).unwrap();
        let names: Vec<_> = plan
            .layers()
            .iter()
            .flat_map(|l| l.name.as_deref())
            .collect();
        assert_eq!(names, ["conv1", "mid", "fc2"]);
    }

    #[test]
    fn a_plan_reads_back_from_json() {
        for spec in [
            ModelSpec::LeNet,
            ModelSpec::DigitsCnn,
            "mlp".parse().unwrap(),
        ] {
            let plan = Plan::new(&spec.layers(), &[1, 28, 28], 10).unwrap();
            let again = Plan::from_json(&plan.to_json(), &[1, 28, 28], 10).unwrap();
            assert_eq!(plan, again);
        }
        let error = Plan::from_json("{", &[1], 1).unwrap_err().to_string();
        assert!(
            error.starts_with("the description of the network is damaged: "),
            "{error}"
        );
    }

    #[test]
    fn a_layer_that_cannot_take_its_input_is_named() {
        let check = |layers: &str, input: &[usize], want: &str| {
            assert_eq!(plan(layers, input, 3).unwrap_err().to_string(), want);
        };
        check(
            "[{ linear = 3 }]",
            &[1, 8, 8],
            "layer 1 (linear fc1) expects [features], but gets [1, 8, 8]; put \"flatten\" before it",
        );
        check(
            "[{ conv2d = { out_channels = 2, kernel_size = 3 } }]",
            &[4],
            "layer 1 (conv2d conv1) expects pictures [channels, height, width], but gets [4]; use linear layers, or give the data such a shape (data.input_shape)",
        );
        check(
            "[{ max_pool2d = 3 }, { max_pool2d = 3 }]",
            &[1, 8, 8],
            "layer 2 (max_pool2d) expects sides of at least 3 for its 3x3 window, but gets [1, 2, 2]; use a smaller window, more padding or fewer pools before it",
        );
        check(
            "[\"flatten\", { linear = 2 }]",
            &[4],
            "the network ends with shape [2], but must end with one score for each of the 3 classes; let its last layer be { linear = \"classes\" }",
        );
        check(
            "[{ linear = { out_features = 3, name = \"a\" } }, { linear = { out_features = 3, name = \"a\" } }]",
            &[4],
            "layers 1 and 2 are both called \"a\"; give one of them another name",
        );
        check(
            "[{ linear = 9223372036854775807 }]",
            &[4],
            "layer 1 (linear fc1) is too large to address",
        );
        check(
            "[{ conv2d = { out_channels = 1, kernel_size = 1, padding = 9223372036854775807 } }]",
            &[1, 8, 8],
            "layer 1 (conv2d conv1) is too large to address",
        );
        check(
            "[\"flatten\"]",
            &[4, 0],
            "the input shape [4, 0] has no value; expected sizes of at least 1",
        );
    }
}
