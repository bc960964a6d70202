//! What the engine refuses, and in which words.

use super::*;

#[test]
fn a_state_that_does_not_fit_is_refused_with_everything_that_does_not() {
    let params = store(&[&[2], &[3]], DType::F32);
    let mut optimizer = AdamW::new(&params, AdamWConfig::default()).unwrap();
    run(&mut optimizer, &params, 0..2);
    let mut state = optimizer.state().unwrap();
    let cpu = &Device::Cpu;
    assert_eq!(state[1].0, "p0.exp_avg");
    state[1].1 = Tensor::zeros(3, DType::F32, cpu).unwrap();
    state[2].1 = Tensor::zeros(2, DType::F64, cpu).unwrap();
    state[3].1 = Tensor::new(-1_i64, cpu).unwrap();
    state.remove(5);
    state.push((
        "p9.exp_avg".to_string(),
        Tensor::zeros(2, DType::F32, cpu).unwrap(),
    ));
    state.push(state[0].clone());
    let error = optimizer.load_state(&state).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state does not fit this optimizer: p0.step is there twice; \
         p0.exp_avg has shape [3], expected [2]; \
         p0.exp_avg_sq has dtype F64, expected F32; \
         p1.step is -1, expected a number of steps from 0 up; \
         p1.exp_avg_sq is missing; \
         p9.exp_avg belongs to nothing here"
    );
    // Nothing was changed: the next step is the one that would have come anyway.
    let twin = store(&[&[2], &[3]], DType::F32);
    run(
        &mut AdamW::new(&twin, AdamWConfig::default()).unwrap(),
        &twin,
        0..3,
    );
    run(&mut optimizer, &params, 2..3);
    assert_eq!(weights(&params), weights(&twin));
}

#[test]
fn a_missing_gradient_is_refused_or_skipped_and_a_frozen_parameter_never_asked() {
    let params = store(&[&[2], &[3], &[1]], DType::F32);
    let all = params.all();
    all[2].set_trainable(false);
    let mut optimizer = Sgd::new(&params, SgdConfig::default()).unwrap();
    let before = weights(&params);
    let give_first = || {
        let grad = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
        all[0].slot().set(Some(grad));
    };
    give_first();
    let error = optimizer.step().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gradient for p1; call `params.backward` before the step, freeze what is not to be trained, \
         or let the optimizer skip it (`MissingGradient::Skip`)"
    );
    assert_eq!(weights(&params), before);
    assert!(
        all[0].grad().is_some(),
        "a refused step leaves the gradients"
    );

    optimizer.set_missing_gradient(MissingGradient::Skip);
    optimizer.step().unwrap();
    let after = weights(&params);
    assert!(before[..2] != after[..2] && before[2..] == after[2..]);
    assert!(all[0].grad().is_none(), "a step uses the gradients up");
    let steps: Vec<i64> = optimizer
        .state()
        .unwrap()
        .iter()
        .map(|(_, t)| t.to_scalar().unwrap())
        .collect();
    assert_eq!(steps, [1, 0, 0]);
    // A frozen parameter stays even if somebody gives it a gradient.
    give_gradients(&params, 0);
    optimizer.step().unwrap();
    assert_eq!(weights(&params)[5], before[5]);
    assert!(all[2].grad().is_some());
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let params = store(&[&[2, 2]], DType::F32);
    let refused = |groups: Vec<Group>, message: &str| {
        let error = AdamW::with_groups(&params, AdamWConfig::default(), groups).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    refused(
        vec![Group::without_decay()],
        "group \"without decay\" matches none of 1 parameters; check its rule against their names",
    );
    refused(
        vec![Group::matching("x", |_| true).lr_scale(-1.0)],
        "group: lr_scale must be a number from 0 up, but is -1",
    );
    refused(
        vec![Group::matching("x", |_| true).weight_decay(f64::INFINITY)],
        "group: weight_decay must be a number from 0 up, but is inf",
    );
}

#[test]
fn variables_and_gradients_that_do_not_fit_are_refused() {
    let params = store(&[&[2]], DType::F32);
    let var = params.all()[0].var().clone();
    params.adopt("again", var).unwrap();
    let error = Sgd::new(&params, SgdConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p0 and again are the same variable; adopt it once"
    );

    let params = store(&[&[2]], DType::U32);
    let error = Sgd::new(&params, SgdConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p0: dtype U32 cannot be trained; use f32, f64, f16 or bf16"
    );

    let params = store(&[&[2]], DType::F32);
    let mut optimizer = Sgd::new(&params, SgdConfig::default()).unwrap();
    let wrong = Tensor::zeros((2, 1), DType::F64, &Device::Cpu).unwrap();
    params.all()[0].slot().set(Some(wrong));
    assert_eq!(
        optimizer.step().unwrap_err().to_string(),
        "p0: the parameter is [2] F32, but its gradient is [2, 1] F64"
    );

    let late = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
    params.adopt("late", late).unwrap();
    give_gradients(&params, 0);
    assert_eq!(
        optimizer.step().unwrap_err().to_string(),
        "the optimizer does not know late; make it after the network is complete"
    );
}

#[test]
fn hyperparameters_are_checked() {
    fn refused<A: Algorithm>(config: A, message: &str) {
        let params = store(&[&[1]], DType::F32);
        let error = Engine::new(&params, config).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let sgd = SgdConfig::default();
    refused(
        SgdConfig { lr: -1.0, ..sgd },
        "SGD: lr must be a number from 0 up, but is -1",
    );
    refused(
        SgdConfig {
            nesterov: true,
            ..sgd
        },
        "SGD: momentum must be above 0 with Nesterov's momentum, but is 0",
    );
    refused(
        SgdConfig {
            nesterov: true,
            momentum: 0.9,
            dampening: 0.1,
            ..sgd
        },
        "SGD: dampening must be 0 with Nesterov's momentum, but is 0.1",
    );
    let betas = (0.9, 1.0);
    let message = |name: &str| {
        format!("{name}: betas must be two shares from 0 to below 1, but is [0.9, 1.0]")
    };
    refused(
        AdamWConfig {
            betas,
            ..Default::default()
        },
        &message("AdamW"),
    );
    refused(
        AdamConfig {
            betas,
            ..Default::default()
        },
        &message("Adam"),
    );
    refused(
        AdamaxConfig {
            betas,
            ..Default::default()
        },
        &message("Adamax"),
    );
    refused(
        NAdamConfig {
            betas,
            ..Default::default()
        },
        &message("NAdam"),
    );
    refused(
        RAdamConfig {
            betas,
            ..Default::default()
        },
        &message("RAdam"),
    );
    refused(
        RmsPropConfig {
            alpha: 1.5,
            ..Default::default()
        },
        "RMSprop: alpha must be from 0 to 1, but is 1.5",
    );
    refused(
        AdadeltaConfig {
            rho: f64::NAN,
            ..Default::default()
        },
        "Adadelta: rho must be from 0 to 1, but is NaN",
    );
    refused(
        AdagradConfig {
            eps: -1.0,
            ..Default::default()
        },
        "Adagrad: eps must be a number from 0 up, but is -1",
    );
    let params = store(&[&[1]], DType::F32);
    let mut optimizer = Sgd::new(&params, sgd).unwrap();
    assert!(optimizer.set_lr(f64::NAN).is_err());
    assert_eq!(optimizer.lr(), 1e-3);
}
