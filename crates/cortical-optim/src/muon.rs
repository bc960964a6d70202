//! Muon: momentum whose matrix is made nearly orthogonal before it moves the parameter.

use crate::algorithm::{Algorithm, Rates, Step, Tensors, descend, from_zero, share_pair, unit};
use crate::{AdamConfig, Engine};
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::newton_schulz::{NewtonSchulz, orthogonal, orthogonal_naive};
use cortical_kernels::real::Real;
use cortical_settings::{Broken, choice, rule, settings};
use serde::{Deserialize, Serialize};

/// Muon: momentum whose matrix is made nearly orthogonal before it moves the parameter, so that all directions count
/// alike.
///
/// ```text
/// b ← b + (1 − μ) (g − b)
/// u = g + μ (b − g)                (u = b without Nesterov's momentum)
/// p ← p − lr λ p
/// p ← p − lr · s · NS(u)
/// ```
///
/// `NS` is [five rounds](cortical_kernels::optimizer::newton_schulz) of a polynomial in `bfloat16` precision that pulls
/// the singular values towards 1; `s` follows the shape, see [`AdjustLr`]. It is a rule for matrices: parameters of
/// other shapes are refused, as in PyTorch, unless [`others`](MuonConfig::others) says how AdamW is to move them.
/// States: `momentum_buffer` (b), or AdamW's.
///
/// # Source
/// Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is scalable for
/// LLM training" (2025), section 2.2.
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

settings! {
    /// Hyperparameters of [`Muon`]; the defaults are PyTorch's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct MuonConfig {
        /// Learning rate, 1e-3.
        pub lr: f64 = 1e-3, "base learning rate", from_zero();
        /// λ, the share of the parameter that a step of learning rate 1 takes away, 0.1.
        pub weight_decay: f64 = 0.1, "share of a parameter taken away", from_zero();
        /// μ, the share of the average of gradients that stays, 0.95.
        pub momentum: f64 = 0.95, "share of the average of gradients that stays", unit();
        /// Whether to look ahead along the momentum, true.
        pub nesterov: bool = true, "true: look ahead along the momentum";
        /// The polynomial's coefficients, (3.4445, −4.775, 2.0315).
        pub ns_coefficients: (f64, f64, f64) = (3.4445, -4.7750, 2.0315), "coefficients of the polynomial",
            rule("finite numbers", |(a, b, c): &(f64, f64, f64)| [a, b, c].iter().all(|x| x.is_finite()));
        /// ε, below which a norm counts as this, 1e-7.
        pub eps: f64 = 1e-7, "below which a norm counts as this", from_zero();
        /// Rounds of the polynomial, below 100; 5.
        pub ns_steps: u32 = 5, "rounds of the polynomial", rule("below 100", |rounds: &u32| *rounds < 100);
        /// How the learning rate follows the shape; PyTorch's `None` is the first way.
        pub adjust_lr_fn: AdjustLr = AdjustLr::Original, "how the learning rate follows a matrix's shape";
        /// How parameters that are no matrices move; without it they are refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub others: Option<MuonOthers> = None, "AdamW for what is no matrix, such as { lr_scale = 0.1 }";
    }
    check = |config| {
        let broken = config.others.and_then(|others| others.broken())?;
        Some(Broken { field: format!("others.{}", broken.field), ..broken })
    };
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

choice! {
    for AdjustLr: "way to adjust the learning rate" {
        Original = "original",
        MatchRmsAdamw = "match_rms_adamw",
        SpectralUnclamped = "spectral_unclamped",
    }
}

impl AdjustLr {
    /// The factor of the learning rate of a matrix.
    pub(crate) fn factor(self, rows: usize, cols: usize) -> f64 {
        let (rows, cols) = (rows as f64, cols as f64);
        match self {
            Self::Original => (rows / cols).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * rows.max(cols).sqrt(),
            Self::SpectralUnclamped => (rows / cols).sqrt(),
        }
    }
}

settings! {
    /// AdamW for what [`Muon`] does not move: biases, norms, convolutions.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct MuonOthers {
        /// Their learning rate as a share of Muon's, 1.
        pub lr_scale: f64 = 1.0, "factor of the learning rate", from_zero();
        /// β₁ and β₂, (0.9, 0.999).
        pub betas: (f64, f64) = (0.9, 0.999), "decay of the two running means", share_pair();
        /// ε, 1e-8.
        pub eps: f64 = 1e-8, "what keeps a denominator from zero", from_zero();
        /// λ, 0.
        pub weight_decay: f64 = 0.0, "share of a parameter taken away", from_zero();
    }
}

