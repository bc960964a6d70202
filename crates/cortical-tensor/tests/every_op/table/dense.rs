//! Dense layers, products and activations.

use crate::subject::{Case, Fill, Subject, subject};
use candle_core::{D, Tensor};
use cortical_kernels::activation::{self, Activation};
use cortical_kernels::gated::Packed;
use cortical_kernels::matmul::Transposes;
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use cortical_tensor::ops::{
    activate, bilinear, constant_linear, dropout, gated, gated_packed, linear, matmul, prelu,
    rrelu, split,
};
use cortical_tensor::{Rng, Seed};
use std::sync::Arc;

pub(crate) fn table() -> Vec<Subject> {
    let mut all = vec![
        subject("linear", Case::Of("linear", "layer-Linear-"), |p, t| {
            let bias = p.flag(true).then(|| (&t[2]).into());
            linear(&t[0], &t[1], bias, p.activation(Activation::Gelu))
        })
        .shapes(&[
            &[&[2, 3, 4], &[5, 4], &[5]],
            &[&[4], &[2, 4], &[2]],
            &[&[0, 3], &[2, 3], &[2]],
        ])
        .shapes(&[
            &[&[1, 1], &[1, 1], &[1]],
            &[&[2, 3], &[0, 3], &[0]],
            &[&[2, 0], &[3, 0], &[3]],
        ])
        .large(&[&[300, 130], &[257, 130], &[257]]),
        subject(
            "bilinear",
            Case::Of("bilinear", "layer-Bilinear-"),
            |p, t| {
                let bias = p.flag(true).then(|| (&t[3]).into());
                bilinear(&t[0], &t[1], &t[2], bias)
            },
        )
        .shapes(&[
            &[&[2, 3], &[2, 4], &[5, 3, 4], &[5]],
            &[&[1], &[1], &[1, 1, 1], &[1]],
        ])
        .shapes(&[
            &[&[0, 3], &[0, 2], &[2, 3, 2], &[2]],
            &[&[2, 0], &[2, 3], &[4, 0, 3], &[4]],
        ])
        .large(&[&[130, 40], &[130, 30], &[20, 40, 30], &[20]]),
        subject(
            "constant_linear",
            Case::None("PyTorch has no such weights; with them dequantized it is linear"),
            |_, t| {
                let weights: Vec<f32> = (0..12).map(|i| 0.25 * (i as f32 - 5.0)).collect();
                let weight = QuantizedMatrix::quantize(Format::Bf16, 3, 4, &weights);
                let weight = weight.expect("rows of any length");
                constant_linear(&t[0], &Arc::new(weight), None, Activation::Tanh)
            },
        )
        .shapes(&[&[&[2, 3, 4]], &[&[1, 4]], &[&[0, 4]]])
        .large(&[&[300, 4]]),
        subject("split", Case::Of("split", "function-split-"), |p, t| {
            let parts = split(&t[0], &[p.size(1), p.size(2)])?;
            Ok(Tensor::cat(&[&(&parts[1] * 2.0)?, &parts[0]], D::Minus1)?)
        })
        .shapes(&[&[&[2, 3, 3]], &[&[0, 3]], &[&[3]]])
        .shapes(&[&[&[1, 1, 3]]])
        .large(&[&[40_000, 3]]),
        subject("prelu", Case::Of("prelu", "layer-PReLU-"), |_, t| {
            prelu(&t[0], &t[1])
        })
        .shapes(&[
            &[&[2, 3, 2], &[3]],
            &[&[4], &[1]],
            &[&[0, 3], &[3]],
            &[&[1, 1], &[1]],
        ])
        .large(&[&[16, 30, 200], &[30]]),
        subject(
            "dropout",
            Case::None("no two libraries drop the same elements"),
            |p, t| dropout(&t[0], p.real(0.4), &mut Rng::new(Seed(1), "dropout")),
        )
        .shapes(&[&[&[3, 4]], &[&[0, 2]], &[&[1]], &[&[]]])
        .large(&[&[100_003]]),
        subject(
            "rrelu",
            Case::None("no two libraries draw the same slopes"),
            |p, t| {
                rrelu(
                    &t[0],
                    p.real(0.1),
                    p.real(0.3),
                    &mut Rng::new(Seed(1), "rrelu"),
                )
            },
        )
        .shapes(&[&[&[3, 4]], &[&[0, 2]], &[&[1]], &[&[]]])
        .large(&[&[100_003]]),
    ];
    all.extend(matmuls());
    all.extend(activations());
    all.extend(gates());
    all
}

fn matmuls() -> Vec<Subject> {
    let case = Case::Of("matmul", "function-matmul-");
    let of = |a: bool, b: bool| {
        subject("matmul", case, move |p, t| {
            let transposes = Transposes {
                a: p.choose(&[a, !a]),
                b: p.choose(&[b, !b]),
            };
            matmul(&t[0], &t[1], transposes)
        })
    };
    vec![
        of(false, false)
            .with("plain")
            .shapes(&[
                &[&[2, 3, 4], &[2, 4, 2]],
                &[&[2, 3, 2], &[2, 3]],
                &[&[1, 1], &[1, 1]],
            ])
            .shapes(&[
                &[&[0, 3], &[3, 2]],
                &[&[2, 0], &[0, 3]],
                &[&[0, 2, 3], &[0, 3, 1]],
            ])
            .large(&[&[3, 150, 90], &[3, 90, 120]]),
        of(true, true)
            .with("transposed")
            .shapes(&[
                &[&[2, 4, 3], &[2, 2, 4]],
                &[&[1, 1], &[1, 1]],
                &[&[3, 0], &[2, 3]],
            ])
            .large(&[&[3, 90, 150], &[3, 120, 90]]),
    ]
}

fn activations() -> Vec<Subject> {
    let case = |activation: Activation| match activation {
        Activation::Identity => Case::None("it changes nothing"),
        _ => Case::Of("activate", "layer-GELU-"),
    };
    (activation::ALL.into_iter())
        .map(|of| {
            let name: &'static str = Box::leak(format!("{of:?}").into_boxed_str());
            subject("activate", case(of), move |_, t| activate(&t[0], of))
                .with(name)
                .shapes(&[&[&[3, 4]], &[&[0, 2]], &[&[1]], &[&[]]])
                .large(&[&[70_001]])
        })
        .collect()
}

fn gates() -> Vec<Subject> {
    let case = Case::Of("gated", "layer-GLU-");
    let kinds = [
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Identity,
    ];
    vec![
        subject("gated", case, move |p, t| {
            gated(&t[0], &t[1], p.choose(&kinds))
        })
        .shapes(&[&[&[3, 4], &[3, 4]], &[&[0, 2], &[0, 2]], &[&[1], &[1]]])
        .large(&[&[70_001], &[70_001]]),
        subject(
            "gated_packed",
            Case::Of("gated_packed", "layer-GLU-"),
            move |p, t| {
                let packed = p.choose(&[Packed::GateFirst, Packed::GateLast]);
                gated_packed(&t[0], p.choose(&kinds), packed)
            },
        )
        .fills(&[Fill::Normal])
        .shapes(&[&[&[3, 4]], &[&[0, 2]], &[&[2, 0]]])
        .shapes(&[&[&[1, 2]]])
        .large(&[&[300, 320]]),
    ]
}
