//! What happens row by row.

use super::{Family, op};
use crate::error::Result;
use crate::workloads::{Size, classes, normal};
use candle_core::{D, DType, Device, Tensor};
use cortical_kernels::rope::{Pairs, frequencies};
use cortical_tensor::ops::{self, Ctc, HeadOrder, Reduction};

pub(super) fn families(size: Size) -> Result<Vec<Family>> {
    let (rows, cols) = (size.pick(2048, 3), size.pick(768, 5));
    let x = normal("x", &[rows, cols])?;
    let affine = [
        x.clone(),
        normal("weight", &[cols])?,
        normal("bias", &[cols])?,
    ];
    let heads = normal("heads", &[size.pick(4, 1), 8, size.pick(256, 3), 64])?;
    let positions = 0..size.pick(256, 3);
    let angles = ops::rotary_angles(positions, &frequencies(64, 1e4), DType::F32, &Device::Cpu)?;
    let (cos, sin): &'static (Tensor, Tensor) = Box::leak(Box::new(angles));
    let words = size.pick(4096, 7);
    let indices: &'static Tensor =
        Box::leak(Box::new(classes("indices", words, &[size.pick(2048, 5)])?));
    let table = normal("table", &[words, size.pick(256, 3)])?;
    Ok(vec![
        op("softmax", "softmax", std::slice::from_ref(&x), |t| {
            ops::softmax(&t[0], D::Minus1)
        })?,
        op("norm", "layer norm", &affine, |t| {
            let cols = t[1].dims();
            ops::layer_norm(
                &t[0],
                cols,
                Some((&t[1]).into()),
                Some((&t[2]).into()),
                1e-5,
            )
        })?,
        op(
            "reduction",
            "variance of rows",
            std::slice::from_ref(&x),
            |t| ops::variance(&t[0], &[-1], 1, false),
        )?,
        op("loss", "Huber loss", &[x.clone(), (&x * 0.3)?], |t| {
            ops::huber_loss(&t[0], &t[1], 0.5, Reduction::Mean)
        })?,
        op("rope", "rotary positions", &[heads], move |t| {
            ops::rotary(&t[0], cos, sin, Pairs::Halves, HeadOrder::Outside)
        })?,
        op("embedding", "embedding", &[table], move |t| {
            ops::embedding(indices, &t[0], None)
        })?,
        ctc(size)?,
    ])
}

/// The likelihood of label sequences; the opponent goes over the same recursion with candle's operations, a step at a
/// time.
fn ctc(size: Size) -> Result<Family> {
    let (steps, batch, symbols, length) = (
        size.pick(100, 4),
        size.pick(16, 2),
        size.pick(40, 5),
        size.pick(20, 2),
    );
    let scores = normal("scores", &[steps, batch, symbols])?;
    let log_probs = ops::log_softmax(&scores, D::Minus1)?;
    // Neighbours differ, so that every label may follow the one before without a blank between them.
    let labels: Vec<u32> = (0..batch * length)
        .map(|i| 1 + (i % length % 2) as u32)
        .collect();
    let targets = Tensor::from_vec(labels, (batch, length), &Device::Cpu)?;
    let (again, same_targets) = (log_probs.clone(), targets.clone());
    Ok(Family {
        module: "ctc",
        name: "CTC loss",
        ours: Box::new(move || {
            let options = Ctc {
                reduction: Reduction::None,
                ..Default::default()
            };
            let (steps, lengths) = (vec![steps; batch], vec![length; batch]);
            Ok(vec![ops::ctc_loss(
                &log_probs, &targets, &steps, &lengths, &options,
            )?])
        }),
        opponent: "candle's operations",
        theirs: Box::new(move || Ok(vec![ctc_of_candle(&again, &same_targets)?])),
        same: true,
    })
}

/// Graves et al. (2006), equations 6 and 7, over logarithms; labels are 1 and 2 by turns.
fn ctc_of_candle(log_probs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (steps, batch, _) = log_probs.dims3()?;
    let length = targets.dim(1)?;
    let states = 2 * length + 1;
    let zeros = Tensor::zeros((batch, 1), DType::U32, &Device::Cpu)?;
    let mut extended = vec![zeros.clone()];
    for i in 0..length {
        extended.extend([targets.narrow(1, i, 1)?, zeros.clone()]);
    }
    let extended = Tensor::cat(&extended, 1)?;
    let never = |width| Tensor::full(-1e30_f32, (batch, width), &Device::Cpu);
    // A blank cannot be passed over: only labels, at the odd places, take the way from two places before.
    let skips: Vec<f32> = (0..states)
        .map(|s| if s % 2 == 1 && s > 1 { 0.0 } else { -1e30 })
        .collect();
    let skips = Tensor::from_vec(skips, (1, states), &Device::Cpu)?;
    let emitted =
        |t: usize| -> Result<Tensor> { Ok(log_probs.get(t)?.contiguous()?.gather(&extended, 1)?) };
    let mut alpha = Tensor::cat(&[emitted(0)?.narrow(1, 0, 2)?, never(states - 2)?], 1)?;
    for t in 1..steps {
        let one = Tensor::cat(&[never(1)?, alpha.narrow(1, 0, states - 1)?], 1)?;
        let two = Tensor::cat(&[never(2)?, alpha.narrow(1, 0, states - 2)?], 1)?;
        let two = two.broadcast_add(&skips)?;
        alpha = (Tensor::stack(&[alpha, one, two], 0)?.log_sum_exp(0)? + emitted(t)?)?;
    }
    let ends = alpha.narrow(1, states - 2, 2)?.log_sum_exp(1)?;
    Ok(ends.neg()?)
}
