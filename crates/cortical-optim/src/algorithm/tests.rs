//! Every fused update against its naive form, on every instruction set and number of threads.

use super::*;
use crate::*;
use cortical_kernels::isa::{InstructionSet, limited_to};
use cortical_kernels::optimizer::clip;
use cortical_kernels::{parallel, philox};

/// Numbers in (−1, 1) that follow no pattern an update could be right on by chance.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let words = philox::block([seed, 7], [i as u32, 0, 0, 0]);
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

/// Six steps from the same start with the same gradients.
fn run_steps<T: Real>(algorithm: &impl Algorithm, dims: &[usize], fast: bool) -> Run<T> {
    let wide = |x: Vec<f32>| -> Vec<T> { x.iter().map(|x| T::from_f64((*x).into())).collect() };
    let n = dims.iter().product();
    let mut param = wide(numbers(n, 1));
    let mut state = vec![vec![T::ZERO; n]; algorithm.state_names(dims).len()];
    let mut product = 1.0;
    for t in 1..=6 {
        let grad = wide(numbers(n, 100 + t));
        let mut state: Vec<&mut [T]> = state.iter_mut().map(|s| &mut s[..]).collect();
        // Half of the steps with a clipped gradient.
        let at = Step {
            momentum_product: product,
            grad_scale: if t % 2 == 0 { 0.7 } else { 1.0 },
            ..Step::number(t.into())
        };
        product *= algorithm.scheduled_momentum(t.into()).unwrap_or(1.0);
        if fast {
            algorithm.fused(at, dims, &mut param, &grad, &mut state);
        } else {
            algorithm.naive(at, dims, &mut param, &grad, &mut state);
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

pub(crate) fn check(algorithm: impl Algorithm) {
    let what = format!("{algorithm:?}");
    for n in [0, 1, 2, 15, 16, 17, 100] {
        assert_near::<f64>(
            &what,
            &run_steps(&algorithm, &[n], true),
            &run_steps(&algorithm, &[n], false),
            1e-11,
        );
        assert_near::<f32>(
            &what,
            &run_steps(&algorithm, &[n], true),
            &run_steps(&algorithm, &[n], false),
            5e-6,
        );
    }
    // The size needs several tasks of which the last is short.
    let n = 3 * parallel::TASK_ELEMENTS + 5;
    let one = pool(1).install(|| run_steps::<f32>(&algorithm, &[n], true));
    for threads in [2, 4] {
        let several = pool(threads).install(|| run_steps::<f32>(&algorithm, &[n], true));
        assert!(several == one, "{what}: {threads} threads change the bits");
    }
    for set in [InstructionSet::Portable, InstructionSet::Avx2] {
        let limited = limited_to(set, || run_steps::<f32>(&algorithm, &[n], true));
        assert!(limited == one, "{what}: {set:?} changes the bits");
    }
}

#[test]
fn a_scale_in_the_step_is_a_scaled_gradient() {
    let (mut fused, mut apart) = (numbers(100, 1), numbers(100, 1));
    let mut grad = numbers(100, 2);
    let scale = 0.3;
    let at = Step {
        grad_scale: scale,
        ..Step::number(1)
    };
    let sgd = SgdConfig {
        weight_decay: 0.1,
        maximize: true,
        ..SgdConfig::default()
    };
    sgd.fused(at, &[100], &mut fused, &grad, &mut []);
    clip::scale(&mut grad, scale);
    sgd.fused(Step::number(1), &[100], &mut apart, &grad, &mut []);
    assert_eq!(fused, apart);
}

#[test]
fn adam() {
    for decoupled in [false, true] {
        for amsgrad in [false, true] {
            check(AdamConfig {
                lr: 0.05,
                weight_decay: 0.1,
                decoupled_weight_decay: decoupled,
                amsgrad,
                ..AdamConfig::default()
            });
        }
    }
    check(AdamConfig {
        maximize: true,
        betas: (0.0, 0.999),
        ..AdamConfig::default()
    });
}

#[test]
fn sgd() {
    let plain = SgdConfig {
        lr: 0.1,
        weight_decay: 0.01,
        ..SgdConfig::default()
    };
    check(plain);
    check(SgdConfig {
        maximize: true,
        ..plain
    });
    check(SgdConfig {
        momentum: 0.9,
        dampening: 0.3,
        ..plain
    });
    check(SgdConfig {
        momentum: 0.9,
        nesterov: true,
        ..plain
    });
}

#[test]
fn rmsprop() {
    for momentum in [0.0, 0.8] {
        for centered in [false, true] {
            check(RmsPropConfig {
                momentum,
                centered,
                weight_decay: 0.1,
                ..RmsPropConfig::default()
            });
        }
    }
    check(RmsPropConfig {
        maximize: true,
        ..RmsPropConfig::default()
    });
}

#[test]
fn the_others() {
    for maximize in [false, true] {
        check(AdagradConfig {
            lr_decay: 0.1,
            weight_decay: 0.1,
            maximize,
            ..AdagradConfig::default()
        });
        check(AdadeltaConfig {
            weight_decay: 0.1,
            maximize,
            ..AdadeltaConfig::default()
        });
        check(AdamaxConfig {
            weight_decay: 0.1,
            maximize,
            ..AdamaxConfig::default()
        });
        for decoupled in [false, true] {
            check(NAdamConfig {
                weight_decay: 0.1,
                decoupled_weight_decay: decoupled,
                maximize,
                ..NAdamConfig::default()
            });
            // β₂ = 0.9 passes from plain momentum to the rectified form within the six steps.
            check(RAdamConfig {
                weight_decay: 0.1,
                betas: (0.9, 0.9),
                decoupled_weight_decay: decoupled,
                maximize,
                ..RAdamConfig::default()
            });
        }
    }
}

#[test]
fn lion_and_lamb() {
    for maximize in [false, true] {
        check(LionConfig {
            lr: 0.01,
            weight_decay: 0.1,
            maximize,
            ..LionConfig::default()
        });
        check(LambConfig {
            lr: 0.01,
            weight_decay: 0.1,
            maximize,
            ..LambConfig::default()
        });
    }
    // A parameter of zeros has no length to follow, and still moves.
    let mut param = [0.0_f64; 2];
    let mut states = [[0.0; 2], [0.0; 2]];
    let [m, v] = &mut states;
    LambConfig::default().fused(Step::number(1), &[2], &mut param, &[1.0, -1.0], &mut [m, v]);
    assert!(param[0] < 0.0 && param[1] > 0.0);
}

#[test]
fn muon_steps_are_nearly_orthogonal() {
    for (rows, cols) in [(3, 5), (5, 3), (4, 4), (1, 6), (0, 4), (33, 70)] {
        for nesterov in [false, true] {
            let muon = MuonConfig {
                lr: 0.5,
                weight_decay: 0.0,
                nesterov,
                adjust_lr_fn: AdjustLr::MatchRmsAdamw,
                ..MuonConfig::default()
            };
            let of = |threads: usize, fast: bool| {
                pool(threads).install(|| run_steps::<f32>(&muon, &[rows, cols], fast))
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
    let muon = MuonConfig {
        lr: -1.0,
        weight_decay: 0.0,

        ..MuonConfig::default()
    };
    let (mut p, mut b) = (vec![0.0_f64; 24], vec![0.0; 24]);
    let g: Vec<f64> = numbers(24, 9).into_iter().map(f64::from).collect();
    muon.fused(Step::number(1), &[rows, cols], &mut p, &g, &mut [&mut b]);
    for i in 0..rows {
        for j in 0..=i {
            let dot: f64 = (0..cols).map(|c| p[i * cols + c] * p[j * cols + c]).sum();
            let (low, high) = if i == j { (0.4, 1.5) } else { (-0.35, 0.35) };
            assert!((low..high).contains(&dot), "{i} {j}: {dot}");
        }
    }
}

#[test]
fn muon_follows_the_shape() {
    for (way, rows, cols, want) in [
        (AdjustLr::Original, 8, 2, 2.0),
        (AdjustLr::Original, 2, 8, 1.0),
        (AdjustLr::SpectralUnclamped, 2, 8, 0.5),
        (AdjustLr::MatchRmsAdamw, 100, 25, 2.0),
    ] {
        assert_eq!(way.factor(rows, cols), want, "{way:?}");
    }
}
