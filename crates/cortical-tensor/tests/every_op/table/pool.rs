//! Pools, resampling and rearranging.

use crate::pick::Pick;
use crate::subject::{Case, Subject, subject};
use cortical_tensor::ops::{self, AvgPoolOptions, Interpolation, MaxPoolOptions, PadMode, Resize};

pub(crate) fn table() -> Vec<Subject> {
    [maxima(), means(), adaptive(), resampled(), rearranged()]
        .into_iter()
        .flatten()
        .collect()
}

fn max_options<const N: usize>(p: &mut Pick) -> MaxPoolOptions<N> {
    MaxPoolOptions {
        kernel_size: std::array::from_fn(|i| p.size(2 + i % 2)),
        stride: std::array::from_fn(|i| p.size(2 - i % 2)),
        padding: std::array::from_fn(|_| p.size(1)),
        dilation: std::array::from_fn(|_| p.size(1)),
        ceil_mode: p.flag(true),
    }
}

fn maxima() -> Vec<Subject> {
    vec![
        subject(
            "max_pool",
            Case::Of("max_pool", "layer-MaxPool2d-"),
            |p, t| {
                let options = MaxPoolOptions {
                    dilation: [p.size(2), p.size(1)],
                    ..max_options::<2>(p)
                };
                ops::max_pool(&t[0], &options)
            },
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[0, 2, 4, 4]], &[&[1, 2, 3]]])
        .chooses()
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "max_pool1d",
            Case::Of("max_pool", "layer-MaxPool1d-"),
            |p, t| ops::max_pool1d(&t[0], &max_options(p)),
        )
        .shapes(&[&[&[2, 2, 7]], &[&[0, 2, 4]], &[&[1, 1]]])
        .chooses()
        .large(&[&[16, 16, 300]]),
        subject(
            "max_pool2d",
            Case::Of("max_pool", "layer-MaxPool2d-"),
            |p, t| {
                let options = MaxPoolOptions {
                    dilation: [p.size(1), p.size(1)],
                    ceil_mode: p.flag(false),
                    ..MaxPoolOptions::new([p.size(2), p.size(2)])
                };
                ops::max_pool2d(&t[0], &options)
            },
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[3, 4, 2]], &[&[0, 2, 4, 4]]])
        .shapes(&[&[&[1, 2, 2]]])
        .chooses()
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "max_pool3d",
            Case::Of("max_pool", "layer-MaxPool3d-"),
            |p, t| ops::max_pool3d(&t[0], &max_options(p)),
        )
        .shapes(&[&[&[1, 2, 3, 4, 3]], &[&[0, 2, 2, 3, 2]], &[&[1, 1, 1, 1]]])
        .chooses()
        .large(&[&[3, 4, 10, 20, 20]]),
    ]
}

fn avg_options<const N: usize>(p: &mut Pick) -> AvgPoolOptions<N> {
    AvgPoolOptions {
        kernel_size: std::array::from_fn(|i| p.size(2 + i % 2)),
        stride: std::array::from_fn(|i| p.size(2 - i % 2)),
        padding: std::array::from_fn(|_| p.size(1)),
        ceil_mode: p.flag(true),
        count_include_pad: p.flag(false),
        divisor_override: p.choose(&[None, None, Some(3), Some(0)]),
    }
}

fn means() -> Vec<Subject> {
    vec![
        subject(
            "avg_pool",
            Case::Of("avg_pool", "layer-AvgPool2d-"),
            |p, t| {
                let options = AvgPoolOptions {
                    count_include_pad: true,
                    divisor_override: p.choose(&[Some(3), None]),
                    ..avg_options::<2>(p)
                };
                ops::avg_pool(&t[0], &options)
            },
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "avg_pool1d",
            Case::Of("avg_pool", "layer-AvgPool1d-"),
            |p, t| ops::avg_pool1d(&t[0], &avg_options(p)),
        )
        .shapes(&[&[&[2, 2, 7]], &[&[0, 2, 4]], &[&[1, 1]]])
        .large(&[&[16, 16, 300]]),
        subject(
            "avg_pool2d",
            Case::Of("avg_pool", "layer-AvgPool2d-"),
            |p, t| ops::avg_pool2d(&t[0], &avg_options(p)),
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "avg_pool3d",
            Case::Of("avg_pool", "layer-AvgPool3d-"),
            |p, t| ops::avg_pool3d(&t[0], &avg_options(p)),
        )
        .shapes(&[&[&[1, 2, 3, 4, 3]], &[&[0, 2, 2, 3, 2]], &[&[1, 1, 1, 1]]])
        .large(&[&[3, 4, 10, 20, 20]]),
    ]
}

