//! AdamW: Adam whose weight decay acts on the parameter itself.

use crate::algorithm::{Algorithm, Rates, Step, Tensors, from_zero, share_pair};
use crate::{AdamConfig, Engine};
use candle_core::Tensor;
use cortical_kernels::real::Real;
use cortical_settings::settings;
use serde::{Deserialize, Serialize};

/// AdamW: Adam with decoupled weight decay, which shrinks every weight at the same rate however large its gradients
/// are.
///
/// ```text
/// p ← p − lr λ p
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// With `amsgrad` the largest `v` so far takes the place of `v` in the last line. States: `exp_avg` (m), `exp_avg_sq`
/// (v), `max_exp_avg_sq`.
///
/// # Source
/// Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
///
/// # Example
/// Biases and norms without weight decay:
/// ```
/// # use candle_core::Device;
/// # use cortical_neuron::{Init, Params};
/// # use cortical_tensor::Seed;
/// use cortical_optim::{AdamW, AdamWConfig, Group};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let params = Params::new(&Device::Cpu, Seed(1));
/// # params.at("fc").param("weight", &[2, 3], Init::ZEROS)?;
/// # params.at("fc").param("bias", &[2], Init::ZEROS)?;
/// let config = AdamWConfig { lr: 3e-4, weight_decay: 0.1, ..Default::default() };
/// let optimizer = AdamW::with_groups(&params, config, vec![Group::without_decay()])?;
/// # let _ = optimizer;
/// # Ok(())
/// # }
/// ```
pub type AdamW = Engine<AdamWConfig>;

settings! {
    /// Hyperparameters of [`AdamW`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct AdamWConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// β₁ and β₂, decays of the averages of gradients and of their squares, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, what keeps the denominator from zero, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.01.
        pub weight_decay: f64 = 1e-2, "share of a parameter taken away", from_zero();
        /// Whether the denominator uses the largest `v` so far.
        pub amsgrad: bool = false, "true: divide by the largest mean of squares so far";
        /// Whether to climb instead of descend.
        pub maximize: bool = false, "true: climb instead of descend";
    }
}

impl AdamWConfig {
    /// The same as Adam with its flag set.
    fn adam(&self) -> AdamConfig {
        AdamConfig {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decoupled_weight_decay: true,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
        }
    }
}

impl Algorithm for AdamWConfig {
    const NAME: &'static str = "AdamW";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.betas.0),
        }
    }

    fn state_names(&self, dims: &[usize]) -> Vec<&'static str> {
        self.adam().state_names(dims)
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        self.adam().fused(at, dims, param, grad, state);
    }

    fn naive<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        self.adam().naive(at, dims, param, grad, state);
    }

    fn fallback(&self, step: Step, tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        self.adam().fallback(step, tensors)
    }
}
