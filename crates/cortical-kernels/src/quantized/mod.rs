//! Matrices of weights quantized to 16 bits or fewer, and products computed from that form.
//!
//! A product of few rows (a token of each of some texts) is bound by memory, so the quantized bytes are read once for
//! all of them and never dequantized to memory: the inputs are rounded to 8 bits in blocks of 32, and whole numbers are
//! multiplied. Each row has the bits that it has alone. A product of many rows (a prompt) is bound by arithmetic: some
//! rows of weights at a time are dequantized into a cache and go through the fast matrix product.

mod activations;
mod blocks;
mod dot;
mod format;
mod q4k;
#[cfg(test)]
mod tests;
mod together;

pub use format::Format;

use crate::disjoint::Disjoint;
use crate::isa;
use crate::matmul::{MatRef, Write, matmul};
use crate::parallel;
use activations::Activations;
use together::Inputs;

/// The most rows of inputs that are multiplied as quantized weights lie; more have them dequantized for a matrix
/// product. Up to so many, a row's results do not depend on the others.
pub const FEW_ROWS: usize = 32;
/// Weights that are dequantized at a time: half a megabyte.
const DEQUANTIZED: usize = 1 << 17;
/// Quantized bytes that make a task.
const TASK_BYTES: usize = 1 << 15;

/// Why bytes are no quantized matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantizedError {
    /// A row is no whole number of blocks.
    Columns {
        /// The form.
        format: Format,
        /// Weights of a row.
        cols: usize,
    },
    /// There are not as many bytes as the rows need.
    Bytes {
        /// Bytes that the rows need; `None` when they cannot be counted.
        expected: Option<usize>,
        /// Bytes that came.
        got: usize,
    },
    /// The form can be read but not made.
    ReadOnly {
        /// The form.
        format: Format,
    },
}

impl std::fmt::Display for QuantizedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Columns { format, cols } => write!(
                f,
                "rows of {cols} weights cannot be quantized as {}, whose blocks have {}",
                format.name(),
                format.block()
            ),
            Self::Bytes {
                expected: Some(expected),
                got,
            } => write!(
                f,
                "the quantized rows need {expected} bytes, {got} are there"
            ),
            Self::Bytes { expected: None, .. } => {
                write!(f, "the quantized rows have more bytes than can be counted")
            }
            Self::ReadOnly { format } => write!(
                f,
                "{} is read but not made here; choose q8_0, q4_k, q4_1, q4_0, int8, bf16 or f16",
                format.name()
            ),
        }
    }
}

impl std::error::Error for QuantizedError {}

/// A matrix of `rows` × `cols` quantized weights, row after row.
#[derive(Clone, PartialEq, Eq)]
pub struct QuantizedMatrix {
    format: Format,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.format.name();
        write!(f, "QuantizedMatrix({name} [{}, {}])", self.rows, self.cols)
    }
}

impl QuantizedMatrix {
    /// A matrix out of the bytes of a file.
    ///
    /// # Errors
    /// [`QuantizedError::Columns`], [`QuantizedError::Bytes`].
    pub fn new(
        format: Format,
        rows: usize,
        cols: usize,
        bytes: Vec<u8>,
    ) -> Result<Self, QuantizedError> {
        let row_bytes = format
            .row_bytes(cols)
            .ok_or(QuantizedError::Columns { format, cols })?;
        let expected = row_bytes.checked_mul(rows);
        if expected != Some(bytes.len()) {
            let got = bytes.len();
            return Err(QuantizedError::Bytes { expected, got });
        }
        Ok(Self {
            format,
            rows,
            cols,
            row_bytes,
            bytes,
        })
    }

    /// Quantizes a row-major matrix.
    ///
    /// # Errors
    /// [`QuantizedError::Columns`]; [`QuantizedError::ReadOnly`] for the forms that are only read.
    ///
    /// # Panics
    /// If `weights` has not `rows · cols` elements.
    pub fn quantize(
        format: Format,
        rows: usize,
        cols: usize,
        weights: &[f32],
    ) -> Result<Self, QuantizedError> {
        assert_eq!(
            Some(weights.len()),
            rows.checked_mul(cols),
            "quantized: weights"
        );
        let row_bytes = format
            .row_bytes(cols)
            .ok_or(QuantizedError::Columns { format, cols })?;
        let mut bytes = Vec::with_capacity(row_bytes * rows);
        for r in 0..rows {
            if !format::quantize_row(format, &weights[r * cols..(r + 1) * cols], &mut bytes) {
                return Err(QuantizedError::ReadOnly { format });
            }
        }
        Self::new(format, rows, cols, bytes)
    }

