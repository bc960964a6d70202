//! Layers one after the other, and beside a shortcut.

use crate::description::wrong_sample;
use crate::{Description, Layer, Pass, Place, Result, Scope};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_tensor::ops;

/// A layer of any type, which may move between threads.
type AnyLayer = Box<dyn Layer + Send + Sync>;

/// `y = f_n(… f_2(f_1(x)))`: layers one after the other, PyTorch's `nn.Sequential`.
///
/// Layers are numbered from 0, with those that have no parameters, so that parameters have PyTorch's names: `0.weight`,
/// `2.weight`. Parameter count, connections and multiply-adds are the sums of the layers'.
///
/// # Shapes
/// - input: that of the first layer; output: that of the last
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::activation::Activation;
/// use cortical_neuron::{Layer, LayerNorm, Params, Pass, Sequential};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let net = Sequential::new(&params.at("net"))
///     .then(|at| LayerNorm::config(&[4]).build(at))?
///     .push(Activation::Relu)
///     .then(|at| LayerNorm::config(&[4]).bias(false).build(at))?;
/// let x = Tensor::new(&[[1.0_f32, 2.0, 3.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(net.forward(&x, &mut Pass::eval())?.dims(), [1, 4]);
/// let names: Vec<String> = params.all().iter().map(|p| p.name().to_string()).collect();
/// assert_eq!(names, ["net.0.weight", "net.0.bias", "net.2.weight"]);
/// assert_eq!(net.describe(&[4])?.parameters, 12);
/// # Ok(())
/// # }
/// ```
pub struct Sequential {
    layers: Vec<(String, AnyLayer)>,
    scope: Scope,
}

impl Sequential {
    /// An empty chain at a place of a model.
    #[must_use]
    pub fn new(scope: &impl Place) -> Self {
        let scope = &scope.place();
        Self {
            layers: Vec::new(),
            scope: scope.clone(),
        }
    }

    /// Appends the layer that `build` makes at the place of its number.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn then<L: Layer + Send + Sync + 'static>(
        self,
        build: impl FnOnce(&Scope) -> Result<L>,
    ) -> Result<Self> {
        let number = self.layers.len().to_string();
        self.then_named(&number, build)
    }

    /// Appends the layer that `build` makes at a place of this name in the chain's own.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn then_named<L: Layer + Send + Sync + 'static>(
        mut self,
        name: &str,
        build: impl FnOnce(&Scope) -> Result<L>,
    ) -> Result<Self> {
        let place = self.scope.at(name);
        let layer = build(&place)?;
        let name = place.path().to_string();
        self.layers.push((name, Box::new(layer)));
        Ok(self)
    }

    /// Appends a layer that needs no place or has one.
    #[must_use]
    pub fn push<L: Layer + Send + Sync + 'static>(mut self, layer: L) -> Self {
        let name = self.scope.at(&self.layers.len().to_string());
        let name = name.path().to_string();
        self.layers.push((name, Box::new(layer)));
        self
    }

    /// How many layers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none, so that the output is the input.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layers with their places, in their order.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &(dyn Layer + Send + Sync))> {
        self.layers
            .iter()
            .map(|(name, layer)| (name.as_str(), &**layer))
    }
}

impl std::fmt::Debug for Sequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.layers.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for (name, layer) in &self.layers {
            x = layer
                .forward(&x, pass)
                .map_err(|e| e.in_unnamed_layer(name))?;
        }
        Ok(x)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (mut parts, mut shape) = (Vec::with_capacity(self.layers.len()), sample.to_vec());
        for (name, layer) in &self.layers {
            let mut part = layer
                .describe(&shape)
                .map_err(|e| e.in_unnamed_layer(name))?;
            if part.name.is_empty() {
                part.name.clone_from(name);
            }
            shape.clone_from(&part.output);
            parts.push(part);
        }
        let name = self.scope.path();
        Ok(Description::of_parts("Sequential", name, parts, &shape))
    }
}

