//! Every path computes the product over the connections that are left.

use super::*;
use crate::testing::{numbers, on_every_isa, same_bits_on_any_threads, singles};
use proptest::prelude::*;

/// A matrix that keeps about `kept` in 8 of its connections.
fn weights(rows: usize, cols: usize, kept: u32, seed: u32) -> Vec<f32> {
    let keep = numbers(rows * cols, seed + 1);
    let weights = singles(&numbers(rows * cols, seed));
    let is_kept = |k: &f64| (k + 1.0) * 4.0 < f64::from(kept);
    let pairs = weights.iter().zip(&keep);
    pairs
        .map(|(w, k)| if is_kept(k) { *w } else { 0.0 })
        .collect()
}

proptest! {
    #[test]
    fn every_path_is_the_naive_one(
        rows in 1_usize..20, cols in 1_usize..300, kept in 0_u32..9, n in 0_usize..80, is_half: bool,
    ) {
        let precision = if is_half { Precision::Bf16 } else { Precision::F32 };
        let w = SparseMatrix::from_dense(rows, cols, &weights(rows, cols, kept, 3), precision);
        let x = singles(&numbers(n * cols, 8));
        let mut want = vec![0.0; n * rows];
        w.product_naive(n, &x, &mut want);
        on_every_isa(|isa| {
            let mut y = vec![f32::NAN; n * rows];
            w.product(n, &x, &mut y);
            for (y, want) in y.iter().zip(&want) {
                assert!((y - want).abs() <= 1e-5 * (cols as f32).sqrt(), "{isa:?}: {y}, not {want}");
            }
        });
    }

    #[test]
    fn what_is_stored_comes_back(rows in 1_usize..9, cols in 1_usize..200, kept in 0_u32..9) {
        let dense = weights(rows, cols, kept, 5);
        let w = SparseMatrix::from_dense(rows, cols, &dense, Precision::F32);
        assert_eq!(w.dense(), dense);
        assert_eq!(w.connections(), dense.iter().filter(|w| **w != 0.0).count());
        assert_eq!(SparseMatrix::new(rows, cols, &w.mask(), w.values()).unwrap(), w);
    }
}

#[test]
fn a_severed_connection_carries_nothing() {
    let (rows, cols) = (3, 70);
    let mut dense = vec![1.0_f32; rows * cols];
    for row in dense.chunks_exact_mut(cols) {
        row[5] = 0.0;
        row[69] = 0.0;
    }
    for precision in [Precision::F32, Precision::Bf16] {
        let w = SparseMatrix::from_dense(rows, cols, &dense, precision);
        // Rows without such numbers may go another way, before those that have them and behind.
        let of_some = [0..usize::MAX, 0..4, 4..usize::MAX];
        let rows_of_inputs = [1, 3, 4, 7, 8, 40, 70, 7, 6, 7];
        for (n, odd) in rows_of_inputs.into_iter().zip(of_some.iter().cycle()) {
            let mut x = vec![1.0_f32; n * cols];
            let of_rows = x.chunks_exact_mut(cols).enumerate();
            for (_, x) in of_rows.filter(|(row, _)| odd.contains(row)) {
                (x[5], x[69]) = (f32::NAN, f32::INFINITY);
            }
            on_every_isa(|_| {
                let mut y = vec![0.0; n * rows];
                w.product(n, &x, &mut y);
                assert!(y.iter().all(|y| *y == 68.0), "{n}: {y:?}");
            });
        }
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    let (rows, cols) = (400, 700);
    let w = SparseMatrix::from_dense(rows, cols, &weights(rows, cols, 4, 1), Precision::F32);
    for n in [1, 4, 6, 100] {
        let x = singles(&numbers(n * cols, 2));
        same_bits_on_any_threads(|| {
            let mut y = vec![0.0; n * rows];
            w.product(n, &x, &mut y);
            y
        });
        let d_y = singles(&numbers(n * rows, 2));
        same_bits_on_any_threads(|| {
            let mut d_x = vec![0.0; n * cols];
            w.input_gradient(n, &d_y, &mut d_x);
            d_x
        });
    }
}

#[test]
fn the_gradient_of_the_inputs_is_the_product_the_other_way() {
    let (n, rows, cols) = (3, 5, 70);
    let dense = weights(rows, cols, 3, 1);
    let w = SparseMatrix::from_dense(rows, cols, &dense, Precision::F32);
    let d_y = singles(&numbers(n * rows, 2));
    let mut d_x = vec![f32::NAN; n * cols];
    w.input_gradient(n, &d_y, &mut d_x);
    for i in 0..n {
        for p in 0..cols {
            let want: f32 = (0..rows)
                .map(|j| d_y[i * rows + j] * dense[j * cols + p])
                .sum();
            assert!((d_x[i * cols + p] - want).abs() < 1e-5);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let values = |n| Values::F32(vec![1.0; n]);
    let error = |rows, cols, mask: &[u8], n| {
        SparseMatrix::new(rows, cols, mask, values(n))
            .unwrap_err()
            .to_string()
    };
    assert!(error(usize::MAX, 0, &[], 0).starts_with("a matrix without"));
    assert_eq!(
        error(2, 9, &[0; 3], 0),
        "the mask needs 4 bytes, 3 are there"
    );
    assert_eq!(
        error(usize::MAX, 9, &[0; 3], 0),
        "the mask has more bytes than can be counted"
    );
    assert_eq!(
        error(2, 9, &[0, 1, 0, 2], 2),
        "row 1 of the mask has bits behind its last column"
    );
    assert_eq!(
        error(1, 9, &[3, 1], 2),
        "the mask has 3 connections, 2 values are there"
    );
}
