//! The state of an optimizer: its names, how it builds up, what is saved and goes on.

use super::*;

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
