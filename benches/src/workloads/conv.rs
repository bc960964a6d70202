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
        channels: [64, 64],
        groups: 1,
        side,
        kernel: 3,
        stride: 1,
    };
    let depthwise = Convolution {
        batch: size.pick(16, 2),
        channels: [128, 128],
        groups: 128,
        ..full
    };
    let odd = |channels, kernel, stride, side| Convolution {
        batch: size.pick(48, 2),
        channels,
        kernel,
        stride,
        side: size.pick(side, 7),
        ..full
    };
    vec![
        full.workload("conv3x3_64_fwdbwd"),
        depthwise.workload("conv_depthwise_fwdbwd"),
        odd([40, 40], 3, 1, 20).workload("odd_conv3x3_40_fwdbwd"),
        odd([24, 40], 5, 2, 30).workload("odd_conv5x5_24_40_s2_fwdbwd"),
        odd([3, 24], 7, 2, 50).workload("odd_conv7x7_3_24_s2_fwdbwd"),
        odd([40, 24], 1, 2, 30).workload("odd_conv1x1_40_24_s2_fwdbwd"),
    ]
}

/// Square pictures and kernels, with a padding that keeps the size where the stride is 1.
#[derive(Clone, Copy)]
struct Convolution {
    batch: usize,
    /// In and out.
    channels: [usize; 2],
    groups: usize,
    side: usize,
    kernel: usize,
    stride: usize,
}

impl Convolution {
    fn workload(self, name: &str) -> Workload {
        let Self {
            batch,
            channels: [input, output],
            groups,
            side,
            kernel,
            stride,
        } = self;
        let padding = kernel / 2;
        let out_side = (side + 2 * padding - kernel) / stride + 1;
        let outputs = batch * output * out_side * out_side;
        let operations = 3.0 * 2.0 * (outputs * (input / groups) * kernel * kernel) as f64;
        // Forward reads and writes a picture; backward reads two and writes one.
        let moved = if groups == 1 {
            0.0
        } else {
            5.0 * outputs as f64
        };
        Workload::new(name, (operations / 1e9, "GFLOP/s"), move || {
            let x = Var::from_tensor(&normal("x", &[batch, input, side, side])?)?;
            let weight = normal("weight", &[output, input / groups, kernel, kernel])?;
            let weight = Var::from_tensor(&weight.affine(0.1, 0.0)?)?;
            let options = ConvOptions {
                padding: [[padding, padding]; 2],
                stride: [stride; 2],
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
