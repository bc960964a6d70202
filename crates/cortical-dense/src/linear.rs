//! A layer of neurons, each connected to every input.

use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Error, Layer, Neurons, Param, Pass, Result, Scope};
use cortical_tensor::ops;

/// The options of a [`Linear`] layer.
#[derive(Clone, Copy, Debug)]
pub struct LinearConfig {
    in_features: usize,
    out_features: usize,
    bias: bool,
    activation: Activation,
}

impl LinearConfig {
    /// Whether each neuron has a bias; it has by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What each neuron does with its weighted sum; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`] when the place is taken, [`Error::TooLarge`].
    pub fn build(self, scope: &Scope) -> Result<Linear> {
        let shape = [self.out_features, self.in_features];
        let neurons = Neurons::build(scope, &shape, self.bias, self.activation)?;
        Ok(Linear {
            neurons,
            config: self,
        })
    }
}

/// `y = activation(x Wᵀ + b)`, PyTorch's `nn.Linear` with its activation fused.
///
/// # Shapes
/// - input: `[…, in_features]`
/// - `weight`: `[out_features, in_features]`, `bias`: `[out_features]`, both from U(−1/√in_features, 1/√in_features)
/// - output: `[…, out_features]`
#[derive(Clone, Debug)]
pub struct Linear {
    neurons: Neurons,
    config: LinearConfig,
}

impl Linear {
    /// The options of a layer with `in_features` inputs and `out_features` neurons.
    #[must_use]
    pub fn config(in_features: usize, out_features: usize) -> LinearConfig {
        LinearConfig {
            in_features,
            out_features,
            bias: true,
            activation: Activation::Identity,
        }
    }

    /// How many inputs each neuron reads.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.config.in_features
    }

    /// How many neurons there are.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.config.out_features
    }

    /// The weights, `[out_features, in_features]`.
    #[must_use]
    pub fn weight(&self) -> &Param {
        self.neurons.weight()
    }

    /// The biases, `[out_features]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        self.neurons.bias()
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = self.neurons.inputs(pass);
        let y = ops::linear(x, weight, bias, self.neurons.activation())
            .map_err(|e| Error::from(e).in_layer(self.neurons.name()))?;
        pass.observe(self.neurons.name(), &y);
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Module};
    use cortical_neuron::{Observer, Params};
    use cortical_tensor::Seed;

    fn layer(params: &Params) -> Linear {
        Linear::config(4, 3)
            .activation(Activation::Relu)
            .build(&params.at("fc1"))
            .unwrap()
    }

    #[test]
    fn an_error_says_in_which_layer() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let x = Tensor::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
        let error = layer(&params).forward(&x, &mut Pass::eval()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "in layer \"fc1\": linear: x must have shape […, 4], as the weight reads 4 inputs, but has [2, 5]"
        );
    }

    #[test]
    fn an_observer_sees_the_output_and_changes_nothing() {
        struct Seen(Vec<(String, Vec<usize>)>);
        impl Observer for Seen {
            fn activation(&mut self, layer: &str, output: &Tensor) {
                self.0.push((layer.to_string(), output.dims().to_vec()));
            }
        }
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = layer(&params);
        let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu).unwrap();
        let mut seen = Seen(Vec::new());
        let y = layer
            .forward(&x, &mut Pass::eval().observed_by(&mut seen))
            .unwrap();
        assert_eq!(seen.0, [("fc1".to_string(), vec![2, 3])]);
        let plain = layer.as_module().forward(&x).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), plain.to_vec2::<f32>().unwrap());
    }
}
