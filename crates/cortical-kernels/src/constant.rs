//! Weights that are not trained, in a form of their own.

use std::fmt;

use crate::quantized::{FEW_ROWS, QuantizedMatrix};
use crate::sparse::SparseMatrix;

/// A matrix of weights that products are computed from as it lies: quantized, or with severed connections.
///
/// An operation takes any of them; what a form does with them is its own.
pub trait ConstantMatrix: fmt::Debug + Send + Sync {
    /// What the form is called: "quantized", "sparse".
    fn form(&self) -> &'static str;

    /// Rows: neurons.
    fn rows(&self) -> usize;

    /// Columns: inputs of a neuron.
    fn cols(&self) -> usize;

    /// Connections that are left.
    fn connections(&self) -> usize {
        self.rows() * self.cols()
    }

    /// Up to so many rows of inputs together, each row of a product has the bits that it has alone.
    fn rows_alike(&self) -> usize {
        1
    }

    /// All weights as `f32`, row after row.
    fn dense(&self) -> Vec<f32>;

    /// `y[i, j] = Σ_p x[i, p] · w[j, p]` with row-major `x` of `[n, cols]` and `y` of `[n, rows]`.
    ///
    /// # Panics
    /// If a length does not fit.
    fn product(&self, n: usize, x: &[f32], y: &mut [f32]);

    /// `d_x = d_y W`.
    ///
    /// # Panics
    /// If a length does not fit.
    fn input_gradient(&self, n: usize, d_y: &[f32], d_x: &mut [f32]);
}

impl ConstantMatrix for QuantizedMatrix {
    fn form(&self) -> &'static str {
        "quantized"
    }
    fn rows(&self) -> usize {
        self.rows()
    }
    fn cols(&self) -> usize {
        self.cols()
    }
    fn rows_alike(&self) -> usize {
        FEW_ROWS
    }
    fn dense(&self) -> Vec<f32> {
        self.dequantize()
    }
    fn product(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.product(n, x, y);
    }
    fn input_gradient(&self, n: usize, d_y: &[f32], d_x: &mut [f32]) {
        self.input_gradient(n, d_y, d_x);
    }
}

impl ConstantMatrix for SparseMatrix {
    fn form(&self) -> &'static str {
        "sparse"
    }
    fn connections(&self) -> usize {
        self.connections()
    }
    fn rows(&self) -> usize {
        self.rows()
    }
    fn cols(&self) -> usize {
        self.cols()
    }
    fn dense(&self) -> Vec<f32> {
        self.dense()
    }
    fn product(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.product(n, x, y);
    }
    fn input_gradient(&self, n: usize, d_y: &[f32], d_x: &mut [f32]) {
        self.input_gradient(n, d_y, d_x);
    }
}
