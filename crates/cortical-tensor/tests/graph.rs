//! The door into candle's graph: any number of inputs and outputs, slots, unused outputs, views, frozen inputs.

// Helpers of a test may unwrap like the test itself.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use cortical_tensor::{
    Backward, Error, GradSlot, Input, Op, Output, Result, apply, apply_one, values,
};

/// Output k is `(k + 1) · Σᵢ wᵢ xᵢ` with weights `wᵢ = i + 1`: every gradient is known by heart.
struct Weighted {
    outputs: usize,
}

impl Op for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut upstream = pass.d_output(0).clone();
        for k in 1..self.outputs {
            upstream = (upstream + (pass.d_output(k) * (k as f64 + 1.0))?)?;
        }
        (0..)
            .map_while(|i| (i < INPUTS.get()).then_some(i))
            .map(|i| {
                pass.wants(i)
                    .then(|| Ok((&upstream * (i as f64 + 1.0))?))
                    .transpose()
            })
            .collect()
    }
}

thread_local! {
    static INPUTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn weighted(inputs: &[Input<'_>], outputs: usize) -> Vec<Tensor> {
    INPUTS.set(inputs.len());
    let operands: Vec<_> = inputs.iter().map(|i| i.operand().unwrap()).collect();
    let n = operands[0].tensor().elem_count();
    let mut sum = vec![0.0_f64; n];
    for (i, operand) in operands.iter().enumerate() {
        for (s, x) in sum
            .iter_mut()
            .zip(values::<f64>(operand.tensor()).unwrap().iter())
        {
            *s += (i as f64 + 1.0) * x;
        }
    }
    let shape = operands[0].tensor().dims().to_vec();
    let made = (0..outputs)
        .map(|k| {
            Output::new(
                sum.iter().map(|s| s * (k as f64 + 1.0)).collect(),
                &shape[..],
            )
        })
        .collect();
    apply(Weighted { outputs }, operands, made).unwrap()
}

fn vars(n: usize) -> Vec<Var> {
    (0..n)
        .map(|i| Var::new(&[i as f64, 1.0], &Device::Cpu).unwrap())
        .collect()
}

fn grad(store: &candle_core::backprop::GradStore, var: &Var) -> Vec<f64> {
    store.get(var).expect("a gradient").to_vec1().unwrap()
}

#[test]
fn one_to_twelve_inputs_get_their_gradients() {
    for n in 1..=12 {
        let vars = vars(n);
        let inputs: Vec<Input<'_>> = vars.iter().map(Into::into).collect();
        let y = weighted(&inputs, 1).remove(0);
        let store = y.sum_all().unwrap().backward().unwrap();
        for (i, var) in vars.iter().enumerate() {
            assert_eq!(grad(&store, var), [i as f64 + 1.0; 2], "input {i} of {n}");
        }
    }
}

#[test]
fn intermediate_inputs_are_carried_on() {
    for n in [2, 3, 4, 7, 10] {
        let vars = vars(n);
        let doubled: Vec<Tensor> = vars
            .iter()
            .map(|v| (v.as_tensor() * 2.0).unwrap())
            .collect();
        let inputs: Vec<Input<'_>> = doubled.iter().map(Into::into).collect();
        let y = weighted(&inputs, 1).remove(0);
        let store = y.sum_all().unwrap().backward().unwrap();
        for (i, var) in vars.iter().enumerate() {
            assert_eq!(
                grad(&store, var),
                [2.0 * (i as f64 + 1.0); 2],
                "input {i} of {n}"
            );
        }
    }
}

#[test]
fn several_outputs_add_up_and_unused_ones_count_as_zero() {
    let vars = vars(6);
    let inputs: Vec<Input<'_>> = vars.iter().map(Into::into).collect();
    let all = weighted(&inputs, 3);
    let loss = ((&all[0] + &all[1]).unwrap() + &all[2])
        .unwrap()
        .sum_all()
        .unwrap();
    let store = loss.backward().unwrap();
    assert_eq!(grad(&store, &vars[4]), [5.0 * 6.0; 2]);
    let last = weighted(&inputs, 3).remove(2);
    let store = last.sum_all().unwrap().backward().unwrap();
    assert_eq!(grad(&store, &vars[4]), [5.0 * 3.0; 2]);
}

#[test]
fn an_input_used_twice_adds_up() {
    let vars = vars(1);
    let inputs = [Input::from(&vars[0]); 5];
    let y = weighted(&inputs, 1).remove(0);
    let store = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(grad(&store, &vars[0]), [15.0; 2]);
}

#[test]
fn a_gradient_with_gaps_or_broadcast_arrives_contiguous() {
    let var = Var::from_tensor(
        &Tensor::arange(0.0, 6.0, &Device::Cpu)
            .unwrap()
            .reshape((2, 3))
            .unwrap(),
    )
    .unwrap();
    let weights = Tensor::arange(0.0, 6.0, &Device::Cpu)
        .unwrap()
        .reshape((3, 2))
        .unwrap();
    let y = weighted(&[(&var).into()], 1).remove(0);
    let loss = y.t().unwrap().mul(&weights).unwrap().sum_all().unwrap();
    let store = loss.backward().unwrap();
    let want = weights.t().unwrap().to_vec2::<f64>().unwrap();
    assert_eq!(store.get(&var).unwrap().to_vec2::<f64>().unwrap(), want);
    let y = weighted(&[(&var).into()], 1).remove(0);
    let store = y.sum(1).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(
        store.get(&var).unwrap().to_vec2::<f64>().unwrap(),
        [[1.0; 3]; 2]
    );
}

#[test]
fn slots_take_gradients_and_candle_keeps_none() {
    let vars = vars(5);
    let slots: Vec<GradSlot> = (0..5).map(|_| GradSlot::new()).collect();
    let inputs: Vec<Input<'_>> = vars
        .iter()
        .zip(&slots)
        .map(|(v, s)| Input::with_slot(v, s))
        .collect();
    for pass in 1..=2 {
        let y = weighted(&inputs, 1).remove(0);
        let store = y.sum_all().unwrap().backward().unwrap();
        for (i, (var, slot)) in vars.iter().zip(&slots).enumerate() {
            assert!(store.get(var).is_none());
            let got = slot.get().expect("a gradient").to_vec1::<f64>().unwrap();
            assert_eq!(got, [f64::from(pass) * (i as f64 + 1.0); 2], "accumulated");
        }
    }
}

#[test]
fn slots_and_candle_share_one_operation() {
    let vars = vars(3);
    let slot = GradSlot::new();
    let inputs = [
        Input::from(&vars[0]),
        Input::with_slot(&vars[1], &slot),
        Input::from(&vars[2]),
    ];
    let y = weighted(&inputs, 2).remove(1);
    let store = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(grad(&store, &vars[0]), [2.0; 2]);
    assert_eq!(grad(&store, &vars[2]), [6.0; 2]);
    assert_eq!(slot.get().unwrap().to_vec1::<f64>().unwrap(), [4.0; 2]);
}

#[test]
fn a_derived_weight_leaves_its_slot_behind_and_flows_through_candle() {
    let var = Var::new(&[1.0_f32, 2.0], &Device::Cpu).unwrap();
    let slot = GradSlot::new();
    let operand = Input::with_slot(&var, &slot).operand().unwrap();
    let wide = operand.derive(|t| t.to_dtype(DType::F64)).unwrap();
    assert!(wide.slot().is_none());
    INPUTS.set(1);
    let output = Output::new(vec![1.0_f64, 2.0], 2);
    let y = apply_one(Weighted { outputs: 1 }, vec![wide], output).unwrap();
    let store = y.sum_all().unwrap().backward().unwrap();
    assert!(slot.get().is_none());
    assert_eq!(store.get(&var).unwrap().to_vec1::<f32>().unwrap(), [1.0; 2]);
}

#[test]
fn frozen_inputs_make_no_graph() {
    let vars = vars(2);
    let frozen: Vec<Tensor> = vars.iter().map(Var::as_detached_tensor).collect();
    let y = weighted(&[(&frozen[0]).into(), (&frozen[1]).into()], 1).remove(0);
    assert!(!y.track_op());
    let y = weighted(&[(&frozen[0]).into(), (&vars[1]).into()], 1).remove(0);
    let store = y.sum_all().unwrap().backward().unwrap();
    assert!(store.get(&vars[0]).is_none());
    assert_eq!(grad(&store, &vars[1]), [2.0; 2]);
}

#[test]
fn a_parameter_changed_before_backward_is_an_error() {
    let vars = vars(1);
    let slot = GradSlot::new();
    let y = weighted(&[Input::with_slot(&vars[0], &slot)], 1).remove(0);
    slot.mark_changed();
    let error = y.sum_all().unwrap().backward().unwrap_err();
    assert!(
        error.to_string().contains("a parameter was changed"),
        "{error}"
    );
}

#[test]
fn a_wrong_number_of_gradients_is_named() {
    let vars = vars(2);
    let y = weighted(&[(&vars[0]).into(), (&vars[1]).into()], 1).remove(0);
    INPUTS.set(1);
    let error = y.sum_all().unwrap().backward().unwrap_err();
    let want = Error::GradientCount {
        op: "weighted",
        expected: 2,
        got: 1,
    };
    assert!(error.to_string().contains(&want.to_string()), "{error}");
}

#[test]
fn operations_hand_gradients_to_each_other_beside_candle() {
    let vars = vars(1);
    let chain = |n: usize| {
        let mut x = weighted(&[(&vars[0]).into()], 1).remove(0);
        for _ in 0..n {
            x = weighted(&[(&x).into()], 1).remove(0);
        }
        x
    };
    let x = chain(5);
    let loss = ((&x * 3.0).unwrap() + &x).unwrap().sum_all().unwrap();
    assert_eq!(grad(&loss.backward().unwrap(), &vars[0]), [4.0; 2]);
    // The same graph once more gives the same and not the double.
    assert_eq!(grad(&loss.backward().unwrap(), &vars[0]), [4.0; 2]);
}

#[test]
fn an_output_of_ours_that_goes_into_one_operation_twice_adds_up() {
    let vars = vars(1);
    let y = (vars[0].as_tensor() * 2.0).unwrap();
    let first = weighted(&[(&y).into(), (&y).into()], 2);
    let second = weighted(&[(&first[0]).into(), (&first[1]).into()], 1).remove(0);
    // first = 3y and 6y, second = 3y + 12y
    let store = second.sum_all().unwrap().backward().unwrap();
    assert_eq!(grad(&store, &vars[0]), [30.0; 2]);
    let again = weighted(&[(&first[1]).into(), (&first[1]).into()], 1).remove(0);
    let store = again.sum_all().unwrap().backward().unwrap();
    assert_eq!(
        grad(&store, &vars[0]),
        [36.0; 2],
        "the other output got none"
    );
}

#[test]
fn gradients_of_a_pass_that_failed_are_not_counted_again() {
    let vars = vars(1);
    let y = weighted(&[(&vars[0]).into()], 1).remove(0);
    let slot = GradSlot::new();
    let other = Var::new(&[1.0, 1.0], &Device::Cpu).unwrap();
    INPUTS.set(1);
    let left = weighted(&[(&y).into()], 1).remove(0);
    let spoilt = weighted(&[Input::with_slot(&other, &slot)], 1).remove(0);
    let right = (&y * &spoilt).unwrap();
    let loss = (left + right).unwrap().sum_all().unwrap();
    slot.mark_changed();
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("a parameter was changed"), "{error}");
    // What arrived at y in the failed pass is in the way of another loss over it, at most once.
    let loss = weighted(&[(&y).into()], 1).remove(0).sum_all().unwrap();
    let store = match loss.backward() {
        Ok(store) => store,
        Err(error) => {
            assert!(
                error.to_string().contains("an earlier backward pass"),
                "{error}"
            );
            loss.backward().unwrap()
        }
    };
    assert_eq!(grad(&store, &vars[0]), [1.0; 2]);
}

/// Passes gradients through and reads nothing.
struct Through;

impl Op for Through {
    fn name(&self) -> &'static str {
        "through"
    }
    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        assert_eq!(pass.shape(0).dims(), [2]);
        Ok(vec![Some(pass.d_output(0).clone())])
    }
    fn reads_input(&self, _: usize) -> bool {
        false
    }
    fn reads_output(&self) -> bool {
        false
    }
}

#[test]
fn what_an_operation_does_not_read_is_not_needed() {
    let vars = vars(1);
    let through = |x: &Tensor| {
        let operand = Input::from(x).operand().unwrap();
        let values = x.to_vec1::<f64>().unwrap();
        apply_one(Through, vec![operand], Output::new(values, 2)).unwrap()
    };
    let mut x = through(&vars[0]);
    for _ in 0..4 {
        x = through(&x);
    }
    let store = x.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grad(&store, &vars[0]), [0.0, 2.0]);
}
