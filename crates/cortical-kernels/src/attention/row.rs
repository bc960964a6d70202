//! What happens to one row of a block of scores.

use super::Dropout;
use crate::philox;
use crate::real::Real;
use crate::slice_sums::{dot_body, max_body, sum_map};
use crate::softmax::Shift;

/// One query's part of a mask.
#[derive(Clone, Copy)]
pub(super) enum MaskRow<'a, T> {
    None,
    Keep(&'a [u8]),
    Add(&'a [T]),
}

multiversion! {
    /// Scales and masks a row of scores.
    pub(super) fn scale_and_mask<T: Real>(scores: &mut [T], scale: T, mask: MaskRow<'_, T>) {
        match mask {
            MaskRow::None => {
                for s in scores {
                    *s *= scale;
                }
            }
            MaskRow::Keep(keep) => {
                for (s, keep) in scores.iter_mut().zip(keep) {
                    let scaled = *s * scale;
                    *s = if *keep != 0 { scaled } else { T::NEG_INFINITY };
                }
            }
            MaskRow::Add(add) => {
                for (s, add) in scores.iter_mut().zip(add) {
                    *s = s.mul_add::<I>(scale, *add);
                }
            }
        }
    }
}

multiversion! {
    /// Scales scores and keeps them softly below `cap`.
    pub(super) fn scale_and_cap<T: Real>(scores: &mut [T], scale: T, cap: T) {
        let share = scale / cap;
        for s in scores {
            *s = cap * (*s * share).tanh::<I>();
        }
    }
}

multiversion! {
    /// Turns gradients of weights into what [`score_gradients`] multiplies by weights, for scores that were capped.
    pub(super) fn cap_gradients<T: Real>(capped: &[T], d_p: &mut [T], delta: T, cap: T) {
        let inverse = T::ONE / cap;
        for (d, s) in d_p.iter_mut().zip(capped) {
            let share = *s * inverse;
            *d = (*d - delta) * (T::ONE - share * share);
        }
    }
}

multiversion! {
    /// The largest score.
    pub(super) fn largest<T: Real>(scores: &[T]) -> T {
        max_body(scores)
    }
}

multiversion! {
    /// Replaces scores by their exponentials relative to `shift` and returns the sum.
    pub(super) fn exponentials<T: Real>(scores: &mut [T], shift: T) -> T {
        for s in scores.iter_mut() {
            *s = (*s - shift).exp::<I>();
        }
        sum_map(scores, |s| s)
    }
}

multiversion! {
    /// Replaces scores by weights.
    pub(super) fn weights<T: Real>(scores: &mut [T], shift: Shift<T>) {
        for s in scores {
            *s = shift.probability::<I>(*s);
        }
    }
}

multiversion! {
    /// `x *= factor`
    pub(super) fn scale<T: Real>(x: &mut [T], factor: T) {
        for x in x {
            *x *= factor;
        }
    }
}

multiversion! {
    /// Turns scores into probabilities with the row's log-sum-exp, and `d_p` into `p · (d_p − delta) · scale`.
    pub(super) fn score_gradients<T: Real>(p: &[T], d_p: &mut [T], delta: T, scale: T) {
        for (d, p) in d_p.iter_mut().zip(p) {
            *d = *p * (*d - delta) * scale;
        }
    }
}

multiversion! {
    /// Σ xᵢ yᵢ
    pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> T {
        dot_body::<I, T>(x, y)
    }
}

multiversion! {
    /// `outⱼ = Σ xᵢ rows[j · stride + i]`: the scores of one query.
    pub(super) fn dots<T: Real>(x: &[T], rows: &[T], stride: usize, out: &mut [T]) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = dot_body::<I, T>(x, &rows[j * stride..j * stride + x.len()]);
        }
    }
}

multiversion! {
    /// `sumsᵢ += Σ weightsⱼ rows[j · stride + i]`: the values of one query, weighted.
    pub(super) fn add_weighted<T: Real>(weights: &[T], rows: &[T], stride: usize, sums: &mut [T]) {
        // As many sums as stay in registers.
        const TOGETHER: usize = 64;
        let (blocks, rest) = sums.as_chunks_mut::<TOGETHER>();
        let behind = blocks.len() * TOGETHER;
        for (block, sums) in blocks.iter_mut().enumerate() {
            let mut own = *sums;
            for (j, w) in weights.iter().enumerate() {
                let at = j * stride + block * TOGETHER;
                for (sum, v) in own.iter_mut().zip(&rows[at..at + TOGETHER]) {
                    *sum = w.mul_add::<I>(*v, *sum);
                }
            }
            *sums = own;
        }
        for (j, w) in weights.iter().enumerate() {
            let at = j * stride + behind;
            for (sum, v) in rest.iter_mut().zip(&rows[at..]) {
                *sum = w.mul_add::<I>(*v, *sum);
            }
        }
    }
}

multiversion! {
    /// `out[c, r] = x[r · stride + c]` for `out` of `cols` rows.
    pub(super) fn transpose<T: Real>(x: &[T], stride: usize, cols: usize, out: &mut [T]) {
        const TILE: usize = 16;
        let rows = out.len() / cols;
        for first in (0..rows).step_by(TILE) {
            let last = (first + TILE).min(rows);
            for c in 0..cols {
                let out = &mut out[c * rows + first..c * rows + last];
                for (r, out) in out.iter_mut().enumerate() {
                    *out = x[(first + r) * stride + c];
                }
            }
        }
    }
}

multiversion! {
    /// Drops elements of a row of the score matrix: `row` counts queries over all heads, `first` is a multiple of 4.
    pub(super) fn drop<T: Real>(x: &mut [T], dropout: Dropout, row: u64, first: usize) {
        let keep_from = (dropout.p * 4_294_967_296.0) as u32;
        let factor = T::from_f64(1.0 / (1.0 - dropout.p));
        for (block, x) in x.chunks_mut(4).enumerate() {
            let column = (first / 4 + block) as u64;
            let counter = [column as u32, (column >> 32) as u32, row as u32, (row >> 32) as u32];
            for (x, word) in x.iter_mut().zip(philox::block(dropout.key, counter)) {
                *x = if word >= keep_from { *x * factor } else { T::ZERO };
            }
        }
    }
}
