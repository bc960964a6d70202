//! How weights begin.
//!
//! A weight that is too large makes activations explode from layer to layer, one too small makes them vanish; the
//! scaled initialisers choose the spread from the number of inputs (fan-in) and outputs (fan-out) of a neuron.

use cortical_tensor::Rng;

/// How the elements of a parameter begin.
///
/// With `fan_in = shape[1] · shape[2] · …` and `fan_out = shape[0] · shape[2] · …`, as PyTorch counts them for weights of
/// `[out, in, kernel…]`.
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
    /// N(mean, std²), cut at two standard deviations by drawing again.
    TruncatedNormal {
        /// The mean.
        mean: f64,
        /// The standard deviation before cutting.
        std: f64,
    },
    /// U(−b, b) with b = gain · √(3 / fan_in) (He et al. 2015).
    KaimingUniform {
        /// √2 for ReLU, 1/√3 for PyTorch's default.
        gain: f64,
    },
    /// N(0, gain² / fan_in) (He et al. 2015).
    KaimingNormal {
        /// √2 for ReLU.
        gain: f64,
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
}

impl Init {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All ones.
    pub const ONES: Self = Self::Constant(1.0);
    /// PyTorch's default for linear and convolution weights: U(−1/√fan_in, 1/√fan_in), that is Kaiming with a = √5.
    pub const KAIMING_UNIFORM: Self = Self::KaimingUniform {
        gain: 0.577_350_269_189_625_8,
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

    /// The elements of a parameter of this shape, drawn from `rng`.
    #[must_use]
    pub fn draw(self, shape: &[usize], rng: &mut Rng) -> Vec<f32> {
        let count = shape.iter().product();
        let kernel: usize = shape.iter().skip(2).product();
        let fan_in = (shape.get(1).copied().unwrap_or(1) * kernel).max(1) as f64;
        let fan_out = (shape.first().copied().unwrap_or(1) * kernel).max(1) as f64;
        let mut values = vec![0.0; count];
        let mut uniform = |bound: f64| rng.fill_uniform(&mut values, -bound, bound);
        match self {
            Self::Constant(c) => values.fill(c as f32),
            Self::KaimingUniform { gain } => uniform(gain * (3.0 / fan_in).sqrt()),
            Self::XavierUniform { gain } => uniform(gain * (6.0 / (fan_in + fan_out)).sqrt()),
            Self::Uniform { low, high } => rng.fill_uniform(&mut values, low, high),
            Self::Normal { mean, std } => rng.fill_normal(&mut values, mean, std),
            Self::KaimingNormal { gain } => rng.fill_normal(&mut values, 0.0, gain / fan_in.sqrt()),
            Self::XavierNormal { gain } => {
                rng.fill_normal(&mut values, 0.0, gain * (2.0 / (fan_in + fan_out)).sqrt());
            }
            Self::TruncatedNormal { mean, std } => {
                for value in &mut values {
                    let mut z = rng.normal();
                    while z.abs() > 2.0 {
                        z = rng.normal();
                    }
                    *value = (mean + std * z) as f32;
                }
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::Seed;

    fn spread(init: Init, shape: &[usize]) -> (f64, f64) {
        let values = init.draw(shape, &mut Rng::new(Seed(1), "init"));
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let var = values
            .iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / n;
        (mean, var.sqrt())
    }

    #[test]
    fn each_initialiser_has_the_spread_that_its_equation_says() {
        let shape = [64, 32, 3, 3];
        let (fan_in, fan_out) = (288.0_f64, 576.0_f64);
        let cases = [
            (Init::KAIMING_UNIFORM, 1.0 / (3.0 * fan_in).sqrt()),
            (
                Init::KaimingNormal {
                    gain: 2.0_f64.sqrt(),
                },
                (2.0 / fan_in).sqrt(),
            ),
            (
                Init::XavierUniform { gain: 1.0 },
                (2.0 / (fan_in + fan_out)).sqrt(),
            ),
            (
                Init::XavierNormal { gain: 1.0 },
                (2.0 / (fan_in + fan_out)).sqrt(),
            ),
            (
                Init::Uniform {
                    low: -1.0,
                    high: 1.0,
                },
                1.0 / 3.0_f64.sqrt(),
            ),
            (
                Init::Normal {
                    mean: 0.0,
                    std: 0.5,
                },
                0.5,
            ),
            (
                Init::TruncatedNormal {
                    mean: 0.0,
                    std: 1.0,
                },
                0.8796,
            ),
        ];
        for (init, want) in cases {
            let (mean, std) = spread(init, &shape);
            assert!(
                mean.abs() < 0.02 * want && (std / want - 1.0).abs() < 0.02,
                "{init:?}: {mean} {std} {want}"
            );
        }
        assert_eq!(spread(Init::Constant(3.0), &[4]), (3.0, 0.0));
    }

    #[test]
    fn pytorch_bounds() {
        let values = Init::KAIMING_UNIFORM.draw(&[10, 25], &mut Rng::new(Seed(1), "init"));
        assert!(values.iter().all(|v| v.abs() <= 0.2));
        assert!(values.iter().any(|v| v.abs() > 0.19));
        assert_eq!(
            Init::bias(25),
            Init::Uniform {
                low: -0.2,
                high: 0.2
            }
        );
    }
}