/// A way to orthogonalise a matrix: the fast one of the kernels or the naive one.
type Orthogonalise = fn(Vec<f32>, usize, usize, &NewtonSchulz) -> Vec<f32>;

/// `start + weight (end − start)`, from the nearer end.
fn lerp<T: Real>(start: T, end: T, weight: f64) -> T {
    if weight < 0.5 {
        start + T::from_f64(weight) * (end - start)
    } else {
        end - (end - start) * T::from_f64(1.0 - weight)
    }
}

impl MuonConfig {
    fn newton_schulz(&self) -> NewtonSchulz {
        let (a, b, c) = self.ns_coefficients;
        NewtonSchulz {
            coefficients: [a, b, c],
            eps: self.eps,
            rounds: self.ns_steps,
        }
    }

    /// What moves a parameter that is no matrix.
    fn other(&self) -> AdamConfig {
        let others = self.others.unwrap_or_default();
        AdamConfig {
            lr: self.lr * others.lr_scale,
            betas: others.betas,
            eps: others.eps,
            weight_decay: others.weight_decay,
            decoupled_weight_decay: true,
            ..AdamConfig::default()
        }
    }

    fn matrix<T: Real>(
        &self,
        at: Step,
        [rows, cols]: [usize; 2],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
        orthogonalise: Orthogonalise,
    ) {
        let [b] = state else {
            panic!("optimizer: number of state slices");
        };
        assert_eq!(grad.len(), param.len(), "optimizer: gradient and parameter");
        assert_eq!(b.len(), param.len(), "optimizer: state and parameter");
        assert_eq!(rows * cols, param.len(), "Muon: rows and columns");
        if param.is_empty() {
            return;
        }
        let scale = T::from_f64(at.factor(false));
        let mut u = Vec::with_capacity(param.len());
        for (b, g) in b.iter_mut().zip(grad) {
            let g = scale * *g;
            *b = lerp(*b, g, 1.0 - self.momentum);
            let ahead = if self.nesterov {
                lerp(g, *b, self.momentum)
            } else {
                *b
            };
            u.push(ahead.to_f64() as f32);
        }
        let direction = orthogonalise(u, rows, cols, &self.newton_schulz());
        let keep = T::from_f64(1.0 - self.lr * self.weight_decay);
        let lr = T::from_f64(self.lr * self.adjust_lr_fn.factor(rows, cols));
        for (p, d) in param.iter_mut().zip(direction) {
            *p = keep * *p - lr * T::from_f64(d.into());
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
    const NAME: &'static str = "Muon";

    fn rates(&mut self) -> Rates<'_> {
        Rates {
            lr: &mut self.lr,
            weight_decay: &mut self.weight_decay,
            momentum: Some(&mut self.momentum),
        }
    }

    fn accepts(&self, dims: &[usize]) -> bool {
        dims.len() == 2 || self.others.is_some()
    }

    fn state_names(&self, dims: &[usize]) -> Vec<&'static str> {
        if dims.len() == 2 {
            vec!["momentum_buffer"]
        } else {
            self.other().state_names(dims)
        }
    }

    fn fused<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        match *dims {
            [rows, cols] => self.matrix(at, [rows, cols], param, grad, state, orthogonal),
            _ => self.other().fused(at, dims, param, grad, state),
        }
    }

    fn naive<T: Real>(
        &self,
        at: Step,
        dims: &[usize],
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
    ) {
        match *dims {
            [rows, cols] => self.matrix(at, [rows, cols], param, grad, state, orthogonal_naive),
            _ => self.other().naive(at, dims, param, grad, state),
        }
    }

    fn fallback(&self, step: Step, tensors: Tensors<'_>) -> candle_core::Result<Tensor> {
        let &[rows, cols] = tensors.param.dims() else {
            return self.other().fallback(step, tensors);
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
        descend(
            &kept,
            self.lr * self.adjust_lr_fn.factor(rows, cols),
            &direction,
        )
    }
}
