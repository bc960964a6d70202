//! The feed-forward half of a Llama-style block.

use crate::project;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::Gate;
use cortical_neuron::{Description, Layer, Neurons, Pass, Result, Scope, product, wrong_sample};
use cortical_tensor::ops;

/// `y = W_down (SiLU(W_gate x) ⊙ W_up x)`.
///
/// # Shapes
/// - input and output: `[…, hidden_size]`
/// - `gate_proj.weight`, `up_proj.weight`: `[intermediate_size, hidden_size]`; `down_proj.weight`: `[hidden_size, intermediate_size]`
///
/// `3 · hidden_size · intermediate_size` parameters, as many multiply-adds a row.
///
/// # Source
/// Shazeer, "GLU variants improve transformer" (2020).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::SwiGlu;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let mlp = SwiGlu::new(4, 6, &params.at("mlp"))?;
/// let x = Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(mlp.forward(&x, &mut Pass::eval())?.dims(), [2, 4]);
/// assert_eq!(mlp.describe(&[4])?.multiply_adds, 3 * 4 * 6 + 6);
/// # Ok(())
/// # }
/// ```
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

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let [wide, narrow] = [0, 1].map(|i| self.gate.weight().dims()[i]);
        let Some((_, rows)) = sample.split_last().filter(|(last, _)| **last == narrow) else {
            let expected = format!("[…, {narrow}]");
            return Err(wrong_sample("swiglu", expected, sample).in_layer(&self.name));
        };
        let times = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        let weights = [&self.gate, &self.up, &self.down].map(Neurons::weight);
        let mut description = Description::new("SwiGlu", &self.name, sample)
            .reads("pairs of neurons read all inputs, one gating the other; each output reads all pairs")
            .parameters(weights, format!("3·wide·d = 3·{wide}·{narrow}"))
            .costs(0, product(rows).saturating_mul(product(&[wide])));
        for weight in weights {
            description = description.uses(weight, times)?;
        }
        Ok(description)
    }
}
