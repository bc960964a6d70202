//! Muon: momentum whose matrix is made nearly orthogonal before it moves the parameter.

use crate::adam;
use crate::algorithm::{
    Algorithm, Composed, Rates, Step, check, check_betas, descend, not_negative,
};
use crate::{Engine, Result};
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::{At, Update, adam::Adam, muon as kernel};
use cortical_kernels::real::Real;
use serde::{Deserialize, Serialize};

/// Muon: momentum whose matrix is made nearly orthogonal before it moves the parameter, so that all directions count alike.
///
/// ```text
/// b ← b + (1 − μ) (g − b)
/// u = g + μ (b − g)                (u = b without Nesterov's momentum)
/// p ← p − lr λ p
/// p ← p − lr · s · NS(u)
/// ```
///
/// `NS` is [five rounds](kernel) of a polynomial in `bfloat16` precision that pulls the singular values towards 1; `s` follows
/// the shape, see [`AdjustLr`]. It is a rule for matrices: parameters of other shapes are refused, as in PyTorch, unless
/// [`others`](MuonConfig::others) says how AdamW is to move them. States: `momentum_buffer` (b), or AdamW's.
///
/// # Source
/// Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is scalable for LLM training" (2025),
/// section 2.2.
///
/// # Example
/// ```
/// # use candle_core::Device;
/// # use cortical_neuron::{Init, Params};
/// # use cortical_tensor::Seed;
/// use cortical_optim::{Muon, MuonConfig, MuonOthers};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let params = Params::new(&Device::Cpu, Seed(1));
/// # params.at("fc").param("weight", &[2, 3], Init::ZEROS)?;
/// # params.at("fc").param("bias", &[2], Init::ZEROS)?;
/// let config = MuonConfig { lr: 0.02, others: Some(MuonOthers::default()), ..Default::default() };
/// let optimizer = Muon::new(&params, config)?;
/// # let _ = optimizer;
/// # Ok(())
/// # }
/// ```
pub type Muon = Engine<MuonConfig>;

/// Hyperparameters of [`Muon`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// Learning rate, 1e-3.
    pub lr: f64,
    /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.1.
    pub weight_decay: f64,
    /// μ, the share of the average of gradients that stays, 0.95.
    pub momentum: f64,
    /// Whether to look ahead along the momentum, true.
    pub nesterov: bool,
    /// The polynomial's coefficients, (3.4445, −4.775, 2.0315).
    pub ns_coefficients: (f64, f64, f64),
    /// ε, below which a norm counts as this, 1e-7.
    pub eps: f64,
    /// Rounds of the polynomial, below 100; 5.
    pub ns_steps: u32,
    /// How the learning rate follows the shape; PyTorch's `None` is the first way.
    pub adjust_lr_fn: AdjustLr,
    /// How parameters that are no matrices move; without it they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<MuonOthers>,
}

/// How [`Muon`]'s learning rate follows the shape of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `√max(1, rows / columns)`
    #[default]
    Original,
    /// `0.2 √max(rows, columns)`: steps of AdamW's size, so that its learning rate and weight decay fit.
    MatchRmsAdamw,
    /// `√(rows / columns)`
    SpectralUnclamped,
}

/// AdamW for what [`Muon`] does not move: biases, norms, convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonOthers {
    /// Their learning rate as a share of Muon's, 1.
    pub lr_scale: f64,
    /// β₁ and β₂, (0.9, 0.999).
    pub betas: (f64, f64),
    /// ε, 1e-8.
    pub eps: f64,
    /// λ, 0.
    pub weight_decay: f64,
}

impl Default for MuonOthers {
    fn default() -> Self {
        Self {
            lr_scale: 1.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Default for MuonConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            ns_coefficients: (3.4445, -4.7750, 2.0315),
            eps: 1e-7,
            ns_steps: 5,
            adjust_lr_fn: AdjustLr::Original,
            others: None,
        }
    }
}

/// The kernel of one parameter.
#[derive(Clone, Copy, Debug)]
pub enum MuonKernel {
    /// Of a matrix.
    Matrix(kernel::Muon),
    /// Of anything else.
    Other(Adam),
}

impl Update for MuonKernel {
    fn states(&self) -> usize {
        match self {
            Self::Matrix(muon) => muon.states(),
            Self::Other(adam) => adam.states(),
        }
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        match self {
            Self::Matrix(muon) => muon.step(at, param, grad, state),
            Self::Other(adam) => adam.step(at, param, grad, state),
        }
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        match self {
            Self::Matrix(muon) => muon.naive(at, param, grad, state),
            Self::Other(adam) => adam.naive(at, param, grad, state),
        }
    }
}

