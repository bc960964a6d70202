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

mod refusals;

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
fn a_state_that_was_saved_goes_on_with_the_same_bits() {
    for config in configs() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let whole = store(SHAPES, dtype);
            let mut optimizer = config.build(&whole, vec![]).unwrap();
            run(&mut *optimizer, &whole, 0..4);
            let state = optimizer.state().unwrap();
            let resumed = store(SHAPES, dtype);
            for (name, value) in whole.named_tensors() {
                resumed.set(&name, &value.copy().unwrap()).unwrap();
            }
            run(&mut *optimizer, &whole, 4..9);

            let mut optimizer = config.build(&resumed, vec![]).unwrap();
            optimizer.load_state(&state).unwrap();
            assert_eq!(optimizer.steps(), 4);
            run(&mut *optimizer, &resumed, 4..9);
            assert_eq!(weights(&resumed), weights(&whole), "{config:?} {dtype:?}");
            assert_eq!(optimizer.steps(), 9);
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

#[test]
fn states_have_pytorchs_names() {
    let names = |config: OptimizerConfig| -> Vec<String> {
        let params = store(&[&[2]], DType::F32);
        let mut optimizer = config.build(&params, vec![]).unwrap();
        run(&mut *optimizer, &params, 0..1);
        let state = optimizer.state().unwrap();
        state.into_iter().map(|(name, _)| name).collect()
    };
    let want = [
        "p0.step exp_avg exp_avg_sq",
        "p0.step exp_avg exp_avg_sq max_exp_avg_sq",
        "p0.step exp_avg exp_avg_sq max_exp_avg_sq",
        "p0.step",
        "p0.step momentum_buffer",
        "p0.step momentum_buffer",
        "p0.step sum",
        "p0.step square_avg acc_delta",
        "p0.step exp_avg exp_inf",
        "p0.step square_avg",
        "p0.step square_avg grad_avg",
        "p0.step square_avg momentum_buffer",
        "p0.step square_avg momentum_buffer grad_avg",
        "p0.step exp_avg exp_avg_sq mu_product",
        "p0.step exp_avg exp_avg_sq",
        "p0.step exp_avg exp_avg_sq mu_product",
        "p0.step exp_avg exp_avg_sq",
        "p0.step exp_avg",
        "p0.step exp_avg exp_avg_sq",
        "p0.step exp_avg exp_avg_sq",
        "p0.step exp_avg exp_avg_sq",
    ];
    let got: Vec<String> = configs().into_iter().map(|c| names(c).join(" ")).collect();
    let got: Vec<String> = got.iter().map(|n| n.replace(" p0.", " ")).collect();
    assert_eq!(got, want);
}

#[test]
fn states_begin_and_build_up_as_their_algorithm_says() {
    let state_after = |config: OptimizerConfig, steps: u64, name: &str| -> f64 {
        let params = store(&[&[1]], DType::F64);
        let mut optimizer = config.build(&params, vec![]).unwrap();
        for _ in 0..steps {
            let grad = Tensor::new(&[2.0_f64], &Device::Cpu).unwrap();
            params.all()[0].slot().set(Some(grad));
            optimizer.step().unwrap();
        }
        let state = optimizer.state().unwrap();
        let found = state.iter().find(|(n, _)| n.ends_with(name)).unwrap();
        found.1.flatten_all().unwrap().to_vec1().unwrap()[0]
    };
    let adagrad = AdagradConfig {
        initial_accumulator_value: 0.5,
        ..Default::default()
    };
    assert_eq!(
        state_after(OptimizerConfig::Adagrad(adagrad), 2, "sum"),
        8.5
    );
    let nadam = NAdamConfig {
        betas: (0.5, 0.9),
        momentum_decay: 1.0,
        ..Default::default()
    };
    let momentum = |t: i32| 0.5 * (1.0 - 0.5 * 0.96_f64.powi(t));
    let want = momentum(1) * momentum(2) * momentum(3);
    let got = state_after(OptimizerConfig::NAdam(nadam), 3, "mu_product");
    assert!((got - want).abs() < 1e-15, "{got} {want}");
}

#[test]
fn a_state_is_a_snapshot() {
    for fallback in [false, true] {
        let check = || {
            let params = store(&[&[2]], DType::F32);
            let mut optimizer = AdamW::new(&params, AdamWConfig::default()).unwrap();
            run(&mut optimizer, &params, 0..1);
            let state = optimizer.state().unwrap();
            let read = || state[1].1.to_vec1::<f32>().unwrap();
            let before = read();
            optimizer.load_state(&state).unwrap();
            run(&mut optimizer, &params, 1..2);
            assert_eq!(read(), before);
        };
        if fallback {
            with_fallback(check);
        } else {
            check();
        }
    }
}

#[test]
fn before_the_first_step_there_is_only_a_count() {
    let params = store(&[&[2]], DType::F32);
    let mut optimizer = AdamW::new(&params, AdamWConfig::default()).unwrap();
    let state = optimizer.state().unwrap();
    assert_eq!(state.len(), 1);
    assert_eq!(state[0].1.to_scalar::<i64>().unwrap(), 0);
    run(&mut optimizer, &params, 0..1);
    optimizer.load_state(&state).unwrap();
    assert_eq!(
        (optimizer.steps(), optimizer.state().unwrap().len()),
        (0, 1)
    );
}

#[test]
fn a_clipped_step_is_clipping_and_a_step() {
    let check = |config: OptimizerConfig, dtype| {
        let (fused, apart) = (store(SHAPES, dtype), store(SHAPES, dtype));
        let mut one = config.build(&fused, vec![]).unwrap();
        let mut two = config.build(&apart, vec![]).unwrap();
        for t in 0..3 {
            give_gradients(&fused, t);
            give_gradients(&apart, t);
            // The norm is about 3: the first limits clip, the last does not.
            let limit = [0.5, 2.0, 100.0][t as usize];
            let norm = one.step_clipped(limit, Norm::Two).unwrap();
            let want = crate::clip_grad_norm(&apart, limit, Norm::Two).unwrap();
            assert!(norm == want && norm > 2.0 && norm < 100.0, "{norm} {want}");
            two.step().unwrap();
        }
        assert_eq!(weights(&fused), weights(&apart), "{config:?} {dtype:?}");
    };
    for config in configs() {
        for dtype in [DType::F32, DType::F64] {
            check(config, dtype);
            with_fallback(|| check(config, dtype));
        }
    }
    let params = store(&[&[1]], DType::F32);
    let mut optimizer = Sgd::new(&params, SgdConfig::default()).unwrap();
    let nan = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
    params.all()[0].slot().set(Some(nan));
    let before = weights(&params);
    let error = optimizer.step_clipped(1.0, Norm::Two).unwrap_err();
    assert!(error.to_string().contains("because of p0"), "{error}");
    assert!(optimizer.step_clipped(-1.0, Norm::Two).is_err());
    assert_eq!((weights(&params), optimizer.steps()), (before, 0));
    assert!(params.all()[0].grad().is_some());
}

#[test]
fn candles_own_gradients_will_do() {
    let params = store(&[&[2, 2]], DType::F32);
    let param = &params.all()[0];
    let config = SgdConfig {
        lr: 0.5,
        ..Default::default()
    };
    let mut optimizer = Sgd::new(&params, config).unwrap();
    let before = weights(&params);
    let grads = param.var().t().unwrap().sqr().unwrap().sum_all().unwrap();
    optimizer.step_with(&grads.backward().unwrap()).unwrap();
    // The gradient of Σ p² is 2 p: a step of ½ ends at zero.
    assert!(before.iter().all(|p| *p != 0.0));
    assert_eq!(weights(&params), [0.0; 4]);
}

#[test]
fn a_step_between_forward_and_backward_is_noticed() {
    use cortical_kernels::activation::Activation;
    use cortical_neuron::Pass;
    let params = store(&[&[1, 2]], DType::F32);
    let weight = params.get("p0").unwrap();
    let mut optimizer = Sgd::new(&params, SgdConfig::default()).unwrap();
    let x = Tensor::ones((1, 2), DType::F32, &Device::Cpu).unwrap();
    let mut rng = params.rng("pass");
    let pass = Pass::train(&mut rng);
    let y = cortical_tensor::ops::linear(&x, weight.input(&pass), None, Activation::Identity);
    give_gradients(&params, 0);
    optimizer.step().unwrap();
    let error = params.backward(&y.unwrap()).unwrap_err().to_string();
    assert!(error.contains("a parameter was changed"), "{error}");
}

#[test]
fn gradients_with_gaps_and_gradients_that_are_variables_are_read_first() {
    let params = store(&[&[2, 3], &[3, 2]], DType::F32);
    let all = params.all();
    let mut optimizer = Sgd::new(
        &params,
        SgdConfig {
            lr: 1.0,
            ..Default::default()
        },
    )
    .unwrap();
    let (a, b) = (
        all[0].tensor().copy().unwrap(),
        all[1].tensor().copy().unwrap(),
    );
    let at = a.t().unwrap().contiguous().unwrap();
    all[0].slot().set(Some(all[1].tensor().t().unwrap()));
    all[1].slot().set(Some(at.clone()));
    optimizer.step().unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let want = (&a - b.t().unwrap()).unwrap();
    assert_eq!(values(all[0].tensor()), values(&want));
    assert_eq!(values(all[1].tensor()), values(&(&b - &at).unwrap()));

    // Each is the other's gradient, in one storage with the variable that changes.
    let (a, b) = (
        store(&[&[2], &[2]], DType::F32),
        store(&[&[2], &[2]], DType::F32),
    );
    let all = a.all();
    for (i, j) in [(0, 1), (1, 0)] {
        all[i].slot().set(Some(all[j].tensor().clone()));
        let copy = b.all()[j].tensor().copy().unwrap();
        b.all()[i].slot().set(Some(copy));
    }
    Sgd::new(&a, SgdConfig::default()).unwrap().step().unwrap();
    Sgd::new(&b, SgdConfig::default()).unwrap().step().unwrap();
    assert_eq!(weights(&a), weights(&b));
}

#[test]
fn groups_have_rates_of_their_own() {
    let config = AdamWConfig {
        lr: 0.1,
        weight_decay: 0.5,
        ..Default::default()
    };
    let params = store(&[&[2, 2], &[2], &[3]], DType::F64);
    let groups = vec![
        Group::matching("slow", |p| p.name() == "p2").lr_scale(0.1),
        Group::without_decay(),
    ];
    let mut optimizer = AdamW::with_groups(&params, config, groups).unwrap();
    optimizer.set_lr(0.2).unwrap();
    assert_eq!(optimizer.lr(), 0.2);
    run(&mut optimizer, &params, 0..3);
    let alone = |lr, weight_decay, part: std::ops::Range<usize>| {
        let params = store(&[&[2, 2], &[2], &[3]], DType::F64);
        let config = AdamWConfig {
            lr,
            weight_decay,
            ..config
        };
        run(&mut AdamW::new(&params, config).unwrap(), &params, 0..3);
        weights(&params)[part].to_vec()
    };
    let got = weights(&params);
    assert_eq!(got[..4], alone(0.2, 0.5, 0..4));
    assert_eq!(got[4..6], alone(0.2, 0.0, 4..6));
    assert_close("slow", &got[6..], &alone(0.02, 0.5, 6..9), 1e-15);
}

#[test]
fn small_steps_add_up_in_half_precision() {
    for dtype in [DType::BF16, DType::F16] {
        let check = || {
            let params = Params::new(&Device::Cpu, Seed(1));
            let one = Tensor::ones(2, dtype, &Device::Cpu).unwrap();
            let var = Var::from_tensor(&one).unwrap();
            let param = params.adopt("p", var).unwrap();
            let config = SgdConfig {
                lr: 1e-4,
                ..Default::default()
            };
            let mut optimizer = Sgd::new(&params, config).unwrap();
            let step = |optimizer: &mut Sgd| {
                param.slot().set(Some(one.copy().unwrap()));
                optimizer.step().unwrap();
            };
            // A hundred steps of 1e-4 each, of which half precision loses every single one.
            for _ in 0..100 {
                step(&mut optimizer);
            }
            assert_close("sum", &weights(&params), &[0.99; 2], 2e-3);
            let state = optimizer.state().unwrap();
            assert_eq!(state[1].0, "p.master_param");
            let master = state[1].1.to_vec1::<f32>().unwrap();
            assert!((master[0] - 0.99).abs() < 1e-5, "{master:?}");
            // Another value from outside is where the next step begins, in the elements that changed.
            param.set(&one.affine(3.0, 0.0).unwrap()).unwrap();
            step(&mut optimizer);
            let state = optimizer.state().unwrap();
            let master = state[1].1.to_vec1::<f32>().unwrap();
            assert!((master[0] - 2.9999).abs() < 1e-5, "{master:?}");
            // A state without the copy is taken, and begins at the parameter.
            optimizer.load_state(&state[..1]).unwrap();
            let copy = optimizer.state().unwrap().remove(1).1;
            assert_eq!(
                copy.to_vec1::<f32>().unwrap()[0],
                weights(&params)[0] as f32
            );
        };
        check();
        with_fallback(check);
    }
}

#[test]
fn a_momentum_moves_by_schedule_where_there_is_one() {
    let params = || store(&[&[3]], DType::F64);
    let with = |momentum| {
        let config = SgdConfig {
            momentum,
            ..Default::default()
        };
        let params = params();
        (Sgd::new(&params, config).unwrap(), params)
    };
    let ((mut moved, a), (mut fixed, b)) = (with(0.9), with(0.5));
    moved.set_momentum(0.5).unwrap();
    run(&mut moved, &a, 0..3);
    run(&mut fixed, &b, 0..3);
    assert_eq!(weights(&a), weights(&b));
    let error = with(0.0).0.set_momentum(0.5).unwrap_err().to_string();
    assert_eq!(
        error,
        "SGD: momentum must be above 0 where a schedule moves it, but is 0"
    );
    let config = OptimizerConfig::Adagrad(AdagradConfig::default());
    let error = config.build(&params(), vec![]).unwrap().set_momentum(0.5);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Adagrad has no momentum that a schedule could move"
    );
}

