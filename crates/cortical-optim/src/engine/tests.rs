//! The engine under every algorithm: both paths, state, threads, groups, and what it refuses.

use super::*;
use crate::{
    AdadeltaConfig, AdagradConfig, AdamConfig, AdamW, AdamWConfig, AdamaxConfig, LambConfig,
    LionConfig, Muon, MuonConfig, MuonOthers, NAdamConfig, OptimizerConfig, RAdamConfig,
    RmsPropConfig, Sgd, SgdConfig,
};
use candle_core::{Device, Var};
use cortical_tensor::{Rng, Seed, with_fallback};

/// Every algorithm, in every variant that has code of its own.
fn configs() -> Vec<OptimizerConfig> {
    use OptimizerConfig as C;
    let adamw = AdamWConfig {
        lr: 0.05,
        weight_decay: 0.1,
        ..Default::default()
    };
    let sgd = SgdConfig {
        lr: 0.1,
        weight_decay: 0.01,
        ..Default::default()
    };
    let rms = RmsPropConfig {
        weight_decay: 0.1,
        ..Default::default()
    };
    let mut all = vec![
        C::AdamW(adamw),
        C::AdamW(AdamWConfig {
            amsgrad: true,
            ..adamw
        }),
        C::Adam(AdamConfig {
            weight_decay: 0.1,
            amsgrad: true,
            ..Default::default()
        }),
        C::Sgd(sgd),
        C::Sgd(SgdConfig {
            momentum: 0.9,
            dampening: 0.2,
            ..sgd
        }),
        C::Sgd(SgdConfig {
            momentum: 0.9,
            nesterov: true,
            ..sgd
        }),
        C::Adagrad(AdagradConfig {
            lr_decay: 0.1,
            initial_accumulator_value: 0.5,
            weight_decay: 0.1,
            ..Default::default()
        }),
        C::Adadelta(AdadeltaConfig {
            weight_decay: 0.1,
            ..Default::default()
        }),
        C::Adamax(AdamaxConfig {
            weight_decay: 0.1,
            maximize: true,
            ..Default::default()
        }),
    ];
    for momentum in [0.0, 0.8] {
        for centered in [false, true] {
            all.push(C::RmsProp(RmsPropConfig {
                momentum,
                centered,
                ..rms
            }));
        }
    }
    for decoupled_weight_decay in [false, true] {
        all.push(C::NAdam(NAdamConfig {
            weight_decay: 0.1,
            decoupled_weight_decay,
            ..Default::default()
        }));
        // β₂ = 0.9 passes from plain to rectified steps within a few.
        all.push(C::RAdam(RAdamConfig {
            weight_decay: 0.1,
            betas: (0.9, 0.9),
            decoupled_weight_decay,
            ..Default::default()
        }));
    }
    all.push(C::Lion(LionConfig {
        lr: 0.01,
        weight_decay: 0.1,
        ..Default::default()
    }));
    all.push(C::Lamb(LambConfig::default()));
    all.push(C::Adam(AdamConfig {
        weight_decay: 0.1,
        decoupled_weight_decay: true,
        ..Default::default()
    }));
    all.push(C::Muon(MuonConfig {
        others: Some(MuonOthers::default()),
        ..Default::default()
    }));
    all
}

fn random(rng: &mut Rng, dims: &[usize], dtype: DType) -> Tensor {
    let mut values = vec![0.0; dims.iter().product()];
    rng.fill_uniform(&mut values, -1.0, 1.0);
    let tensor = Tensor::from_vec(values, dims, &Device::Cpu).unwrap();
    tensor.to_dtype(dtype).unwrap()
}

/// A store with parameters of these shapes, always the same values.
fn store(shapes: &[&[usize]], dtype: DType) -> Params {
    let params = Params::new(&Device::Cpu, Seed(1));
    let mut rng = Rng::new(Seed(2), "weights");
    for (i, dims) in shapes.iter().enumerate() {
        let var = Var::from_tensor(&random(&mut rng, dims, dtype)).unwrap();
        params.adopt(&format!("p{i}"), var).unwrap();
    }
    params
}

/// Gives every parameter the gradient that belongs to step `t`.
fn give_gradients(params: &Params, t: u64) {
    let mut rng = Rng::new(Seed(t), "gradients");
    for param in params.all() {
        let grad = random(&mut rng, param.dims(), param.dtype());
        param.slot().set(Some(grad));
    }
}

fn run(optimizer: &mut dyn Optimizer, params: &Params, steps: std::ops::Range<u64>) {
    for t in steps {
        give_gradients(params, t);
        optimizer.step().unwrap();
    }
}

/// All values of all parameters.
fn weights(params: &Params) -> Vec<f64> {
    let flat = |p: &Param| -> Vec<f64> {
        let wide = p.tensor().to_dtype(DType::F64).unwrap();
        wide.flatten_all().unwrap().to_vec1().unwrap()
    };
    params.all().iter().flat_map(flat).collect()
}

#[track_caller]
fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{what}, element {i}: {got} {want}"
        );
    }
}

/// Shapes that no task divides evenly, with an empty and a scalar one.
const SHAPES: &[&[usize]] = &[&[3, 5], &[7], &[0, 2], &[], &[2, 3, 2]];

mod gradients;
mod options;
mod refusals;
mod state;

#[test]
fn the_fallback_takes_the_steps_of_the_kernel() {
    for config in configs() {
        for (dtype, tolerance) in [
            (DType::F64, 1e-11),
            (DType::F32, 5e-6),
            (DType::BF16, 0.02),
            (DType::F16, 3e-3),
        ] {
            let what = format!("{config:?} {dtype:?}");
            let (fast, fallback) = (store(SHAPES, dtype), store(SHAPES, dtype));
            let before = weights(&fast);
            run(&mut *config.build(&fast, vec![]).unwrap(), &fast, 0..7);
            with_fallback(|| {
                run(
                    &mut *config.build(&fallback, vec![]).unwrap(),
                    &fallback,
                    0..7,
                );
            });
            assert_close(&what, &weights(&fallback), &weights(&fast), tolerance);
            let moved = before.iter().zip(weights(&fast)).all(|(a, b)| *a != b);
            assert!(
                moved || dtype != DType::F64,
                "{what}: something stood still"
            );
        }
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let tasks = 2 * parallel::TASK_ELEMENTS + 5;
    for config in configs() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let params = store(&[&[tasks], &[11], &[3, 7]], DType::F32);
                run(&mut *config.build(&params, vec![]).unwrap(), &params, 0..3);
                weights(&params)
            })
        };
        let one = with(1);
        assert!(with(2) == one && with(4) == one, "{config:?}");
    }
}
