//! Softmax and its logarithm over the rows of a matrix.
//!
//! Rows are shifted by their maximum first, which changes nothing but the range of the exponents. A row of −∞ alone
//! has no distribution: its result is `NaN`, as in PyTorch.

use crate::isa::{self, Isa};
use crate::parallel::{self, rows_per_task};
use crate::prefetch;
use crate::real::Real;
use crate::slice_sums::{LANES, dot_body, fold, max_body, sum_map};

/// Which of the two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ)
    Softmax,
    /// yᵢ = xᵢ − ln Σⱼ exp(xⱼ)
    LogSoftmax,
}

/// What a row's scores become probabilities by: `pᵢ = exp(xᵢ − max) / Σⱼ exp(xⱼ − max)`.
///
/// The maximum stands for itself and is not added to the logarithm: where all scores are large, one number cannot hold
/// both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shift<T> {
    /// The largest score.
    pub max: T,
    /// ln Σⱼ exp(xⱼ − max)
    pub log_sum: T,
    /// 1 / Σⱼ exp(xⱼ − max)
    pub inverse_sum: T,
}

impl<T: Real> Shift<T> {
    /// ln pᵢ for the score `x`.
    #[inline(always)]
    pub fn log_probability(self, x: T) -> T {
        (x - self.max) - self.log_sum
    }

    /// p for the score `x`.
    #[inline(always)]
    pub fn probability<I: Isa>(self, x: T) -> T {
        (x - self.max).exp::<I>() * self.inverse_sum
    }
}

multiversion! {
    fn forward_rows<T: Real>(kind: Kind, x: &[T], y: &mut [T], cols: usize) {
        for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
            let max = max_body(x);
            // The exponents take their time: what the next rows are read from and written to is asked for meanwhile.
            let (xs, x_rest) = x.as_chunks::<LANES>();
            let (ys, y_rest) = y.as_chunks_mut::<LANES>();
            let mut lanes = [T::ZERO; LANES];
            for (y, x) in ys.iter_mut().zip(xs) {
                prefetch::ahead(x);
                prefetch::ahead_to_write(y);
                for i in 0..LANES {
                    y[i] = (x[i] - max).exp::<I>();
                    lanes[i] += y[i];
                }
            }
            for ((y, x), lane) in y_rest.iter_mut().zip(x_rest).zip(&mut lanes) {
                *y = (*x - max).exp::<I>();
                *lane += *y;
            }
            let sum = fold(lanes, |a, b| a + b);
            match kind {
                Kind::Softmax => {
                    let scale = T::ONE / sum;
                    for y in y.iter_mut() {
                        *y *= scale;
                    }
                }
                Kind::LogSoftmax => {
                    let shift = sum.ln::<I>();
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = (*x - max) - shift;
                    }
                }
            }
        }
    }
}

multiversion! {
    fn backward_rows<T: Real>(kind: Kind, y: &[T], d_y: &[T], d_x: &mut [T], cols: usize) {
        let rows = y.chunks_exact(cols).zip(d_y.chunks_exact(cols));
        for ((y, d_y), d_x) in rows.zip(d_x.chunks_exact_mut(cols)) {
            match kind {
                Kind::Softmax => {
                    let dot = dot_body::<I, T>(y, d_y);
                    for ((d_x, y), d_y) in d_x.iter_mut().zip(y).zip(d_y) {
                        *d_x = *y * (*d_y - dot);
                    }
                }
                Kind::LogSoftmax => {
                    let sum = sum_map(d_y, |d| d);
                    for ((d_x, y), d_y) in d_x.iter_mut().zip(y).zip(d_y) {
                        *d_x = *d_y - y.exp::<I>() * sum;
                    }
                }
            }
        }
    }
}

/// Applies `kind` to each row of `cols` elements.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn forward<T: Real>(kind: Kind, x: &[T], y: &mut [T], cols: usize) {
    assert_eq!(x.len(), y.len(), "softmax: input and output");
    if x.is_empty() {
        return;
    }
    assert_eq!(x.len() % cols, 0, "softmax: whole rows");
    let isa = isa::current();
    parallel::chunks_mut(y, rows_per_task(cols) * cols, |at, y| {
        forward_rows(isa, kind, &x[at..at + y.len()], y, cols);
    });
}

/// The gradient of the input from the output `y` and the upstream gradient:
/// `d_xᵢ = yᵢ (d_yᵢ − Σⱼ yⱼ d_yⱼ)` for softmax, `d_xᵢ = d_yᵢ − exp(yᵢ) Σⱼ d_yⱼ` for its logarithm.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn backward<T: Real>(kind: Kind, y: &[T], d_y: &[T], d_x: &mut [T], cols: usize) {
    assert_eq!(y.len(), d_x.len(), "softmax: output and input gradient");
    assert_eq!(d_y.len(), d_x.len(), "softmax: upstream and input gradient");
    if y.is_empty() {
        return;
    }
    assert_eq!(y.len() % cols, 0, "softmax: whole rows");
    let isa = isa::current();
    parallel::chunks_mut(d_x, rows_per_task(cols) * cols, |at, d_x| {
        let part = at..at + d_x.len();
        backward_rows(isa, kind, &y[part.clone()], &d_y[part], d_x, cols);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_survive_large_scores() {
        let x = [
            1000.0_f32,
            1001.0,
            1002.0,
            -1000.0,
            f32::NEG_INFINITY,
            -1001.0,
        ];
        let mut y = [0.0; 6];
        forward(Kind::Softmax, &x, &mut y, 3);
        for row in y.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(y[4], 0.0);
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        let x: Vec<f64> = (0..35).map(|i| f64::from(i * i % 11) * 0.3).collect();
        let (mut p, mut l) = (vec![0.0; 35], vec![0.0; 35]);
        forward(Kind::Softmax, &x, &mut p, 7);
        forward(Kind::LogSoftmax, &x, &mut l, 7);
        for (p, l) in p.iter().zip(&l) {
            assert!((p.ln() - l).abs() < 1e-12);
        }
    }
}