#[test]
fn groups_go_by_patterns_of_names() {
    let config = SgdConfig {
        lr: 0.5,
        ..Default::default()
    };
    let params = store(&[&[2], &[2], &[2]], DType::F64);
    let groups = vec![Group::named("*1").lr_scale(0.0)];
    let before = weights(&params);
    run(
        &mut Sgd::with_groups(&params, config, groups).unwrap(),
        &params,
        0..1,
    );
    let moved: Vec<bool> = before
        .iter()
        .zip(weights(&params))
        .map(|(a, b)| *a != b)
        .collect();
    assert_eq!(moved, [true, true, false, false, true, true]);
    let none = vec![Group::named("fc.*")];
    let error = Sgd::with_groups(&params, config, none).unwrap_err();
    assert!(
        error.to_string().contains("group \"fc.*\" matches none"),
        "{error}"
    );
}

#[test]
fn muon_refuses_what_is_no_matrix() {
    let params = store(&[&[2, 2], &[3]], DType::F32);
    let error = Muon::new(&params, MuonConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p1: Muon moves matrices only, and the shape is [3]; say how AdamW is to move the others (`others`), or freeze it"
    );
    params.get("p1").unwrap().set_trainable(false);
    Muon::new(&params, MuonConfig::default()).unwrap();
}

#[test]
fn a_recipe_names_an_optimizer_and_a_wrong_field_is_refused() {
    let from = |text: &str| toml::from_str::<OptimizerConfig>(text);
    let config = from("name = \"sgd\"\nlr = 0.1\nmomentum = 0.9").unwrap();
    assert_eq!(
        config,
        OptimizerConfig::Sgd(SgdConfig {
            lr: 0.1,
            momentum: 0.9,
            ..Default::default()
        })
    );
    for config in configs() {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(from(&text).unwrap(), config);
    }
    let error = from("name = \"adamw\"\nmomentum = 0.9").unwrap_err();
    assert!(error.to_string().contains("momentum"), "{error}");
    assert!(from("name = \"adamx\"").is_err());
    assert_eq!(
        from("name = \"SGD\"").unwrap(),
        from("name = \"sgd\"").unwrap()
    );
    let params = store(&[&[1]], DType::F32);
    let names = configs()
        .into_iter()
        .map(|c| c.build(&params, vec![]).unwrap().name());
    let names: Vec<&str> = names.collect();
    assert_eq!(names[..4], ["AdamW", "AdamW", "Adam", "SGD"]);
}
