//! The feed-forward half of a Llama-style block.

use crate::project;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::Gate;
use cortical_neuron::{Layer, Neurons, Pass, Result, Scope};
use cortical_tensor::ops;

/// `y = W_down (SiLU(W_gate x) ⊙ W_up x)`.
///
/// # Shapes
/// - input and output: `[…, hidden_size]`
/// - `gate_proj.weight`, `up_proj.weight`: `[intermediate_size, hidden_size]`; `down_proj.weight`: `[hidden_size, intermediate_size]`
///
/// # Source
/// Shazeer, "GLU variants improve transformer" (2020).
#[derive(Clone, Debug)]
pub struct SwiGlu {
    gate: Neurons,
    up: Neurons,
    down: Neurons,
    name: String,
}

impl SwiGlu {
    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`](cortical_neuron::Error::NameTaken), [`Error::TooLarge`](cortical_neuron::Error::TooLarge).
    pub fn new(hidden_size: usize, intermediate_size: usize, scope: &Scope) -> Result<Self> {
        let make = |name: &str, out: usize, input: usize| {
            Neurons::build(&scope.at(name), &[out, input], false, Activation::Identity)
        };
        Ok(Self {
            gate: make("gate_proj", intermediate_size, hidden_size)?,
            up: make("up_proj", intermediate_size, hidden_size)?,
            down: make("down_proj", hidden_size, intermediate_size)?,
            name: scope.path().to_string(),
        })
    }

    fn run(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (gate, up) = (project(&self.gate, x, pass)?, project(&self.up, x, pass)?);
        project(&self.down, &ops::gated(&gate, &up, Gate::Silu)?, pass)
    }
}

impl Layer for SwiGlu {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, &y);
        Ok(y)
    }
}
