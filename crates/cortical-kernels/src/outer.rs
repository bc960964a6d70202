//! Outer products of rows: `y[n, i, j] = a[n, i] · b[n, j]`, and the gradients of both sides.
//!
//! Legend: `n` rows, `i` elements of a row of `a`, `j` of a row of `b`.

use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums;

fn check([n, i, j]: [usize; 3], a: usize, b: usize, y: usize) {
    assert_eq!(a, n * i, "outer product: left side");
    assert_eq!(b, n * j, "outer product: right side");
    assert_eq!(y, n * i * j, "outer product: products");
}

multiversion! {
    fn forward_rows<T: Real>(i: usize, j: usize, a: &[T], b: &[T], y: &mut [T]) {
        for ((a, b), y) in a.chunks_exact(i).zip(b.chunks_exact(j)).zip(y.chunks_exact_mut(i * j)) {
            for (a, y) in a.iter().zip(y.chunks_exact_mut(j)) {
                for (b, y) in b.iter().zip(y) {
                    *y = *a * *b;
                }
            }
        }
    }
}

/// Writes the products of all pairs of each row.
///
/// # Panics
/// If a length does not fit.
pub fn forward<T: Real>(dims: [usize; 3], a: &[T], b: &[T], y: &mut [T]) {
    check(dims, a.len(), b.len(), y.len());
    let [_, i, j] = dims;
    if y.is_empty() {
        return;
    }
    let (isa, rows) = (isa::current(), rows_per_task(i * j));
    parallel::chunks_mut(y, rows * i * j, |at, y| {
        let first = at / (i * j);
        let end = first + y.len() / (i * j);
        forward_rows(isa, i, j, &a[first * i..end * i], &b[first * j..end * j], y);
    });
}

multiversion! {
    fn left_rows<T: Real>(i: usize, j: usize, b: &[T], d_y: &[T], d_a: &mut [T]) {
        for ((b, d_y), d_a) in b.chunks_exact(j).zip(d_y.chunks_exact(i * j)).zip(d_a.chunks_exact_mut(i)) {
            for (d_a, d_y) in d_a.iter_mut().zip(d_y.chunks_exact(j)) {
                *d_a = slice_sums::dot_body::<I, T>(b, d_y);
            }
        }
    }
}

/// Writes `d_a[n, i] = Σ_j b[n, j] · d_y[n, i, j]`.
///
/// # Panics
/// If a length does not fit.
pub fn left_gradient<T: Real>(dims: [usize; 3], b: &[T], d_y: &[T], d_a: &mut [T]) {
    check(dims, d_a.len(), b.len(), d_y.len());
    let [_, i, j] = dims;
    if d_y.is_empty() {
        d_a.fill(T::ZERO);
        return;
    }
    let (isa, rows) = (isa::current(), rows_per_task(i * j));
    parallel::chunks_mut(d_a, rows * i, |at, d_a| {
        let first = at / i;
        let end = first + d_a.len() / i;
        let d_y = &d_y[first * i * j..end * i * j];
        left_rows(isa, i, j, &b[first * j..end * j], d_y, d_a);
    });
}

multiversion! {
    fn right_rows<T: Real>(i: usize, j: usize, a: &[T], d_y: &[T], d_b: &mut [T]) {
        for ((a, d_y), d_b) in a.chunks_exact(i).zip(d_y.chunks_exact(i * j)).zip(d_b.chunks_exact_mut(j)) {
            d_b.fill(T::ZERO);
            for (a, d_y) in a.iter().zip(d_y.chunks_exact(j)) {
                for (d_b, d_y) in d_b.iter_mut().zip(d_y) {
                    *d_b = a.mul_add::<I>(*d_y, *d_b);
                }
            }
        }
    }
}

/// Writes `d_b[n, j] = Σ_i a[n, i] · d_y[n, i, j]`.
///
/// # Panics
/// If a length does not fit.
pub fn right_gradient<T: Real>(dims: [usize; 3], a: &[T], d_y: &[T], d_b: &mut [T]) {
    check(dims, a.len(), d_b.len(), d_y.len());
    let [_, i, j] = dims;
    if d_y.is_empty() {
        d_b.fill(T::ZERO);
        return;
    }
    let (isa, rows) = (isa::current(), rows_per_task(i * j));
    parallel::chunks_mut(d_b, rows * j, |at, d_b| {
        let first = at / j;
        let end = first + d_b.len() / j;
        let d_y = &d_y[first * i * j..end * i * j];
        right_rows(isa, i, j, &a[first * i..end * i], d_y, d_b);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};

    #[test]
    fn products_and_gradients_are_the_sums_that_they_are_named_after() {
        for dims in [[3, 5, 19], [1, 1, 1], [2, 0, 3], [0, 2, 3], [2, 33, 16]] {
            let [n, i, j] = dims;
            let (a, b) = (numbers(n * i, 1), numbers(n * j, 2));
            let d_y = numbers(n * i * j, 3);
            let (mut y, mut d_a, mut d_b) =
                (vec![0.0; n * i * j], vec![0.0; n * i], vec![0.0; n * j]);
            for (at, y) in y.iter_mut().enumerate() {
                let (row, p, q) = (at / (i * j), at / j % i, at % j);
                *y = a[row * i + p] * b[row * j + q];
                d_a[row * i + p] += b[row * j + q] * d_y[at];
                d_b[row * j + q] += a[row * i + p] * d_y[at];
            }
            on_every_isa(|isa| {
                let (a, b, d) = (singles(&a), singles(&b), singles(&d_y));
                let mut got = vec![f32::NAN; y.len()];
                forward(dims, &a, &b, &mut got);
                assert_close(&format!("{isa:?} y"), &got, &y, 1e-6);
                let mut got = vec![f32::NAN; d_a.len()];
                left_gradient(dims, &b, &d, &mut got);
                assert_close(&format!("{isa:?} d_a"), &got, &d_a, 1e-5);
                let mut got = vec![f32::NAN; d_b.len()];
                right_gradient(dims, &a, &d, &mut got);
                assert_close(&format!("{isa:?} d_b"), &got, &d_b, 1e-5);
            });
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let dims = [300, 16, 24];
        let (a, b) = (
            singles(&numbers(300 * 16, 1)),
            singles(&numbers(300 * 24, 2)),
        );
        same_bits_on_any_threads(|| {
            let mut y = vec![0.0; 300 * 16 * 24];
            forward(dims, &a, &b, &mut y);
            let (mut d_a, mut d_b) = (vec![0.0; a.len()], vec![0.0; b.len()]);
            left_gradient(dims, &b, &y, &mut d_a);
            right_gradient(dims, &a, &y, &mut d_b);
            [y, d_a, d_b].concat()
        });
    }
}
