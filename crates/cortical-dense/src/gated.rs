//! Dense neurons that gate each other.

use crate::Linear;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Error, Layer, Pass, Place, Result, product, wrong_sample};
use cortical_tensor::ops;

/// The options of a [`GatedUnit`].
#[derive(Clone, Copy, Debug)]
pub struct GatedUnitConfig {
    in_features: usize,
    out_features: usize,
    gate: Activation,
    bias: bool,
}

impl GatedUnitConfig {
    /// Whether neurons have biases; they have by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`](cortical_neuron::Error::NameTaken), [`Error::TooLarge`](cortical_neuron::Error::TooLarge).
    pub fn build(self, scope: &impl Place) -> Result<GatedUnit> {
        let scope = &scope.place();
        let config = Linear::config(self.in_features, self.out_features).bias(self.bias);
        let make = |name: &str| config.build(&scope.at(name));
        Ok(GatedUnit {
            gate: make("gate_proj")?,
            up: make("up_proj")?,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `y = f(x W_gateᵀ + b) ⊙ (x W_upᵀ + c)`: each output is a weighted sum, let through as far as another weighted sum of
/// the same inputs says. `f` is σ for GLU, SiLU for SwiGLU, GELU for GeGLU, ReLU for ReGLU.
///
/// Two rows of neurons read every input: `2 · (out · in + out)` parameters, as many multiply-adds a row as there are
/// weights and one for each output.
///
/// # Shapes
/// - input: `[…, in_features]`; output: `[…, out_features]`
/// - `gate_proj.weight`, `up_proj.weight`: `[out_features, in_features]`; `gate_proj.bias`, `up_proj.bias`:
///   `[out_features]`
///
/// # Source
/// Dauphin et al., "Language modeling with gated convolutional networks" (2016); Shazeer, "GLU variants improve
/// transformer" (2020).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_dense::GatedUnit;
/// use cortical_kernels::activation::Activation;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let swiglu = GatedUnit::config(4, 6, Activation::Silu).bias(false).build(&params.at("mlp"))?;
/// let x = Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(swiglu.forward(&x, &mut Pass::eval())?.dims(), [2, 6]);
/// assert_eq!(params.get("mlp.gate_proj.weight")?.dims(), [6, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GatedUnit {
    gate: Linear,
    up: Linear,
    name: String,
    config: GatedUnitConfig,
}

impl GatedUnit {
    /// The options of a layer with `in_features` inputs and `out_features` pairs of neurons.
    #[must_use]
    pub fn config(in_features: usize, out_features: usize, gate: Activation) -> GatedUnitConfig {
        GatedUnitConfig {
            in_features,
            out_features,
            gate,
            bias: true,
        }
    }

    fn run(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (gate, up) = (self.gate.apply(x, pass)?, self.up.apply(x, pass)?);
        Ok(ops::gated(&gate, &up, self.config.gate)?)
    }
}

impl Layer for GatedUnit {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (i, o) = (self.config.in_features, self.config.out_features);
        let Some((_, rows)) = sample.split_last().filter(|(last, _)| **last == i) else {
            let expected = format!("[…, {i}]");
            return Err(wrong_sample("gated unit", expected, sample).in_layer(&self.name));
        };
        let formula = match self.config.bias {
            true => format!("2·(out·in + out) = 2·({o}·{i} + {o})"),
            false => format!("2·out·in = 2·{o}·{i}"),
        };
        let output: Vec<usize> = rows.iter().copied().chain([o]).collect();
        let times = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        let both = [&self.gate, &self.up];
        let mut description = Description::new("GatedUnit", &self.name, &output)
            .reads(format!("each of {o} pairs of neurons reads all {i} inputs"))
            .parameters(both.into_iter().flat_map(Linear::params), formula)
            .keeping([product(&output); 2]);
        for layer in both {
            let weight = layer.weight();
            let weight = weight.ok_or_else(|| Error::NotDescribed.in_layer(&self.name))?;
            description = description.uses(weight, times)?;
        }
        Ok(description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use cortical_neuron::Params;
    use cortical_tensor::Seed;

    #[test]
    fn a_gate_lets_through_what_its_function_says() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let number = |x: f32| Tensor::new(&[[x]], &Device::Cpu).unwrap();
        for (i, (gate, want)) in [
            (Activation::Sigmoid, 0.5),
            (Activation::Relu, 0.0),
            (Activation::Silu, 0.0),
        ]
        .into_iter()
        .enumerate()
        {
            let place = params.at(&i.to_string());
            let layer = GatedUnit::config(1, 1, gate)
                .bias(false)
                .build(&place)
                .unwrap();
            params
                .set(&format!("{i}.gate_proj.weight"), &number(0.0))
                .unwrap();
            params
                .set(&format!("{i}.up_proj.weight"), &number(3.0))
                .unwrap();
            let y = layer.forward(&number(2.0), &mut Pass::eval()).unwrap();
            assert_eq!(y.to_vec2::<f32>().unwrap(), [[6.0 * want]]);
        }
        let layer = GatedUnit::config(3, 2, Activation::Gelu)
            .build(&params.at("g"))
            .unwrap();
        let described = layer.describe(&[4, 3]).unwrap();
        assert_eq!(
            (described.parameters, described.multiply_adds),
            (16, 4 * 2 * 6)
        );
        assert_eq!(described.formula, "2·(out·in + out) = 2·(2·3 + 2)");
    }
}
