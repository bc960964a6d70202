//! A layer of neurons, each connected to every input.

use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Description, Error, Layer, Neurons, Param, Pass, Result, Scope, product, wrong_sample,
};
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

impl LinearConfig {
    /// Makes the layer with the weight of another one, such as an embedding's table: one parameter in two places.
    ///
    /// # Errors
    /// [`Error::ValueShape`] unless the weight is `[out_features, in_features]`, [`Error::NameTaken`], [`Error::UnknownName`].
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use cortical_dense::Linear;
    /// use cortical_neuron::{Embedding, Params};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let table = Embedding::config(100, 8).build(&params.at("wte"))?;
    /// let head = Linear::config(8, 100).bias(false).build_tied(&params.at("lm_head"), table.weight())?;
    /// assert!(head.weight().is_same(table.weight()));
    /// assert_eq!(params.count(), 800); // counted once
    /// assert_eq!(params.ties(), [("lm_head.weight".to_string(), "wte.weight".to_string())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_tied(self, scope: &Scope, weight: &Param) -> Result<Linear> {
        let shape = [self.out_features, self.in_features];
        let neurons = Neurons::build_tied(scope, weight, &shape, self.bias, self.activation)?;
        Ok(Linear {
            neurons,
            config: self,
        })
    }
}

/// `y = activation(x Wᵀ + b)`: every neuron reads every input. PyTorch's `nn.Linear` with its activation fused.
///
/// `out · in + out` parameters, as many multiply-adds a row as there are weights.
///
/// # Shapes
/// - input: `[…, in_features]`
/// - `weight`: `[out_features, in_features]`, `bias`: `[out_features]`, both from U(−1/√in_features, 1/√in_features)
/// - output: `[…, out_features]`
///
/// # Source
/// Rosenblatt, "The perceptron" (1958).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_dense::Linear;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = Linear::config(2, 1).build(&params.at("fc"))?;
/// params.set("fc.weight", &Tensor::new(&[[3.0_f32, -1.0]], &Device::Cpu)?)?;
/// params.set("fc.bias", &Tensor::new(&[0.5_f32], &Device::Cpu)?)?;
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[1.5]]);
/// assert_eq!(layer.describe(&[2])?.formula, "out·in + out = 1·2 + 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    pub(crate) neurons: Neurons,
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

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (inputs, outputs) = (self.in_features(), self.out_features());
        let Some((last, rows)) = sample.split_last().filter(|(last, _)| **last == inputs) else {
            let expected = format!("[…, {inputs}]");
            return Err(wrong_sample("linear", expected, sample).in_layer(self.neurons.name()));
        };
        let formula = match self.bias() {
            Some(_) => format!("out·in + out = {outputs}·{inputs} + {outputs}"),
            None => format!("out·in = {outputs}·{inputs}"),
        };
        let output: Vec<usize> = rows.iter().copied().chain([outputs]).collect();
        let times = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        Description::new("Linear", self.neurons.name(), &output)
            .reads(format!("each of {outputs} neurons reads all {last} inputs"))
            .parameters([self.weight()].into_iter().chain(self.bias()), formula)
            .uses(self.weight(), times)
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
