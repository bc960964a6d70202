//! The neuron itself: weighted sum, bias, activation.

use crate::{Init, Param, Pass, Result, Scope};
use cortical_kernels::activation::Activation;
use cortical_tensor::Input;

/// A group of neurons: the weights of their inputs, their biases and their activation.
///
/// `y = activation(w · x + b)` for each neuron. Which inputs a neuron reads is the business of the layer that owns the
/// group: all of them (dense), a window that slides (convolution), the last state (recurrence).
#[derive(Clone, Debug)]
pub struct Neurons {
    weight: Param,
    bias: Option<Param>,
    activation: Activation,
    name: String,
}

impl Neurons {
    /// Makes `weight` of this shape (`[neurons, inputs…]`) and, if asked for, `bias` of `[neurons]` at a place of a model, with PyTorch's
    /// defaults: both from U(−1/√fan_in, 1/√fan_in).
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
        let bias = match bias {
            true => {
                let fan_in = shape[1..].iter().product();
                Some(scope.param("bias", &shape[..1], Init::bias(fan_in))?)
            }
            false => None,
        };
        Ok(Self {
            weight,
            bias,
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
