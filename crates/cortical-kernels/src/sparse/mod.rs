//! Matrices of weights most of whose connections are severed, and products over the connections that are left.
//!
//! A bit for every connection says whether it is there, and the weights of those that are follow one another. A product
//! of few rows (one sample, one token) is bound by memory: the weights that are left are read once and moved to the
//! lanes of their connections. In a product of many rows each connection is one multiply-add over a vector of samples,
//! so what is severed costs nothing. A severed connection carries nothing, not even an infinity or NaN.

mod few;
mod halves;
mod listed;
mod many;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::half::{bf16_to_f32, f32_to_bf16};
use crate::{isa, parallel};

/// Rows of inputs from which on samples lie in the lanes of a vector.
const MANY: usize = 8;
/// Bytes of weights, times rows of inputs, that make a task.
const TASK_BYTES: usize = 1 << 15;
/// Numbers of a line of the cache.
const LINE: usize = 16;
/// Connections of a word of the mask.
const WORD: usize = 64;
/// One connection of so many is few.
const FEW_LEFT: usize = 4;
/// Weights that can be read behind the last one: a vector of the shortest.
const BEHIND: usize = 32;

/// The weights of the connections that are left, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// In single precision.
    F32(Vec<f32>),
    /// The upper halves of single-precision numbers.
    Bf16(Vec<u16>),
}

/// How precise weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, rounded to the nearest, ties to even.
    Bf16,
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    fn get(&self, at: usize) -> f32 {
        match self {
            Self::F32(values) => values[at],
            Self::Bf16(values) => bf16_to_f32(values[at]),
        }
    }

    fn resize(&mut self, len: usize) {
        match self {
            Self::F32(values) => values.resize(len, 0.0),
            Self::Bf16(values) => values.resize(len, 0),
        }
    }
}

/// Why a mask and values are no sparse matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SparseError {
    /// There are no connections to speak of.
    Empty,
    /// The mask has not a bit for every connection, each row in whole bytes.
    Mask {
        /// Bytes that it needs; `None` when they cannot be counted.
        expected: Option<usize>,
        /// Bytes that came.
        got: usize,
    },
    /// A bit behind the last column is set.
    Behind {
        /// The row.
        row: usize,
    },
    /// The mask has not as many connections as there are values.
    Values {
        /// Connections.
        expected: usize,
        /// Values.
        got: usize,
    },
}

impl std::fmt::Display for SparseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "a matrix without rows or columns cannot be sparse"),
            Self::Mask {
                expected: Some(expected),
                got,
            } => write!(f, "the mask needs {expected} bytes, {got} are there"),
            Self::Mask { expected: None, .. } => {
                write!(f, "the mask has more bytes than can be counted")
            }
            Self::Behind { row } => {
                write!(f, "row {row} of the mask has bits behind its last column")
            }
            Self::Values { expected, got } => write!(
                f,
                "the mask has {expected} connections, {got} values are there"
            ),
        }
    }
}

impl std::error::Error for SparseError {}

/// A matrix of `rows` × `cols` weights of which some connections are severed.
#[derive(Clone, PartialEq)]
pub struct SparseMatrix {
    rows: usize,
    cols: usize,
    /// Words of a row of the mask.
    words: usize,
    /// Bit `p % 64` of word `p / 64` of a row is its connection to input `p`.
    mask: Vec<u64>,
    /// Where the values of each row begin, and where the last ones end.
    starts: Vec<usize>,
    /// With [`BEHIND`] zeros at the end.
    values: Values,
    /// The input of each connection, where few are left.
    columns: Option<Vec<u16>>,
}

impl std::fmt::Debug for SparseMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rows, cols, left) = (self.rows, self.cols, self.connections());
        write!(f, "SparseMatrix([{rows}, {cols}], {left} connections)")
    }
}

impl SparseMatrix {
    /// A matrix out of a mask and the values of its connections.
    ///
    /// Each row of the mask is whole bytes; its connection to input `p` is bit `p % 8` of byte `p / 8`, lowest first.
    ///
    /// # Errors
    /// [`SparseError`].
    pub fn new(
        rows: usize,
        cols: usize,
        mask: &[u8],
        mut values: Values,
    ) -> Result<Self, SparseError> {
        if rows == 0 || cols == 0 {
            return Err(SparseError::Empty);
        }
        let bytes = cols.div_ceil(8);
        let expected = rows.checked_mul(bytes);
        if expected != Some(mask.len()) {
            let got = mask.len();
            return Err(SparseError::Mask { expected, got });
        }
        let words = cols.div_ceil(WORD);
        let mut all = Vec::with_capacity(rows * words);
        let mut starts = Vec::with_capacity(rows + 1);
        let mut count = 0;
        starts.push(0);
        for row in 0..rows {
            for part in mask[row * bytes..(row + 1) * bytes].chunks(8) {
                let mut word = [0; 8];
                word[..part.len()].copy_from_slice(part);
                all.push(u64::from_le_bytes(word));
            }
            let of_row = &all[row * words..];
            if !cols.is_multiple_of(WORD) && of_row.last().is_some_and(|w| w >> (cols % WORD) != 0)
            {
                return Err(SparseError::Behind { row });
            }
            count += of_row
                .iter()
                .map(|w| w.count_ones() as usize)
                .sum::<usize>();
            starts.push(count);
        }
        if count != values.len() {
            return Err(SparseError::Values {
                expected: count,
                got: values.len(),
            });
        }
        values.resize(count + BEHIND);
        let mut matrix = Self {
            rows,
            cols,
            words,
            mask: all,
            starts,
            values,
            columns: None,
        };
        matrix.list();
        Ok(matrix)
    }