    /// The form.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows: neurons.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: inputs of a neuron.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The quantized bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes row `r` as `f32`.
    ///
    /// # Panics
    /// If there is no such row or `out` has not its length.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        assert!(r < self.rows && out.len() == self.cols, "quantized: a row");
        format::dequantize_row(self.format, self.row(r), out);
    }

    /// All weights as `f32`.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        self.dequantize_rows(0, &mut out);
        out
    }

    /// The same rows in another order: row `i` of the result is row `order(i)`.
    ///
    /// # Panics
    /// If `order` names a row that is not there.
    #[must_use]
    pub fn reordered(&self, order: impl Fn(usize) -> usize) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for i in 0..self.rows {
            bytes.extend_from_slice(self.row(order(i)));
        }
        Self { bytes, ..*self }
    }

    fn row(&self, r: usize) -> &[u8] {
        &self.bytes[r * self.row_bytes..(r + 1) * self.row_bytes]
    }

    /// Dequantizes whole rows from `first` on into `out`.
    fn dequantize_rows(&self, first: usize, out: &mut [f32]) {
        if self.cols == 0 {
            return;
        }
        let chunk = (crate::parallel::TASK_ELEMENTS / self.cols).max(1) * self.cols;
        parallel::chunks_mut(out, chunk, |at, out| {
            for (i, out) in out.chunks_exact_mut(self.cols).enumerate() {
                self.dequantize_row(first + at / self.cols + i, out);
            }
        });
    }

    fn check(&self, n: usize, x: &[f32], y: &[f32]) {
        assert_eq!(Some(x.len()), n.checked_mul(self.cols), "quantized: inputs");
        assert_eq!(
            Some(y.len()),
            n.checked_mul(self.rows),
            "quantized: outputs"
        );
    }

    /// `y[i, j] = Σ_p x[i, p] · w[j, p]` with row-major `x` of `[n, cols]` and `y` of `[n, rows]`.
    ///
    /// Up to [`FEW_ROWS`] rows of inputs are rounded to 8 bits in blocks of 32 (not for weights of 16 bits); more go
    /// through the matrix product in single precision.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn product(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.check(n, x, y);
        if n == 0 || self.rows == 0 {
            return;
        }
        if self.cols == 0 {
            y.fill(0.0);
            return;
        }
        if n <= FEW_ROWS {
            self.few(n, x, y);
        } else {
            self.many(n, x, y);
        }
    }

    /// From the quantized weights, which are read once.
    fn few(&self, n: usize, x: &[f32], y: &mut [f32]) {
        let isa = isa::current();
        let task = parallel::even_rows(self.rows, self.bytes.len(), TASK_BYTES, dot::TOGETHER);
        let bytes = |first: usize, count: usize| {
            &self.bytes[first * self.row_bytes..(first + count) * self.row_bytes]
        };
        if n == 1 {
            let x = Activations::new(self.format, x);
            parallel::chunks_mut(y, task, |first, y| {
                dot::rows(isa, self.format, bytes(first, y.len()), &x, y);
            });
            return;
        }
        let x = Inputs::new(isa, self.format, x, self.cols);
        let y = Disjoint::new(y);
        parallel::for_each(self.rows.div_ceil(task), |at| {
            let range = at * task..((at + 1) * task).min(self.rows);
            let bytes = bytes(range.start, range.len());
            // SAFETY: every task has neurons of its own.
            unsafe { x.products(isa, bytes, range, self.rows, &y) };
        });
    }

    /// Some rows of weights at a time, dequantized: `yᵀ = W xᵀ` block by block.
    fn many(&self, n: usize, x: &[f32], y: &mut [f32]) {
        let rows = (DEQUANTIZED / self.cols).clamp(1, self.rows);
        let mut weights = vec![0.0; rows * self.cols];
        let mut part = vec![0.0; rows * n];
        for first in (0..self.rows).step_by(rows) {
            let count = rows.min(self.rows - first);
            let weights = &mut weights[..count * self.cols];
            let part = &mut part[..count * n];
            self.dequantize_rows(first, weights);
            matmul(
                MatRef::row_major(x, n, self.cols),
                MatRef::row_major(weights, count, self.cols).t(),
                part,
                Write::Replace,
            );
            for (y, part) in y.chunks_exact_mut(self.rows).zip(part.chunks_exact(count)) {
                y[first..first + count].copy_from_slice(part);
            }
        }
    }

    /// The product as its definition says, in double precision with unrounded inputs.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn product_naive(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.check(n, x, y);
        let w = self.dequantize();
        for i in 0..n {
            for j in 0..self.rows {
                let terms = (0..self.cols)
                    .map(|p| f64::from(x[i * self.cols + p]) * f64::from(w[j * self.cols + p]));
                y[i * self.rows + j] = terms.sum::<f64>() as f32;
            }
        }
    }

    /// `d_x = d_y W`: the gradient of the inputs; the weights are constants.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn input_gradient(&self, n: usize, d_y: &[f32], d_x: &mut [f32]) {
        self.check(n, d_x, d_y);
        d_x.fill(0.0);
        if n == 0 || self.cols == 0 || self.rows == 0 {
            return;
        }
        let rows = (DEQUANTIZED / self.cols).clamp(1, self.rows);
        let mut weights = vec![0.0; rows * self.cols];
        for first in (0..self.rows).step_by(rows) {
            let count = rows.min(self.rows - first);
            let weights = &mut weights[..count * self.cols];
            self.dequantize_rows(first, weights);
            matmul(
                MatRef::strided(&d_y[first..], n, count, self.rows, 1),
                MatRef::row_major(weights, count, self.cols),
                d_x,
                Write::Add,
            );
        }
    }
}
