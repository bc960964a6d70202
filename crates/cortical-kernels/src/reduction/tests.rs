//! Every reduction against its definition, at sizes that are cut in every way.

use super::*;
use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};

const SHAPES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [3, 7, 1],
    [2, 5, 3],
    [1, 70_001, 1],
    [2, 20_000, 1],
    [1, 300, 130],
    [1, 9, 5_000],
    [3, 0, 2],
    [0, 4, 2],
    [2, 4, 0],
    [5000, 3, 2],
    [2, 700, 40],
];

const TERMS: [Term; 7] = [
    Term::Plain,
    Term::Absolute,
    Term::Square,
    Term::Power(3.0),
    Term::NonZero,
    Term::Deviation,
    Term::Exponential,
];

fn naive(dims: [usize; 3], term: Term, x: &[f64], c: &[f64]) -> Vec<f64> {
    let [outer, n, inner] = dims;
    let mut y = vec![0.0; outer * inner];
    for (at, y) in y.iter_mut().enumerate() {
        let (o, i) = (at / inner, at % inner);
        for r in 0..n {
            let x = x[(o * n + r) * inner + i];
            *y += match term {
                Term::Plain => x,
                Term::Absolute => x.abs(),
                Term::Square => x * x,
                Term::Power(p) => x.abs().powf(p),
                Term::NonZero => f64::from(u8::from(x != 0.0)),
                Term::Deviation => (x - c[at]).powi(2),
                Term::Exponential => (x - c[at]).exp(),
            };
        }
    }
    y
}

#[test]
fn sums_are_what_their_terms_say_on_every_instruction_set() {
    for dims in SHAPES {
        let (x, c) = (
            numbers(dims.iter().product(), 1),
            numbers(dims[0] * dims[2], 2),
        );
        for term in TERMS {
            let want = naive(dims, term, &x, &c);
            on_every_isa(|isa| {
                let (x, c) = (singles(&x), singles(&c));
                let mut y = vec![f32::NAN; want.len()];
                sum(dims, term, &x, &c, &mut y);
                // Sums of many terms of both signs lose digits against the terms, not against themselves.
                let scale = 1.0 + dims[1] as f64 / 100.0;
                assert_close(
                    &format!("{dims:?} {term:?} {isa:?}"),
                    &y,
                    &want,
                    1e-6 * scale,
                );
            });
        }
    }
}

#[test]
fn a_long_sum_keeps_its_digits() {
    let n = 1 << 22;
    let x = vec![0.1_f32; n];
    let mut y = [0.0];
    sum([1, n, 1], Term::Plain, &x, &[], &mut y);
    let want = f64::from(0.1_f32) * n as f64;
    assert!(
        (f64::from(y[0]) / want - 1.0).abs() < 1e-6,
        "{} {want}",
        y[0]
    );
}

#[test]
fn extremes_and_their_places() {
    for dims in SHAPES {
        let [outer, n, inner] = dims;
        if n == 0 {
            continue;
        }
        // Few different values, so that there are ties.
        let x: Vec<f64> = (numbers(outer * n * inner, 1).iter())
            .map(|x| (x * 40.0).round())
            .collect();
        for end in [End::Most, End::Least, End::Furthest, End::Nearest] {
            let (mut y, mut places) =
                (vec![f64::NAN; outer * inner], vec![u32::MAX; outer * inner]);
            extreme(dims, end, &x, &mut y, &mut places);
            for at in 0..outer * inner {
                let (o, i) = (at / inner, at % inner);
                let column: Vec<f64> = (0..n).map(|r| x[(o * n + r) * inner + i]).collect();
                let key = |x: &f64| match end {
                    End::Most => -x,
                    End::Least => *x,
                    End::Furthest => -x.abs(),
                    End::Nearest => x.abs(),
                };
                let best = column.iter().map(key).fold(f64::INFINITY, f64::min);
                let first = column.iter().position(|x| key(x) == best);
                assert_eq!(Some(places[at] as usize), first, "{dims:?} {end:?}");
                assert_eq!(y[at], column[places[at] as usize]);
            }
        }
    }
}

#[test]
fn not_a_number_is_every_extreme() {
    for end in [End::Most, End::Least, End::Furthest, End::Nearest] {
        let (mut y, mut places) = ([0.0_f32], [9]);
        let x = [1.0, f32::NAN, 3.0, f32::NAN];
        extreme([1, 4, 1], end, &x, &mut y, &mut places);
        assert!(y[0].is_nan() && places == [1], "{end:?}");
    }
}

#[test]
fn gradients_are_central_differences() {
    for dims in [[2, 5, 3], [3, 7, 1], [1, 1, 1], [1, 20_000, 1]] {
        let [outer, n, inner] = dims;
        let mut x = numbers(outer * n * inner, 4);
        let (c, d_y) = (numbers(outer * inner, 5), numbers(outer * inner, 6));
        for (slope, term) in [
            (Slope::Constant(1.0), Term::Plain),
            (Slope::Deviation(2.0), Term::Deviation),
            (Slope::Exponential, Term::Exponential),
            (Slope::Sign, Term::Absolute),
        ] {
            let mut d_x = vec![f64::NAN; x.len()];
            backward(dims, slope, &x, &c, &d_y, &mut d_x);
            for at in (0..x.len()).step_by(x.len() / 40 + 1) {
                let mut moved = |h: f64| {
                    let (mut y, old) = (vec![0.0; d_y.len()], x[at]);
                    x[at] += h;
                    sum(dims, term, &x, &c, &mut y);
                    x[at] = old;
                    y.iter().zip(&d_y).map(|(y, d)| y * d).sum::<f64>()
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (d_x[at] - want).abs() < 1e-6,
                    "{dims:?} {slope:?}: {} {want}",
                    d_x[at]
                );
            }
        }
    }
    let (mut d_x, x) = ([9.0; 3], [3.0, 0.0, -4.0]);
    backward([1, 3, 1], Slope::Ratio, &x, &[5.0], &[10.0], &mut d_x);
    assert_eq!(d_x, [6.0, 0.0, -8.0]);
    backward([1, 3, 1], Slope::Power(3.0), &x, &[5.0], &[25.0], &mut d_x);
    assert_eq!(d_x.map(|d: f64| d.round()), [9.0, 0.0, -16.0]);
    backward([1, 3, 1], Slope::Ratio, &[0.0; 3], &[0.0], &[1.0], &mut d_x);
    assert_eq!(d_x, [0.0; 3]);
    extreme_backward([1, 3, 1], &[2], &[7.0], &mut d_x);
    assert_eq!(d_x, [0.0, 0.0, 7.0]);
}

#[test]
fn threads_do_not_change_a_bit() {
    for dims in [[1, 100_000, 1], [3, 700, 90], [1, 9, 20_000], [5000, 3, 2]] {
        let [outer, _, inner] = dims;
        let x = singles(&numbers(dims.iter().product(), 1));
        same_bits_on_any_threads(|| {
            let (mut y, mut most) = (vec![0.0; outer * inner], vec![0.0; outer * inner]);
            let mut places = vec![0; y.len()];
            sum(dims, Term::Square, &x, &[], &mut y);
            extreme(dims, End::Most, &x, &mut most, &mut places);
            let mut d_x = vec![0.0; x.len()];
            backward(dims, Slope::Exponential, &x, &most, &y, &mut d_x);
            let places = places.iter().map(|p| *p as f32).collect();
            [y, most, places, d_x].concat()
        });
    }
}
