//! Every normalisation's gradients, shapes and messages.

use super::*;
use crate::ops::testing::{check, random, same};

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
fn channels_of_plain_strided_and_empty_inputs() {
    let (mean, var) = (random(&[4], "m"), random(&[4], "v").sqr().unwrap());
    for shape in [&[3, 4][..], &[3, 4, 5], &[2, 4, 3, 3], &[2, 4, 1]] {
        all(&random(shape, "x"), &[4], |t| {
            let [w, b] = affine(t);
            Ok(batch_norm(&t[0], w, b, 1e-3)?.output)
        });
    }
    for shape in [&[3, 4][..], &[1, 4, 5], &[2, 4, 3, 3], &[0, 4], &[2, 4, 0]] {
        all(&random(shape, "x"), &[4], |t| {
            let [w, b] = affine(t);
            batch_norm_eval(&t[0], &mean, &var, w, b, 1e-3)
        });
        for groups in [1, 2, 4] {
            all(&random(shape, "x"), &[4], |t| {
                let [w, b] = affine(t);
                group_norm(&t[0], groups, w, b, 1e-1)
            });
        }
    }
    let strided = random(&[5, 4, 3], "x").transpose(0, 2).unwrap();
    check(&[strided], |t| {
        Ok(batch_norm(&t[0], None, None, 1e-3)?.output)
    });
}

#[test]
fn the_moments_of_a_batch_are_returned() {
    let x = Tensor::new(&[[1.0_f32, 2.0], [3.0, 6.0]], &candle_core::Device::Cpu).unwrap();
    for normed in [
        batch_norm(&x, None, None, 0.0).unwrap(),
        crate::with_composition(|| batch_norm(&x, None, None, 0.0)).unwrap(),
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
    let one = random(&[1, 3], "x");
    assert!(
        batch_norm(&one, None, None, 1e-5)
            .unwrap_err()
            .to_string()
            .contains("more than one element")
    );
    assert!(text(group_norm(&w, 1, None, None, 1e-5)).contains("[n, channels, …]"));
}
