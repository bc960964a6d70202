//! Activations: what a neuron does with its weighted sum.
//!
//! Every activation is a function of one number, so one loop serves them all. A backward pass needs either the
//! activation's input or its output ([`Activation::saves`]); those that need only the output can be fused into the
//! product before them without keeping the sum.

use crate::isa::{self, Isa};
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;

/// A function applied to each element, with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// y = x
    #[default]
    Identity,
    /// y = max(0, x); the derivative at 0 is 0
    Relu,
    /// y = max(0, x)² (So et al. 2021, "Primer")
    Relu2,
    /// y = min(max(0, x), 6)
    Relu6,
    /// y = x for x > 0, else slope · x
    LeakyRelu {
        /// PyTorch's `negative_slope`, 0.01 by default.
        slope: f64,
    },
    /// y = x for x > 0, else α (eˣ − 1) (Clevert et al. 2015)
    Elu {
        /// 1 by default.
        alpha: f64,
    },
    /// ELU with the constants that keep mean and variance (Klambauer et al. 2017)
    Selu,
    /// y = max(0, x) + min(0, α (e^(x/α) − 1)) (Barron 2017)
    Celu {
        /// 1 by default; not 0.
        alpha: f64,
    },
    /// y = x Φ(x) = x/2 (1 + erf(x/√2)) (Hendrycks and Gimpel 2016)
    Gelu,
    /// y = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), the approximation that GPT-2 uses
    GeluTanh,
    /// y = x σ(x), also called swish
    Silu,
    /// y = x tanh(ln(1 + eˣ)) (Misra 2019)
    Mish,
    /// y = σ(x) = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// y = tanh x
    Tanh,
    /// y = ln(1 + e^(βx)) / β, and x where βx > threshold
    Softplus {
        /// 1 by default; not 0.
        beta: f64,
        /// 20 by default.
        threshold: f64,
    },
    /// y = x / (1 + |x|)
    Softsign,
    /// y = x min(max(0, x + 3), 6) / 6
    Hardswish,
    /// y = min(max(0, x + 3), 6) / 6
    Hardsigmoid,
    /// y = min(max(low, x), high)
    Hardtanh {
        /// PyTorch's `min_val`, −1 by default.
        low: f64,
        /// PyTorch's `max_val`, 1 by default.
        high: f64,
    },
    /// y = ln σ(x)
    LogSigmoid,
    /// y = x − tanh x
    Tanhshrink,
    /// y = x where |x| > λ, else 0
    Hardshrink {
        /// PyTorch's `lambd`, 0.5 by default; not negative.
        lambda: f64,
    },
    /// y = x − λ for x > λ, x + λ for x < −λ, else 0
    Softshrink {
        /// PyTorch's `lambd`, 0.5 by default; not negative.
        lambda: f64,
    },
    /// y = x for x > threshold, else value
    Threshold {
        /// Where x begins to pass.
        threshold: f64,
        /// What stands for everything else.
        value: f64,
    },
}

/// What the backward pass of an activation must have kept from the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// Nothing: the derivative is constant.
    Nothing,
    /// The output y.
    Output,
    /// The input x.
    Input,
}

/// The α of [`Activation::Selu`].
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// What [`Activation::Selu`] is multiplied with.
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// √(2/π), the slope at 0 inside of [`Activation::GeluTanh`].
pub const GELU_SLOPE: f64 = 0.797_884_560_802_865_4;
/// The factor of x³ in [`Activation::GeluTanh`].
pub const GELU_CUBIC: f64 = 0.044_715;
/// 1/√(2π)
const NORMAL_DENSITY: f64 = 0.398_942_280_401_432_7;

