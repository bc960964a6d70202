//! Neurons that read pairs of inputs.

use candle_core::Tensor;
use cortical_neuron::{Description, Error, Init, Param, Pass, Place, Result};
use cortical_tensor::ops;

/// The options of a [`Bilinear`] layer.
#[derive(Clone, Copy, Debug)]
pub struct BilinearConfig {
    in1_features: usize,
    in2_features: usize,
    out_features: usize,
    bias: bool,
}

impl BilinearConfig {
    /// Whether each neuron has a bias; it has by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] without inputs, [`Error::NameTaken`] when the place is taken, [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<Bilinear> {
        let scope = &scope.place();
        if self.in1_features == 0 {
            let (option, expected, got) = ("in1_features", "at least 1", "0".to_string());
            return Err(Error::Option {
                option,
                expected,
                got,
            });
        }
        // PyTorch takes the first input alone for the fan-in.
        let init = Init::bias(self.in1_features);
        let shape = [self.out_features, self.in1_features, self.in2_features];
        let weight = scope.param("weight", &shape, init)?;
        let bias = self.bias.then(|| scope.param("bias", &shape[..1], init));
        Ok(Bilinear {
            weight,
            bias: bias.transpose()?,
            name: scope.path().to_string(),
        })
    }
}

/// `y_o = x₁ᵀ W_o x₂ + b_o`: each neuron reads every pair of an element of one input and an element of the other,
/// PyTorch's `nn.Bilinear`.
///
/// `out · in₁ · in₂ + out` parameters; as many multiply-adds a row as there are weights, and `out · in₂` more.
///
/// # Shapes
/// - inputs: `[…, in1_features]` and `[…, in2_features]`, the same in front; output: `[…, out_features]`
/// - `weight`: `[out_features, in1_features, in2_features]`, `bias`: `[out_features]`, both from U(−1/√in1_features,
///   1/√in1_features)
///
/// # Source
/// Tenenbaum and Freeman, "Separating style and content with bilinear models" (2000).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_dense::Bilinear;
/// use cortical_neuron::{Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = Bilinear::config(2, 1, 1).bias(false).build(&params.at("pairs"))?;
/// params.set("pairs.weight", &Tensor::new(&[[[1.0_f32], [10.0]]], &Device::Cpu)?)?;
/// let (a, b) = (Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?, Tensor::new(&[[3.0_f32]], &Device::Cpu)?);
/// assert_eq!(layer.forward(&a, &b, &mut Pass::eval())?.to_vec2::<f32>()?, [[63.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bilinear {
    weight: Param,
    bias: Option<Param>,
    name: String,
}

impl Bilinear {
    /// The options of a layer of so many neurons that read pairs from inputs of these sizes.
    #[must_use]
    pub fn config(in1_features: usize, in2_features: usize, out_features: usize) -> BilinearConfig {
        BilinearConfig {
            in1_features,
            in2_features,
            out_features,
            bias: true,
        }
    }

    /// The output for a pair of inputs.
    ///
    /// # Errors
    /// When shapes or dtypes do not fit; the error says in which layer.
    pub fn forward(&self, x1: &Tensor, x2: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|b| b.input(pass));
        let y = ops::bilinear(x1, x2, self.weight.tracked(pass), bias);
        let y = y.map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    /// What the layer is made of and what it costs for so many rows.
    ///
    /// # Errors
    /// candle's, when a mask cannot be read.
    pub fn describe(&self, rows: usize) -> Result<Description> {
        let [o, i, j] = [0, 1, 2].map(|axis| self.weight.dims()[axis]);
        let formula = match self.bias {
            Some(_) => format!("out·in1·in2 + out = {o}·{i}·{j} + {o}"),
            None => format!("out·in1·in2 = {o}·{i}·{j}"),
        };
        Description::new("Bilinear", &self.name, &[rows, o])
            .reads(format!(
                "each of {o} neurons reads all {i}·{j} pairs of inputs"
            ))
            .parameters([&self.weight].into_iter().chain(&self.bias), formula)
            .uses(&self.weight, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use cortical_neuron::Params;
    use cortical_tensor::Seed;

    #[test]
    fn gradients_reach_both_parameters_and_errors_name_the_layer() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = Bilinear::config(3, 2, 4).build(&params.at("b")).unwrap();
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let mut rng = params.rng("pass");
        let y = layer
            .forward(&ones(&[5, 3]), &ones(&[5, 2]), &mut Pass::train(&mut rng))
            .unwrap();
        params
            .backward(&y.sqr().unwrap().sum_all().unwrap())
            .unwrap();
        let error = layer
            .forward(&ones(&[5, 3]), &ones(&[5, 3]), &mut Pass::eval())
            .unwrap_err();
        assert!(
            error.to_string().starts_with("in layer \"b\": bilinear: "),
            "{error}"
        );
        assert_eq!(layer.describe(5).unwrap().parameters, params.count());
        assert!(Bilinear::config(0, 2, 4).build(&params.at("c")).is_err());
    }
}
