//! Products on tiles against the naive one, their errors against those of multiply-adds, and what they leave to others.

use super::*;
use crate::isa::{detected, limited_to};
use crate::matmul::matmul_naive;
use crate::testing::{numbers, same_bits_on_any_threads, singles};
use proptest::prelude::*;

fn has_tiles() -> bool {
    detected() >= InstructionSet::Amx
}

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

fn run(
    [m, n, k]: [usize; 3],
    [a, b]: [&[f32]; 2],
    transposed: [bool; 2],
    gap: usize,
    write: Write,
    c: &mut [f32],
) -> bool {
    let (a, b) = (
        view(a, [m, k], transposed[0], gap),
        view(b, [k, n], transposed[1], gap),
    );
    matmul(detected(), a, b, c, write, Epilogue::default())
}

/// The largest difference to the naive product of the same numbers in `f64`, over the sum of magnitudes of its terms.
fn error(shape: [usize; 3], transposed: [bool; 2], gap: usize, write: Write) -> f64 {
    let [m, n, k] = shape;
    let x = singles(&numbers((m + gap) * (k + gap), 1));
    let y = singles(&numbers((k + gap) * (n + gap), 2));
    let before = singles(&numbers(m * n, 3));
    let mut got = before.clone();
    assert!(run(shape, [&x, &y], transposed, gap, write, &mut got));
    compare(shape, [&x, &y], transposed, gap, write, &before, &got)
}

fn compare(
    [m, n, k]: [usize; 3],
    xy: [&[f32]; 2],
    transposed: [bool; 2],
    gap: usize,
    write: Write,
    before: &[f32],
    got: &[f32],
) -> f64 {
    let product = |f: fn(f32) -> f64| {
        let [x, y] = xy.map(|x| x.iter().map(|x| f(*x)).collect::<Vec<f64>>());
        let mut c: Vec<f64> = before.iter().map(|c| f(*c)).collect();
        matmul_naive(
            view(&x, [m, k], transposed[0], gap),
            view(&y, [k, n], transposed[1], gap),
            &mut c,
            write,
        );
        c
    };
    let (want, size) = (product(f64::from), product(|x| f64::from(x).abs()));
    let differences = got.iter().zip(&want).zip(&size);
    differences
        .map(|((g, w), s)| (f64::from(*g) - w).abs() / s.max(1e-300))
        .fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn any_product_equals_the_naive_one(
        m in 1_usize..100, n in 1_usize..100, k in 1_usize..400,
        transposed: [bool; 2], gap in 0_usize..3, add: bool,
    ) {
        if has_tiles() {
            let error = error([m, n, k], transposed, gap, if add { Write::Add } else { Write::Replace });
            prop_assert!(error < 3e-7, "{error:e}");
        }
    }
}

#[test]
fn errors_are_no_larger_than_those_of_multiply_adds() {
    if !has_tiles() {
        return;
    }
    for k in [64, 300, 2000] {
        let shape = [64, 96, k];
        let of_tiles = error(shape, [false, true], 0, Write::Replace);
        let (x, y) = (singles(&numbers(64 * k, 1)), singles(&numbers(96 * k, 2)));
        let mut chain = vec![0.0; 64 * 96];
        limited_to(InstructionSet::Avx512, || {
            let (a, b) = (view(&x, [64, k], false, 0), view(&y, [k, 96], true, 0));
            super::super::matmul(a, b, &mut chain, Write::Replace);
        });
        let zeros = vec![0.0; 64 * 96];
        let of_chain = compare(
            shape,
            [&x, &y],
            [false, true],
            0,
            Write::Replace,
            &zeros,
            &chain,
        );
        assert!(of_tiles <= of_chain, "{k}: {of_tiles:e} and {of_chain:e}");
    }
}

