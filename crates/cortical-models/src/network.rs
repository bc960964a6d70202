//! A network built from its plan.

use crate::error::Result;
use crate::layers::segment::Segment;
use crate::plan::Plan;
use candle_core::Tensor;
use cortical_neuron::{
    Description, Error as NeuronError, Layer, Params, Pass, Recompute, wrong_sample,
};

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
/// let spec: ModelSpec = "digits-cnn".parse()?;
/// let plan = Plan::new(&spec.layers(), &[1, 8, 8], 10)?;
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
    layers: Layers,
    input_shape: Vec<usize>,
}

/// The layers of a network.
#[derive(Debug)]
enum Layers {
    /// All in a row.
    Kept(Segment),
    /// In segments whose activations are computed twice.
    Recomputed(Vec<Recompute<Segment>>),
}

impl Network {
    /// Makes the layers, with their parameters in `params` under PyTorch's names: `conv1.weight`, `fc1.bias`.
    ///
    /// # Errors
    /// A name that is taken in `params`; an operation that does not take the sizes.
    pub fn build(plan: &Plan, params: &Params) -> Result<Self> {
        let (root, input) = (params.root(), plan.input_shape());
        let layers = Segment::build(&plan.specs(), &root, input, plan.classes())?;
        Ok(Self {
            layers: Layers::Kept(layers),
            input_shape: input.to_vec(),
        })
    }

    /// The same network in so many segments of layers, of which only the inputs are kept for the backward pass; see
    /// [`Recompute`]. 0 keeps all activations. What is computed is the same, bit by bit.
    #[must_use]
    pub fn recompute(self, segments: usize) -> Self {
        let layers = match self.layers {
            Layers::Kept(layers) if segments > 0 => {
                let length = layers.len().div_ceil(segments).max(1);
                let parts = layers.split(length).into_iter();
                Layers::Recomputed(parts.map(Recompute::new).collect())
            }
            layers => layers,
        };
        Self { layers, ..self }
    }

    /// What the layers behind the one at `place` make of its output, so that another output in its place costs only
    /// what comes after it; `None` where no layer of the network's list is called so.
    ///
    /// # Errors
    /// As those of the layers.
    pub fn forward_behind(
        &self,
        place: &str,
        output: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Option<cortical_neuron::Result<Tensor>> {
        let mut segments = self.segments().into_iter();
        let first = segments.find_map(|segment| segment.forward_behind(place, output, pass))?;
        Some(first.and_then(|y| segments.try_fold(y, |y, segment| segment.forward(&y, pass))))
    }

    /// The layers, in one segment or several.
    fn segments(&self) -> Vec<&Segment> {
        match &self.layers {
            Layers::Kept(layers) => vec![layers],
            Layers::Recomputed(parts) => parts.iter().map(Recompute::layer).collect(),
        }
    }
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
        match &self.layers {
            Layers::Kept(layers) => layers.forward(x, pass),
            Layers::Recomputed(parts) => {
                let mut x = x.clone();
                for part in parts {
                    x = part.forward(&x, pass)?;
                }
                Ok(x)
            }
        }
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        if sample != self.input_shape {
            let expected = format!("[{}]", list(&self.input_shape));
            return Err(wrong_sample("network", expected, sample));
        }
        let (mut parts, mut shape) = (Vec::new(), sample.to_vec());
        for segment in self.segments() {
            let (described, output) = segment.describe_links(&shape)?;
            parts.extend(described);
            shape = output;
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
        let (params, _) = network(&"lenet".parse().unwrap(), &[1, 28, 28], 10);
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
        let gradients = |segments: usize| {
            let spec: ModelSpec = "lenet".parse().unwrap();
            let plan = Plan::new(&spec.layers(), &[1, 12, 12], 3).unwrap();
            let params = Params::new(&Device::Cpu, Seed(1));
            let network = Network::build(&plan, &params).unwrap().recompute(segments);
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
        for segments in [1, 2, 3, 100] {
            assert_eq!(gradients(segments), kept, "{segments}");
        }
    }

    #[test]
    fn every_kind_gives_what_its_plan_says_and_every_parameter_a_gradient() {
        let text = "layers = [
            { conv2d = { out_channels = 3, kernel_size = 3, stride = 2, padding = 1, bias = false } },
            { batch_norm = { activation = \"relu\" } }, { max_pool2d = { kernel_size = 2, stride = 1 } }, { activation = \"tanh\" }, \"flatten\",
            { dropout = 0.5 }, { linear = { out_features = 4, activation = \"gelu\" } }, { linear = \"classes\" }]";
        let table: toml::Table = text.parse().unwrap();
        let listed = ModelSpec::read("model", &table).unwrap();
        let mut specs: Vec<ModelSpec> = ["digits-cnn", "lenet", "mlp", "softmax", "resnet20"]
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
        let (_, network) = network(&"softmax".parse().unwrap(), &[4], 3);
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
