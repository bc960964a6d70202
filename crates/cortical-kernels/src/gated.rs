//! Gated units: one half of the features passes through an activation and scales the other half.
//!
//! `y = f(gate) · value`. GLU has `f = σ`, SwiGLU SiLU, GEGLU GELU. Backward, `d_value = d_y · f(gate)` and
//! `d_gate = d_y · value · f′(gate)`. Gate and value are halves of the rows of one matrix ([`Packed`]) or two matrices.
//!
//! # Source
//! Dauphin et al., "Language modeling with gated convolutional networks" (2016); Shazeer, "GLU variants improve
//! transformer" (2020).

use crate::isa::{self, Isa};
use crate::parallel::{self, rows_per_task};
use crate::real::Real;

/// The function of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// σ(x): GLU
    Sigmoid,
    /// x σ(x): SwiGLU
    Silu,
    /// x Φ(x) with the error function: GEGLU
    Gelu,
    /// GELU by tanh
    GeluTanh,
    /// max(0, x): ReGLU
    Relu,
    /// x: the bilinear unit
    Identity,
}

/// Which half of a packed row is the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// Gate, then value: Llama's fused projection.
    GateFirst,
    /// Value, then gate: PyTorch's GLU.
    GateLast,
}

impl Packed {
    fn split<T>(self, row: &[T]) -> (&[T], &[T]) {
        let (a, b) = row.split_at(row.len() / 2);
        if self == Self::GateFirst {
            (a, b)
        } else {
            (b, a)
        }
    }

    fn split_mut<T>(self, row: &mut [T]) -> (&mut [T], &mut [T]) {
        let (a, b) = row.split_at_mut(row.len() / 2);
        if self == Self::GateFirst {
            (a, b)
        } else {
            (b, a)
        }
    }
}

/// √(2/π)
const GELU_SLOPE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;
/// 1/√(2π)
const NORMAL_DENSITY: f64 = 0.398_942_280_401_432_7;

/// Binds `$f` to the function x → (f(x), f′(x)) of a gate; the compiler drops the half that is not used.
macro_rules! with_gate {
    ($gate:expr, $isa:ident, $t:ident, |$f:ident| $body:expr) => {
        match $gate {
            Gate::Sigmoid => {
                let $f = sigmoid::<$isa, $t>;
                $body
            }
            Gate::Silu => {
                let $f = silu::<$isa, $t>;
                $body
            }
            Gate::Gelu => {
                let $f = gelu::<$isa, $t>;
                $body
            }
            Gate::GeluTanh => {
                let $f = gelu_tanh::<$isa, $t>;
                $body
            }
            Gate::Relu => {
                let $f = relu::<$t>;
                $body
            }
            Gate::Identity => {
                let $f = identity::<$t>;
                $body
            }
        }
    };
}

#[inline(always)]
fn identity<T: Real>(x: T) -> (T, T) {
    (x, T::ONE)
}

#[inline(always)]
fn relu<T: Real>(x: T) -> (T, T) {
    (
        x.maximum(T::ZERO),
        if x > T::ZERO { T::ONE } else { T::ZERO },
    )
}

#[inline(always)]
fn sigmoid<I: Isa, T: Real>(x: T) -> (T, T) {
    let s = x.sigmoid::<I>();
    (s, s * (T::ONE - s))
}

#[inline(always)]
fn silu<I: Isa, T: Real>(x: T) -> (T, T) {
    let s = x.sigmoid::<I>();
    let y = x * s;
    (y, s + y * (T::ONE - s))
}

#[inline(always)]
fn gelu<I: Isa, T: Real>(x: T) -> (T, T) {
    let c = T::from_f64;
    let phi = T::HALF * (T::ONE + (x * c(std::f64::consts::FRAC_1_SQRT_2)).erf::<I>());
    let density = c(NORMAL_DENSITY) * (-(T::HALF * x * x)).exp::<I>();
    (x * phi, phi + x * density)
}

#[inline(always)]
fn gelu_tanh<I: Isa, T: Real>(x: T) -> (T, T) {
    let (slope, cubic) = (T::from_f64(GELU_SLOPE), T::from_f64(GELU_CUBIC));
    let t = (slope * (x + cubic * x * x * x)).tanh::<I>();
    let inner = slope * (T::ONE + T::from_f64(3.0 * GELU_CUBIC) * x * x);
    let left = T::HALF * (T::ONE + t);
    (x * left, left + T::HALF * x * (T::ONE - t * t) * inner)
}

