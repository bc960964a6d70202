//! A network built from its plan.

use crate::error::Result;
use crate::layer_spec::{LayerSpec, Width};
use crate::plan::{Plan, PlannedLayer};
use candle_core::Tensor;
use cortical_conv::{Conv2d, MaxPool2d};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    BatchNorm, Description, Dropout, Error as NeuronError, Flatten, Layer, Params, Pass, Recompute,
    wrong_sample,
};

/// One built layer.
#[derive(Debug)]
enum Built {
    /// Boxed as the next, for they are much larger than the others.
    Conv2d(Box<Conv2d>),
    BatchNorm(Box<BatchNorm>),
    MaxPool2d(MaxPool2d),
    Flatten(Flatten),
    Dropout(Dropout),
    Linear(Linear),
    Activation(Activation),
}

impl Built {
    fn layer(&self) -> &dyn Layer {
        match self {
            Self::Conv2d(layer) => &**layer,
            Self::BatchNorm(layer) => &**layer,
            Self::MaxPool2d(layer) => layer,
            Self::Flatten(layer) => layer,
            Self::Dropout(layer) => layer,
            Self::Linear(layer) => layer,
            Self::Activation(activation) => activation,
        }
    }
}

/// Some layers in a row.
#[derive(Debug, Default)]
struct Stretch(
    /// Each with its place, by which errors and accounts call it.
    Vec<(String, Built)>,
);

impl Layer for Stretch {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let mut x = x.clone();
        for (place, built) in &self.0 {
            let y = built.layer().forward(&x, pass);
            x = y.map_err(|e| e.in_unnamed_layer(place))?;
        }
        Ok(x)
    }
}

/// The layers of a [`Plan`], one after the other.
///
/// # Shapes
/// - input: `[n, input_shape...]`
/// - output: `[n, classes]`, a score for each class
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_models::{ModelSpec, Network, Plan};
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let plan = Plan::new(&ModelSpec::DigitsCnn.layers(), &[1, 8, 8], 10)?;
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let network = Network::build(&plan, &params)?;
/// assert_eq!(params.count(), plan.parameters());
/// let x = Tensor::zeros((5, 1, 8, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(network.forward(&x, &mut Pass::eval())?.dims(), [5, 10]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Network {
    /// The layers, all in a row.
    kept: Stretch,
    /// Or in stretches whose activations are computed twice.
    recomputed: Vec<Recompute<Stretch>>,
    input_shape: Vec<usize>,
}

impl Network {
    /// Makes the layers, with their parameters in `params` under PyTorch's names: `conv1.weight`, `fc1.bias`.
    ///
    /// # Errors
    /// A name that is taken in `params`; an operation that does not take the sizes.
    pub fn build(plan: &Plan, params: &Params) -> Result<Self> {
        let layers = plan.layers().iter().enumerate();
        let layers = layers.map(|(i, layer)| {
            let place = match &layer.name {
                Some(name) => name.clone(),
                None => format!("{}{}", layer.spec.kind(), i + 1),
            };
            let built = build_layer(&place, layer, params)?;
            Ok((place, built))
        });
        Ok(Self {
            kept: Stretch(layers.collect::<Result<_>>()?),
            recomputed: Vec::new(),
            input_shape: plan.input_shape().to_vec(),
        })
    }

    /// The same network in so many stretches of layers, of which only the inputs are kept for the backward pass; see [`Recompute`]. 0 keeps all
    /// activations. What is computed is the same, bit by bit.
    #[must_use]
    pub fn recompute(mut self, stretches: usize) -> Self {
        if stretches == 0 || !self.recomputed.is_empty() {
            return self;
        }
        let mut layers = std::mem::take(&mut self.kept.0);
        let length = layers.len().div_ceil(stretches).max(1);
        while !layers.is_empty() {
            let rest = layers.split_off(length.min(layers.len()));
            self.recomputed.push(Recompute::new(Stretch(layers)));
            layers = rest;
        }
        self
    }

    /// The layers with their places.
    fn layers(&self) -> impl Iterator<Item = &(String, Built)> {
        let recomputed = self.recomputed.iter().flat_map(|part| &part.layer().0);
        self.kept.0.iter().chain(recomputed)
    }
}

/// Makes a layer at its place.
fn build_layer(place: &str, layer: &PlannedLayer, params: &Params) -> Result<Built> {
    let scope = params.at(place);
    Ok(match layer.spec {
        LayerSpec::Conv2d {
            out_channels,
            kernel_size,
            stride,
            padding,
            bias,
            activation,
            max_pool,
            ..
        } => {
            let mut config = Conv2d::config(layer.input_shape[0], out_channels, kernel_size)
                .stride(stride)
                .padding(padding)
                .bias(bias)
                .activation(activation);
            if let Some(size) = max_pool {
                config = config.max_pool(size);
            }
            Built::Conv2d(Box::new(config.build(&scope)?))
        }
        LayerSpec::BatchNorm { activation, .. } => {
            let config = BatchNorm::config(layer.input_shape[0]).activation(activation);
            Built::BatchNorm(Box::new(config.build(&scope)?))
        }
        LayerSpec::MaxPool2d {
            kernel_size,
            stride,
        } => Built::MaxPool2d(MaxPool2d::config(kernel_size).stride(stride).build()?),
        LayerSpec::Flatten => Built::Flatten(Flatten::default()),
        LayerSpec::Dropout { p } => Built::Dropout(Dropout::new(p, &scope)?),
        LayerSpec::Linear {
            out_features,
            bias,
            activation,
            ..
        } => {
            let Width::Fixed(out_features) = out_features else {
                unreachable!("a plan fills in every width");
            };
            let config = Linear::config(layer.input_shape[0], out_features);
            Built::Linear(config.bias(bias).activation(activation).build(&scope)?)
        }
        LayerSpec::Activation(activation) => Built::Activation(activation),
    })
}

