//! Dense layers one after the other.

use crate::Linear;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Dropout, Error, Layer, Pass, Place, Result};

/// The options of an [`Mlp`].
#[derive(Clone, Debug)]
pub struct MlpConfig {
    widths: Vec<usize>,
    activation: Activation,
    bias: bool,
    dropout: f64,
}

impl MlpConfig {
    /// What each hidden neuron does with its weighted sum; ReLU by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Whether neurons have biases; they have by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// The probability with which training zeroes each hidden output; 0 by default.
    #[must_use]
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// Makes the layers at a place of a model, named `0`, `1`, ….
    ///
    /// # Errors
    /// [`Error::Option`] for fewer than two widths or an impossible dropout, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<Mlp> {
        let scope = &scope.place();
        if self.widths.len() < 2 {
            return Err(Error::Option {
                option: "widths",
                expected: "at least two: the inputs, and the outputs of each layer",
                got: format!("{:?}", self.widths),
            });
        }
        let last = self.widths.len() - 2;
        let layers = self.widths.windows(2).enumerate().map(|(i, pair)| {
            let config = Linear::config(pair[0], pair[1]).bias(self.bias);
            let activation = if i < last {
                self.activation
            } else {
                Activation::Identity
            };
            config
                .activation(activation)
                .build(&scope.at(&i.to_string()))
        });
        Ok(Mlp {
            layers: layers.collect::<Result<_>>()?,
            dropout: Dropout::new(self.dropout, &scope.at("dropout"))?,
            name: scope.path().to_string(),
        })
    }
}

/// `h = f(W₀ x + b₀)`, …, `y = Wₙ h + bₙ`: dense layers with an activation between them, the multilayer perceptron.
///
/// Every neuron reads all outputs of the layer below. `Σ out · in + out` parameters, as many multiply-adds a row as
/// there are weights.
///
/// # Shapes
/// - input: `[…, widths[0]]`; output: `[…, widths[n]]`
/// - `I.weight`: `[widths[I + 1], widths[I]]`, `I.bias`: `[widths[I + 1]]`
///
/// # Source
/// Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_dense::Mlp;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let net = Mlp::config(&[4, 16, 3]).dropout(0.1).build(&params.at("mlp"))?;
/// let x = Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.forward(&x, &mut Pass::eval())?.dims(), [2, 3]);
/// assert_eq!(params.count(), 16 * 4 + 16 + 3 * 16 + 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    dropout: Dropout,
    name: String,
}

impl Mlp {
    /// The options of layers from `widths[0]` inputs to `widths[n]` outputs.
    #[must_use]
    pub fn config(widths: &[usize]) -> MlpConfig {
        MlpConfig {
            widths: widths.to_vec(),
            activation: Activation::Relu,
            bias: true,
            dropout: 0.0,
        }
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = self.dropout.forward(&x, pass)?;
            }
            x = layer.forward(&x, pass)?;
        }
        Ok(x)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (mut parts, mut shape) = (Vec::new(), sample.to_vec());
        for layer in &self.layers {
            let part = layer.describe(&shape)?;
            shape.clone_from(&part.output);
            parts.push(part);
        }
        Ok(Description::of_parts("Mlp", &self.name, parts, &shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use cortical_neuron::Params;
    use cortical_tensor::Seed;

    #[test]
    fn the_last_layer_does_not_bend_and_costs_add_up() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let net = Mlp::config(&[2, 3, 3, 1]).build(&params.at("m")).unwrap();
        for param in params.all() {
            param
                .set(&(param.tensor().ones_like().unwrap() * -1.0).unwrap())
                .unwrap();
        }
        let x = Tensor::ones((1, 2), DType::F32, &Device::Cpu).unwrap();
        let y = net.forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(
            y.to_vec2::<f32>().unwrap(),
            [[-1.0]],
            "−1 passes the last layer, and ReLU holds back the others"
        );
        let described = net.describe(&[5, 2]).unwrap();
        assert_eq!(described.parameters, params.count());
        assert_eq!(described.multiply_adds, 5 * (2 * 3 + 3 * 3 + 3));
        assert_eq!(described.output, [5, 1]);
        assert!(Mlp::config(&[2]).build(&params.at("n")).is_err());
    }
}
