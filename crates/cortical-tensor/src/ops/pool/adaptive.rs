//! Adaptive average pooling: windows cut so that the result has a given size.

use crate::ops::upsample::{Resample, resample};
use crate::{Input, Result};
use candle_core::Tensor;
use cortical_kernels::resample::AxisMap;

/// `y[p]` is the mean of `x` from ⌊p · in / out⌋ to ⌈(p + 1) · in / out⌉ along the last axis.
///
/// # Shapes
/// - `x`: `[n, channels, length]`, or without `n`
/// - result: `[n, channels, output_size]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType); [`Error::Option`](crate::Error::Option) for an output
/// size of 0; [`Error::TooLarge`](crate::Error::TooLarge).
pub fn adaptive_avg_pool1d<'a>(x: impl Into<Input<'a>>, output_size: usize) -> Result<Tensor> {
    let how = Resample {
        name: "adaptive_avg_pool1d",
        option: "output_size",
        map: AxisMap::mean,
    };
    resample::<1>(how, x.into(), [1, output_size])
}

/// As [`adaptive_avg_pool1d`] over height and width; `[1, 1]` is the mean of each channel.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, output_height, output_width]`
///
/// # Errors
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_avg_pool2d<'a>(x: impl Into<Input<'a>>, output_size: [usize; 2]) -> Result<Tensor> {
    let how = Resample {
        name: "adaptive_avg_pool2d",
        option: "output_size",
        map: AxisMap::mean,
    };
    resample::<2>(how, x.into(), output_size)
}
