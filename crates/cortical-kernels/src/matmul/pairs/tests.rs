//! Products of pairs against the naive ones, and their bits on any number of threads. Where the processor does not
//! multiply pairs they check that nothing is done.

use super::*;
use crate::half::f32_to_bf16;
use crate::isa::{InstructionSet, limited_to};
use crate::testing::{numbers, same_bits_on_any_threads, singles};
use proptest::prelude::*;

fn bits(n: usize, seed: u32) -> Vec<u16> {
    let numbers = numbers(n, seed);
    numbers.iter().map(|x| f32_to_bf16(*x as f32)).collect()
}

/// A matrix stored as it is, as its transpose, or with gaps between all its numbers.
fn view(data: &[u16], [rows, cols]: [usize; 2], layout: usize, gap: usize) -> MatRef<'_, u16> {
    match layout {
        0 => MatRef::strided(data, rows, cols, cols + gap, 1),
        1 => MatRef::strided(data, cols, rows, rows + gap, 1).t(),
        _ => MatRef::strided(data, rows, cols, 2 * cols + gap, 2),
    }
}

/// The sums differ from the exact ones by less than the bound of a chain of roundings, and rounding is to nearest.
fn check([m, n, k]: [usize; 3], layouts: [usize; 2], gap: usize, has_bias: bool, relu: bool) {
    let (x, y) = (
        bits(2 * (m + gap) * (k + gap), 1),
        bits(2 * (k + gap) * (n + gap), 2),
    );
    let bias = has_bias.then(|| singles(&numbers(n, 3)));
    let (a, b) = (
        view(&x, [m, k], layouts[0], gap),
        view(&y, [k, n], layouts[1], gap),
    );
    let (mut got, mut rounded) = (vec![9.0; m * n], vec![9; m * n]);
    let done = sums(a, b, &mut got, bias.as_deref());
    assert_eq!(matmul(a, b, &mut rounded, bias.as_deref(), relu), done);
    assert_eq!(done, is_available());
    if !done {
        return;
    }
    let magnitudes = |x: &[u16]| -> Vec<u16> { x.iter().map(|x| x & 0x7fff).collect() };
    let (x, y) = (magnitudes(&x), magnitudes(&y));
    let (mut want, mut large) = (vec![0.0; m * n], vec![0.0; m * n]);
    naive(a, b, &mut want);
    naive(
        view(&x, [m, k], layouts[0], gap),
        view(&y, [k, n], layouts[1], gap),
        &mut large,
    );
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[i % n]));
        let bound = ((k + 1) as f64 * large[i] + bias.abs()) * 2.0_f64.powi(-24);
        let error = (f64::from(*got) - (want + bias)).abs();
        assert!(error <= bound, "[{i}] {error} > {bound}");
    }
    for (got, sum) in rounded.iter().zip(&got) {
        let sum = if relu { sum.max(0.0) } else { *sum };
        assert_eq!(*got, f32_to_bf16(sum));
    }
}

proptest! {
    #[test]
    fn products_equal_the_naive_ones(
        m in 0_usize..70, n in 0_usize..70, k in 0_usize..70,
        a in 0_usize..3, b in 0_usize..3, gap in 0_usize..3, has_bias: bool, relu: bool,
    ) {
        check([m, n, k], [a, b], gap, has_bias, relu);
    }
}

#[test]
fn long_sums_and_many_blocks() {
    for layouts in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        check([33, 100, 2501], layouts, 0, false, false);
        check([300, 290, 70], layouts, 1, true, true);
        check([70, 290, 130], layouts, 1, true, true);
    }
    // More work than there are rows to share it.
    check([2, 3, 1 << 20], [0, 1], 0, false, false);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads_or_of_rows() {
    if !is_available() {
        return;
    }
    let (m, n, k) = (401, 350, 1301);
    let (x, y) = (bits(m * k, 1), bits(k * n, 2));
    let product = |rows: usize| {
        let mut c = vec![0.0; rows * n];
        let (a, b) = (
            MatRef::row_major(&x[..rows * k], rows, k),
            MatRef::row_major(&y, k, n),
        );
        assert!(sums(a, b, &mut c, None));
        c
    };
    for rows in [m, 100] {
        same_bits_on_any_threads(|| product(rows));
    }
    let all = product(m);
    for rows in [1, 13, 255, 257] {
        assert!(product(rows) == all[..rows * n]);
    }
}

#[test]
fn what_is_no_number_stays_and_what_is_too_small_is_zero() {
    if !is_available() {
        return;
    }
    let product = |x: [f32; 3], y: [f32; 3]| {
        let (x, y) = (x.map(f32_to_bf16), y.map(f32_to_bf16));
        let (mut sum, mut rounded) = ([9.0], [9]);
        let (a, b) = (MatRef::row_major(&x, 1, 3), MatRef::row_major(&y, 3, 1));
        assert!(sums(a, b, &mut sum, None) && matmul(a, b, &mut rounded, None, false));
        assert_eq!(
            rounded[0],
            f32_to_bf16(sum[0]) & !u16::from(sum[0].is_nan())
        );
        sum[0]
    };
    assert!(product([1.0, f32::NAN, 2.0], [1.0; 3]).is_nan());
    assert_eq!(product([1.0, 2.0, f32::INFINITY], [1.0; 3]), f32::INFINITY);
    assert!(product([1.0, 0.0, f32::INFINITY], [f32::INFINITY, 1.0, -1.0]).is_nan());
    assert!(product([0.0, f32::INFINITY, 0.0], [0.0; 3]).is_nan());
    let small = f32::MIN_POSITIVE;
    assert_eq!(product([small, 0.0, 0.0], [1.0; 3]), small);
    // Subnormal as an operand, and as a result.
    assert_eq!(product([small / 2.0, 0.0, 0.0], [1.0; 3]), 0.0);
    assert_eq!(product([small, 0.0, 0.0], [0.5; 3]), 0.0);
}

#[test]
fn many_at_once_are_single_ones() {
    for (batch, [m, n, k]) in [
        (3, [20, 40, 31]),
        (1, [300, 33, 8]),
        (2, [3, 0, 2]),
        (2, [2, 3, 0]),
    ] {
        let (x, y) = (bits(batch * m * k, 1), bits(batch * k * n, 2));
        for (a, b) in [(false, false), (true, false), (false, true), (true, true)] {
            let transposes = Transposes { a, b };
            let mut got = vec![9; batch * m * n];
            if !batched(batch, [m, n, k], &x, &y, transposes, &mut got) {
                assert!(!is_available());
                continue;
            }
            for i in 0..batch {
                let (a, b) = transposes.views(i, [m, n, k], &x, &y);
                let mut want = vec![8; m * n];
                matmul(a, b, &mut want, None, false);
                assert_eq!(got[i * m * n..(i + 1) * m * n], want);
            }
        }
    }
}

#[test]
fn a_limit_is_kept() {
    for isa in [InstructionSet::Portable, InstructionSet::Avx2] {
        limited_to(isa, || {
            assert!(!is_available());
            check([3, 4, 5], [0, 1], 0, false, false);
        });
    }
}