multiversion! {
    fn forward_slice<T: Real>(gate: Gate, g: &[T], v: &[T], y: &mut [T]) {
        with_gate!(gate, I, T, |f| {
            for ((y, g), v) in y.iter_mut().zip(g).zip(v) {
                *y = f(*g).0 * *v;
            }
        });
    }
}

multiversion! {
    fn backward_slice<T: Real>(gate: Gate, g: &[T], v: &[T], d_y: &[T], d_g: &mut [T], d_v: &mut [T]) {
        with_gate!(gate, I, T, |f| {
            for ((((d_g, d_v), g), v), d) in d_g.iter_mut().zip(d_v).zip(g).zip(v).zip(d_y) {
                let (y, slope) = f(*g);
                *d_v = *d * y;
                *d_g = *d * *v * slope;
            }
        });
    }
}

/// `y = f(gates) · values`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn forward<T: Real>(gate: Gate, gates: &[T], values: &[T], y: &mut [T]) {
    assert_eq!(gates.len(), y.len(), "gated: gates and output");
    assert_eq!(values.len(), y.len(), "gated: values and output");
    let isa = isa::current();
    parallel::chunks_mut(y, parallel::TASK_ELEMENTS, |at, y| {
        let part = at..at + y.len();
        forward_slice(isa, gate, &gates[part.clone()], &values[part], y);
    });
}

/// The gradients of [`forward`].
///
/// # Panics
/// If the lengths differ.
pub fn backward<T: Real>(
    gate: Gate,
    gates: &[T],
    values: &[T],
    d_y: &[T],
    d_gates: &mut [T],
    d_values: &mut [T],
) {
    let n = d_y.len();
    for len in [gates.len(), values.len(), d_gates.len(), d_values.len()] {
        assert_eq!(len, n, "gated: lengths");
    }
    let isa = isa::current();
    let chunk = parallel::TASK_ELEMENTS;
    parallel::chunks2_mut(d_gates, chunk, d_values, chunk, |i, d_g, d_v| {
        let part = i * chunk..i * chunk + d_g.len();
        let (g, v) = (&gates[part.clone()], &values[part.clone()]);
        backward_slice(isa, gate, g, v, &d_y[part], d_g, d_v);
    });
}

/// As [`forward`] from rows of `2 · features` elements that hold both halves.
///
/// # Panics
/// If the lengths do not fit.
pub fn packed_forward<T: Real>(gate: Gate, packed: Packed, x: &[T], features: usize, y: &mut [T]) {
    assert_eq!(
        x.len(),
        2 * y.len(),
        "gated: a packed input has twice the output's elements"
    );
    if y.is_empty() {
        return;
    }
    assert_eq!(y.len() % features, 0, "gated: whole rows");
    let isa = isa::current();
    parallel::chunks_mut(y, rows_per_task(features) * features, |at, y| {
        let x = &x[2 * at..2 * (at + y.len())];
        for (x, y) in x
            .chunks_exact(2 * features)
            .zip(y.chunks_exact_mut(features))
        {
            let (g, v) = packed.split(x);
            forward_slice(isa, gate, g, v, y);
        }
    });
}

/// The gradient of [`packed_forward`].
///
/// # Panics
/// If the lengths do not fit.
pub fn packed_backward<T: Real>(
    gate: Gate,
    packed: Packed,
    x: &[T],
    features: usize,
    d_y: &[T],
    d_x: &mut [T],
) {
    assert_eq!(
        x.len(),
        2 * d_y.len(),
        "gated: a packed input has twice the output's elements"
    );
    assert_eq!(x.len(), d_x.len(), "gated: input and its gradient");
    if x.is_empty() {
        return;
    }
    let row = 2 * features;
    assert_eq!(x.len() % row, 0, "gated: whole rows");
    let isa = isa::current();
    parallel::chunks_mut(d_x, rows_per_task(row) * row, |at, d_x| {
        let (x, d_y) = (&x[at..at + d_x.len()], &d_y[at / 2..(at + d_x.len()) / 2]);
        let rows = x.chunks_exact(row).zip(d_y.chunks_exact(features));
        for ((x, d_y), d_x) in rows.zip(d_x.chunks_exact_mut(row)) {
            let (g, v) = packed.split(x);
            let (d_g, d_v) = packed.split_mut(d_x);
            backward_slice(isa, gate, g, v, d_y, d_g, d_v);
        }
    });
}

