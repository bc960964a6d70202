//! Adaptive max pooling: windows cut so that the output has a given size.
//!
//! Output `p` of an axis is the largest input from ⌊p · in / out⌋ to ⌈(p + 1) · in / out⌉. `NaN` wins over everything,
//! and of equal ones the first wins, as in the other max pools.

use crate::parallel;
use crate::real::Real;
use std::ops::Range;

/// The windows of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    input: usize,
    windows: Vec<Range<usize>>,
}

impl Cuts {
    /// Cuts `input` elements into `output` windows, which overlap where they must.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn new(input: usize, output: usize) -> Self {
        assert!(input > 0, "there is something to cut");
        let wide = |n: usize| n as u128;
        let window = |p: usize| {
            let start = wide(p) * wide(input) / wide(output);
            let end = (wide(p + 1) * wide(input)).div_ceil(wide(output));
            start as usize..end as usize
        };
        Self {
            input,
            windows: (0..output).map(window).collect(),
        }
    }

    /// Elements of the input along this axis.
    #[must_use]
    pub fn input(&self) -> usize {
        self.input
    }

    /// The elements that each output looks at.
    #[must_use]
    pub fn windows(&self) -> &[Range<usize>] {
        &self.windows
    }
}

/// Elements of an input plane and of an output plane, and how many planes make a task.
fn sizes(height: &Cuts, width: &Cuts) -> (usize, usize, usize) {
    let (of_input, of_output) = (
        height.input * width.input,
        height.windows.len() * width.windows.len(),
    );
    let task = parallel::rows_per_task(of_input.max(of_output));
    (of_input, of_output, task)
}

fn check(height: &Cuts, width: &Cuts, x_len: usize, y_len: usize, winners: usize) {
    let (of_input, of_output, _) = sizes(height, width);
    assert!(of_output > 0, "planes that are not empty");
    assert!(u32::try_from(of_input).is_ok(), "a winner fits its type");
    assert!(x_len.is_multiple_of(of_input), "whole planes");
    assert_eq!(x_len / of_input * of_output, y_len, "planes of both sides");
    assert_eq!(winners, y_len, "a winner for each output");
}

/// Writes the maxima of every plane and where in the plane they were found.
///
/// # Panics
/// If the slices do not hold the same number of planes, or a plane is empty or has 2³² elements or more.
pub fn adaptive_max_forward<T: Real>(
    height: &Cuts,
    width: &Cuts,
    x: &[T],
    y: &mut [T],
    winners: &mut [u32],
) {
    check(height, width, x.len(), y.len(), winners.len());
    let (of_input, of_output, task) = sizes(height, width);
    let chunk = task * of_output;
    parallel::chunks2_mut(y, chunk, winners, chunk, |i, y, winners| {
        let planes = x[i * task * of_input..].chunks_exact(of_input);
        let outputs = y.chunks_exact_mut(of_output);
        for ((y, winners), x) in outputs.zip(winners.chunks_exact_mut(of_output)).zip(planes) {
            let places = height.windows.iter().flat_map(|rows| {
                let cols = width.windows.iter();
                cols.map(move |cols| (rows.clone(), cols.clone()))
            });
            for ((y, winner), (rows, cols)) in y.iter_mut().zip(winners).zip(places) {
                (*y, *winner) = largest(x, width.input, rows, cols);
            }
        }
    });
}

/// The largest element of a window that is not empty, and its place in the plane.
fn largest<T: Real>(x: &[T], width: usize, rows: Range<usize>, cols: Range<usize>) -> (T, u32) {
    let mut at = rows.start * width + cols.start;
    for row in rows {
        for col in cols.clone() {
            let (candidate, best) = (x[row * width + col], x[at]);
            // `NaN` differs from itself.
            #[allow(clippy::eq_op)]
            if candidate > best || candidate != candidate {
                at = row * width + col;
            }
        }
    }
    (x[at], at as u32)
}

/// Writes the gradient of the input: each output's goes to its winner.
///
/// # Panics
/// As [`adaptive_max_forward`].
pub fn adaptive_max_backward<T: Real>(
    height: &Cuts,
    width: &Cuts,
    d_y: &[T],
    winners: &[u32],
    d_x: &mut [T],
) {
    check(height, width, d_x.len(), d_y.len(), winners.len());
    let (of_input, of_output, task) = sizes(height, width);
    parallel::chunks_mut(d_x, task * of_input, |at, d_x| {
        let first = at / of_input * of_output;
        let outputs = d_y[first..].chunks_exact(of_output);
        let winners = winners[first..].chunks_exact(of_output);
        for (d_x, (d_y, winners)) in d_x.chunks_exact_mut(of_input).zip(outputs.zip(winners)) {
            d_x.fill(T::ZERO);
            for (d_y, winner) in d_y.iter().zip(winners) {
                d_x[*winner as usize] += *d_y;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{numbers, same_bits_on_any_threads, singles};

    #[test]
    fn windows_cover_the_axis_and_overlap_where_they_must() {
        assert_eq!(Cuts::new(5, 2).windows(), [0..3, 2..5]);
        assert_eq!(Cuts::new(2, 3).windows(), [0..1, 0..2, 1..2]);
        assert_eq!(Cuts::new(3, 3).windows(), [0..1, 1..2, 2..3]);
        assert_eq!(Cuts::new(7, 1).windows(), vec![0..7; 1]);
    }

    #[test]
    fn the_first_of_equal_ones_and_not_a_number_win() {
        let (one, cuts) = (Cuts::new(1, 1), Cuts::new(4, 2));
        let x = [3.0, 3.0, f32::NAN, 9.0];
        let (mut y, mut winners) = ([0.0; 2], [9; 2]);
        adaptive_max_forward(&one, &cuts, &x, &mut y, &mut winners);
        assert!(y[0] == 3.0 && y[1].is_nan());
        assert_eq!(winners, [0, 2]);
        let mut d_x = [7.0; 4];
        adaptive_max_backward(&one, &cuts, &[1.0, 2.0], &winners, &mut d_x);
        assert_eq!(d_x, [1.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (height, width) = (Cuts::new(23, 5), Cuts::new(17, 6));
        let x = singles(&numbers(200 * 23 * 17, 3));
        same_bits_on_any_threads(|| {
            let (mut y, mut winners) = (vec![0.0; 200 * 30], vec![0; 200 * 30]);
            adaptive_max_forward(&height, &width, &x, &mut y, &mut winners);
            let mut d_x = vec![0.0; x.len()];
            adaptive_max_backward(&height, &width, &y, &winners, &mut d_x);
            [y, d_x].concat()
        });
    }
}