impl Activation {
    /// Leaky ReLU with PyTorch's slope, 0.01.
    pub const LEAKY_RELU: Self = Self::LeakyRelu { slope: 0.01 };
    /// ELU with PyTorch's α, 1.
    pub const ELU: Self = Self::Elu { alpha: 1.0 };
    /// CELU with PyTorch's α, 1.
    pub const CELU: Self = Self::Celu { alpha: 1.0 };
    /// Softplus with PyTorch's β = 1 and threshold 20.
    pub const SOFTPLUS: Self = Self::Softplus {
        beta: 1.0,
        threshold: 20.0,
    };
    /// Hardtanh with PyTorch's limits, −1 and 1.
    pub const HARDTANH: Self = Self::Hardtanh {
        low: -1.0,
        high: 1.0,
    };
    /// Hardshrink with PyTorch's λ, 0.5.
    pub const HARDSHRINK: Self = Self::Hardshrink { lambda: 0.5 };
    /// Softshrink with PyTorch's λ, 0.5.
    pub const SOFTSHRINK: Self = Self::Softshrink { lambda: 0.5 };

    /// What [`backward`] has to be given as `saved`.
    #[must_use]
    pub fn saves(self) -> Saves {
        match self {
            Self::Identity => Saves::Nothing,
            Self::Relu | Self::Relu6 | Self::Sigmoid | Self::Tanh => Saves::Output,
            Self::LeakyRelu { slope } if slope > 0.0 => Saves::Output,
            Self::Hardtanh { low, high } if low < high => Saves::Output,
            _ => Saves::Input,
        }
    }
}

/// Writes `y[i] = $f(x[i])` for two slices of one length.
macro_rules! map {
    ($x:ident, $y:ident, |$v:ident| $f:expr) => {
        for (y, x) in $y.iter_mut().zip($x) {
            let $v = *x;
            *y = $f;
        }
    };
}

multiversion! {
    pub(crate) fn forward_chunk<T: Real>(activation: Activation, x: &[T], y: &mut [T]) {
        let c = T::from_f64;
        let (zero, one, half) = (T::ZERO, T::ONE, T::HALF);
        match activation {
            Activation::Identity => y.copy_from_slice(x),
            Activation::Relu => map!(x, y, |x| x.maximum(zero)),
            Activation::Relu2 => map!(x, y, |x| { let r = x.maximum(zero); r * r }),
            Activation::Relu6 => map!(x, y, |x| x.maximum(zero).minimum(c(6.0))),
            Activation::LeakyRelu { slope } => {
                let slope = c(slope);
                map!(x, y, |x| if x > zero { x } else { slope * x });
            }
            Activation::Elu { alpha } => {
                let alpha = c(alpha);
                map!(x, y, |x| { let e = alpha * x.minimum(zero).exp_m1::<I>(); if x > zero { x } else { e } });
            }
            Activation::Selu => {
                let (a, s) = (c(SELU_ALPHA * SELU_SCALE), c(SELU_SCALE));
                map!(x, y, |x| { let e = a * x.minimum(zero).exp_m1::<I>(); if x > zero { s * x } else { e } });
            }
            Activation::Celu { alpha } => {
                let (a, r) = (c(alpha), c(1.0 / alpha));
                map!(x, y, |x| x.maximum(zero) + (a * (x * r).exp_m1::<I>()).minimum(zero));
            }
            Activation::Gelu => map!(x, y, |x| gelu::<I, T>(x).0),
            Activation::GeluTanh => map!(x, y, |x| gelu_tanh::<I, T>(x).0),
            Activation::Silu => map!(x, y, |x| silu::<I, T>(x).0),
            Activation::Mish => map!(x, y, |x| x * softplus::<I, T>(x).tanh::<I>()),
            Activation::Sigmoid => map!(x, y, |x| x.sigmoid::<I>()),
            Activation::Tanh => map!(x, y, |x| x.tanh::<I>()),
            Activation::Softplus { beta, threshold } => {
                let (b, r, t) = (c(beta), c(1.0 / beta), c(threshold));
                map!(x, y, |x| { let s = softplus::<I, T>(b * x) * r; if b * x > t { x } else { s } });
            }
            Activation::Softsign => map!(x, y, |x| x / (one + x.abs())),
            Activation::Hardswish => {
                let sixth = c(1.0 / 6.0);
                map!(x, y, |x| x * (x + c(3.0)).maximum(zero).minimum(c(6.0)) * sixth);
            }
            Activation::Hardsigmoid => {
                let sixth = c(1.0 / 6.0);
                map!(x, y, |x| (x + c(3.0)).maximum(zero).minimum(c(6.0)) * sixth);
            }
            Activation::Hardtanh { low, high } => {
                let (low, high) = (c(low), c(high));
                map!(x, y, |x| x.maximum(low).minimum(high));
            }
            Activation::LogSigmoid => map!(x, y, |x| -softplus::<I, T>(-x)),
            Activation::Tanhshrink => map!(x, y, |x| x - x.tanh::<I>()),
            Activation::Hardshrink { lambda } => {
                let l = c(lambda);
                map!(x, y, |x| if x.abs() <= l { zero } else { x });
            }
            Activation::Softshrink { lambda } => {
                let l = c(lambda);
                map!(x, y, |x| (x - l).maximum(zero) + (x + l).minimum(zero));
            }
            Activation::Threshold { threshold, value } => {
                let (t, v) = (c(threshold), c(value));
                map!(x, y, |x| if x <= t { v } else { x });
            }
        }
    }
}

