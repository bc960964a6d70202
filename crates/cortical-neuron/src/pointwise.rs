//! Layers of neurons without weights, or with a slope: softmax, gated units, PReLU, RReLU.

use crate::shape_layers::dimension;
use crate::{Description, Error, Init, Layer, Param, Pass, Place, Result};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::Packed;
use cortical_tensor::ops;

/// What a [`Softmax`] makes of the shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares {
    Plain,
    Log,
    OfNegated,
}

/// `yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ)` along a dimension: scores as shares that add up to 1; PyTorch's `nn.Softmax`,
/// `nn.LogSoftmax`, `nn.Softmin` and, with dimension −3, `nn.Softmax2d`.
///
/// No parameters; each output reads all inputs along its dimension.
///
/// # Shapes
/// - input and output: any that has the dimension
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Layer, Pass, Softmax};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[0.0_f32, 0.0]], &Device::Cpu)?;
/// assert_eq!(Softmax::new(-1).forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[0.5, 0.5]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    dim: i64,
    shares: Shares,
}

impl Softmax {
    /// Along a dimension, counted from the end where it is negative.
    #[must_use]
    pub fn new(dim: i64) -> Self {
        let shares = Shares::Plain;
        Self { dim, shares }
    }

    /// `yᵢ = xᵢ − ln Σⱼ exp(xⱼ)`, the logarithms of the shares.
    #[must_use]
    pub fn log(dim: i64) -> Self {
        let shares = Shares::Log;
        Self { dim, shares }
    }

    /// The softmax of `−x`: small scores get large shares.
    #[must_use]
    pub fn min(dim: i64) -> Self {
        let shares = Shares::OfNegated;
        Self { dim, shares }
    }
}

impl Layer for Softmax {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        let dim = dimension("dim", self.dim, x.rank())?;
        Ok(match self.shares {
            Shares::Plain => ops::softmax(x, dim)?,
            Shares::Log => ops::log_softmax(x, dim)?,
            Shares::OfNegated => ops::softmax(&x.neg()?, dim)?,
        })
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = format!("each neuron reads every input along dimension {}", self.dim);
        Ok(Description::new("Softmax", "", sample).reads(reads))
    }
}

/// `y = a ⊙ f(b)` with the two halves `[a, b]` of a dimension: one half decides how much of the other goes on.
/// PyTorch's `nn.GLU` gates with σ; with SiLU it is the middle of SwiGLU, with GELU that of GeGLU.
///
/// No parameters; each neuron reads two inputs; two multiplications an output.
///
/// # Shapes
/// - input: any whose dimension is even; output: with half of it
///
/// # Source
/// Dauphin et al., "Language modeling with gated convolutional networks" (2016); Shazeer, "GLU variants improve
/// transformer" (2020).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Glu, Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[4.0_f32, 0.0]], &Device::Cpu)?; // σ(0) = ½ of 4 goes on
/// assert_eq!(Glu::new(-1).forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[2.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Glu {
    dim: i64,
    gate: Activation,
}

impl Glu {
    /// Gated by σ along a dimension, counted from the end where it is negative.
    #[must_use]
    pub fn new(dim: i64) -> Self {
        let gate = Activation::Sigmoid;
        Self { dim, gate }
    }

    /// Another function of the gate.
    #[must_use]
    pub fn gate(mut self, gate: Activation) -> Self {
        self.gate = gate;
        self
    }

    fn half(self, dims: &[usize]) -> Result<(usize, usize)> {
        let dim = dimension("dim", self.dim, dims.len())?;
        if !dims[dim].is_multiple_of(2) {
            return Err(cortical_tensor::Error::Shape {
                op: "glu",
                argument: "x",
                expected: format!("an even dimension {dim}, as one half gates the other"),
                got: dims.to_vec(),
            }
            .into());
        }
        Ok((dim, dims[dim] / 2))
    }
}

impl Layer for Glu {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        let (dim, half) = self.half(x.dims())?;
        if dim + 1 == x.rank() {
            return Ok(ops::gated_packed(x, self.gate, Packed::GateLast)?);
        }
        let (value, gate) = (x.narrow(dim, 0, half)?, x.narrow(dim, half, half)?);
        Ok(ops::gated(&gate, &value, self.gate)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let batch: Vec<usize> = std::iter::once(1).chain(sample.iter().copied()).collect();
        let (dim, half) = self.half(&batch)?;
        let mut output = batch;
        output[dim] = half;
        let description = Description::new("Glu", "", &output[1..]);
        Ok(description.reads("each neuron reads a value and a gate"))
    }
}

/// `y = x` for `x > 0`, else `a · x` with learned slopes, PyTorch's `nn.PReLU`.
///
/// # Shapes
/// - input and output: any; channels are the second dimension
/// - `weight`: `[num_parameters]`, one slope for all or one for each channel, 0.25 at first; `num_parameters`
///   parameters
///
/// # Source
/// He et al., "Delving deep into rectifiers" (2015), section 2.1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Layer, PRelu, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = PRelu::new(1, 0.25, &params.at("act"))?;
/// let x = Tensor::new(&[[-4.0_f32, 2.0]], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[-1.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PRelu {
    weight: Param,
    name: String,
}