    /// The connections of a row-major matrix whose weights are not zero.
    ///
    /// # Panics
    /// If `weights` has not `rows · cols` elements, or none.
    #[must_use]
    pub fn from_dense(rows: usize, cols: usize, weights: &[f32], precision: Precision) -> Self {
        assert_eq!(
            Some(weights.len()),
            rows.checked_mul(cols),
            "sparse: weights"
        );
        let bytes = cols.div_ceil(8);
        let mut mask = vec![0_u8; rows * bytes];
        for (row, weights) in weights.chunks_exact(cols).enumerate() {
            for (p, _) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                mask[row * bytes + p / 8] |= 1 << (p % 8);
            }
        }
        let left = weights.iter().copied().filter(|w| *w != 0.0);
        let values = match precision {
            Precision::F32 => Values::F32(left.collect()),
            Precision::Bf16 => Values::Bf16(left.map(f32_to_bf16).collect()),
        };
        Self::new(rows, cols, &mask, values).expect("a bit for every weight that is not zero")
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

    /// Connections that are left.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.starts[self.rows]
    }

    /// How precise the weights are.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self.values {
            Values::F32(_) => Precision::F32,
            Values::Bf16(_) => Precision::Bf16,
        }
    }

    /// Bytes of the mask and the values, and of what is listed, in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match self.values {
            Values::F32(_) => 4,
            Values::Bf16(_) => 2,
        };
        let listed = self.columns.as_ref().map_or(0, |columns| 2 * columns.len());
        8 * self.mask.len() + value * self.connections() + listed
    }

    /// The mask as [`SparseMatrix::new`] takes it.
    #[must_use]
    pub fn mask(&self) -> Vec<u8> {
        let bytes = self.cols.div_ceil(8);
        let mut mask = Vec::with_capacity(self.rows * bytes);
        for row in self.mask.chunks_exact(self.words) {
            let end = mask.len() + bytes;
            mask.extend(row.iter().flat_map(|word| word.to_le_bytes()));
            mask.truncate(end);
        }
        mask
    }

    /// The values as [`SparseMatrix::new`] takes them.
    #[must_use]
    pub fn values(&self) -> Values {
        let mut values = self.values.clone();
        values.resize(self.connections());
        values
    }

    /// All weights, zeros where connections are severed.
    #[must_use]
    pub fn dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.rows * self.cols];
        for (j, row) in dense.chunks_exact_mut(self.cols).enumerate() {
            self.for_each_in_row(j, |p, w| row[p] = w);
        }
        dense
    }

    /// `y[i, j] = Σ_p x[i, p] · w[j, p]` over the connections that are left, with row-major `x` of `[n, cols]` and `y`
    /// of `[n, rows]`.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn product(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.check(n, x, y);
        if n < MANY {
            self.few(n, x, y);
        } else {
            self.many(n, x, y);
        }
    }

    /// The product as its definition says, in double precision.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn product_naive(&self, n: usize, x: &[f32], y: &mut [f32]) {
        self.check(n, x, y);
        for i in 0..n {
            for j in 0..self.rows {
                let mut sum = 0.0;
                self.for_each_in_row(j, |p, w| {
                    sum += f64::from(x[i * self.cols + p]) * f64::from(w);
                });
                y[i * self.rows + j] = sum as f32;
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
        parallel::chunks_mut(d_x, self.cols, |at, d_x| {
            let first = at / self.cols * self.rows;
            for (j, d) in d_y[first..first + self.rows].iter().enumerate() {
                self.for_each_in_row(j, |p, w| d_x[p] += d * w);
            }
        });
    }

    /// Lists the inputs of the connections, where so few are left that it pays.
    fn list(&mut self) {
        let all = self.rows.saturating_mul(self.cols);
        if self.cols > 1 << 16 || self.connections() > all / FEW_LEFT {
            return;
        }
        let mut columns = Vec::with_capacity(self.connections());
        for row in self.mask.chunks_exact(self.words) {
            for (i, word) in row.iter().enumerate() {
                // No column is larger than 2¹⁶ − 1, as just seen.
                for_each_bit(*word, |bit| columns.push((i * WORD + bit) as u16));
            }
        }
        self.columns = Some(columns);
    }

    fn check(&self, n: usize, x: &[f32], y: &[f32]) {
        assert_eq!(Some(x.len()), n.checked_mul(self.cols), "sparse: inputs");
        assert_eq!(Some(y.len()), n.checked_mul(self.rows), "sparse: outputs");
    }

    fn for_each_in_row(&self, j: usize, mut f: impl FnMut(usize, f32)) {
        let mut at = self.starts[j];
        for (i, word) in self.mask[j * self.words..(j + 1) * self.words]
            .iter()
            .enumerate()
        {
            for_each_bit(*word, |bit| {
                f(i * WORD + bit, self.values.get(at));
                at += 1;
            });
        }
    }

    /// Rows of a task.
    fn task(&self, n: usize) -> usize {
        let work = self.bytes().saturating_mul(n);
        parallel::even_rows(self.rows, work, TASK_BYTES, 1)
    }

    /// Some rows' part of the mask, and where the values of each begin.
    fn part(&self, rows: Range<usize>) -> (&[u64], &[usize]) {
        let mask = &self.mask[rows.start * self.words..rows.end * self.words];
        (mask, &self.starts[rows])
    }

    /// Some rows of inputs at a time, with the lanes of a vector over the inputs of a neuron.
    fn few(&self, n: usize, x: &[f32], y: &mut [f32]) {
        let isa = isa::current();
        let padded = self.words * WORD;
        let takes_halves = self.columns.is_none() && halves::are_supported(isa);
        let most = few::TOGETHER.min(n);
        // A vector that begins where a line of the cache does is read in one go.
        let mut inputs = vec![0.0; most * padded + LINE];
        let first_line = inputs.as_ptr().align_offset(LINE * size_of::<f32>());
        let inputs = &mut inputs[first_line.min(LINE)..];
        let mut sums = vec![0.0; most * self.rows];
        for first in (0..n).step_by(few::TOGETHER) {
            let count = few::TOGETHER.min(n - first);
            let x = &x[first * self.cols..(first + count) * self.cols];
            let halves = match &self.values {
                Values::Bf16(values) if takes_halves && x.iter().all(|x| x.is_finite()) => {
                    Some(values)
                }
                _ => None,
            };
            for (to, from) in inputs
                .chunks_exact_mut(padded)
                .zip(x.chunks_exact(self.cols))
            {
                match halves {
                    Some(_) => halves::arrange(from, to),
                    None => to[..self.cols].copy_from_slice(from),
                }
            }
            let sums = &mut sums[..count * self.rows];
            let task = self.task(count);
            let inputs = &*inputs;
            parallel::chunks_mut(sums, task * count, |at, sums| {
                let rows = at / count..(at + sums.len()) / count;
                if let Some(columns) = &self.columns {
                    let listed = listed::Listed {
                        columns,
                        starts: &self.starts[rows.start..=rows.end],
                        pitch: padded,
                    };
                    return listed::rows(isa, listed, &self.values, inputs, sums);
                }
                let (mask, starts) = self.part(rows);
                match halves {
                    Some(values) => halves::rows(mask, starts, values, inputs, sums),
                    None => few::rows(isa, mask, starts, &self.values, inputs, sums),
                }
            });
            let y = &mut y[first * self.rows..(first + count) * self.rows];
            for (i, y) in y.chunks_exact_mut(self.rows).enumerate() {
                for (y, sums) in y.iter_mut().zip(sums.chunks_exact(count)) {
                    *y = sums[i];
                }
            }
        }
    }

    /// Some rows of inputs at a time, with the lanes of a vector over them.
    fn many(&self, n: usize, x: &[f32], y: &mut [f32]) {
        let isa = isa::current();
        let mut inputs = Vec::new();
        let mut sums = Vec::new();
        let mut first = 0;
        while first < n {
            let lanes = many::lanes(n - first);
            let count = lanes.min(n - first);
            let x = &x[first * self.cols..(first + count) * self.cols];
            inputs.resize(self.cols * lanes, 0.0);
            many::transpose(x, self.cols, lanes, &mut inputs);
            sums.clear();
            sums.resize(self.rows * lanes, 0.0);
            let task = self.task(lanes / 8);
            parallel::chunks_mut(&mut sums, task * lanes, |at, sums| {
                let rows = at / lanes..(at + sums.len()) / lanes;
                let (mask, starts) = self.part(rows);
                many::rows(isa, lanes, mask, starts, &self.values, &inputs, sums);
            });
            let y = &mut y[first * self.rows..(first + count) * self.rows];
            many::transpose_back(&sums, self.rows, lanes, y);
            first += count;
        }
    }
}

/// Calls `f` with the place of every set bit, the lowest first.
#[inline(always)]
fn for_each_bit(mut word: u64, mut f: impl FnMut(usize)) {
    while word != 0 {
        f(word.trailing_zeros() as usize);
        word &= word - 1;
    }
}
