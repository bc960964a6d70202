//! Batch norm's gradients with and without what follows it, shapes and messages.

use super::*;
use crate::ops::testing::{check, random, same};
use cortical_kernels::activation::ALL;

fn options<'a>(t: &'a [Tensor], activation: Activation) -> BatchNormOptions<'a> {
    let input = |i: usize| t.get(i).map(Into::into);
    BatchNormOptions {
        weight: input(1),
        bias: input(2),
        branch: input(3),
        eps: 1e-3,
        activation,
    }
}

/// Checks training and evaluation with weight and bias, and both with a branch too.
fn check_all(x: &Tensor, activation: Activation) {
    let channels = x.dims()[1];
    let inputs = [
        x.clone(),
        random(&[channels], "w"),
        random(&[channels], "b"),
        random(x.dims(), "branch"),
    ];
    let (mean, var) = (
        random(&[channels], "m"),
        random(&[channels], "v").sqr().unwrap(),
    );
    for count in [3, 4] {
        if x.elem_count() > channels {
            check(&inputs[..count], |t| {
                Ok(batch_norm_with(&t[0], &options(t, activation))?.output)
            });
        }
        check(&inputs[..count], |t| {
            batch_norm_eval_with(&t[0], &mean, &var, &options(t, activation))
        });
    }
}

#[test]
fn plain_empty_and_single_inputs_with_and_without_a_branch() {
    // Spaces of 16 and more are worked on channel by channel, smaller ones are not.
    for shape in [
        &[3, 4][..],
        &[2, 4, 3, 3],
        &[2, 4, 1],
        &[2, 3, 4, 5],
        &[0, 4],
        &[2, 4, 0],
        &[1, 1],
    ] {
        for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
            check_all(&random(shape, "x"), activation);
        }
    }
}

#[test]
fn every_activation_is_differentiated() {
    for activation in ALL {
        check_all(&random(&[2, 2, 17], "x"), activation);
        check_all(&random(&[4, 2], "x"), activation);
    }
}

#[test]
fn slices_longer_than_a_block() {
    let x = random(&[2, 1, 1100], "x");
    let direction = random(&[2, 1, 1100], "direction");
    let run = |t: &[Tensor]| {
        // A short input, so that the difference quotients stay few.
        let x = (x.broadcast_mul(&t[0])? + direction.broadcast_mul(&t[1])?)?;
        let branch = direction.broadcast_mul(&t[0])?;
        let options = BatchNormOptions {
            branch: Some((&branch).into()),
            activation: Activation::Relu,
            ..Default::default()
        };
        let y = batch_norm_with(&x, &options)?.output;
        Ok((y * &direction)?.sum_keepdim(2)?)
    };
    check(&[random(&[1], "a"), random(&[1], "b")], run);
}

#[test]
fn strided_inputs_and_one_that_is_its_own_branch() {
    let strided = random(&[5, 4, 3], "x").transpose(0, 2).unwrap();
    check_all(&strided, Activation::Relu);
    check(&[random(&[2, 3, 20], "x")], |t| {
        let options = BatchNormOptions {
            branch: Some((&t[0]).into()),
            activation: Activation::Relu,
            ..Default::default()
        };
        Ok(batch_norm_with(&t[0], &options)?.output)
    });
    check(&[strided], |t| {
        Ok(batch_norm(&t[0], None, None, 1e-3)?.output)
    });
}

#[test]
fn gradients_that_nobody_asks_for_change_nothing() {
    let all = [
        random(&[2, 3, 20], "x"),
        random(&[3], "w"),
        random(&[3], "b"),
        random(&[2, 3, 20], "r"),
    ];
    let gradients = |tracked: &[usize]| {
        let vars: Vec<_> = all
            .iter()
            .map(|t| candle_core::Var::from_tensor(t).unwrap())
            .collect();
        let t: Vec<Tensor> = (0..4)
            .map(|i| match tracked.contains(&i) {
                true => vars[i].as_tensor().clone(),
                false => vars[i].as_detached_tensor(),
            })
            .collect();
        let y = batch_norm_with(&t[0], &options(&t, Activation::Relu))
            .unwrap()
            .output;
        let store = (y * &all[3])
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        vars.iter()
            .map(|v| store.get(v).cloned())
            .collect::<Vec<_>>()
    };
    let want = gradients(&[0, 1, 2, 3]);
    for tracked in [&[0][..], &[1], &[3], &[0, 3], &[2, 3]] {
        for (i, got) in gradients(tracked).into_iter().enumerate() {
            assert_eq!(got.is_some(), tracked.contains(&i));
            if let Some(got) = got {
                same(&got, want[i].as_ref().unwrap(), 1e-12);
            }
        }
    }
}

#[test]
fn the_moments_of_a_batch_are_returned() {
    let x = Tensor::new(&[[1.0_f32, 2.0], [3.0, 6.0]], &candle_core::Device::Cpu).unwrap();
    for normed in [
        batch_norm(&x, None, None, 0.0).unwrap(),
        crate::with_fallback(|| batch_norm(&x, None, None, 0.0)).unwrap(),
    ] {
        assert_eq!(normed.mean.to_vec1::<f32>().unwrap(), [2.0, 4.0]);
        assert_eq!(normed.var.to_vec1::<f32>().unwrap(), [1.0, 4.0]);
        assert_eq!(
            normed.output.to_vec2::<f32>().unwrap(),
            [[-1.0, -1.0], [1.0, 1.0]]
        );
        assert_eq!(normed.count, 2);
    }
}

#[test]
fn half_precision_is_computed_in_single() {
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let wide = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let t = [
        random(&[3, 6], "x"),
        random(&[6], "w"),
        random(&[6], "b"),
        random(&[3, 6], "r"),
    ]
    .map(|t| half(&t));
    let y = batch_norm_with(&t[0], &options(&t, Activation::Relu))
        .unwrap()
        .output;
    assert_eq!(y.dtype(), DType::BF16);
    let t = t.map(|t| wide(&t));
    let want = batch_norm_with(&t[0], &options(&t, Activation::Relu))
        .unwrap()
        .output;
    same(&wide(&y), &wide(&half(&want)), 0.0);
}

#[test]
fn errors_say_what_was_expected() {
    let one = random(&[1, 3], "x");
    let error = batch_norm(&one, None, None, 1e-5).unwrap_err().to_string();
    assert!(error.contains("more than one element"), "{error}");
    let options = BatchNormOptions {
        branch: Some((&one).into()),
        ..Default::default()
    };
    let error = batch_norm_with(&random(&[2, 3], "x"), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "batch_norm: branch must have shape that of x, [2, 3], but has [1, 3]"
    );
}
