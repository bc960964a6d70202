//! How weights begin.
//!
//! A weight that is too large makes activations explode from layer to layer, one too small makes them vanish; the
//! scaled initialisers choose the spread from the number of inputs (fan-in) and outputs (fan-out) of a neuron.

mod quantile;
mod structured;
#[cfg(test)]
mod tests;

use crate::{Error, Result};
use cortical_kernels::activation::Activation;
use cortical_tensor::Rng;

/// Which neighbours of a neuron its weights are scaled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Its inputs: keeps the spread of activations from layer to layer.
    #[default]
    In,
    /// Its outputs: keeps the spread of gradients on their way back.
    Out,
}

/// How the elements of a parameter begin.
///
/// With `fan_in = shape[1] · shape[2] · …` and `fan_out = shape[0] · shape[2] · …`, as PyTorch counts them for weights
/// of `[out, in, kernel…]`. Every one is a function of the store's seed and the parameter's name.
///
/// ```
/// use candle_core::Device;
/// use cortical_kernels::activation::Activation;
/// use cortical_neuron::{Fan, Init, Params};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let gain = Init::gain(Activation::Relu); // √2
/// let weight = params.at("fc").param("weight", &[64, 256], Init::KaimingNormal { gain, fan: Fan::In })?;
/// let square = weight.tensor().sqr()?.mean_all()?.to_scalar::<f32>()?;
/// assert!((square - 2.0 / 256.0).abs() < 1e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Every element the same.
    Constant(f64),
    /// U(low, high)
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// N(mean, std²)
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// N(mean, std²) as far as it lies between two bounds, PyTorch's `trunc_normal_`.
    TruncatedNormal {
        /// The mean before cutting.
        mean: f64,
        /// The standard deviation before cutting.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// U(−b, b) with b = gain · √(3 / fan) (He et al. 2015).
    KaimingUniform {
        /// √2 for ReLU, 1/√3 for PyTorch's default; see [`Init::gain`].
        gain: f64,
        /// Which fan, PyTorch's `mode`.
        fan: Fan,
    },
    /// N(0, gain² / fan) (He et al. 2015).
    KaimingNormal {
        /// √2 for ReLU; see [`Init::gain`].
        gain: f64,
        /// Which fan, PyTorch's `mode`.
        fan: Fan,
    },
    /// U(−b, b) with b = gain · √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
    XavierUniform {
        /// 1 for linear and tanh-like neurons.
        gain: f64,
    },
    /// N(0, 2 gain² / (fan_in + fan_out)) (Glorot and Bengio 2010).
    XavierNormal {
        /// 1 for linear and tanh-like neurons.
        gain: f64,
    },
    /// A random matrix `[shape[0], rest]` whose rows (columns, if there are fewer) are orthonormal, times the gain
    /// (Saxe et al. 2013).
    Orthogonal {
        /// What the matrix is multiplied by.
        gain: f64,
    },
    /// A matrix from N(0, std²) in which this share of each column, rounded up, is 0 (Martens 2010).
    Sparse {
        /// The share of zeros in each column, from 0 to 1.
        sparsity: f64,
        /// The standard deviation of the others; PyTorch's default is 0.01.
        std: f64,
    },
    /// The identity matrix, cut to the shape: a linear layer hands its inputs on.
    Identity,
    /// The identity of convolutions: the middle tap of each channel is 1 for the input channel of the same number in
    /// its group.
    Dirac {
        /// Into how many groups the output channels fall.
        groups: usize,
    },
}

impl Init {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All ones.
    pub const ONES: Self = Self::Constant(1.0);
    /// PyTorch's default for linear and convolution weights: U(−1/√fan_in, 1/√fan_in), that is Kaiming with a = √5.
    pub const KAIMING_UNIFORM: Self = Self::KaimingUniform {
        gain: 0.577_350_269_189_625_8,
        fan: Fan::In,
    };

    /// PyTorch's default for biases: U(−1/√fan_in, 1/√fan_in), with the fan-in of the weight beside it.
    #[must_use]
    pub fn bias(fan_in: usize) -> Self {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        Self::Uniform {
            low: -bound,
            high: bound,
        }
    }

    /// The gain that makes up for what an activation takes from the spread, PyTorch's `calculate_gain`: 5/3 for tanh,
    /// √2 for ReLU, √(2 / (1 + slope²)) for leaky ReLU, 3/4 for SELU, 1 for all others.
    #[must_use]
    pub fn gain(activation: Activation) -> f64 {
        match activation {
            Activation::Tanh => 5.0 / 3.0,
            Activation::Relu => 2.0_f64.sqrt(),
            Activation::LeakyRelu { slope } => (2.0 / (1.0 + slope * slope)).sqrt(),
            Activation::Selu => 0.75,
            _ => 1.0,
        }
    }

    /// The elements of a parameter of this shape, drawn from `rng`.
    ///
    /// # Errors
    /// [`Error::Option`] for bounds without room between them, for a share that is none, and for a shape of another
    /// rank than the initialiser is made for.
    pub fn draw(self, shape: &[usize], rng: &mut Rng) -> Result<Vec<f32>> {
        let count = shape.iter().product();
        let kernel: usize = shape.iter().skip(2).product();
        let fan_in = (shape.get(1).copied().unwrap_or(1) * kernel).max(1) as f64;
        let fan_out = (shape.first().copied().unwrap_or(1) * kernel).max(1) as f64;
        let fan_of = |fan| match fan {
            Fan::In => fan_in,
            Fan::Out => fan_out,
        };
        let mut values = vec![0.0; count];
        let mut uniform = |bound: f64| rng.fill_uniform(&mut values, -bound, bound);
        match self {
            Self::Constant(c) => values.fill(c as f32),
            Self::KaimingUniform { gain, fan } => uniform(gain * (3.0 / fan_of(fan)).sqrt()),
            Self::XavierUniform { gain } => uniform(gain * (6.0 / (fan_in + fan_out)).sqrt()),
            Self::Uniform { low, high } => rng.fill_uniform(&mut values, low, high),
            Self::Normal { mean, std } => rng.fill_normal(&mut values, mean, std),
            Self::KaimingNormal { gain, fan } => {
                rng.fill_normal(&mut values, 0.0, gain / fan_of(fan).sqrt());
            }
            Self::XavierNormal { gain } => {
                rng.fill_normal(&mut values, 0.0, gain * (2.0 / (fan_in + fan_out)).sqrt());
            }
            Self::TruncatedNormal {
                mean,
                std,
                low,
                high,
            } => quantile::truncated_normal(&mut values, rng, (mean, std), (low, high))?,
            Self::Orthogonal { gain } => structured::orthogonal(&mut values, shape, gain, rng)?,
            Self::Sparse { sparsity, std } => {
                structured::sparse(&mut values, shape, sparsity, std, rng)?;
            }
            Self::Identity => structured::identity(&mut values, shape)?,
            Self::Dirac { groups } => structured::dirac(&mut values, shape, groups)?,
        }
        Ok(values)
    }
}

/// Refuses a shape that an initialiser is not made for.
fn wrong_rank(option: &'static str, expected: &'static str, shape: &[usize]) -> Error {
    Error::Option {
        option,
        expected,
        got: format!("{shape:?}"),
    }
}
