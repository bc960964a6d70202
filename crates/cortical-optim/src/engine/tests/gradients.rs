//! Where gradients come from, how they are clipped, and when they are stale.

use super::*;

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
