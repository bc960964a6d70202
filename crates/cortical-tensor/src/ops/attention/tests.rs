//! Attention's gradients on both paths, its masks and its messages.

use super::*;
use crate::Seed;
use crate::ops::testing::{check, random, same};

fn qkv(b: usize, h: usize, g: usize, i: usize, j: usize, d: usize) -> [Tensor; 3] {
    [
        random(&[b, h, i, d], "q"),
        random(&[b, g, j, d], "k"),
        random(&[b, g, j, d + 1], "v"),
    ]
}

#[test]
fn gradients_with_groups_masks_and_offsets() {
    let keep = Tensor::new(&[[1_u8, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]], &Device::Cpu).unwrap();
    let keep = keep.reshape((1, 1, 3, 4)).unwrap();
    let add = random(&[2, 1, 1, 4], "add");
    let mut rng = Rng::new(Seed(1), "dropout");
    let dropout = attention_dropout(0.3, &mut rng).unwrap();
    let options = [
        Attention::default(),
        Attention {
            causal: Some(0),
            ..Default::default()
        },
        Attention {
            causal: Some(1),
            scale: Some(0.3),
            mask: Some(&add),
            ..Default::default()
        },
        Attention {
            mask: Some(&keep),
            dropout,
            ..Default::default()
        },
        Attention {
            causal: Some(1),
            softcap: Some(0.5),
            mask: Some(&keep),
            ..Default::default()
        },
    ];
    for options in options {
        for kv_heads in [1, 2, 4] {
            let inputs = qkv(2, 4, kv_heads, 3, 4, 2);
            check(&inputs, |t| attention(&t[0], &t[1], &t[2], options));
            let inside = inputs.map(|t| t.transpose(1, 2).unwrap());
            let order = HeadOrder::Inside;
            check(&inside, |t| {
                attention(&t[0], &t[1], &t[2], Attention { order, ..options })
            });
        }
    }
}

#[test]
fn gradients_of_empty_and_single_inputs_and_of_one_used_three_times() {
    let plain = Attention::default();
    for (b, i, j) in [(0, 3, 4), (1, 0, 4), (1, 3, 0), (1, 1, 1)] {
        check(&qkv(b, 2, 2, i, j, 2), |t| {
            attention(&t[0], &t[1], &t[2], plain)
        });
    }
    check(&[random(&[2, 2, 3, 4], "x")], |t| {
        attention(&t[0], &t[0], &t[0], plain)
    });
}

#[test]
fn both_orders_agree() {
    let [q, k, v] = qkv(2, 4, 2, 70, 90, 8);
    let outside = attention(&q, &k, &v, Attention::default()).unwrap();
    let [q, k, v] = [q, k, v].map(|t| t.transpose(1, 2).unwrap());
    let order = HeadOrder::Inside;
    let inside = attention(
        &q,
        &k,
        &v,
        Attention {
            order,
            ..Default::default()
        },
    )
    .unwrap();
    same(&inside.transpose(1, 2).unwrap(), &outside, 1e-12);
}

#[test]
fn a_query_that_sees_nothing_gets_zeros() {
    let [q, k, v] = qkv(1, 1, 1, 2, 3, 2);
    let mask = Tensor::new(&[[0_u8, 0, 0], [1, 1, 1]], &Device::Cpu)
        .unwrap()
        .reshape((1, 1, 2, 3))
        .unwrap();
    let run = || {
        attention(
            &q,
            &k,
            &v,
            Attention {
                mask: Some(&mask),
                ..Default::default()
            },
        )
        .unwrap()
    };
    for y in [run(), crate::with_fallback(run)] {
        let rows = y
            .squeeze(0)
            .unwrap()
            .squeeze(0)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap();
        assert_eq!(rows[0], [0.0, 0.0, 0.0]);
        assert!(rows[1].iter().any(|v| *v != 0.0));
    }
}

#[test]
fn errors_say_what_was_expected() {
    let [q, k, v] = qkv(2, 4, 3, 3, 4, 2);
    let text =
        |q: &Tensor, k: &Tensor, v: &Tensor, o| attention(q, k, v, o).unwrap_err().to_string();
    let plain = Attention::default();
    assert_eq!(
        text(&q, &k, &v, plain),
        "attention: k must have shape a divisor of q's 4 heads, but has [2, 3, 4, 2]"
    );
    let [_, k, _] = qkv(2, 4, 2, 3, 4, 2);
    assert_eq!(
        text(&q, &k, &v, plain),
        "attention: v must have shape batch 2, 2 heads and 4 rows, as k has, but has [2, 3, 4, 3]"
    );
    let [q, k, v] = qkv(2, 4, 2, 3, 4, 2);
    let mask = random(&[3, 4], "mask");
    let masked = Attention {
        mask: Some(&mask),
        ..plain
    };
    assert_eq!(
        text(&q, &k, &v, masked),
        "attention: mask must have shape [2 or 1, 4 or 1, 3 or 1, 4], but has [3, 4]"
    );
    assert!(
        text(&q.squeeze(0).unwrap().get(0).unwrap(), &k, &v, plain)
            .contains("[batch, heads, rows, dim]")
    );
    let capped = Attention {
        softcap: Some(0.0),
        ..plain
    };
    assert_eq!(
        text(&q, &k, &v, capped),
        "attention: softcap must be a finite number above 0, but is 0"
    );
    assert!(attention_dropout(1.0, &mut Rng::new(Seed(1), "d")).is_err());
}