impl Layer for Network {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        if x.dims().split_first().map(|(_, sample)| sample) != Some(&self.input_shape[..]) {
            return Err(NeuronError::Op(cortical_tensor::Error::Shape {
                op: "network",
                argument: "x",
                expected: format!("[n, {}]", list(&self.input_shape)),
                got: x.dims().to_vec(),
            }));
        }
        let mut x = self.kept.forward(x, pass)?;
        for stretch in &self.recomputed {
            x = stretch.forward(&x, pass)?;
        }
        Ok(x)
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        if sample != self.input_shape {
            let expected = format!("[{}]", list(&self.input_shape));
            return Err(wrong_sample("network", expected, sample));
        }
        let (mut parts, mut shape) = (Vec::new(), sample.to_vec());
        for (place, built) in self.layers() {
            let part = built.layer().describe(&shape);
            let mut part = part.map_err(|e| e.in_unnamed_layer(place))?;
            part.name.clone_from(place);
            shape.clone_from(&part.output);
            parts.push(part);
        }
        Ok(Description::of_parts("Network", "", parts, &shape))
    }
}

/// Sizes with commas between them.
fn list(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;
    use candle_core::{DType, Device};
    use cortical_neuron::loss::cross_entropy;
    use cortical_tensor::Seed;

    fn network(spec: &ModelSpec, input: &[usize], classes: usize) -> (Params, Network) {
        let plan = Plan::new(&spec.layers(), input, classes).unwrap();
        let params = Params::new(&Device::Cpu, Seed(1));
        let network = Network::build(&plan, &params).unwrap();
        (params, network)
    }

    #[test]
    fn parameters_have_pytorchs_names_and_shapes() {
        let (params, _) = network(&ModelSpec::LeNet, &[1, 28, 28], 10);
        let all = params.all();
        let got: Vec<_> = all.iter().map(|p| (p.name(), p.dims().to_vec())).collect();
        let want = [
            ("conv1.weight", vec![32, 1, 3, 3]),
            ("conv1.bias", vec![32]),
            ("conv2.weight", vec![64, 32, 3, 3]),
            ("conv2.bias", vec![64]),
            ("fc1.weight", vec![128, 9216]),
            ("fc1.bias", vec![128]),
            ("fc2.weight", vec![10, 128]),
            ("fc2.bias", vec![10]),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn layers_that_run_twice_give_the_same_bits() {
        let gradients = |stretches: usize| {
            let spec = ModelSpec::LeNet;
            let plan = Plan::new(&spec.layers(), &[1, 12, 12], 3).unwrap();
            let params = Params::new(&Device::Cpu, Seed(1));
            let network = Network::build(&plan, &params).unwrap().recompute(stretches);
            assert_eq!(
                network.describe(&[1, 12, 12]).unwrap().parameters,
                params.count()
            );
            let x: Vec<f32> = (0..4 * 144).map(|i| (i as f32 * 0.37).sin()).collect();
            let x = Tensor::from_vec(x, (4, 1, 12, 12), &Device::Cpu).unwrap();
            let labels = Tensor::new(&[0_u32, 2, 1, 1], &Device::Cpu).unwrap();
            let mut rng = params.rng("pass");
            let y = network.forward(&x, &mut Pass::train(&mut rng)).unwrap();
            params
                .backward(&cross_entropy(&y, &labels).unwrap())
                .unwrap();
            let grads = params.all().into_iter().map(|p| {
                let grad = p.grad().unwrap().flatten_all().unwrap();
                grad.to_vec1::<f32>().unwrap()
            });
            grads.collect::<Vec<_>>()
        };
        let kept = gradients(0);
        for stretches in [1, 2, 3, 100] {
            assert_eq!(gradients(stretches), kept, "{stretches}");
        }
    }

    #[test]
    fn every_kind_gives_what_its_plan_says_and_every_parameter_a_gradient() {
        let text = "layers = [
            { conv2d = { out_channels = 3, kernel_size = 3, stride = 2, padding = 1, bias = false } },
            { batch_norm = { activation = \"relu\" } }, { max_pool2d = { kernel_size = 2, stride = 1 } }, { activation = \"tanh\" }, \"flatten\",
            { dropout = 0.5 }, { linear = { out_features = 4, activation = \"gelu\" } }, { linear = \"classes\" }]";
        let table: toml::Table = text.parse().unwrap();
        let listed = ModelSpec::read(crate::fields::Fields::new("model", &table)).unwrap();
        let mut specs: Vec<ModelSpec> = ["digits-cnn", "lenet", "mlp", "softmax"]
            .map(|kind| kind.parse().unwrap())
            .to_vec();
        specs.push(listed);
        for spec in specs {
            let (params, network) = network(&spec, &[2, 8, 8], 3);
            let x = Tensor::ones((4, 2, 8, 8), DType::F32, &Device::Cpu).unwrap();
            let labels = Tensor::new(&[0_u32, 1, 2, 0], &Device::Cpu).unwrap();
            let mut rng = params.rng("train");
            let logits = network.forward(&x, &mut Pass::train(&mut rng)).unwrap();
            assert_eq!(logits.dims(), [4, 3], "{}", spec.kind());
            params
                .backward(&cross_entropy(&logits, &labels).unwrap())
                .unwrap();
        }
    }

    #[test]
    fn samples_of_another_shape_are_refused() {
        let (_, network) = network(&ModelSpec::Softmax, &[4], 3);
        let x = Tensor::ones((2, 5), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            network
                .forward(&x, &mut Pass::eval())
                .unwrap_err()
                .to_string(),
            "network: x must have shape [n, 4], but has [2, 5]"
        );
    }
}
