//! The neuron itself: weighted sum, bias, activation.
//!
//! A neuron reads some numbers, multiplies each by a weight of its own, adds them up with a bias, and sends the sum
//! through an activation:
//!
//! ```text
//! y = activation(w₁ x₁ + w₂ x₂ + … + b)
//! ```
//!
//! A weight above 1 amplifies its input, one between 0 and 1 attenuates it, a negative one inhibits, and one of 0 is a
//! pruned connection. The bias shifts the point from which the sum counts. The activation gates: ReLU lets a sum
//! through or holds it back, σ opens and closes by degrees. Every layer is a way of choosing which numbers a neuron
//! reads.

use crate::{Init, Param, Pass, Result, Scope};
use cortical_kernels::activation::Activation;
use cortical_tensor::Input;

/// The parameters of an affine map, `w · x + b`, and the activation behind it: the neurons of one layer.
///
/// Which inputs a neuron reads is the business of the layer that owns them: all of them (dense), a window that slides
/// (convolution).
///
/// # Shapes
/// - `weight`: `[neurons, inputs…]`, `bias`: `[neurons]`: `neurons · inputs + neurons` parameters, one multiply-add a
///   weight and use
///
/// # Source
/// McCulloch and Pitts, "A logical calculus of the ideas immanent in nervous activity" (1943); Rosenblatt, "The
/// perceptron" (1958).
///
/// One neuron that reads one input, as a dense layer would use it:
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::activation::Activation::{self, Identity, Relu, Sigmoid};
/// use cortical_neuron::{Affine, Params, Pass, Result};
/// use cortical_tensor::{Seed, ops};
///
/// /// `activation(w x + b)`
/// fn neuron(w: f32, b: f32, activation: Activation, x: f32) -> Result<f32> {
///     let params = Params::new(&Device::Cpu, Seed(1));
///     let one = Affine::build(&params.root(), &[1, 1], true, activation)?;
///     params.set("weight", &Tensor::new(&[[w]], &Device::Cpu)?)?;
///     params.set("bias", &Tensor::new(&[b], &Device::Cpu)?)?;
///     let pass = Pass::eval();
///     let (weight, bias) = one.inputs(&pass);
///     let y = ops::linear(&Tensor::new(&[[x]], &Device::Cpu)?, weight, bias, one.activation())?;
///     Ok(y.to_vec2::<f32>()?[0][0])
/// }
///
/// # fn main() -> Result<()> {
/// assert_eq!(neuron(3.0, 0.0, Identity, 2.0)?, 6.0); // the weight amplifies
/// assert_eq!(neuron(0.5, 0.0, Identity, 2.0)?, 1.0); // … attenuates
/// assert_eq!(neuron(-1.0, 0.0, Identity, 2.0)?, -2.0); // … inhibits
/// assert_eq!(neuron(1.0, -5.0, Identity, 2.0)?, -3.0); // the bias shifts
/// assert_eq!(neuron(1.0, -5.0, Relu, 2.0)?, 0.0); // the gate is shut: the sum is below 0
/// assert_eq!(neuron(1.0, -5.0, Relu, 7.0)?, 2.0); // and lets the rest through
/// assert_eq!(neuron(1.0, 0.0, Sigmoid, 0.0)?, 0.5); // a gate that opens by degrees: half
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Affine {
    weight: Param,
    bias: Option<Param>,
    activation: Activation,
    name: String,
}

impl Affine {
    /// Makes `weight` of this shape (`[neurons, inputs…]`) and, if asked for, `bias` of `[neurons]` at a place of a
    /// model, with PyTorch's defaults: both from U(−1/√fan_in, 1/√fan_in).
    ///
    /// # Errors
    /// [`Error::NameTaken`](crate::Error::NameTaken), [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn build(
        scope: &Scope,
        shape: &[usize],
        bias: bool,
        activation: Activation,
    ) -> Result<Self> {
        let weight = scope.param("weight", shape, Init::KAIMING_UNIFORM)?;
        let fan_in = shape[1..].iter().product();
        let bias = bias.then(|| scope.param("bias", &shape[..1], Init::bias(fan_in)));
        Ok(Self {
            weight,
            bias: bias.transpose()?,
            activation,
            name: scope.path().to_string(),
        })
    }

    /// The weights.
    #[must_use]
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    /// The biases, where the neurons have some.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        self.bias.as_ref()
    }

    /// What each neuron does with its weighted sum.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The place in the model, for errors and observers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Weights and biases as arguments of an operation in this pass.
    #[must_use]
    pub fn inputs(&self, pass: &Pass<'_>) -> (Input<'_>, Option<Input<'_>>) {
        (
            self.weight.input(pass),
            self.bias.as_ref().map(|b| b.input(pass)),
        )
    }
}
