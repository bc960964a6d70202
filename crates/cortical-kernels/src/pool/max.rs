//! Max pooling: y[p] = max_t x[p · stride + t · dilation − padding], the first of several equal ones winning.
//!
//! `NaN` wins over everything, as in PyTorch. What the backward pass needs is the winner's tap, one byte a window for
//! kernels of up to 256 taps.

use super::{Geometry, two};
use crate::conv::Axis;
use crate::isa::{self, InstructionSet};
use crate::parallel;
use crate::real::Real;
use std::fmt::Debug;

/// The index of a tap in its window, row by row.
pub trait Tap: Copy + Default + Debug + Send + Sync + 'static {
    /// How many taps it can distinguish.
    const MOST: usize;
    /// Tap `i`, below [`Self::MOST`].
    fn from_index(i: usize) -> Self;
    /// Its index.
    fn index(self) -> usize;
    /// The same taps as bytes, if that is what they are.
    fn as_bytes(_: &[Self]) -> Option<&[u8]> {
        None
    }
    /// As [`Self::as_bytes`], to be written.
    fn as_bytes_mut(_: &mut [Self]) -> Option<&mut [u8]> {
        None
    }
}

impl Tap for u8 {
    const MOST: usize = 1 << 8;
    #[inline(always)]
    fn from_index(i: usize) -> Self {
        i as u8
    }
    #[inline(always)]
    fn index(self) -> usize {
        usize::from(self)
    }
    fn as_bytes(taps: &[Self]) -> Option<&[u8]> {
        Some(taps)
    }
    fn as_bytes_mut(taps: &mut [Self]) -> Option<&mut [u8]> {
        Some(taps)
    }
}

impl Tap for u32 {
    const MOST: usize = 1 << 32;
    #[inline(always)]
    fn from_index(i: usize) -> Self {
        i as u32
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as usize
    }
}

/// Where tap `t` of window `p` reads, if that is inside the input.
#[inline(always)]
fn read(axis: &Axis, p: usize, t: usize) -> Option<usize> {
    (p * axis.stride + t * axis.dilation)
        .checked_sub(axis.padding[0])
        .filter(|&at| at < axis.input)
}

/// Writes the maxima and the winning taps.
///
/// # Panics
/// If a slice has not the length that the geometry calls for, or the kernel has more taps than `I` can distinguish.
pub fn max_forward<T: Real, I: Tap>(g: &Geometry, x: &[T], y: &mut [T], taps: &mut [I]) {
    assert_eq!(x.len(), g.input_len(), "input of a pool");
    assert_eq!(y.len(), g.output_len(), "output of a pool");
    assert_eq!(taps.len(), g.output_len(), "taps of a pool");
    assert!(g.taps() <= I::MOST, "the taps of a window fit their type");
    let (isa, planes, pixels) = (isa::current(), g.planes_per_task(), g.out_pixels());
    if y.is_empty() {
        return;
    }
    let chunk = planes * pixels;
    parallel::chunks2_mut(y, chunk, taps, chunk, |i, y, taps| {
        let at = i * planes * g.in_pixels();
        let len = y.len() / pixels * g.in_pixels();
        max_forward_planes(isa, g, &x[at..at + len], y, taps);
    });
}

/// As [`max_forward`] on the calling thread, for as many planes as `x` holds.
pub(crate) fn max_forward_planes<T: Real, I: Tap>(
    isa: InstructionSet,
    g: &Geometry,
    x: &[T],
    y: &mut [T],
    taps: &mut [I],
) {
    match I::as_bytes_mut(taps) {
        Some(taps) if two::serves(g) => two::forward(isa, g, x, y, taps),
        _ => any_forward(g, x, y, taps),
    }
}

