//! Sums and maxima of slices, in an order that depends on nothing but their length.
//!
//! A slice is summed in sixteen lanes that are then folded as a tree: fast in vector registers, the same on every
//! instruction set but for fused multiply-adds, and more exact than a running sum.

use crate::isa::Isa;
use crate::real::Real;

/// Lanes of a sum.
pub(crate) const LANES: usize = 16;

/// Adds up sixteen lanes as a tree.
#[inline(always)]
pub(crate) fn fold<T: Real>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ f(xᵢ)
#[inline(always)]
pub(crate) fn sum_map<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += f(block[i]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    fold(lanes, |a, b| a + b)
}

/// Σ xᵢ yᵢ over slices of one length.
#[inline(always)]
pub(crate) fn dot_body<I: Isa, T: Real>(x: &[T], y: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add::<I>(y[i], lanes[i]);
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane = x.mul_add::<I>(*y, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element, −∞ for none.
#[inline(always)]
pub(crate) fn max_body<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = lanes[i].maximum(block[i]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = lane.maximum(*x);
    }
    fold(lanes, |a, b| a.maximum(b))
}

multiversion! {
    /// `out[c] += Σ_r x[r, c]` over the rows of a row-major matrix with `out.len()` columns.
    pub(crate) fn add_column_sums<T: Real>(x: &[T], out: &mut [T]) {
        if !out.is_empty() {
            for row in x.chunks_exact(out.len()) {
                for (o, x) in out.iter_mut().zip(row) {
                    *o += *x;
                }
            }
        }
    }
}

multiversion! {
    /// `out[r] += Σ_c x[r, c]` over the columns of a row-major matrix with `out.len()` rows.
    pub(crate) fn add_row_sums<T: Real>(x: &[T], out: &mut [T]) {
        if !out.is_empty() && !x.is_empty() {
            let columns = x.len() / out.len();
            for (o, row) in out.iter_mut().zip(x.chunks_exact(columns)) {
                *o += sum_map(row, |x| x);
            }
        }
    }
}

multiversion! {
    /// `y += x`, element by element.
    pub fn add_assign<T: Real>(y: &mut [T], x: &[T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += *x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Portable, current};

    #[test]
    fn every_length_is_summed_whole() {
        for n in 0..70 {
            let x: Vec<f64> = (0..n).map(f64::from).collect();
            let naive: f64 = x.iter().sum();
            assert_eq!(sum_map(&x, |v| v), naive);
            assert_eq!(
                dot_body::<Portable, f64>(&x, &x),
                x.iter().map(|v| v * v).sum::<f64>()
            );
            let largest = x.last().copied().unwrap_or(f64::NEG_INFINITY);
            assert_eq!(max_body(&x), largest);
        }
    }

    #[test]
    fn column_and_row_sums_accumulate() {
        let mut out = [1.0_f32, 2.0];
        add_column_sums(current(), &[1.0, 2.0, 3.0, 4.0], &mut out);
        assert_eq!(out, [5.0, 8.0]);
        add_row_sums(current(), &[1.0, 2.0, 3.0, 4.0], &mut out);
        assert_eq!(out, [8.0, 15.0]);
    }
}
