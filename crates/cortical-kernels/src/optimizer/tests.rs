//! Every update against its naive form, on every instruction set and number of threads.

use super::adadelta::Adadelta;
use super::adagrad::Adagrad;
use super::adam::Adam;
use super::adamax::Adamax;
use super::average::{move_towards, move_towards_naive};
use super::clip::{self, Norm};
use super::lamb::Lamb;
use super::lion::Lion;
use super::muon::{self, Adjust, Muon, bfloat16};
use super::nadam::NAdam;
use super::radam::RAdam;
use super::rmsprop::RmsProp;
use super::sgd::Sgd;
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

/// A parameter with its states after some steps.
#[derive(Clone, PartialEq, Debug)]
struct Run<T> {
    param: Vec<T>,
    state: Vec<Vec<T>>,
}

/// Six steps from the same start with the same gradients; NAdam's product is left at 1, for both sides alike.
fn run_steps<T: Real, U: Update>(algorithm: &U, n: usize, fast: bool) -> Run<T> {
    let wide = |x: Vec<f32>| -> Vec<T> { x.iter().map(|x| T::from_f64((*x).into())).collect() };
    let mut param = wide(numbers(n, 1));
    let mut state = vec![vec![T::ZERO; n]; algorithm.states()];
    for t in 1..=6 {
        let grad = wide(numbers(n, 100 + t));
        let mut state: Vec<&mut [T]> = state.iter_mut().map(|s| &mut s[..]).collect();
        // Half of the steps with a clipped gradient.
        let at = At {
            t: t.into(),
            grad_scale: if t % 2 == 0 { 0.7 } else { 1.0 },
        };
        if fast {
            algorithm.step(at, &mut param, &grad, &mut state);
        } else {
            algorithm.naive(at, &mut param, &grad, &mut state);
        }
    }
    Run { param, state }
}

fn assert_near<T: Real>(what: &str, got: &Run<T>, want: &Run<T>, tolerance: f64) {
    let flat = |run: &Run<T>| -> Vec<f64> {
        let state = run.state.iter().flatten();
        run.param.iter().chain(state).map(|x| x.to_f64()).collect()
    };
    let (got, want) = (flat(got), flat(want));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{what}, element {i}: {got} {want}"
        );
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

fn check<U: Update + std::fmt::Debug>(algorithm: U) {
    let what = format!("{algorithm:?}");
    for n in [0, 1, 2, 15, 16, 17, 100] {
        assert_near::<f64>(
            &what,
            &run_steps(&algorithm, n, true),
            &run_steps(&algorithm, n, false),
            1e-11,
        );
        assert_near::<f32>(
            &what,
            &run_steps(&algorithm, n, true),
            &run_steps(&algorithm, n, false),
            5e-6,
        );
    }
    // The size needs several tasks of which the last is short.
    let n = 3 * TASK_ELEMENTS + 5;
    let one = pool(1).install(|| run_steps::<f32, _>(&algorithm, n, true));
    for threads in [2, 4] {
        let several = pool(threads).install(|| run_steps::<f32, _>(&algorithm, n, true));
        assert!(several == one, "{what}: {threads} threads change the bits");
    }
    for set in [InstructionSet::Portable, InstructionSet::Avx2] {
        let limited = limited_to(set, || run_steps::<f32, _>(&algorithm, n, true));
        assert!(limited == one, "{what}: {set:?} changes the bits");
    }
}

#[test]
fn a_scale_in_the_step_is_a_scaled_gradient() {
    let (mut fused, mut apart) = (numbers(100, 1), numbers(100, 1));
    let mut grad = numbers(100, 2);
    let scale = 0.3;
    let at = At {
        t: 1,
        grad_scale: scale,
    };
    let sgd = Sgd {
        weight_decay: 0.1,
        maximize: true,
        ..Sgd::default()
    };
    sgd.step(at, &mut fused, &grad, &mut []);
    clip::scale(&mut grad, scale);
    sgd.step(At::step(1), &mut apart, &grad, &mut []);
    assert_eq!(fused, apart);
}

#[test]
fn adam() {
    for decoupled in [false, true] {
        for amsgrad in [false, true] {
            check(Adam {
                lr: 0.05,
                weight_decay: 0.1,
                decoupled,
                amsgrad,
                ..Adam::default()
            });
        }
    }
    check(Adam {
        maximize: true,
        beta1: 0.0,
        ..Adam::default()
    });
}

#[test]
fn sgd() {
    let plain = Sgd {
        lr: 0.1,
        weight_decay: 0.01,
        ..Sgd::default()
    };
    check(plain);
    check(Sgd {
        maximize: true,
        ..plain
    });
    check(Sgd {
        momentum: 0.9,
        dampening: 0.3,
        ..plain
    });
    check(Sgd {
        momentum: 0.9,
        nesterov: true,
        ..plain
    });
}

#[test]
fn rmsprop() {
    for momentum in [0.0, 0.8] {
        for centered in [false, true] {
            check(RmsProp {
                momentum,
                centered,
                weight_decay: 0.1,
                ..RmsProp::default()
            });
        }
    }
    check(RmsProp {
        maximize: true,
        ..RmsProp::default()
    });
}