fn adaptive() -> Vec<Subject> {
    let mean = |op, case| Case::Of(op, case);
    vec![
        subject(
            "adaptive_avg_pool1d",
            mean("adaptive_avg_pool1d", "layer-AdaptiveAvgPool1d-"),
            |p, t| ops::adaptive_avg_pool1d(&t[0], p.size(3)),
        )
        .shapes(&[&[&[2, 2, 5]], &[&[0, 2, 4]], &[&[1, 1]]])
        .large(&[&[16, 16, 300]]),
        subject(
            "adaptive_avg_pool2d",
            mean("adaptive_avg_pool2d", "layer-AdaptiveAvgPool2d-"),
            |p, t| ops::adaptive_avg_pool2d(&t[0], [p.size(3), p.size(2)]),
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "adaptive_avg_pool3d",
            mean("adaptive_avg_pool3d", "layer-AdaptiveAvgPool3d-"),
            |p, t| ops::adaptive_avg_pool3d(&t[0], [p.size(2), p.size(3), p.size(2)]),
        )
        .shapes(&[&[&[1, 2, 3, 4, 3]], &[&[0, 2, 2, 3, 2]], &[&[1, 1, 1, 1]]])
        .large(&[&[3, 4, 10, 20, 20]]),
        subject(
            "adaptive_max_pool1d",
            mean("adaptive_max_pool1d", "layer-AdaptiveMaxPool1d-"),
            |p, t| ops::adaptive_max_pool1d(&t[0], p.size(3)),
        )
        .shapes(&[&[&[2, 2, 5]], &[&[0, 2, 4]], &[&[1, 1]]])
        .chooses()
        .large(&[&[16, 16, 300]]),
        subject(
            "adaptive_max_pool2d",
            mean("adaptive_max_pool2d", "layer-AdaptiveMaxPool2d-"),
            |p, t| ops::adaptive_max_pool2d(&t[0], [p.size(3), p.size(2)]),
        )
        .shapes(&[&[&[2, 2, 4, 5]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .chooses()
        .large(&[&[8, 6, 50, 50]]),
        subject(
            "adaptive_max_pool3d",
            mean("adaptive_max_pool3d", "layer-AdaptiveMaxPool3d-"),
            |p, t| ops::adaptive_max_pool3d(&t[0], [p.size(2), p.size(3), p.size(2)]),
        )
        .shapes(&[&[&[1, 2, 3, 4, 3]], &[&[0, 2, 2, 3, 2]], &[&[1, 1, 1, 1]]])
        .chooses()
        .large(&[&[3, 4, 10, 20, 20]]),
    ]
}

fn resampled() -> Vec<Subject> {
    let modes = |align_corners, antialias| {
        [
            Interpolation::Cubic {
                align_corners,
                antialias,
            },
            Interpolation::Linear {
                align_corners,
                antialias,
            },
        ]
    };
    let interpolated = |mode: Interpolation, with: &'static str| {
        subject(
            "interpolate",
            Case::Of("interpolate", "function-interpolate-"),
            move |p, t| {
                let factors = vec![p.real(1.7)];
                let to = match p.choose(&[0, 1, 2]) {
                    0 => Resize::Factor(factors),
                    1 => Resize::FactorOfSizes(factors),
                    _ => Resize::Size(vec![p.size(5)]),
                };
                ops::interpolate(&t[0], &to, mode)
            },
        )
        .with(with)
        .shapes(&[
            &[&[2, 2, 3, 4]],
            &[&[1, 2, 5]],
            &[&[1, 1, 2, 3, 2]],
            &[&[0, 2, 4]],
        ])
        .shapes(&[&[&[1, 1, 1, 1]]])
        .large(&[&[8, 6, 40, 40]])
    };
    let mut all = vec![
        subject(
            "upsample_nearest2d",
            Case::Of("interpolate", "layer-Upsample-nearest"),
            |p, t| ops::upsample_nearest2d(&t[0], [p.size(5), p.size(3)]),
        )
        .shapes(&[&[&[2, 2, 3, 4]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .large(&[&[8, 60, 20, 20]]),
        subject(
            "upsample_bilinear2d",
            Case::Of("interpolate", "layer-Upsample-bilinear"),
            |p, t| ops::upsample_bilinear2d(&t[0], [p.size(5), p.size(3)], p.flag(false)),
        )
        .shapes(&[&[&[2, 2, 3, 4]], &[&[0, 2, 4, 4]], &[&[1, 1, 1]]])
        .large(&[&[8, 60, 20, 20]]),
        interpolated(Interpolation::Nearest, "nearest"),
        interpolated(Interpolation::NearestExact, "nearest-exact"),
        interpolated(Interpolation::Area, "area"),
    ];
    let [cubic, linear] = modes(false, false);
    all.extend([interpolated(cubic, "cubic"), interpolated(linear, "linear")]);
    let [cubic, linear] = modes(true, false);
    all.extend([
        interpolated(cubic, "cubic, corners"),
        interpolated(linear, "linear, corners"),
    ]);
    let [cubic, linear] = modes(false, true);
    all.extend([
        interpolated(cubic, "cubic, smooth"),
        interpolated(linear, "linear, smooth"),
    ]);
    all
}

fn rearranged() -> Vec<Subject> {
    let padded = |mode: PadMode, with: &'static str| {
        subject("pad", Case::Of("pad", "function-pad-"), move |p, t| {
            ops::pad(
                &t[0],
                &[[p.size(1), p.size(0)], [p.size(1), p.size(1)]],
                mode,
            )
        })
        .with(with)
        .shapes(&[&[&[2, 3, 3]], &[&[0, 2, 3]], &[&[1, 3, 4]]])
        .large(&[&[20, 60, 60]])
    };
    vec![
        padded(PadMode::Constant(0.5), "constant").shapes(&[&[&[1, 1]]]),
        padded(PadMode::Replicate, "replicate").shapes(&[&[&[1, 1]]]),
        padded(PadMode::Reflect, "reflect"),
        padded(PadMode::Circular, "circular"),
        subject(
            "pixel_shuffle",
            Case::Of("pixel_shuffle", "layer-PixelShuffle-"),
            |p, t| ops::pixel_shuffle(&t[0], p.size(2)),
        )
        .shapes(&[&[&[2, 8, 2, 3]], &[&[0, 4, 2, 2]]])
        .shapes(&[&[&[4, 1, 1]]])
        .large(&[&[4, 16, 40, 40]]),
        subject(
            "pixel_unshuffle",
            Case::Of("pixel_unshuffle", "layer-PixelUnshuffle-"),
            |p, t| ops::pixel_unshuffle(&t[0], p.size(2)),
        )
        .shapes(&[&[&[2, 2, 4, 6]], &[&[0, 1, 2, 2]]])
        .shapes(&[&[&[1, 2, 2]]])
        .large(&[&[4, 4, 80, 80]]),
    ]
}