/// The maxima of any windows, tap by tap.
fn any_forward<T: Real, I: Tap>(g: &Geometry, x: &[T], y: &mut [T], taps: &mut [I]) {
    let [height, width] = g.axes();
    let [_, out_width] = g.output();
    let planes = y.chunks_exact_mut(g.out_pixels());
    for (plane, (y, taps)) in planes
        .zip(taps.chunks_exact_mut(g.out_pixels()))
        .enumerate()
    {
        let x = &x[plane * g.in_pixels()..(plane + 1) * g.in_pixels()];
        for (p, (y, tap)) in y.iter_mut().zip(taps).enumerate() {
            let mut best: Option<(T, usize)> = None;
            for h in 0..height.kernel {
                let Some(row) = read(&height, p / out_width, h) else {
                    continue;
                };
                for w in 0..width.kernel {
                    let Some(at) = read(&width, p % out_width, w) else {
                        continue;
                    };
                    let v = x[row * width.input + at];
                    // `NaN` differs from itself.
                    #[allow(clippy::eq_op)]
                    if best.is_none_or(|(most, _)| v > most || v != v) {
                        best = Some((v, h * width.kernel + w));
                    }
                }
            }
            // A window over padding alone (possible with dilation) has no winner.
            let (most, t) = best.unwrap_or((T::NEG_INFINITY, 0));
            (*y, *tap) = (most, I::from_index(t));
        }
    }
}

/// Writes the gradient of the input: each window's gradient goes to its winner.
///
/// # Panics
/// If a slice has not the length that the geometry calls for.
pub fn max_backward<T: Real, I: Tap>(g: &Geometry, d_y: &[T], taps: &[I], d_x: &mut [T]) {
    assert_eq!(d_x.len(), g.input_len(), "input gradient of a pool");
    assert_eq!(d_y.len(), g.output_len(), "output gradient of a pool");
    assert_eq!(taps.len(), g.output_len(), "taps of a pool");
    let (isa, planes) = (isa::current(), g.planes_per_task());
    if d_x.is_empty() {
        return;
    }
    parallel::chunks_mut(d_x, planes * g.in_pixels(), |at, d_x| {
        let at = at / g.in_pixels() * g.out_pixels();
        let len = d_x.len() / g.in_pixels() * g.out_pixels();
        max_backward_planes(isa, g, &d_y[at..at + len], &taps[at..at + len], d_x);
    });
}

/// As [`max_backward`] on the calling thread, for as many planes as `d_x` holds.
pub(crate) fn max_backward_planes<T: Real, I: Tap>(
    isa: InstructionSet,
    g: &Geometry,
    d_y: &[T],
    taps: &[I],
    d_x: &mut [T],
) {
    match I::as_bytes(taps) {
        Some(taps) if two::serves(g) => two::backward(isa, g, d_y, taps, d_x),
        _ => any_backward(g, d_y, taps, d_x),
    }
}

