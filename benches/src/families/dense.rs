//! Products and what is made of them.

use super::{Family, Run, op};
use crate::error::Result;
use crate::workloads::{Size, classes, normal};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::matmul::Transposes;
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use cortical_kernels::recurrent::Cell;
use cortical_kernels::sparse::{Precision, SparseMatrix};
use cortical_tensor::ops::{self, Attention, CrossEntropy, RecurrentWeights, Reduction, Time};
use std::sync::Arc;

pub(super) fn families(size: Size) -> Result<Vec<Family>> {
    let [n, i, o] = [size.pick(512, 3), size.pick(768, 4), size.pick(512, 5)];
    let (x, w, b) = (
        normal("x", &[n, i])?,
        normal("w", &[o, i])?,
        normal("b", &[o])?,
    );
    let wide = normal("wide", &[n, o])?;
    let (heads, dim) = (size.pick(8, 2), size.pick(64, 4));
    let rows = size.pick(256, 5);
    let of_heads = |name| normal(name, &[size.pick(2, 1), heads, rows, dim]);
    let labels = classes("labels", o, &[n])?;
    let [steps, batch, hidden] = [size.pick(64, 3), size.pick(32, 2), size.pick(256, 4)];
    let sequence = [
        normal("sequence", &[steps, batch, hidden])?,
        normal("h", &[batch, hidden])?,
        normal("c", &[batch, hidden])?,
        (normal("w_ih", &[4 * hidden, hidden])? * 0.05)?,
        (normal("w_hh", &[4 * hidden, hidden])? * 0.05)?,
    ];
    let pairs = [
        normal("left", &[n, size.pick(32, 2)])?,
        normal("right", &[n, size.pick(32, 3)])?,
        normal(
            "of_pairs",
            &[size.pick(64, 2), size.pick(32, 2), size.pick(32, 3)],
        )?,
    ];
    Ok(vec![
        op("matmul", "matmul", &[x.clone(), w.clone()], |t| {
            ops::matmul(&t[0], &t[1], Transposes { a: false, b: true })
        })?,
        op("linear", "linear with bias and ReLU", &[x, w, b], |t| {
            ops::linear(&t[0], &t[1], Some((&t[2]).into()), Activation::Relu)
        })?,
        op(
            "activation",
            "exact GELU",
            std::slice::from_ref(&wide),
            |t| ops::activate(&t[0], Activation::Gelu),
        )?,
        op("gated", "SwiGLU", &[wide.clone(), (&wide * 0.5)?], |t| {
            ops::gated(&t[0], &t[1], Activation::Silu)
        })?,
        op(
            "residual",
            "sum and ReLU",
            &[wide.clone(), (&wide * 0.5)?],
            |t| ops::residual(&t[0], &t[1], Activation::Relu),
        )?,
        op(
            "prelu",
            "PReLU",
            &[wide.clone(), normal("slope", &[o])?],
            |t| ops::prelu(&t[0], &t[1]),
        )?,
        cross_entropy(wide, labels)?,
        op(
            "attention",
            "causal attention",
            &[of_heads("q")?, of_heads("k")?, of_heads("v")?],
            |t| {
                let options = Attention {
                    causal: Some(0),
                    ..Default::default()
                };
                ops::attention(&t[0], &t[1], &t[2], options)
            },
        )?,
        op("recurrent", "LSTM", &sequence, |t| {
            let weights = RecurrentWeights {
                w_ih: (&t[3]).into(),
                w_hh: (&t[4]).into(),
                b_ih: None,
                b_hh: None,
            };
            let (h, c) = (&t[1], Some((&t[2]).into()));
            Ok(ops::recurrent(Cell::Lstm, &t[0], h, c, weights, Time::default())?.output)
        })?,
        op("outer", "bilinear", &pairs, |t| {
            ops::bilinear(&t[0], &t[1], &t[2], None)
        })?,
        quantized(size)?,
        sparse(size)?,
    ])
}

fn cross_entropy(scores: Tensor, labels: Tensor) -> Result<Family> {
    let options = CrossEntropy {
        reduction: Reduction::Sum,
        ..Default::default()
    };
    // A closure that is copied holds references only.
    let (labels, options): (&'static Tensor, &'static CrossEntropy) =
        (Box::leak(Box::new(labels)), Box::leak(Box::new(options)));
    op("cross_entropy", "cross-entropy", &[scores], move |t| {
        ops::cross_entropy(&t[0], labels, options)
    })
}

/// One row by a matrix of `[rows, cols]`, by its own product and by the naive one.
fn one_row<M: 'static>(
    matrix: M,
    [rows, cols]: [usize; 2],
    product: fn(&M, &[f32], &mut [f32]),
) -> Result<Run> {
    let x: Vec<f32> = normal("x", &[cols])?.to_vec1()?;
    Ok(Box::new(move || {
        let mut y = vec![0.0; rows];
        product(&matrix, &x, &mut y);
        Ok(vec![Tensor::from_vec(y, rows, &candle_core::Device::Cpu)?])
    }))
}

/// Weights in eight bits by one row.
fn quantized(size: Size) -> Result<Family> {
    let shape = [size.pick(2048, 3), size.pick(2048, 64)];
    let values: Vec<f32> = normal("quantized", &shape)?.flatten_all()?.to_vec1()?;
    let matrix = QuantizedMatrix::quantize(Format::Q8_0, shape[0], shape[1], &values);
    let matrix = Arc::new(matrix.expect("whole blocks in a row"));
    Ok(Family {
        module: "quantized",
        name: "one row by weights in 8 bits",
        ours: one_row(matrix.clone(), shape, |m, x, y| m.product(1, x, y))?,
        opponent: "the naive product of dequantized weights",
        theirs: one_row(matrix, shape, |m, x, y| m.product_naive(1, x, y))?,
        // Inputs are rounded to eight bits.
        same: false,
    })
}

/// Half of the weights by one row.
fn sparse(size: Size) -> Result<Family> {
    let shape = [size.pick(2048, 3), size.pick(2048, 64)];
    let mut values: Vec<f32> = normal("sparse", &shape)?.flatten_all()?.to_vec1()?;
    values
        .iter_mut()
        .filter(|w| w.abs() < 0.6745)
        .for_each(|w| *w = 0.0);
    let matrix = SparseMatrix::from_dense(shape[0], shape[1], &values, Precision::F32);
    let matrix = Arc::new(matrix);
    Ok(Family {
        module: "sparse",
        name: "one row by half of the connections",
        ours: one_row(matrix.clone(), shape, |m, x, y| m.product(1, x, y))?,
        opponent: "the naive product",
        theirs: one_row(matrix, shape, |m, x, y| m.product_naive(1, x, y))?,
        same: true,
    })
}