/// SiLU and its derivative; the compiler drops the one that is not used.
#[inline(always)]
fn silu<I: Isa, T: Real>(x: T) -> (T, T) {
    let s = x.sigmoid::<I>();
    let y = x * s;
    (y, s + y * (T::ONE - s))
}

/// GELU and its derivative.
#[inline(always)]
fn gelu<I: Isa, T: Real>(x: T) -> (T, T) {
    let c = T::from_f64;
    // Half of 1 + erf, rounded once either way.
    let erf = (x * c(std::f64::consts::FRAC_1_SQRT_2)).erf::<I>();
    let phi = erf.mul_add::<I>(T::HALF, T::HALF);
    let density = c(NORMAL_DENSITY) * (-(T::HALF * x * x)).exp::<I>();
    (x * phi, phi + x * density)
}

/// GELU by tanh and its derivative.
#[inline(always)]
fn gelu_tanh<I: Isa, T: Real>(x: T) -> (T, T) {
    let (slope, cubic) = (T::from_f64(GELU_SLOPE), T::from_f64(GELU_CUBIC));
    let t = (slope * (x + cubic * x * x * x)).tanh::<I>();
    let inner = slope * (T::ONE + T::from_f64(3.0 * GELU_CUBIC) * x * x);
    let left = T::HALF * (T::ONE + t);
    (x * left, left + T::HALF * x * (T::ONE - t * t) * inner)
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|)), which never overflows.
#[inline(always)]
fn softplus<I: Isa, T: Real>(x: T) -> T {
    x.maximum(T::ZERO) + (-x.abs()).exp::<I>().ln_1p::<I>()
}

/// Writes `d_x[i] = d_y[i] · $f(saved[i])`.
macro_rules! chain {
    ($saved:ident, $d_y:ident, $d_x:ident, |$v:ident| $f:expr) => {
        for ((d_x, d_y), saved) in $d_x.iter_mut().zip($d_y).zip($saved) {
            let $v = *saved;
            *d_x = *d_y * $f;
        }
    };
}

/// Writes `d_x[i] = d_y[i]`, and 0 where `$closed(saved[i])`: it selects instead of multiplying, so that a closed gate
/// stops an infinite gradient too. The gradient passes a NaN, as PyTorch's does.
macro_rules! gate {
    ($saved:ident, $d_y:ident, $d_x:ident, |$v:ident| $closed:expr) => {
        for ((d_x, d_y), saved) in $d_x.iter_mut().zip($d_y).zip($saved) {
            // Read before it is known whether it is needed, or the loop has branches.
            let ($v, d) = (*saved, *d_y);
            *d_x = if $closed { T::ZERO } else { d };
        }
    };
}