/// The gradient of any windows, added up where they overlap.
fn any_backward<T: Real, I: Tap>(g: &Geometry, d_y: &[T], taps: &[I], d_x: &mut [T]) {
    let [height, width] = g.axes();
    let [_, out_width] = g.output();
    d_x.fill(T::ZERO);
    for (plane, d_x) in d_x.chunks_exact_mut(g.in_pixels()).enumerate() {
        let own = plane * g.out_pixels()..(plane + 1) * g.out_pixels();
        for (p, (d_y, tap)) in d_y[own.clone()].iter().zip(&taps[own]).enumerate() {
            let row = read(&height, p / out_width, tap.index() / width.kernel);
            let at = read(&width, p % out_width, tap.index() % width.kernel);
            if let (Some(row), Some(at)) = (row, at) {
                d_x[row * width.input + at] += *d_y;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(planes: usize, height: Axis, width: Axis) -> Geometry {
        Geometry::new(planes, [height, width], false).unwrap()
    }

    fn axis(input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Axis {
        Axis {
            input,
            kernel,
            stride,
            padding: [padding, padding],
            dilation,
        }
    }

    #[test]
    fn the_first_of_equal_ones_wins_and_gets_the_whole_gradient() {
        let g = pool(1, axis(2, 2, 2, 0, 1), axis(5, 2, 2, 0, 1));
        let x = [1.0, 3.0, 5.0, 5.0, 9.0, 3.0, 2.0, 5.0, 5.0, 9.0_f32];
        let (mut y, mut taps) = ([0.0; 2], [9_u8; 2]);
        max_forward(&g, &x, &mut y, &mut taps);
        assert_eq!((y, taps), ([3.0, 5.0], [1, 0]));
        let mut d_x = [7.0; 10];
        max_backward(&g, &[2.0, 4.0], &taps, &mut d_x);
        assert_eq!(d_x, [0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn windows_of_two_by_two_equal_the_general_ones_on_every_instruction_set() {
        for (height, width) in [(2, 2), (5, 24), (6, 37), (3, 66), (7, 3)] {
            let g = pool(3, axis(height, 2, 2, 0, 1), axis(width, 2, 2, 0, 1));
            assert!(two::serves(&g));
            // Few different values, so that there are ties, and some that are not numbers.
            let x: Vec<f32> = (0..g.input_len())
                .map(|i| match i * i % 23 {
                    0 => f32::NAN,
                    v => v as f32 - 11.0,
                })
                .collect();
            let d_y: Vec<f32> = (1..=g.output_len()).map(|i| i as f32).collect();
            let (mut y, mut taps) = (vec![0.0; d_y.len()], vec![0_u8; d_y.len()]);
            any_forward(&g, &x, &mut y, &mut taps);
            let mut d_x = vec![9.0; x.len()];
            any_backward(&g, &d_y, &taps, &mut d_x);
            for set in [
                InstructionSet::Portable,
                InstructionSet::Avx2,
                InstructionSet::Avx512,
            ] {
                let (mut got, mut won) = (vec![0.0; d_y.len()], vec![9_u8; d_y.len()]);
                two::forward(set, &g, &x, &mut got, &mut won);
                let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                assert_eq!((bits(&got), &won), (bits(&y), &taps), "{set:?}");
                let mut got = vec![9.0; x.len()];
                two::backward(set, &g, &d_y, &taps, &mut got);
                assert_eq!(got, d_x, "{set:?}");
            }
        }
        assert!(!two::serves(
            &Geometry::new(1, [axis(4, 2, 2, 0, 1), axis(5, 2, 2, 0, 1)], true).unwrap()
        ));
    }

    #[test]
    fn overlapping_windows_add_their_gradients() {
        let g = pool(1, Axis::UNUSED, axis(3, 2, 1, 0, 1));
        let (mut y, mut taps) = ([0.0; 2], [0_u32; 2]);
        max_forward(&g, &[1.0, 8.0, 2.0_f64], &mut y, &mut taps);
        assert_eq!((y, taps), ([8.0, 8.0], [1, 0]));
        let mut d_x = [0.0; 3];
        max_backward(&g, &[1.0, 10.0], &taps, &mut d_x);
        assert_eq!(d_x, [0.0, 11.0, 0.0]);
    }

    #[test]
    fn not_a_number_wins_and_padding_never_does() {
        let g = pool(1, Axis::UNUSED, axis(4, 2, 2, 1, 1));
        let x = [-1.0, f32::NAN, 5.0, -2.0];
        let (mut y, mut taps) = ([0.0; 3], [0_u8; 3]);
        max_forward(&g, &x, &mut y, &mut taps);
        assert_eq!((y[0], y[2]), (-1.0, -2.0));
        assert!(y[1].is_nan());
        assert_eq!(taps, [1, 0, 0]);
        // With dilation a window can miss the input altogether; it takes no gradient to anybody.
        let g = pool(1, Axis::UNUSED, axis(1, 2, 1, 1, 2));
        let (mut y, mut taps) = ([0.0], [0_u8]);
        max_forward(&g, &[3.0_f32], &mut y, &mut taps);
        assert_eq!(y, [f32::NEG_INFINITY]);
        let mut d_x = [1.0];
        max_backward(&g, &[5.0], &taps, &mut d_x);
        assert_eq!(d_x, [0.0]);
    }
}