/// `y = f(gates) · values` as the papers say, with the library's functions.
pub fn naive_forward(gate: Gate, gates: &[f64], values: &[f64], y: &mut [f64]) {
    for i in 0..y.len() {
        let x = gates[i];
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let f = match gate {
            Gate::Sigmoid => sigmoid,
            Gate::Silu => x * sigmoid,
            Gate::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
            Gate::GeluTanh => 0.5 * x * (1.0 + (GELU_SLOPE * (x + GELU_CUBIC * x.powi(3))).tanh()),
            Gate::Relu => x.max(0.0),
            Gate::Identity => x,
        };
        y[i] = f * values[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_close, assert_gradient, dot, numbers, on_every_isa, same_bits_on_any_threads,
        singles,
    };
    use proptest::prelude::*;

    const GATES: [Gate; 6] = [
        Gate::Sigmoid,
        Gate::Silu,
        Gate::Gelu,
        Gate::GeluTanh,
        Gate::Relu,
        Gate::Identity,
    ];

    proptest! {
        #[test]
        fn fast_equals_naive(n in 0_usize..70, which in 0_usize..6) {
            let gate = GATES[which];
            let g: Vec<f64> = numbers(n, 1).iter().map(|g| 5.0 * g).collect();
            let (v, d_y) = (numbers(n, 2), numbers(n, 3));
            let mut want = vec![0.0; n];
            naive_forward(gate, &g, &v, &mut want);
            let (mut d_g, mut d_v) = (vec![0.0; n], vec![0.0; n]);
            backward(gate, &g, &v, &d_y, &mut d_g, &mut d_v);
            let value = |g: &[f64], v: &[f64]| {
                let mut y = vec![0.0; n];
                naive_forward(gate, g, v, &mut y);
                dot(&y, &d_y)
            };
            assert_gradient("gate", &g, &d_g, |g| value(g, &v));
            assert_gradient("value", &v, &d_v, |v| value(&g, v));
            let (g32, v32, d32) = (singles(&g), singles(&v), singles(&d_y));
            on_every_isa(|_| {
                let mut y = vec![0.0; n];
                forward(gate, &g, &v, &mut y);
                assert_close("y", &y, &want, 1e-14);
                let (mut y, mut a, mut b) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
                forward(gate, &g32, &v32, &mut y);
                backward(gate, &g32, &v32, &d32, &mut a, &mut b);
                assert_close("y", &y, &want, 2e-6);
                assert_close("d_gate", &a, &d_g, 3e-6);
                assert_close("d_value", &b, &d_v, 2e-6);
            });
        }

        #[test]
        fn packed_equals_separate(rows in 0_usize..5, features in 1_usize..40, which in 0_usize..6, first: bool) {
            let (gate, packed) = (GATES[which], if first { Packed::GateFirst } else { Packed::GateLast });
            let n = rows * features;
            let (g, v, d_y) = (numbers(n, 1), numbers(n, 2), numbers(n, 3));
            let (a, b) = if first { (&g, &v) } else { (&v, &g) };
            let pack = |a: &[f64], b: &[f64]| -> Vec<f64> {
                a.chunks(features).zip(b.chunks(features)).flat_map(|(a, b)| [a, b].concat()).collect()
            };
            let (mut want, mut d_g, mut d_v) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            forward(gate, &g, &v, &mut want);
            backward(gate, &g, &v, &d_y, &mut d_g, &mut d_v);
            let x = pack(a, b);
            let (mut y, mut d_x) = (vec![0.0; n], vec![0.0; 2 * n]);
            packed_forward(gate, packed, &x, features, &mut y);
            packed_backward(gate, packed, &x, features, &d_y, &mut d_x);
            assert_close("y", &y, &want, 1e-15);
            let want = if first { pack(&d_g, &d_v) } else { pack(&d_v, &d_g) };
            assert_close("d_x", &d_x, &want, 1e-15);
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let x = singles(&numbers(2 * 70 * 1000, 1));
        let d_y = singles(&numbers(70 * 1000, 2));
        same_bits_on_any_threads(|| {
            let (mut y, mut d_x) = (vec![0.0; d_y.len()], vec![0.0; x.len()]);
            packed_forward(Gate::Silu, Packed::GateFirst, &x, 1000, &mut y);
            packed_backward(Gate::Silu, Packed::GateFirst, &x, 1000, &d_y, &mut d_x);
            [y, d_x].concat()
        });
    }
}