multiversion! {
    pub(crate) fn backward_chunk<T: Real>(activation: Activation, saved: &[T], d_y: &[T], d_x: &mut [T]) {
        let c = T::from_f64;
        let (zero, one, half) = (T::ZERO, T::ONE, T::HALF);
        match activation {
            Activation::Identity => d_x.copy_from_slice(d_y),
            Activation::Relu => gate!(saved, d_y, d_x, |y| y <= zero),
            Activation::Relu2 => chain!(saved, d_y, d_x, |x| c(2.0) * x.maximum(zero)),
            Activation::Relu6 => gate!(saved, d_y, d_x, |y| (y <= zero) | (y >= c(6.0))),
            Activation::LeakyRelu { slope } => {
                let slope = c(slope);
                chain!(saved, d_y, d_x, |v| if v > zero { one } else { slope });
            }
            Activation::Elu { alpha } => {
                let alpha = c(alpha);
                chain!(saved, d_y, d_x, |x| { let e = alpha * x.exp::<I>(); if x <= zero { e } else { one } });
            }
            Activation::Selu => {
                let (a, s) = (c(SELU_ALPHA * SELU_SCALE), c(SELU_SCALE));
                chain!(saved, d_y, d_x, |x| { let e = a * x.exp::<I>(); if x <= zero { e } else { s } });
            }
            Activation::Celu { alpha } => {
                let r = c(1.0 / alpha);
                chain!(saved, d_y, d_x, |x| { let e = (x * r).exp::<I>(); if x <= zero { e } else { one } });
            }
            Activation::Gelu => chain!(saved, d_y, d_x, |x| gelu::<I, T>(x).1),
            Activation::GeluTanh => chain!(saved, d_y, d_x, |x| gelu_tanh::<I, T>(x).1),
            Activation::Silu => chain!(saved, d_y, d_x, |x| silu::<I, T>(x).1),
            Activation::Mish => chain!(saved, d_y, d_x, |x| {
                let t = softplus::<I, T>(x).tanh::<I>();
                t + x * (one - t * t) * x.sigmoid::<I>()
            }),
            Activation::Sigmoid => chain!(saved, d_y, d_x, |y| y * (one - y)),
            Activation::Tanh => chain!(saved, d_y, d_x, |y| one - y * y),
            Activation::Softplus { beta, threshold } => {
                let (b, t) = (c(beta), c(threshold));
                chain!(saved, d_y, d_x, |x| { let s = (b * x).sigmoid::<I>(); if b * x > t { one } else { s } });
            }
            Activation::Softsign => chain!(saved, d_y, d_x, |x| {
                let r = one / (one + x.abs());
                // 0 · x is NaN where x is infinite, as PyTorch's derivative is.
                r * r + zero * x
            }),
            Activation::Hardswish => chain!(saved, d_y, d_x, |x| {
                let inside = (c(2.0) * x + c(3.0)) * c(1.0 / 6.0);
                if x <= c(-3.0) { zero } else if x < c(3.0) { inside } else { one }
            }),
            Activation::Hardsigmoid => {
                chain!(saved, d_y, d_x, |x| if x > c(-3.0) && x < c(3.0) { c(1.0 / 6.0) } else { zero });
            }
            Activation::Hardtanh { low, high } => {
                gate!(saved, d_y, d_x, |v| (v <= c(low)) | (v >= c(high)));
            }
            Activation::LogSigmoid => chain!(saved, d_y, d_x, |x| (-x).sigmoid::<I>()),
            Activation::Tanhshrink => chain!(saved, d_y, d_x, |x| { let t = x.tanh::<I>(); t * t }),
            Activation::Hardshrink { lambda } | Activation::Softshrink { lambda } => {
                gate!(saved, d_y, d_x, |x| x.abs() <= c(lambda));
            }
            Activation::Threshold { threshold, .. } => {
                gate!(saved, d_y, d_x, |x| x <= c(threshold));
            }
        }
    }
}

/// As many elements as [`values_and_slopes`] takes at a time.
pub(crate) const BLOCK: usize = 256;

