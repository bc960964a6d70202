//! Gated units: one half of the features passes through an activation and scales the other half.
//!
//! `y = f(gate) · value`. GLU has `f = σ`, SwiGLU SiLU, GEGLU GELU, and any other activation may stand there. Backward,
//! `d_value = d_y · f(gate)` and `d_gate = d_y · value · f′(gate)`. Gate and value are halves of the rows of one matrix
//! ([`Packed`]) or two matrices.
//!
//! # Source
//! Dauphin et al., "Language modeling with gated convolutional networks" (2016); Shazeer, "GLU variants improve
//! transformer" (2020).

use crate::activation::{self, Activation, BLOCK, GELU_CUBIC, GELU_SLOPE};
use crate::isa::{self, InstructionSet};
use crate::parallel::{self, rows_per_task};
use crate::real::Real;

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

/// `y = f(g) · v` on the calling thread.
fn forward_slice<T: Real>(isa: InstructionSet, gate: Activation, g: &[T], v: &[T], y: &mut [T]) {
    let blocks = g.chunks(BLOCK).zip(v.chunks(BLOCK));
    for ((g, v), y) in blocks.zip(y.chunks_mut(BLOCK)) {
        activation::forward_chunk(isa, gate, g, y);
        multiply(isa, v, y);
    }
}

multiversion! {
    fn multiply<T: Real>(v: &[T], y: &mut [T]) {
        for (y, v) in y.iter_mut().zip(v) {
            *y *= *v;
        }
    }
}

/// The gradients of [`forward_slice`].
fn backward_slice<T: Real>(
    isa: InstructionSet,
    gate: Activation,
    [g, v, d_y]: [&[T]; 3],
    d_g: &mut [T],
    d_v: &mut [T],
) {
    let blocks = g.chunks(BLOCK).zip(v.chunks(BLOCK)).zip(d_y.chunks(BLOCK));
    let outputs = d_g.chunks_mut(BLOCK).zip(d_v.chunks_mut(BLOCK));
    for (((g, v), d_y), (d_g, d_v)) in blocks.zip(outputs) {
        activation::values_and_slopes(isa, gate, g, d_v, d_g);
        chain(isa, v, d_y, d_g, d_v);
    }
}

multiversion! {
    /// From slopes and values of the gate to the gradients of gate and value.
    fn chain<T: Real>(v: &[T], d_y: &[T], d_g: &mut [T], d_v: &mut [T]) {
        for (((d_g, d_v), v), d) in d_g.iter_mut().zip(d_v).zip(v).zip(d_y) {
            *d_v = *d * *d_v;
            *d_g = *d * *v * *d_g;
        }
    }
}

/// `y = f(gates) · values`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn forward<T: Real>(gate: Activation, gates: &[T], values: &[T], y: &mut [T]) {
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
    gate: Activation,
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
        backward_slice(isa, gate, [g, v, &d_y[part]], d_g, d_v);
    });
}

/// As [`forward`] from rows of `2 · features` elements that hold both halves.
///
/// # Panics
/// If the lengths do not fit.
pub fn packed_forward<T: Real>(
    gate: Activation,
    packed: Packed,
    x: &[T],
    features: usize,
    y: &mut [T],
) {
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
    gate: Activation,
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
            backward_slice(isa, gate, [g, v, d_y], d_g, d_v);
        }
    });
}

/// `y = f(gates) · values` as the papers say, with the library's functions.
pub fn naive_forward(gate: Activation, gates: &[f64], values: &[f64], y: &mut [f64]) {
    for i in 0..y.len() {
        let x = gates[i];
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let f = match gate {
            Activation::Sigmoid => sigmoid,
            Activation::Silu => x * sigmoid,
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + (GELU_SLOPE * (x + GELU_CUBIC * x.powi(3))).tanh())
            }
            other => {
                let mut f = [0.0];
                activation::forward(other, &[x], &mut f);
                f[0]
            }
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

    /// Those of papers, and two that nobody named: one with a slope from its output, one from its input.
    const GATES: [Activation; 8] = [
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Identity,
        Activation::Tanh,
        Activation::Mish,
    ];

    proptest! {
        #[test]
        fn fast_equals_naive(n in 0_usize..600, which in 0_usize..8) {
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
        fn packed_equals_separate(rows in 0_usize..5, features in 1_usize..40, which in 0_usize..8, first: bool) {
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
            packed_forward(Activation::Silu, Packed::GateFirst, &x, 1000, &mut y);
            packed_backward(
                Activation::Silu,
                Packed::GateFirst,
                &x,
                1000,
                &d_y,
                &mut d_x,
            );
            [y, d_x].concat()
        });
    }
}