impl MuonConfig {
    fn matrix(&self, rows: usize, cols: usize) -> kernel::Muon {
        let (a, b, c) = self.ns_coefficients;
        kernel::Muon {
            lr: self.lr,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov,
            coefficients: [a, b, c],
            eps: self.eps,
            rounds: self.ns_steps,
            adjust: match self.adjust_lr_fn {
                AdjustLr::Original => kernel::Adjust::Original,
                AdjustLr::MatchRmsAdamw => kernel::Adjust::MatchRmsAdamW,
                AdjustLr::SpectralUnclamped => kernel::Adjust::SpectralUnclamped,
            },
            rows,
            cols,
        }
    }

    fn other(&self) -> Adam {
        let others = self.others.unwrap_or_default();
        Adam {
            lr: self.lr * others.lr_scale,
            beta1: others.betas.0,
            beta2: others.betas.1,
            eps: others.eps,
            weight_decay: others.weight_decay,
            decoupled: true,
            ..Adam::default()
        }
    }

    /// `NS(u)` in candle's operations, with the kernel's roundings.
    fn orthogonal(&self, u: &Tensor) -> candle_core::Result<Tensor> {
        let round = |x: Tensor| x.to_dtype(DType::BF16)?.to_dtype(DType::F32);
        let (a, b, c) = self.ns_coefficients;
        let (rows, cols) = u.dims2()?;
        let mut x = round(u.to_dtype(DType::F32)?)?;
        if rows > cols {
            x = x.t()?.contiguous()?;
        }
        let squares = x.to_dtype(DType::F64)?.sqr()?.sum_all()?;
        let norm = squares.sqrt()?.to_dtype(DType::F32)?;
        let norm = round(norm)?.maximum(self.eps)?;
        x = round(x.broadcast_div(&norm)?)?;
        for _ in 0..self.ns_steps {
            let gram = round(x.matmul(&x.t()?.contiguous()?)?)?;
            let squared = gram.matmul(&gram)?.affine(c, 0.0)?;
            let polynomial = round((gram.affine(b, 0.0)? + squared)?)?;
            x = round((x.affine(a, 0.0)? + polynomial.matmul(&x)?)?)?;
        }
        if rows > cols {
            x = x.t()?.contiguous()?;
        }
        Ok(x)
    }
}

impl Algorithm for MuonConfig {
    type Kernel = MuonKernel;
    const NAME: &'static str = "Muon";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn validate(&self) -> Result<()> {
        let name = Self::NAME;
        not_negative(
            name,
            &[
                ("lr", self.lr),
                ("weight_decay", self.weight_decay),
                ("eps", self.eps),
            ],
        )?;
        let holds = (0.0..=1.0).contains(&self.momentum);
        check(name, "momentum", "from 0 to 1", holds, self.momentum)?;
        let rounds = f64::from(self.ns_steps);
        check(name, "ns_steps", "below 100", rounds < 100.0, rounds)?;
        let (a, b, c) = self.ns_coefficients;
        for coefficient in [a, b, c] {
            check(name, "ns_coefficients", "finite numbers", true, coefficient)?;
        }
        let Some(others) = self.others else {
            return Ok(());
        };
        check_betas(name, others.betas)?;
        not_negative(
            name,
            &[
                ("others.lr_scale", others.lr_scale),
                ("others.eps", others.eps),
                ("others.weight_decay", others.weight_decay),
            ],
        )
    }

    fn accepts(&self, dims: &[usize]) -> bool {
        dims.len() == 2 || self.others.is_some()
    }

    fn state_names(&self, dims: &[usize]) -> Vec<&'static str> {
        if dims.len() == 2 {
            vec!["momentum_buffer"]
        } else {
            adam::state_names(false)
        }
    }

    fn kernel(&self, _: Step, dims: &[usize]) -> MuonKernel {
        match *dims {
            [rows, cols] => MuonKernel::Matrix(self.matrix(rows, cols)),
            _ => MuonKernel::Other(self.other()),
        }
    }

    fn compose(&self, step: Step, tensors: Composed<'_>) -> candle_core::Result<Tensor> {
        let &[rows, cols] = tensors.param.dims() else {
            return adam::compose(&self.other(), step, tensors);
        };
        let lerp = |start: &Tensor, end: &Tensor, weight: f64| -> candle_core::Result<Tensor> {
            if weight < 0.5 {
                start + (end - start)?.affine(weight, 0.0)?
            } else {
                end - (end - start)?.affine(1.0 - weight, 0.0)?
            }
        };
        let average = lerp(&tensors.state[0], tensors.grad, 1.0 - self.momentum)?;
        let ahead = if self.nesterov {
            lerp(tensors.grad, &average, self.momentum)?
        } else {
            average.clone()
        };
        tensors.state[0] = average;
        let direction = self.orthogonal(&ahead)?.to_dtype(tensors.param.dtype())?;
        let kept = tensors
            .param
            .affine(1.0 - self.lr * self.weight_decay, 0.0)?;
        let matrix = self.matrix(rows, cols);
        descend(
            &kept,
            self.lr * matrix.adjust.factor(rows, cols),
            &direction,
        )
    }
}
