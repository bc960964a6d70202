//! A layer of neurons that read everything: `y = activation(x Wᵀ + b)`, forward beside backward.
//!
//! Legend: `n` rows (samples), `i` inputs of a neuron, `o` neurons. `x` is `[n, i]`, `w` is `[o, i]`, `b` is `[o]`, `y`
//! is `[n, o]`.

use crate::activation::{self, Activation, Saves};
use crate::isa;
use crate::matmul::{Epilogue, MatRef, Write, matmul, matmul_fused};
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums;

multiversion! {
    fn add_bias_rows<T: Real>(y: &mut [T], bias: &[T]) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += *b;
            }
        }
    }
}

/// Writes `z = x Wᵀ + b` and, in place or beside it, `y = activation(z)`.
///
/// `z` must be given when the activation's backward pass needs its input ([`Saves::Input`]); otherwise the sum is not
/// kept.
///
/// # Panics
/// If a length does not fit, or `z` is missing where it is needed.
pub fn forward<T: Real>(
    [n, i, o]: [usize; 3],
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
    z: Option<&mut [T]>,
) {
    assert_eq!(y.len(), n * o, "linear: output");
    assert!(bias.is_none_or(|b| b.len() == o), "linear: a bias a neuron");
    assert!(
        z.is_some() || activation.saves() != Saves::Input,
        "linear: the sum is needed"
    );
    let isa = isa::current();
    let epilogue = |sums: &mut [T], bias: Option<&[T]>, activation: Activation| {
        if sums.is_empty() || (bias.is_none() && activation == Activation::Identity) {
            return;
        }
        parallel::chunks_mut(sums, rows_per_task(o) * o, |_, rows| {
            if let Some(bias) = bias {
                add_bias_rows(isa, rows, bias);
            }
            activation::forward_in_place(isa, activation, rows);
        });
    };
    let sum = |out: &mut [T], activation: Activation| {
        let (x, w) = (MatRef::row_major(x, n, i), MatRef::row_major(w, o, i).t());
        let relu = activation == Activation::Relu;
        // Bias and ReLU cost nothing while the sums are in registers or in the nearest cache.
        if !matmul_fused(x, w, out, Epilogue { bias, relu }) {
            matmul(x, w, out, Write::Replace);
            epilogue(out, bias, activation);
        } else if !relu {
            epilogue(out, None, activation);
        }
    };
    match z {
        Some(z) => {
            sum(z, Activation::Identity);
            activation::forward(activation, z, y);
        }
        None => sum(y, activation),
    }
}

/// `d_b[o] = Σ_n d_z[n, o]`, summed in blocks of rows whose number depends on the shape alone.
///
/// # Panics
/// If `d_z` is no whole number of rows of `d_b.len()` elements.
pub fn bias_gradient<T: Real>(d_z: &[T], d_b: &mut [T]) {
    let o = d_b.len();
    d_b.fill(T::ZERO);
    if o == 0 {
        return;
    }
    assert_eq!(d_z.len() % o, 0, "linear: whole rows");
    let isa = isa::current();
    let block = rows_per_task(o) * o;
    if d_z.len() <= block {
        slice_sums::add_column_sums(isa, d_z, d_b);
        return;
    }
    let blocks: Vec<&[T]> = d_z.chunks(block).collect();
    let partial = parallel::map(blocks.len(), |b| {
        let mut sums = vec![T::ZERO; o];
        slice_sums::add_column_sums(isa, blocks[b], &mut sums);
        sums
    });
    for sums in partial {
        slice_sums::add_assign(isa, d_b, &sums);
    }
}

/// `d_x = d_z W`.
///
/// # Panics
/// If a length does not fit.
pub fn input_gradient<T: Real>([n, i, o]: [usize; 3], d_z: &[T], w: &[T], d_x: &mut [T]) {
    matmul(
        MatRef::row_major(d_z, n, o),
        MatRef::row_major(w, o, i),
        d_x,
        Write::Replace,
    );
}

/// `d_W = d_zᵀ x`.
///
/// # Panics
/// If a length does not fit.
pub fn weight_gradient<T: Real>([n, i, o]: [usize; 3], d_z: &[T], x: &[T], d_w: &mut [T]) {
    matmul(
        MatRef::row_major(d_z, n, o).t(),
        MatRef::row_major(x, n, i),
        d_w,
        Write::Replace,
    );
}
