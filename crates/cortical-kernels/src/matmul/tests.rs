//! The fast products against the naive one, on every instruction set, and their bits on any number of threads.

use super::*;
use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};
use proptest::prelude::*;

/// A matrix of this shape, stored as it is or transposed, with some numbers between its rows.
fn view<T: 'static>(
    data: &[T],
    [rows, cols]: [usize; 2],
    transposed: bool,
    gap: usize,
) -> MatRef<'_, T> {
    if transposed {
        MatRef::strided(data, cols, rows, rows + gap, 1).t()
    } else {
        MatRef::strided(data, rows, cols, cols + gap, 1)
    }
}

/// Compares `f32` and `f64` products with the naive one in `f64`.
fn check([m, n, k]: [usize; 3], transposed: [bool; 2], gap: usize, write: Write) {
    let (x, y, before) = (
        numbers((m + gap) * (k + gap), 1),
        numbers((k + gap) * (n + gap), 2),
        numbers(m * n, 3),
    );
    let mut want = before.clone();
    let wide = (
        view(&x, [m, k], transposed[0], gap),
        view(&y, [k, n], transposed[1], gap),
    );
    matmul_naive(wide.0, wide.1, &mut want, write);
    let mut got = before.clone();
    matmul(wide.0, wide.1, &mut got, write);
    assert_close("f64 product", &got, &want, 1e-12);
    let (x, y) = (singles(&x), singles(&y));
    on_every_isa(|isa| {
        let what = format!("{m}×{k}×{n} {transposed:?} {gap} {write:?} {}", isa.name());
        let (a, b) = (
            view(&x, [m, k], transposed[0], gap),
            view(&y, [k, n], transposed[1], gap),
        );
        let mut got = singles(&before);
        matmul(a, b, &mut got, write);
        assert_close(&what, &got, &want, 1e-4);
        // The packed kernel serves some layouts only, but is right for all.
        if isa::current() > InstructionSet::Portable && m * n * k > 0 {
            let mut got = singles(&before);
            packed::matmul(isa::current(), a, b, &mut got, write, Epilogue::default());
            assert_close(&format!("packed {what}"), &got, &want, 1e-4);
        }
    });
}

proptest! {
    #[test]
    fn the_fast_products_equal_the_naive_one(
        m in 0_usize..70, n in 0_usize..70, k in 0_usize..70,
        transposed: [bool; 2], gap in 0_usize..3, add: bool,
    ) {
        check([m, n, k], transposed, gap, if add { Write::Add } else { Write::Replace });
    }
}

#[test]
fn long_sums_many_panels_and_crowded_rows() {
    for transposed in [[false, true], [false, false], [true, false]] {
        check([33, 100, 2500], transposed, 0, Write::Replace);
        check([150, 33, 1024], transposed, 0, Write::Add);
        check([13, 130, 2048], transposed, 0, Write::Replace);
    }
    for rows in 1..=4 {
        check([rows, 37, 1030], [false, true], 0, Write::Replace);
    }
}

#[test]
fn bias_and_relu_are_those_of_separate_passes() {
    for (m, n, k) in [
        (1, 9, 20),
        (3, 4, 5),
        (40, 33, 70),
        (200, 10, 30),
        (5, 1, 8),
    ] {
        let (x, w, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
        let mut want = vec![0.0; m * n];
        let (a, b) = (MatRef::row_major(&x, m, k), MatRef::row_major(&w, n, k).t());
        matmul_naive(a, b, &mut want, Write::Replace);
        for (i, v) in want.iter_mut().enumerate() {
            *v = (*v + bias[i % n]).max(0.0);
        }
        let (x, w, bias) = (singles(&x), singles(&w), singles(&bias));
        let (a, b) = (MatRef::row_major(&x, m, k), MatRef::row_major(&w, n, k).t());
        on_every_isa(|isa| {
            let mut got = vec![0.0_f32; m * n];
            let (bias, relu) = (Some(&bias[..]), true);
            let done = matmul_fused(a, b, &mut got, Epilogue { bias, relu });
            assert_eq!(
                done,
                m <= 3 || (n > 1 && isa::current() > InstructionSet::Portable)
            );
            if done {
                assert_close(isa.name(), &got, &want, 1e-5);
            }
        });
    }
}

#[test]
fn a_nan_survives_the_fused_relu() {
    let (x, w) = (vec![f32::NAN; 4 * 8], vec![1.0_f32; 2 * 8]);
    let (a, b) = (MatRef::row_major(&x, 4, 8), MatRef::row_major(&w, 2, 8).t());
    let mut y = vec![0.0; 8];
    let (bias, relu) = (None, true);
    if matmul_fused(a, b, &mut y, Epilogue { bias, relu }) {
        assert!(y.iter().all(|y| y.is_nan()));
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    for (m, n, k) in [
        (97, 113, 301),
        (32, 512, 784),
        (1, 700, 300),
        (300, 40, 1500),
    ] {
        let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(n * k, 2)));
        for transposed in [true, false] {
            same_bits_on_any_threads(|| {
                let mut c = vec![0.0; m * n];
                let b = view(&y, [k, n], transposed, 0);
                matmul(MatRef::row_major(&x, m, k), b, &mut c, Write::Replace);
                c
            });
        }
    }
}

#[test]
fn avx2_and_avx512_give_the_same_bits() {
    let (m, n, k) = (50, 70, 1300);
    let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(n * k, 2)));
    let run = |isa| {
        let mut c = vec![0.0; m * n];
        let (a, b) = (MatRef::row_major(&x, m, k), MatRef::row_major(&y, n, k).t());
        isa::limited_to(isa, || matmul(a, b, &mut c, Write::Replace));
        c
    };
    assert!(run(InstructionSet::Avx2) == run(InstructionSet::Avx512));
}
