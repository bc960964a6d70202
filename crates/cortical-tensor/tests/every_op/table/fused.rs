//! Operations that join several: sublayers of a transformer block, a head with its loss.

use crate::pick::Pick;
use crate::subject::{Case, Fill, Subject, subject};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::rope::Pairs;
use cortical_tensor::Result;
use cortical_tensor::ops::{
    AttentionSublayer, CrossEntropy, FeedForward, Reduction, SublayerRotary, attention_sublayer,
    feed_forward, linear_cross_entropy,
};

pub(crate) fn table() -> Vec<Subject> {
    let mut all = sublayers();
    all.push(head());
    all
}

fn attention(p: &mut Pick, t: &[Tensor], turned: bool, causal: bool) -> Result<Tensor> {
    let dtype = t[0].dtype();
    let rows = t[0].dims().get(1).copied().unwrap_or(1);
    let (cos, sin) = (
        p.constant(Fill::Normal, &[rows, 1], dtype),
        p.constant(Fill::Normal, &[rows, 1], dtype),
    );
    let pairs = p.choose(&[Pairs::Halves, Pairs::Neighbours]);
    let rotary = SublayerRotary {
        cos: &cos,
        sin: &sin,
        pairs,
    };
    let sublayer = AttentionSublayer {
        norm: (&t[1]).into(),
        qkv: [(&t[2]).into(), (&t[3]).into(), (&t[4]).into()],
        bias: (p.flag(true)).then(|| [(&t[6]).into(), (&t[7]).into(), (&t[8]).into()]),
        out: (&t[5]).into(),
        heads: p.size(2),
        kv_heads: p.size(1),
        rotary: p.flag(turned).then_some(rotary),
        causal: p.flag(causal),
        eps: p.real(1e-5),
        shows: p.flag(false),
    };
    Ok(attention_sublayer(&t[0], sublayer)?.output)
}

fn sublayers() -> Vec<Subject> {
    let of = |turned: bool, causal: bool| {
        subject(
            "attention_sublayer",
            Case::Of("attention_sublayer", "function-attention_half-"),
            move |p, t| attention(p, t, turned, causal),
        )
        .shapes(&[
            &[
                &[2, 3, 4],
                &[4],
                &[4, 4],
                &[2, 4],
                &[2, 4],
                &[4, 4],
                &[4],
                &[2],
                &[2],
            ],
            &[
                &[0, 2, 4],
                &[4],
                &[4, 4],
                &[2, 4],
                &[2, 4],
                &[4, 4],
                &[4],
                &[2],
                &[2],
            ],
            &[
                &[1, 1, 3],
                &[3],
                &[4, 3],
                &[2, 3],
                &[2, 3],
                &[3, 4],
                &[4],
                &[2],
                &[2],
            ],
        ])
        .large(&[
            &[3, 70, 40],
            &[40],
            &[64, 40],
            &[32, 40],
            &[32, 40],
            &[40, 64],
            &[64],
            &[32],
            &[32],
        ])
    };
    vec![
        of(true, true).with("turned, causal"),
        of(false, false).with("plain"),
        subject(
            "feed_forward",
            Case::Of("feed_forward", "function-feed_forward-"),
            |p, t| {
                let sublayer = FeedForward {
                    norm: (&t[1]).into(),
                    gate: (&t[2]).into(),
                    up: (&t[3]).into(),
                    down: (&t[4]).into(),
                    eps: p.real(1e-5),
                    activation: p.choose(&[
                        Activation::Silu,
                        Activation::Gelu,
                        Activation::Sigmoid,
                    ]),
                    shows: p.flag(false),
                };
                Ok(feed_forward(&t[0], sublayer)?.output)
            },
        )
        .shapes(&[
            &[&[2, 3, 4], &[4], &[5, 4], &[5, 4], &[4, 5]],
            &[&[0, 4], &[4], &[5, 4], &[5, 4], &[4, 5]],
            &[&[1, 3], &[3], &[1, 3], &[1, 3], &[3, 1]],
        ])
        .large(&[&[200, 40], &[40], &[90, 40], &[90, 40], &[40, 90]]),
    ]
}

fn head() -> Subject {
    subject(
        "linear_cross_entropy",
        Case::Of("linear_cross_entropy", "function-linear_cross_entropy-"),
        |p, t| {
            let classes = t[1].dims().first().copied().unwrap_or(1);
            let leading = t[0].dims().split_last().map_or(&[][..], |(_, rows)| rows);
            let labels = p.labels(leading, classes);
            let weight = p.constant(Fill::Positive, &[classes], t[0].dtype());
            let options = CrossEntropy {
                weight: p.flag(false).then_some(weight),
                ignore_index: p.choose(&[None, Some(1), Some(-100)]),
                label_smoothing: p.real(0.1),
                reduction: p.reduction(Reduction::Sum),
            };
            let bias = p.flag(true).then(|| (&t[2]).into());
            linear_cross_entropy(&t[0], &t[1], bias, &labels, &options)
        },
    )
    .shapes(&[
        &[&[2, 3, 4], &[5, 4], &[5]],
        &[&[0, 4], &[3, 4], &[3]],
        &[&[1, 1], &[1, 1], &[1]],
    ])
    .large(&[&[300, 40], &[120, 40], &[120]])
}
