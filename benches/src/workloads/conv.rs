//! Single convolutions with the gradients of input and weight.

use super::{Size, normal};
use crate::error::Result;
use crate::measure::{Cost, Output, Workload};
use candle_core::Var;
use cortical_tensor::ops::{ConvOptions, conv2d};

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let side = size.pick(32, 5);
    let full = Convolution {
        batch: size.pick(32, 2),
        channels: 64,
        groups: 1,
        side,
    };
    let depthwise = Convolution {
        batch: size.pick(16, 2),
        channels: 128,
        groups: 128,
        side,
    };
    vec![
        full.workload("conv3x3_64_fwdbwd"),
        depthwise.workload("conv_depthwise_fwdbwd"),
    ]
}

/// As many channels out as in, a kernel of 3 × 3, and a padding that keeps the size.
#[derive(Clone, Copy)]
struct Convolution {
    batch: usize,
    channels: usize,
    groups: usize,
    side: usize,
}

impl Convolution {
    fn workload(self, name: &str) -> Workload {
        let Self {
            batch,
            channels,
            groups,
            side,
        } = self;
        let outputs = batch * channels * side * side;
        let operations = 3.0 * 2.0 * (outputs * (channels / groups) * 9) as f64;
        // Forward reads and writes a picture; backward reads two and writes one.
        let moved = if groups == 1 {
            0.0
        } else {
            5.0 * outputs as f64
        };
        Workload::new(name, (operations / 1e9, "GFLOP/s"), move || {
            let x = Var::from_tensor(&normal("x", &[batch, channels, side, side])?)?;
            let weight = normal("weight", &[channels, channels / groups, 3, 3])?;
            let weight = Var::from_tensor(&weight.affine(0.1, 0.0)?)?;
            let options = ConvOptions {
                padding: [[1, 1]; 2],
                groups,
                ..Default::default()
            };
            Ok(move || -> Result<Output> {
                let y = conv2d(&x, &weight, None, &options)?;
                let gradients = y.sum_all()?.backward()?;
                let d_weight = gradients.get(&weight).cloned();
                Ok(d_weight.map_or(Output::Number(f64::NAN), Output::Tensor))
            })
        })
        .times(2, 9)
        .cost(Cost::operations(operations).and_moving(moved))
    }
}