/// `y = activation(shortcut(x) + f(x))`: the layer only has to learn what is to be added, and gradients have a way past
/// it. The shortcut is `x` itself by default, and there is no activation.
///
/// Parameters are those of the layers inside; the addition costs no multiplication, and one pass over memory with its
/// activation. A block that ends with a batch norm is faster still through
/// [`BatchNorm::forward_residual`](crate::BatchNorm::forward_residual).
///
/// # Shapes
/// - input: that of the layer; output: that of the layer, which must be the shortcut's
///
/// # Source
/// He et al., "Deep residual learning for image recognition" (2015), section 3.2.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::activation::Activation::Relu;
/// use cortical_neuron::{Layer, Pass, Residual};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[-1.0_f32, 2.0], &Device::Cpu)?;
/// let y = Residual::new(Relu).forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec1::<f32>()?, [-1.0, 4.0]);
/// # Ok(())
/// # }
/// ```
pub struct Residual {
    layer: AnyLayer,
    shortcut: Option<AnyLayer>,
    activation: Activation,
}

impl Residual {
    /// `x + layer(x)`
    pub fn new<L: Layer + Send + Sync + 'static>(layer: L) -> Self {
        Self {
            layer: Box::new(layer),
            shortcut: None,
            activation: Activation::Identity,
        }
    }

    /// `shortcut(x) + layer(x)`, where the layer changes the shape.
    #[must_use]
    pub fn shortcut<L: Layer + Send + Sync + 'static>(mut self, shortcut: L) -> Self {
        self.shortcut = Some(Box::new(shortcut));
        self
    }

    /// What happens to the sum.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

impl std::fmt::Debug for Residual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.shortcut.is_some() {
            "projected"
        } else {
            "identity"
        };
        write!(f, "Residual({kind} shortcut)")
    }
}

impl Layer for Residual {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.layer.forward(x, pass)?;
        let past = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, pass)?,
            None => x.clone(),
        };
        if past.dims() != y.dims() {
            return Err(cortical_tensor::Error::Shape {
                op: "residual",
                argument: "shortcut",
                expected: format!(
                    "{:?}, that of the layer's output (project it with `shortcut`)",
                    y.dims()
                ),
                got: past.dims().to_vec(),
            }
            .into());
        }
        Ok(ops::residual(&past, &y, self.activation)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let layer = self.layer.describe(sample)?;
        let output = layer.output.clone();
        let mut parts = vec![layer];
        let past = match &self.shortcut {
            Some(shortcut) => {
                parts.push(shortcut.describe(sample)?);
                parts[1].output.clone()
            }
            None => sample.to_vec(),
        };
        if past != output {
            return Err(wrong_sample(
                "residual",
                format!("{output:?}, that of the output"),
                &past,
            ));
        }
        let sum = crate::description::product(&output);
        let description = Description::of_parts("Residual", "", parts, &output).keeping([sum]);
        Ok(description.reads("each neuron reads one of the layer's and one of the shortcut's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerNorm, Params};
    use candle_core::{Device, Var};
    use cortical_tensor::Seed;

    #[test]
    fn a_residual_block_activates_the_sum_and_both_ways_get_their_gradient() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let norm = LayerNorm::config(&[2]).build(&params.at("norm")).unwrap();
        let block = Residual::new(norm).activation(Activation::Relu);
        let x = Var::new(&[[1.0_f32, -5.0], [-3.0, 0.5]], &Device::Cpu).unwrap();
        let y = block.forward(&x, &mut Pass::eval()).unwrap();
        // Normed rows are (1, −1) and (−1, 1), but for eps.
        let got = y.to_vec2::<f32>().unwrap();
        for (got, want) in got.iter().flatten().zip([2.0, 0.0, 0.0, 1.5]) {
            assert!((got - want).abs() < 1e-4, "{got} is not {want}");
        }
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let d_x = gradients.get(&x).unwrap().to_vec2::<f32>().unwrap();
        // A norm of two numbers hardly changes with them: what is left is the shortcut, where the sum is above zero.
        for (got, want) in d_x.iter().flatten().zip([1.0, 0.0, 0.0, 1.0]) {
            assert!((got - want).abs() < 1e-4, "{got} is not {want}");
        }
    }
}
