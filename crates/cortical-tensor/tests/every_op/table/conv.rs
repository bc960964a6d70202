//! Convolutions and their transposes.

use crate::pick::Pick;
use crate::subject::{Case, Subject, subject};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_tensor::Result;
use cortical_tensor::ops::{
    self, ConvOptions, ConvTransposeOptions, MaxPoolOptions, conv2d_max_pool,
};

pub(crate) fn table() -> Vec<Subject> {
    [forward(), transposed(), pooled()]
        .into_iter()
        .flatten()
        .collect()
}

fn options<const N: usize>(p: &mut Pick, stride: usize, dilation: usize) -> ConvOptions<N> {
    ConvOptions {
        stride: std::array::from_fn(|i| p.size(if i == 0 { stride } else { 1 })),
        padding: std::array::from_fn(|i| [p.size(1), p.size(i.min(1))]),
        dilation: std::array::from_fn(|i| p.size(if i + 1 == N { dilation } else { 1 })),
        groups: p.size(1),
        activation: p.activation(Activation::Tanh),
    }
}

fn conv<const N: usize>(p: &mut Pick, t: &[Tensor], groups: usize) -> Result<Tensor> {
    let options = ConvOptions::<N> {
        groups: p.size(groups),
        ..options(p, 2, 2)
    };
    let bias = p.flag(true).then(|| (&t[2]).into());
    ops::conv(&t[0], &t[1], bias, &options)
}

fn forward() -> Vec<Subject> {
    vec![
        subject("conv", Case::Of("conv", "layer-Conv2d-"), |p, t| {
            conv::<2>(p, t, 2)
        })
        .with("groups")
        .shapes(&[
            &[&[2, 4, 4, 3], &[4, 2, 2, 2], &[4]],
            &[&[2, 4, 5], &[2, 1, 2, 2], &[2]],
        ])
        .shapes(&[&[&[0, 2, 4, 4], &[2, 1, 2, 2], &[2]]])
        .shapes(&[
            &[&[2, 2, 1, 1], &[2, 1, 1, 1], &[2]],
            &[&[1, 0, 3, 3], &[2, 0, 2, 2], &[2]],
        ])
        .large(&[&[3, 8, 40, 38], &[16, 4, 3, 3], &[16]]),
        subject("conv", Case::Of("conv", "layer-Conv2d-"), |p, t| {
            conv::<2>(p, t, 4)
        })
        .with("depthwise")
        .shapes(&[
            &[&[1, 4, 4, 3], &[4, 1, 2, 2], &[4]],
            &[&[0, 4, 3, 3], &[8, 1, 2, 2], &[8]],
        ])
        .shapes(&[&[&[1, 4, 1, 1], &[4, 1, 1, 1], &[4]]])
        .large(&[&[8, 4, 70, 60], &[4, 1, 3, 3], &[4]]),
        subject("conv1d", Case::Of("conv", "layer-Conv1d-"), |p, t| {
            let options = options(p, 2, 2);
            ops::conv1d(&t[0], &t[1], Some((&t[2]).into()), &options)
        })
        .shapes(&[
            &[&[2, 3, 6], &[2, 3, 2], &[2]],
            &[&[3, 5], &[1, 3, 3], &[1]],
        ])
        .shapes(&[
            &[&[0, 3, 5], &[2, 3, 2], &[2]],
            &[&[1, 1, 1], &[1, 1, 1], &[1]],
        ])
        .large(&[&[4, 16, 700], &[24, 16, 3], &[24]]),
        subject("conv2d", Case::Of("conv", "layer-Conv2d-"), |p, t| {
            let options = ConvOptions {
                activation: p.activation(Activation::Identity),
                ..options(p, 1, 1)
            };
            ops::conv2d(&t[0], &t[1], Some((&t[2]).into()), &options)
        })
        .shapes(&[
            &[&[2, 2, 4, 5], &[3, 2, 2, 3], &[3]],
            &[&[1, 3, 3], &[2, 1, 1, 1], &[2]],
        ])
        .shapes(&[
            &[&[0, 2, 3, 3], &[2, 2, 2, 2], &[2]],
            &[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1]],
        ])
        .large(&[&[4, 16, 40, 40], &[24, 16, 3, 3], &[24]]),
        subject("conv3d", Case::Of("conv", "layer-Conv3d-"), |p, t| {
            let options = options(p, 2, 2);
            ops::conv3d(&t[0], &t[1], Some((&t[2]).into()), &options)
        })
        .shapes(&[
            &[&[1, 2, 2, 3, 3], &[2, 2, 1, 2, 2], &[2]],
            &[&[1, 2, 2, 2], &[1, 1, 2, 1, 1], &[1]],
        ])
        .shapes(&[&[&[0, 1, 2, 2, 2], &[1, 1, 1, 1, 1], &[1]]])
        .shapes(&[&[&[1, 1, 1, 1, 1], &[1, 1, 1, 1, 1], &[1]]])
        .large(&[&[2, 4, 12, 20, 20], &[6, 4, 3, 3, 3], &[6]]),
    ]
}

