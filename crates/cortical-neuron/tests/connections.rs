//! Masks, frozen parameters and ties: who is connected with whom, as data.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{Device, Tensor};
use cortical_kernels::activation::Activation::Identity;
use cortical_neuron::{Error, Init, Param, Params, Pass};
use cortical_tensor::{Seed, ops};

fn row(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu)
        .unwrap()
        .unsqueeze(0)
        .unwrap()
}

fn weight(params: &Params) -> Param {
    let weight = params
        .at("fc")
        .param("weight", &[1, 3], Init::ZEROS)
        .unwrap();
    weight.set(&row(&[1.0, f32::NAN, -2.0])).unwrap();
    weight
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_pruned_weight_is_zero_forward_backward_and_when_it_is_set() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let w = weight(&params);
    params.prune("fc.weight", &row(&[1.0, 0.0, 0.0])).unwrap();
    // Exact zeros, where a product would leave NaN and −0.
    let bits: Vec<u32> = numbers(w.tensor()).iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [1.0_f32.to_bits(), 0, 0]);
    w.set(&row(&[5.0, 6.0, 7.0])).unwrap();
    assert_eq!(numbers(w.tensor()), [5.0, 0.0, 0.0]);
    assert_eq!((w.count(), w.unpruned().unwrap()), (3, 1));

    let mut rng = params.rng("pass");
    let x = row(&[1.0, 10.0, 100.0]);
    let y = ops::linear(&x, w.input(&Pass::train(&mut rng)), None, Identity).unwrap();
    assert_eq!(numbers(&y), [5.0]);
    params.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(numbers(&w.grad().unwrap()), [1.0, 0.0, 0.0]);
    // The same where candle's own operation reads the variable.
    params.zero_grad();
    let y = x
        .matmul(&w.tracked(&Pass::train(&mut rng)).t().unwrap())
        .unwrap();
    params.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(numbers(&w.grad().unwrap()), [1.0, 0.0, 0.0]);

    let masks = params.masks();
    assert_eq!((masks.len(), masks[0].0.as_str()), (1, "fc.weight"));
    assert_eq!(masks[0].1.to_vec2::<u8>().unwrap(), [[1, 0, 0]]);
    w.unprune();
    assert!(params.masks().is_empty());
    w.set(&row(&[5.0, 6.0, 7.0])).unwrap();
    assert_eq!(numbers(w.tensor()), [5.0, 6.0, 7.0]);
}

#[test]
fn gradients_that_wait_are_pruned_too() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let w = weight(&params);
    w.slot().set(Some(row(&[1.0, 2.0, 3.0])));
    w.prune(&row(&[0.0, 1.0, 1.0])).unwrap();
    assert_eq!(numbers(&w.grad().unwrap()), [0.0, 2.0, 3.0]);
    let error = w.prune(&row(&[0.0, 1.0])).unwrap_err();
    assert!(matches!(error, Error::ValueShape { .. }), "{error}");
}

#[test]
fn frozen_parameters_get_no_gradient_and_unfrozen_ones_do_again() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let w = weight(&params);
    params
        .at("head")
        .param("weight", &[2], Init::ZEROS)
        .unwrap();
    assert_eq!(params.freeze("fc").unwrap(), ["fc.weight"]);
    let mut rng = params.rng("pass");
    let y = ops::linear(
        &row(&[1.0; 3]),
        w.input(&Pass::train(&mut rng)),
        None,
        Identity,
    );
    assert!(!y.unwrap().track_op());
    assert_eq!(params.unfreeze("fc.weight").unwrap(), ["fc.weight"]);
    assert_eq!(params.freeze("").unwrap().len(), 2, "the whole model");
    assert!(params.trainable().is_empty() && params.vars().is_empty());
    let error = params.freeze("f").unwrap_err().to_string();
    assert!(error.contains("no parameter or buffer \"f\""), "{error}");
}

#[test]
fn a_tied_weight_is_one_parameter_with_the_gradients_of_both_places() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let first = params
        .at("in")
        .param("weight", &[2, 2], Init::ZEROS)
        .unwrap();
    params.at("out").tie("weight", &first).unwrap();
    let identity = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    params.set("out.weight", &identity).unwrap(); // either name will do
    let second = params.get("out.weight").unwrap();
    assert!(second.is_same(&first));
    assert_eq!(params.all().len(), 1);
    assert_eq!(params.named_tensors().len(), 1);
    assert_eq!(params.count(), 4);
    assert_eq!(
        params.ties(),
        [("out.weight".to_string(), "in.weight".to_string())]
    );

    let mut rng = params.rng("pass");
    let pass = Pass::train(&mut rng);
    let x = row(&[1.0, 2.0]);
    let h = ops::linear(&x, first.input(&pass), None, Identity).unwrap();
    let y = ops::linear(&h, second.input(&pass), None, Identity).unwrap();
    params.backward(&y.sum_all().unwrap()).unwrap();
    // With W = 1: once x from below, once h = x from above.
    assert_eq!(numbers(&first.grad().unwrap()), [2.0, 4.0, 2.0, 4.0]);

    let taken = params.at("out").tie("weight", &first);
    assert!(matches!(taken.unwrap_err(), Error::NameTaken { .. }));
    let other = Params::new(&Device::Cpu, Seed(1));
    let stranger = other.at("x").tie("weight", &first).unwrap_err();
    assert!(matches!(stranger, Error::UnknownName { .. }));
}

#[test]
fn an_evaluation_can_be_differentiated() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let w = weight(&params);
    w.set(&row(&[1.0, 2.0, 3.0])).unwrap();
    let pass = Pass::eval().tracked();
    assert!(!pass.is_train());
    let y = ops::linear(&row(&[1.0, 10.0, 100.0]), w.input(&pass), None, Identity).unwrap();
    params.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(numbers(&w.grad().unwrap()), [1.0, 10.0, 100.0]);
}
