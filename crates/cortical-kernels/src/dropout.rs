//! Dropout: each element is kept with probability `1 − p` and then divided by it.
//!
//! Whether element `i` is kept is a function of a key and of `i`, so the mask is never stored: the backward pass makes
//! it again, on any number of threads.
//!
//! # Source
//! Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).

use crate::isa;
use crate::parallel::{self, TASK_ELEMENTS};
use crate::philox;
use crate::real::Real;

multiversion! {
    fn apply_chunk<T: Real>(key: [u32; 2], first_block: u64, keep_from: u32, scale: T, x: &[T], y: &mut [T]) {
        for (b, (x, y)) in x.chunks(4).zip(y.chunks_mut(4)).enumerate() {
            let words = philox::block(key, philox::advance([0; 4], first_block.wrapping_add(b as u64)));
            for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                *y = if word >= keep_from { *x * scale } else { T::ZERO };
            }
        }
    }
}

/// `y[i] = x[i] / (1 − p)` where the stream keeps element `i`, else 0. The backward pass is the same function applied
/// to the upstream gradient.
///
/// `key` and `first_block` name the part of the random stream; `x.len()` words of it are used.
///
/// # Panics
/// If the lengths differ or `p` is not in `[0, 1]`.
pub fn apply<T: Real>(key: [u32; 2], first_block: u64, p: f64, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "dropout: input and output");
    assert!((0.0..=1.0).contains(&p), "dropout: a probability");
    if p == 1.0 {
        y.fill(T::ZERO);
        return;
    }
    let keep_from = (p * 4_294_967_296.0) as u32;
    let scale = T::from_f64(1.0 / (1.0 - p));
    let isa = isa::current();
    parallel::chunks_mut(y, TASK_ELEMENTS, |at, y| {
        let block = first_block.wrapping_add(at as u64 / 4);
        apply_chunk(isa, key, block, keep_from, scale, &x[at..at + y.len()], y);
    });
}

const _: () = assert!(
    TASK_ELEMENTS.is_multiple_of(4),
    "a task begins at a block of the stream"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_share_is_dropped_and_the_mean_kept() {
        let x = vec![1.0_f32; 100_003];
        let mut y = vec![0.0; x.len()];
        apply([1, 2], 5, 0.3, &x, &mut y);
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / x.len() as f64;
        let mean = y.iter().map(|y| f64::from(*y)).sum::<f64>() / x.len() as f64;
        assert!(
            (dropped - 0.3).abs() < 0.01 && (mean - 1.0).abs() < 0.01,
            "{dropped} {mean}"
        );
    }

    #[test]
    fn nothing_and_everything() {
        let x = [1.0_f64, 2.0, 3.0];
        let mut y = [9.0; 3];
        apply([1, 2], 0, 0.0, &x, &mut y);
        assert_eq!(y, x);
        apply([1, 2], 0, 1.0, &x, &mut y);
        assert_eq!(y, [0.0; 3]);
    }
}