#[test]
fn numbers_that_have_no_parts_are_left_to_another_kernel() {
    if !has_tiles() {
        return;
    }
    for special in [f32::INFINITY, f32::NAN, f32::NEG_INFINITY, f32::MAX, 2e12] {
        for (place, write) in [
            (0, Write::Replace),
            (1, Write::Replace),
            (0, Write::Add),
            (1, Write::Add),
        ] {
            for [m, n] in [[40, 70], [70, 40]] {
                let k = 80;
                let mut xy = [singles(&numbers(m * k, 1)), singles(&numbers(k * n, 2))];
                xy[place][77] = special;
                let mut c = vec![1.0; m * n];
                assert!(!run(
                    [m, n, k],
                    [&xy[0], &xy[1]],
                    [false, false],
                    0,
                    write,
                    &mut c
                ));
                assert!(write == Write::Replace || c.iter().all(|c| *c == 1.0));
                let (a, b) = (
                    view(&xy[0], [m, k], false, 0),
                    view(&xy[1], [k, n], false, 0),
                );
                let (mut got, mut want) = (vec![1.0; m * n], vec![1.0; m * n]);
                super::super::matmul(a, b, &mut got, write);
                limited_to(InstructionSet::Avx512, || {
                    super::super::matmul(a, b, &mut want, write);
                });
                assert!(
                    got.iter()
                        .zip(&want)
                        .all(|(g, w)| g.to_bits() == w.to_bits())
                );
            }
        }
    }
}

#[test]
fn small_numbers_lose_nothing_that_shows() {
    if !has_tiles() {
        return;
    }
    let shape = [32, 32, 64];
    for scale in [1e-37_f32, 1e-30, 1e-10, 1e10] {
        let x: Vec<f32> = singles(&numbers(32 * 64, 1))
            .iter()
            .map(|x| x * scale)
            .collect();
        let y = singles(&numbers(32 * 64, 2));
        let (mut got, zeros) = (vec![0.0; 1024], vec![0.0; 1024]);
        assert!(run(
            shape,
            [&x, &y],
            [false, false],
            0,
            Write::Replace,
            &mut got
        ));
        let error = compare(
            shape,
            [&x, &y],
            [false, false],
            0,
            Write::Replace,
            &zeros,
            &got,
        );
        // Parts below 2⁻¹²⁶ are taken for zero.
        let allowed = 3e-7 + 1.2e-38 / f64::from(scale);
        assert!(error < allowed, "{scale}: {error:e}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    for [m, n, k] in [
        [97, 113, 301],
        [32, 512, 784],
        [600, 40, 1500],
        [1000, 300, 64],
    ] {
        let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(n * k, 2)));
        same_bits_on_any_threads(|| {
            let mut c = vec![0.0; m * n];
            if has_tiles() {
                assert!(run(
                    [m, n, k],
                    [&x, &y],
                    [false, true],
                    0,
                    Write::Replace,
                    &mut c
                ));
            }
            c
        });
    }
}

#[test]
fn numbers_that_are_narrow_have_the_bits_that_six_products_give() {
    if !has_tiles() {
        return;
    }
    let [m, n, k] = [70, 48, 100];
    let narrow = |numbers: Vec<f64>| -> Vec<f32> {
        let bits = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
        singles(&numbers).into_iter().map(bits).collect()
    };
    let (x, y) = (narrow(numbers(m * k, 1)), narrow(numbers(k * n, 2)));
    let mut short = vec![0.0; m * n];
    assert!(run(
        [m, n, k],
        [&x, &y],
        [false; 2],
        0,
        Write::Replace,
        &mut short
    ));
    assert!(
        compare(
            [m, n, k],
            [&x, &y],
            [false; 2],
            0,
            Write::Replace,
            &vec![0.0; m * n],
            &short
        ) < 1e-6
    );
    // One more column of other numbers, and everything is multiplied in three parts.
    let wide: Vec<f32> = y
        .chunks(n)
        .flat_map(|row| row.iter().copied().chain([0.1]))
        .collect();
    let mut long = vec![0.0; m * (n + 1)];
    assert!(run(
        [m, n + 1, k],
        [&x, &wide],
        [false; 2],
        0,
        Write::Replace,
        &mut long
    ));
    for (short, long) in short.chunks(n).zip(long.chunks(n + 1)) {
        assert_eq!(short, &long[..n]);
    }
}