fn transposed_options<const N: usize>(p: &mut Pick, groups: usize) -> ConvTransposeOptions<N> {
    ConvTransposeOptions {
        stride: std::array::from_fn(|_| p.size(2)),
        padding: std::array::from_fn(|i| p.size(i % 2)),
        output_padding: std::array::from_fn(|_| p.size(1)),
        dilation: std::array::from_fn(|_| p.size(1)),
        groups: p.size(groups),
        activation: p.activation(Activation::Silu),
    }
}

fn transposed() -> Vec<Subject> {
    let bias = |t: &[Tensor]| t[2].clone();
    vec![
        subject(
            "conv_transpose",
            Case::Of("conv_transpose", "layer-ConvTranspose2d-"),
            move |p, t| {
                let bias = bias(t);
                let bias = p.flag(true).then(|| (&bias).into());
                ops::conv_transpose(&t[0], &t[1], bias, &transposed_options::<2>(p, 2))
            },
        )
        .with("groups")
        .shapes(&[
            &[&[2, 4, 2, 3], &[4, 2, 2, 2], &[4]],
            &[&[2, 3, 2], &[2, 1, 2, 2], &[2]],
        ])
        .shapes(&[
            &[&[0, 2, 2, 2], &[2, 1, 2, 2], &[2]],
            &[&[1, 2, 1, 1], &[2, 1, 2, 2], &[2]],
        ])
        .shapes(&[&[&[2, 1, 1], &[2, 1, 2, 2], &[2]]])
        .large(&[&[4, 8, 30, 30], &[8, 4, 3, 3], &[8]]),
        subject(
            "conv_transpose1d",
            Case::Of("conv_transpose", "layer-ConvTranspose1d-"),
            |p, t| {
                ops::conv_transpose1d(
                    &t[0],
                    &t[1],
                    Some((&t[2]).into()),
                    &transposed_options(p, 1),
                )
            },
        )
        .shapes(&[
            &[&[2, 3, 4], &[3, 2, 3], &[2]],
            &[&[0, 1, 2], &[1, 1, 2], &[1]],
        ])
        .shapes(&[&[&[1, 1, 1], &[1, 1, 2], &[1]]])
        .large(&[&[8, 16, 300], &[16, 8, 3], &[8]]),
        subject(
            "conv_transpose2d",
            Case::Of("conv_transpose", "layer-ConvTranspose2d-"),
            |p, t| {
                let options = ConvTransposeOptions {
                    activation: p.activation(Activation::Relu),
                    ..transposed_options(p, 1)
                };
                ops::conv_transpose2d(&t[0], &t[1], Some((&t[2]).into()), &options)
            },
        )
        .shapes(&[
            &[&[1, 2, 3, 2], &[2, 2, 2, 3], &[2]],
            &[&[0, 1, 2, 2], &[1, 1, 2, 2], &[1]],
        ])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 2, 2], &[1]]])
        .large(&[&[4, 8, 30, 30], &[8, 4, 3, 3], &[4]]),
        subject(
            "conv_transpose3d",
            Case::Of("conv_transpose", "layer-ConvTranspose3d-"),
            |p, t| {
                ops::conv_transpose3d(
                    &t[0],
                    &t[1],
                    Some((&t[2]).into()),
                    &transposed_options(p, 1),
                )
            },
        )
        .shapes(&[
            &[&[1, 2, 2, 1, 2], &[2, 1, 2, 2, 2], &[1]],
            &[&[0, 1, 2, 2, 2], &[1, 1, 1, 2, 2], &[1]],
        ])
        .shapes(&[&[&[1, 1, 1, 1, 1], &[1, 1, 1, 2, 1], &[1]]])
        .large(&[&[2, 4, 8, 16, 16], &[4, 4, 2, 3, 3], &[4]]),
    ]
}

fn pooled() -> Vec<Subject> {
    let of = |activation: Activation| {
        subject(
            "conv2d_max_pool",
            Case::Of("conv", "layer-Conv2d-"),
            move |p, t| {
                let options = ConvOptions {
                    activation: p.activation(activation),
                    ..options(p, 1, 1)
                };
                let pool = MaxPoolOptions {
                    kernel_size: [p.size(2), p.size(2)],
                    stride: [p.size(2), p.size(2)],
                    padding: [p.size(0), p.size(0)],
                    dilation: [p.size(1), p.size(1)],
                    ceil_mode: p.flag(false),
                };
                conv2d_max_pool(&t[0], &t[1], Some((&t[2]).into()), &options, &pool)
            },
        )
        .shapes(&[
            &[&[2, 2, 5, 6], &[3, 2, 3, 3], &[3]],
            &[&[0, 1, 4, 4], &[1, 1, 2, 2], &[1]],
        ])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1]]])
        .large(&[&[4, 8, 40, 40], &[16, 8, 3, 3], &[16]])
        .chooses()
    };
    vec![
        of(Activation::Tanh).with("tanh"),
        of(Activation::Silu).with("silu"),
    ]
}
