//! Normalisation and softmax.

use crate::pick::Pick;
use crate::subject::{Case, Fill, Shapes, Subject, subject};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_tensor::Input;
use cortical_tensor::ops::{
    BatchNormOptions, batch_norm, batch_norm_eval, batch_norm_eval_with, batch_norm_with,
    group_norm, layer_norm, log_softmax, residual, rms_norm, softmax,
};

fn some(present: bool, tensor: &Tensor) -> Option<Input<'_>> {
    present.then(|| tensor.into())
}

const BRANCHES: &[Shapes] = &[
    &[&[2, 3, 2, 2], &[3], &[3], &[2, 3, 2, 2]],
    &[&[4, 2], &[2], &[2], &[4, 2]],
    &[&[2, 0, 3], &[0], &[0], &[2, 0, 3]],
    &[&[1, 1, 3], &[1], &[1], &[1, 1, 3]],
];
const MANY: Shapes = &[&[8, 12, 30, 30], &[12], &[12], &[8, 12, 30, 30]];

fn with_branch<'a>(p: &mut Pick, t: &'a [Tensor]) -> BatchNormOptions<'a> {
    BatchNormOptions {
        weight: some(p.flag(true), &t[1]),
        bias: some(p.flag(true), &t[2]),
        branch: some(p.flag(true), &t[3]),
        eps: p.real(1e-5),
        activation: p.activation(Activation::Tanh),
    }
}

pub(crate) fn table() -> Vec<Subject> {
    vec![
        subject(
            "layer_norm",
            Case::Of("layer_norm", "layer-LayerNorm-"),
            |p, t| {
                let shape = [p.size(3), p.size(2)];
                let (w, b) = (some(p.flag(true), &t[1]), some(p.flag(true), &t[2]));
                layer_norm(&t[0], &shape, w, b, p.real(1e-5))
            },
        )
        .shapes(&[
            &[&[2, 3, 2], &[3, 2], &[3, 2]],
            &[&[3, 2], &[3, 2], &[3, 2]],
        ])
        .shapes(&[
            &[&[0, 3, 2], &[3, 2], &[3, 2]],
            &[&[1, 3, 2], &[3, 2], &[3, 2]],
        ])
        .large(&[&[20_000, 3, 2], &[3, 2], &[3, 2]]),
        subject(
            "layer_norm",
            Case::Of("layer_norm", "layer-LayerNorm-"),
            |p, t| {
                let shape = [t[1].dims().first().copied().unwrap_or(1)];
                layer_norm(
                    &t[0],
                    &shape,
                    some(true, &t[1]),
                    some(p.flag(true), &t[2]),
                    1e-5,
                )
            },
        )
        .with("rows")
        .shapes(&[
            &[&[2, 5], &[5], &[5]],
            &[&[1, 1], &[1], &[1]],
            &[&[2, 0], &[0], &[0]],
        ])
        .large(&[&[400, 300], &[300], &[300]]),
        subject(
            "rms_norm",
            Case::Of("rms_norm", "layer-RMSNorm-"),
            |p, t| {
                let shape = [t[1].dims().first().copied().unwrap_or(1)];
                rms_norm(&t[0], &shape, some(p.flag(true), &t[1]), p.real(1e-5))
            },
        )
        .shapes(&[
            &[&[2, 5], &[5]],
            &[&[1, 1], &[1]],
            &[&[0, 3], &[3]],
            &[&[2, 0], &[0]],
        ])
        .large(&[&[400, 300], &[300]]),
        subject(
            "batch_norm",
            Case::Of("batch_norm", "layer-BatchNorm2d-"),
            |p, t| {
                let (w, b) = (some(p.flag(true), &t[1]), some(p.flag(true), &t[2]));
                Ok(batch_norm(&t[0], w, b, p.real(1e-5))?.output)
            },
        )
        .shapes(&[&[&[2, 3, 2, 2], &[3], &[3]], &[&[4, 2], &[2], &[2]]])
        .shapes(&[&[&[2, 0, 3], &[0], &[0]], &[&[1, 1, 3], &[1], &[1]]])
        .large(&[&[8, 12, 30, 30], &[12], &[12]]),
        subject(
            "batch_norm_eval",
            Case::Of("batch_norm_eval", "layer-BatchNorm2d-"),
            |p, t| {
                let channels = [t[1].dims().first().map_or(1, |d| (*d).min(99))];
                let mean = p.constant(Fill::Normal, &channels, t[0].dtype());
                let var = p.constant(Fill::Positive, &channels, t[0].dtype());
                let (w, b) = (some(p.flag(true), &t[1]), some(p.flag(true), &t[2]));
                batch_norm_eval(&t[0], &mean, &var, w, b, p.real(1e-5))
            },
        )
        .shapes(&[&[&[2, 3, 2, 2], &[3], &[3]], &[&[0, 2], &[2], &[2]]])
        .shapes(&[&[&[1, 1], &[1], &[1]]])
        .large(&[&[8, 12, 30, 30], &[12], &[12]]),
        subject(
            "batch_norm_with",
            Case::Of("batch_norm_with", "function-batch_norm_with-"),
            |p, t| Ok(batch_norm_with(&t[0], &with_branch(p, t))?.output),
        )
        .shapes(BRANCHES)
        .large(MANY),
        subject(
            "batch_norm_eval_with",
            Case::Of("batch_norm_eval_with", "function-batch_norm_eval_with-"),
            |p, t| {
                let channels = [t[1].dims().first().map_or(1, |d| (*d).min(99))];
                let mean = p.constant(Fill::Normal, &channels, t[0].dtype());
                let var = p.constant(Fill::Positive, &channels, t[0].dtype());
                batch_norm_eval_with(&t[0], &mean, &var, &with_branch(p, t))
            },
        )
        .shapes(BRANCHES)
        .large(MANY),
        subject(
            "residual",
            Case::Of("residual", "function-residual-"),
            |p, t| residual(&t[0], &t[1], p.activation(Activation::Silu)),
        )
        .shapes(&[
            &[&[3, 4], &[3, 4]],
            &[&[0, 2], &[0, 2]],
            &[&[1], &[1]],
            &[&[], &[]],
        ])
        .large(&[&[70_001], &[70_001]]),
        subject(
            "group_norm",
            Case::Of("group_norm", "layer-GroupNorm-"),
            |p, t| {
                let (w, b) = (some(p.flag(true), &t[1]), some(p.flag(true), &t[2]));
                group_norm(&t[0], p.size(2), w, b, p.real(1e-5))
            },
        )
        .shapes(&[&[&[2, 4, 3], &[4], &[4]], &[&[0, 2, 2], &[2], &[2]]])
        .shapes(&[&[&[1, 2, 2], &[2], &[2]]])
        .large(&[&[8, 12, 30, 30], &[12], &[12]]),
        subject("softmax", Case::Of("softmax", "layer-Softmax-"), |p, t| {
            softmax(&t[0], p.size(1))
        })
        .shapes(&[&[&[2, 3, 2]], &[&[0, 3]], &[&[1, 1]], &[&[2, 0]]])
        .large(&[&[300, 300]]),
        subject(
            "log_softmax",
            Case::Of("log_softmax", "layer-LogSoftmax-"),
            |p, t| log_softmax(&t[0], p.size(1)),
        )
        .shapes(&[&[&[2, 3, 2]], &[&[0, 3]], &[&[1, 1]], &[&[2, 0]]])
        .large(&[&[300, 300]]),
    ]
}