#[test]
fn the_others() {
    for maximize in [false, true] {
        check(Adagrad {
            lr_decay: 0.1,
            weight_decay: 0.1,
            maximize,
            ..Adagrad::default()
        });
        check(Adadelta {
            weight_decay: 0.1,
            maximize,
            ..Adadelta::default()
        });
        check(Adamax {
            weight_decay: 0.1,
            maximize,
            ..Adamax::default()
        });
        for decoupled in [false, true] {
            check(NAdam {
                weight_decay: 0.1,
                decoupled,
                maximize,
                ..NAdam::default()
            });
            // β₂ = 0.9 passes from plain momentum to the rectified form within the six steps.
            check(RAdam {
                weight_decay: 0.1,
                beta2: 0.9,
                decoupled,
                maximize,
                ..RAdam::default()
            });
        }
    }
}

#[test]
fn lion_and_lamb() {
    for maximize in [false, true] {
        check(Lion {
            lr: 0.01,
            weight_decay: 0.1,
            maximize,
            ..Lion::default()
        });
        check(Lamb {
            lr: 0.01,
            weight_decay: 0.1,
            maximize,
            ..Lamb::default()
        });
    }
    // A parameter of zeros has no length to follow, and still moves.
    let mut param = [0.0_f64; 2];
    let mut states = [[0.0; 2], [0.0; 2]];
    let [m, v] = &mut states;
    Lamb::default().step(At::step(1), &mut param, &[1.0, -1.0], &mut [m, v]);
    assert!(param[0] < 0.0 && param[1] > 0.0);
}

#[test]
fn muon_steps_are_nearly_orthogonal() {
    for (rows, cols) in [(3, 5), (5, 3), (4, 4), (1, 6), (0, 4), (33, 70)] {
        for nesterov in [false, true] {
            let muon = Muon {
                lr: 0.5,
                weight_decay: 0.0,
                nesterov,
                adjust: Adjust::MatchRmsAdamW,
                rows,
                cols,
                ..Muon::default()
            };
            let n = rows * cols;
            let of = |threads: usize, fast: bool| {
                pool(threads).install(|| run_steps::<f32, _>(&muon, n, fast))
            };
            let fast = of(1, true);
            assert!(
                of(4, true) == fast,
                "{rows} × {cols}: threads change the bits"
            );
            // The sums of another order are now and then rounded the other way: by one of 256 steps.
            let naive = of(1, false);
            for (f, n) in fast.param.iter().zip(&naive.param) {
                assert!((f - n).abs() < 6.0 * 0.5 * 0.2 * 9.0 / 100.0, "{f} {n}");
            }
            assert_eq!(fast.state, naive.state);
        }
    }
    // One step from zero is the direction itself: rows at right angles, of lengths near 1.
    let (rows, cols) = (3, 8);
    let muon = Muon {
        lr: -1.0,
        weight_decay: 0.0,
        adjust: Adjust::Original,
        rows,
        cols,
        ..Muon::default()
    };
    let (mut p, mut b) = (vec![0.0_f64; 24], vec![0.0; 24]);
    let g: Vec<f64> = numbers(24, 9).into_iter().map(f64::from).collect();
    muon.step(At::step(1), &mut p, &g, &mut [&mut b]);
    for i in 0..rows {
        for j in 0..=i {
            let dot: f64 = (0..cols).map(|c| p[i * cols + c] * p[j * cols + c]).sum();
            let (low, high) = if i == j { (0.4, 1.5) } else { (-0.35, 0.35) };
            assert!((low..high).contains(&dot), "{i} {j}: {dot}");
        }
    }
}

#[test]
fn bfloat16_rounds_to_nearest_even() {
    for (x, want) in [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (-1.0 - 1.001 / 256.0, -1.0 - 2.0 / 256.0),
        (f32::MAX, f32::INFINITY),
        (0.0, 0.0),
    ] {
        assert_eq!(bfloat16(x), want, "{x}");
    }
    assert!(bfloat16(f32::NAN).is_nan());
    assert_eq!(muon::Adjust::Original.factor(8, 2), 2.0);
    assert_eq!(muon::Adjust::Original.factor(2, 8), 1.0);
    assert_eq!(muon::Adjust::SpectralUnclamped.factor(2, 8), 0.5);
    assert_eq!(muon::Adjust::MatchRmsAdamW.factor(100, 25), 2.0);
}

#[test]
fn radam_waits_for_its_averages() {
    let radam = RAdam::default();
    let first = (1..20).find(|t| radam.rectification(*t).is_some());
    assert_eq!(first, Some(6));
    assert!((radam.rectification(1_000_000).unwrap() - 1.0).abs() < 1e-6);
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

#[test]
#[should_panic(expected = "optimizer: gradient and parameter")]
fn lengths_are_checked() {
    Sgd::default().step(At::step(1), &mut [1.0_f32], &[1.0, 2.0], &mut []);
}