/// `y[i] = activation(x[i])` and `slopes[i] = activation'(x[i])`, for a kernel that needs both; at most [`BLOCK`]
/// elements.
pub(crate) fn values_and_slopes<T: Real>(
    isa: isa::InstructionSet,
    activation: Activation,
    x: &[T],
    y: &mut [T],
    slopes: &mut [T],
) {
    if let Activation::Silu | Activation::Gelu | Activation::GeluTanh = activation {
        return both_chunk(isa, activation, x, y, slopes);
    }
    forward_chunk(isa, activation, x, y);
    let saved = match activation.saves() {
        Saves::Output => &*y,
        Saves::Nothing | Saves::Input => x,
    };
    backward_chunk(isa, activation, saved, &[T::ONE; BLOCK][..x.len()], slopes);
}

multiversion! {
    /// The activations whose value and derivative share a costly part.
    fn both_chunk<T: Real>(activation: Activation, x: &[T], y: &mut [T], slopes: &mut [T]) {
        let places = x.iter().zip(y).zip(slopes);
        match activation {
            Activation::Silu => places.for_each(|((x, y), slope)| (*y, *slope) = silu::<I, T>(*x)),
            Activation::Gelu => places.for_each(|((x, y), slope)| (*y, *slope) = gelu::<I, T>(*x)),
            Activation::GeluTanh => places.for_each(|((x, y), slope)| (*y, *slope) = gelu_tanh::<I, T>(*x)),
            _ => unreachable!("the others share nothing"),
        }
    }
}

/// `y[i] = activation(x[i])`.
///
/// # Panics
/// If the lengths differ.
pub fn forward<T: Real>(activation: Activation, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "activation: input and output");
    let isa = isa::current();
    parallel::chunks_mut(y, TASK_ELEMENTS, |at, y| {
        forward_chunk(isa, activation, &x[at..at + y.len()], y);
    });
}

/// `x[i] = activation(x[i])`, in place, on the calling thread: for a kernel's epilogue.
pub(crate) fn forward_in_place<T: Real>(
    isa: isa::InstructionSet,
    activation: Activation,
    x: &mut [T],
) {
    let mut copy = [T::ZERO; BLOCK];
    if activation == Activation::Identity {
        return;
    }
    for part in x.chunks_mut(BLOCK) {
        let copy = &mut copy[..part.len()];
        copy.copy_from_slice(part);
        forward_chunk(isa, activation, copy, part);
    }
}

/// `d_x[i] = d_y[i] · activation'(…)`, where `saved` is what [`Activation::saves`] names (anything of the right length
/// for [`Saves::Nothing`]).
///
/// # Panics
/// If the lengths differ.
pub fn backward<T: Real>(activation: Activation, saved: &[T], d_y: &[T], d_x: &mut [T]) {
    assert_eq!(
        d_y.len(),
        d_x.len(),
        "activation: upstream and input gradient"
    );
    assert_eq!(
        saved.len(),
        d_x.len(),
        "activation: saved values and input gradient"
    );
    let isa = isa::current();
    parallel::chunks_mut(d_x, TASK_ELEMENTS, |at, d_x| {
        let part = at..at + d_x.len();
        backward_chunk(isa, activation, &saved[part.clone()], &d_y[part], d_x);
    });
}

/// Every activation with its default parameters, for tables and tests.
pub const ALL: [Activation; 24] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu2,
    Activation::Relu6,
    Activation::LEAKY_RELU,
    Activation::ELU,
    Activation::Selu,
    Activation::CELU,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Mish,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::SOFTPLUS,
    Activation::Softsign,
    Activation::Hardswish,
    Activation::Hardsigmoid,
    Activation::HARDTANH,
    Activation::LogSigmoid,
    Activation::Tanhshrink,
    Activation::HARDSHRINK,
    Activation::SOFTSHRINK,
    Activation::Threshold {
        threshold: 0.1,
        value: -2.0,
    },
];

#[cfg(test)]
mod tests;
