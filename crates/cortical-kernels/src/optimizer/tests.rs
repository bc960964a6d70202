//! Every update against its naive form, on every instruction set and number of threads.

use super::adadelta::Adadelta;
use super::adagrad::Adagrad;
use super::adam::Adam;
use super::adamax::Adamax;
use super::average::{move_towards, move_towards_naive};
use super::clip::{self, Norm};
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
    for norm in [Norm::One, Norm::Two, Norm::Infinity] {
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