impl PRelu {
    /// Makes so many slopes that begin at `init` (0.25 in PyTorch) at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for no slope, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn new(num_parameters: usize, init: f64, scope: &impl Place) -> Result<Self> {
        let scope = &scope.place();
        if num_parameters == 0 {
            return Err(Error::Option {
                option: "num_parameters",
                expected: "1 or the number of channels",
                got: "0".to_string(),
            });
        }
        let weight = scope.param("weight", &[num_parameters], Init::Constant(init))?;
        let name = scope.path().to_string();
        Ok(Self { weight, name })
    }
}

impl Layer for PRelu {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let slopes = self.weight.count();
        let y = match x.dims().get(1) {
            Some(&channels) if slopes != 1 && channels != slopes => {
                Err(Error::from(wrong_channels(slopes, x)))
            }
            _ => ops::prelu(x, self.weight.input(pass)).map_err(Error::from),
        };
        let y = y.map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let formula = format!("a slope each = {}", self.weight.count());
        let elements = crate::description::product(sample);
        Ok(Description::new("PRelu", &self.name, sample)
            .reads("each neuron reads one input")
            .parameters([&self.weight], formula)
            .costs(elements, 0))
    }
}

/// Why as many slopes do not fit an input.
fn wrong_channels(slopes: usize, x: &Tensor) -> cortical_tensor::Error {
    cortical_tensor::Error::Shape {
        op: "prelu",
        argument: "x",
        expected: format!("[n, {slopes}, …], as there is a slope for each of {slopes} channels"),
        got: x.dims().to_vec(),
    }
}

/// Leaky ReLU whose slope is drawn anew from U(lower, upper) for each element in training, and is the middle of both in
/// evaluation; PyTorch's `nn.RReLU`.
///
/// No parameters; each neuron reads one input.
///
/// # Shapes
/// - input and output: any
///
/// # Source
/// Xu et al., "Empirical evaluation of rectified activations in convolution network" (2015).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Layer, Params, Pass, RRelu};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = RRelu::new(0.25, 0.75, &params.at("act"))?;
/// let x = Tensor::new(&[-4.0_f32, 2.0], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x, &mut Pass::eval())?.to_vec1::<f32>()?, [-2.0, 2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RRelu {
    lower: f64,
    upper: f64,
    name: String,
}

impl RRelu {
    /// Slopes between two bounds (1/8 and 1/3 in PyTorch); the scope gives the random stream a name.
    ///
    /// # Errors
    /// [`Error::Option`] unless `lower <= upper`.
    pub fn new(lower: f64, upper: f64, scope: &impl Place) -> Result<Self> {
        let scope = &scope.place();
        if !(lower <= upper && lower.is_finite() && upper.is_finite()) {
            return Err(Error::Option {
                option: "lower",
                expected: "finite and not above upper",
                got: format!("{lower} with upper {upper}"),
            });
        }
        let name = scope.path().to_string();
        Ok(Self { lower, upper, name })
    }
}

impl Layer for RRelu {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        if !pass.is_train() {
            let slope = f64::midpoint(self.lower, self.upper);
            return Ok(ops::activate(x, Activation::LeakyRelu { slope })?);
        }
        let y = ops::rrelu(x, self.lower, self.upper, &mut pass.rng(&self.name)?)
            .map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let description = Description::new("RRelu", &self.name, sample);
        Ok(description.reads("each neuron reads one input"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;
    use candle_core::Device;
    use cortical_tensor::Seed;

    #[test]
    fn random_slopes_lie_between_the_bounds_and_positive_inputs_pass() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = RRelu::new(0.1, 0.3, &params.at("a")).unwrap();
        let x = Tensor::new(&[-1.0_f32, 2.0, -1.0, -1.0], &Device::Cpu).unwrap();
        let y = layer
            .forward(&x, &mut Pass::train(&mut params.rng("p")))
            .unwrap();
        let y = y.to_vec1::<f32>().unwrap();
        assert_eq!(y[1], 2.0);
        for i in [0, 2, 3] {
            assert!((-0.3..=-0.1).contains(&y[i]), "{}", y[i]);
        }
        assert!(y[0] != y[2] || y[2] != y[3]);
        assert!(RRelu::new(0.3, 0.1, &params.at("b")).is_err());
    }

    #[test]
    fn a_gate_can_lie_along_any_dimension_that_is_even() {
        let x = Tensor::arange(0.0_f32, 12.0, &Device::Cpu)
            .unwrap()
            .reshape((4, 3))
            .unwrap();
        let y = Glu::new(0).forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(y.dims(), [2, 3]);
        let error = Glu::new(1).forward(&x, &mut Pass::eval()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "glu: x must have shape an even dimension 1, as one half gates the other, but has [4, 3]"
        );
    }
}
