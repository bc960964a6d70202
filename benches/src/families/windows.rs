//! Windows that slide over planes, and planes of another size.

use super::{Family, op};
use crate::error::Result;
use crate::workloads::{Size, normal};
use cortical_tensor::ops::{self, ConvOptions, MaxPoolOptions};

pub(super) fn families(size: Size) -> Result<Vec<Family>> {
    let (n, c, side) = (size.pick(8, 1), size.pick(64, 3), size.pick(32, 6));
    let x = normal("planes", &[n, c, side, side])?;
    let weight = normal("weight", &[c, c, 3, 3])?;
    Ok(vec![
        op("conv", "3x3 convolution", &[x.clone(), weight], |t| {
            let options = ConvOptions {
                padding: [[1, 1]; 2],
                ..ConvOptions::default()
            };
            ops::conv2d(&t[0], &t[1], None, &options)
        })?,
        op("pool", "2x2 max pool", std::slice::from_ref(&x), |t| {
            ops::max_pool2d(&t[0], &MaxPoolOptions::new([2, 2]))
        })?,
        op("resample", "bilinear, twice as large", &[x], |t| {
            let side = 2 * t[0].dim(3)?;
            ops::upsample_bilinear2d(&t[0], [side, side], false)
        })?,
    ])
}
