//! The pass over a parameter, averages and norms against their plain loops, on every instruction set and number of
//! threads.

use super::average::{move_towards, move_towards_naive};
use super::clip::{self, Norm};
use super::*;
use crate::isa::limited_to;

/// Numbers in (−1, 1) that follow no pattern a kernel could be right on by chance.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let words = crate::philox::block([seed, 7], [i as u32, 0, 0, 0]);
            words[0] as f32 / u32::MAX as f32 * 2.0 - 1.0
        })
        .collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

#[test]
fn an_average_moves_by_its_share() {
    for n in [0, 1, 33, 2 * TASK_ELEMENTS + 3] {
        let (mut fast, x) = (numbers(n, 1), numbers(n, 2));
        let mut naive = fast.clone();
        move_towards(&mut fast, &x, 0.25);
        move_towards_naive(&mut naive, &x, 0.25);
        assert_eq!(fast, naive);
    }
    let mut average = [1.0_f64];
    move_towards(&mut average, &[3.0], 0.25);
    assert_eq!(average, [1.5]);
}

#[test]
fn norms_equal_the_naive_ones_at_every_length_and_number_of_threads() {
    for norm in [Norm::One, Norm::Two, Norm::Infinity, Norm::P(2.5)] {
        for n in [0, 1, 15, 16, 17, 1000, 3 * TASK_ELEMENTS + 5] {
            let x = numbers(n, 3);
            let got = clip::total(norm, [clip::part(norm, &x)]);
            let want = clip::naive(norm, &x);
            assert!(
                (got - want).abs() <= 1e-12 * want,
                "{norm:?} {n}: {got} {want}"
            );
            for threads in [1, 2, 4] {
                let again = pool(threads).install(|| clip::part(norm, &x));
                assert_eq!(again, clip::part(norm, &x), "{norm:?} {n} {threads}");
            }
        }
        let halves = [
            clip::part(norm, &[3.0_f64, -1.0]),
            clip::part(norm, &[-4.0_f64]),
        ];
        let whole = clip::naive(norm, &[3.0_f64, -1.0, -4.0]);
        assert!((clip::total(norm, halves) - whole).abs() < 1e-15);
        for position in [0, 20, 39] {
            let mut x = [1.0_f32; 40];
            x[position] = f32::NAN;
            assert!(clip::total(norm, [clip::part(norm, &x), 1.0]).is_nan());
        }
    }
    assert_eq!(clip::total(Norm::Two, []), 0.0);
}

#[test]
fn clipping_scales_down_only() {
    assert_eq!(clip::coefficient(0.5, 1.0), 1.0);
    assert_eq!(clip::coefficient(0.0, 1.0), 1.0);
    assert!((clip::coefficient(4.0, 1.0) - 0.25).abs() < 1e-6);
    assert!(clip::coefficient(f64::NAN, 1.0).is_nan());
    let mut x = [1.0_f32, -3.0];
    clip::scale(&mut x, 0.5);
    assert_eq!(x, [0.5, -1.5]);
    let mut x = [2.0_f32, -3.0, 0.5, f32::NAN];
    clip::clamp(&mut x, 1.0);
    assert_eq!(x[..3], [1.0, -1.0, 0.5]);
    assert!(x[3].is_nan());
}

/// A rule with a state whose order of elements and states would show.
#[derive(Clone, Copy)]
struct Momentum;

impl Rule<f32, 2> for Momentum {
    fn update(&self, p: f32, g: f32, [b, n]: [f32; 2]) -> (f32, [f32; 2]) {
        let b = 0.9 * b + g;
        (p - 0.1 * b, [b, n + 1.0])
    }
}

#[test]
fn a_rule_reaches_every_element_once_whatever_the_length_threads_and_instructions() {
    for n in [0, 1, 63, 64, 65, 1000, 3 * TASK_ELEMENTS + 5] {
        let by = |f: fn(&mut [f32], &[f32], &mut [&mut [f32]])| {
            let (mut p, g) = (numbers(n, 1), numbers(n, 2));
            let (mut b, mut count) = (numbers(n, 3), vec![0.0; n]);
            f(&mut p, &g, &mut [&mut b, &mut count]);
            (p, b, count)
        };
        let plain = by(|p, g, state| {
            each(p, g, state, |p, g, [b, n]| {
                (*p, [*b, *n]) = Momentum.update(*p, g, [*b, *n]);
            });
        });
        let fused = || by(|p, g, state| run(Momentum, p, g, state));
        for threads in [1, 2, 4] {
            assert!(
                pool(threads).install(fused) == plain,
                "{n}, {threads} threads"
            );
        }
        for set in [InstructionSet::Portable, InstructionSet::Avx2] {
            assert!(limited_to(set, fused) == plain, "{n}, {set:?}");
        }
    }
}

#[test]
#[should_panic(expected = "optimizer: gradient and parameter")]
fn lengths_are_checked() {
    let (b, n) = (&mut [0.0][..], &mut [0.0][..]);
    run(Momentum, &mut [1.0], &[1.0, 2.0], &mut [b, n]);
}
