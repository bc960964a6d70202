//! Every normalisation's gradients, shapes and messages.

use super::*;
use crate::ops::testing::{check, random, same};
use candle_core::DType;

/// x, weight and bias of every kind.
fn all(x: &Tensor, w: &[usize], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check(&[x.clone(), random(w, "w"), random(w, "b")], run);
}

fn affine(t: &[Tensor]) -> [Option<Input<'_>>; 2] {
    [t.get(1).map(Into::into), t.get(2).map(Into::into)]
}

#[test]
fn rows_of_plain_strided_empty_and_single_inputs() {
    let layer = |shape: &'static [usize]| {
        move |t: &[Tensor]| {
            let [w, b] = affine(t);
            layer_norm(&t[0], shape, w, b, 1e-3)
        }
    };
    all(&random(&[5, 6], "x"), &[6], layer(&[6]));
    all(&random(&[2, 3, 4], "x"), &[3, 4], layer(&[3, 4]));
    all(&random(&[6, 5], "x").t().unwrap(), &[6], layer(&[6]));
    all(
        &random(&[1, 6], "x").broadcast_as((3, 6)).unwrap(),
        &[6],
        layer(&[6]),
    );
    all(&random(&[3, 1], "x"), &[1], layer(&[1]));
    all(&random(&[0, 6], "x"), &[6], layer(&[6]));
    check(&[random(&[5, 6], "x")], |t| {
        layer_norm(&t[0], &[6], None, None, 1e-3)
    });
    for shape in [&[5, 6][..], &[2, 2, 6], &[6], &[0, 6]] {
        check(&[random(shape, "x"), random(&[6], "w")], |t| {
            rms_norm(&t[0], &[6], Some((&t[1]).into()), 1e-3)
        });
    }
    check(&[random(&[4, 4], "x")], |t| {
        layer_norm(&t[0], &[4], Some((&t[0].get(0)?).into()), None, 1e-3)
    });
}

#[test]
fn groups_of_plain_and_empty_inputs() {
    for shape in [&[3, 4][..], &[1, 4, 5], &[2, 4, 3, 3], &[0, 4], &[2, 4, 0]] {
        for groups in [1, 2, 4] {
            all(&random(shape, "x"), &[4], |t| {
                let [w, b] = affine(t);
                group_norm(&t[0], groups, w, b, 1e-1)
            });
        }
    }
}

#[test]
fn half_precision_is_computed_in_single() {
    let x = random(&[3, 6], "x").to_dtype(DType::BF16).unwrap();
    let y = layer_norm(&x, &[6], None, None, 1e-3).unwrap();
    let wide = layer_norm(&x.to_dtype(DType::F32).unwrap(), &[6], None, None, 1e-3).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    same(&y.to_dtype(DType::F32).unwrap(), &wide, 1e-2);
}

#[test]
fn errors_say_what_was_expected() {
    let (x, w) = (random(&[5, 3], "x"), random(&[4], "w"));
    let text = |r: Result<Tensor>| r.unwrap_err().to_string();
    assert_eq!(
        text(layer_norm(&x, &[4], None, None, 1e-5)),
        "layer_norm: x must have shape […, 4], which is what is normalised, but has [5, 3]"
    );
    assert_eq!(
        text(rms_norm(&x, &[3], Some((&w).into()), 1e-5)),
        "rms_norm: weight must have shape [3], but has [4]"
    );
    assert_eq!(
        text(group_norm(&x, 2, None, None, 1e-5)),
        "group_norm: groups must be a divisor of the 3 channels, but is 2"
    );
    assert!(text(layer_norm(&x, &[3], None, None, -1.0)).contains("eps"));
    assert!(text(group_norm(&w, 1, None, None, 1e-5)).contains("[n, channels, …]"));
}
