//! Resampling of planes: adaptive averages, and upsampling by the nearest element or by interpolation.
//!
//! All of them weigh elements along the height and then along the width: `y = A_height · x · A_widthᵀ` with matrices of few entries
//! a row. [`AxisMap`] is such a matrix, and one pair of kernels serves them all.

use crate::disjoint::Disjoint;
use crate::parallel;
use crate::real::Real;
use crate::scratch;

/// How each output along an axis is a weighted sum of inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisMap {
    input: usize,
    /// The entries of output `p` are `entries[first[p]..first[p + 1]]`.
    first: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl AxisMap {
    fn new<E: IntoIterator<Item = (usize, f64)>>(
        input: usize,
        output: usize,
        entries_of: impl Fn(usize) -> E,
    ) -> Self {
        let (mut first, mut entries) = (vec![0], Vec::new());
        for p in 0..output {
            entries.extend(entries_of(p));
            first.push(entries.len());
        }
        Self {
            input,
            first,
            entries,
        }
    }

    /// Output `p` is the mean of the inputs from ⌊p · input / output⌋ to ⌈(p + 1) · input / output⌉.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn mean(input: usize, output: usize) -> Self {
        assert!(input > 0, "there is something to take the mean of");
        Self::new(input, output, |p| {
            let start = scaled(p, input, output);
            // One past the end, rounded up.
            let end = scaled(p + 1, input, output)
                + usize::from(!(widen(p + 1) * widen(input)).is_multiple_of(widen(output)));
            (start..end).map(move |i| (i, 1.0 / (end - start) as f64))
        })
    }

    /// Output `p` is input ⌊p · input / output⌋.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn nearest(input: usize, output: usize) -> Self {
        assert!(input > 0, "there is something to repeat");
        Self::new(input, output, |p| [(scaled(p, input, output), 1.0)])
    }

    /// Output `p` lies between two inputs and weighs them by its distance. The ends of both axes fall together
    /// with `align_corners`, the outer edges of their end elements without.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn linear(input: usize, output: usize, align_corners: bool) -> Self {
        assert!(input > 0, "there is something to interpolate");
        Self::new(input, output, |p| {
            let at = if align_corners {
                let steps = (output - 1).max(1);
                p as f64 * (input - 1) as f64 / steps as f64
            } else {
                ((p as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0)
            };
            let low = (at as usize).min(input - 1);
            let high = (low + 1).min(input - 1);
            let share = (at - low as f64).min(1.0);
            [(low, 1.0 - share), (high, share)]
        })
    }

    /// Elements of the input along this axis.
    #[must_use]
    pub fn input(&self) -> usize {
        self.input
    }

    /// Elements of the output along this axis.
    #[must_use]
    pub fn output(&self) -> usize {
        self.first.len() - 1
    }

    /// The inputs that output `p` is a sum of, and their weights.
    #[must_use]
    pub fn entries(&self, p: usize) -> &[(usize, f64)] {
        &self.entries[self.first[p]..self.first[p + 1]]
    }

    /// The whole matrix, `[output, input]`.
    #[must_use]
    pub fn matrix(&self) -> Vec<f64> {
        let mut matrix = vec![0.0; self.output() * self.input];
        for p in 0..self.output() {
            for (i, weight) in self.entries(p) {
                matrix[p * self.input + i] += weight;
            }
        }
        matrix
    }
}

fn widen(n: usize) -> u128 {
    n as u128
}

/// ⌊p · input / output⌋, for any sizes.
fn scaled(p: usize, input: usize, output: usize) -> usize {
    (widen(p) * widen(input) / widen(output)) as usize
}

fn check<T>(height: &AxisMap, width: &AxisMap, x: &[T], y: &[T]) -> usize {
    let (in_plane, out_plane) = (height.input * width.input, height.output() * width.output());
    assert!(in_plane > 0 && out_plane > 0, "planes that are not empty");
    assert!(x.len().is_multiple_of(in_plane), "whole planes");
    assert_eq!(
        x.len() / in_plane * out_plane,
        y.len(),
        "planes of the input and of the output"
    );
    x.len() / in_plane
}

/// `y = A_height · x · A_widthᵀ` for every plane.
///
/// # Panics
/// If the slices do not hold the same number of planes, or a plane is empty.
pub fn forward<T: Real>(height: &AxisMap, width: &AxisMap, x: &[T], y: &mut [T]) {
    let planes = check(height, width, x, y);
    let (in_plane, out_plane) = (height.input * width.input, height.output() * width.output());
    let y = Disjoint::new(y);
    let per_task = parallel::rows_per_task(in_plane.max(out_plane));
    parallel::for_each(planes.div_ceil(per_task), |task| {
        scratch::with(width.input, |row: &mut [T]| {
            for plane in task * per_task..((task + 1) * per_task).min(planes) {
                let x = &x[plane * in_plane..(plane + 1) * in_plane];
                // SAFETY: each task has planes of its own.
                let y = unsafe { y.part(plane * out_plane..(plane + 1) * out_plane) };
                for (h, y) in y.chunks_exact_mut(width.output()).enumerate() {
                    row.fill(T::ZERO);
                    for (i, weight) in height.entries(h) {
                        let weight = T::from_f64(*weight);
                        for (row, x) in row.iter_mut().zip(&x[i * width.input..]) {
                            *row += weight * *x;
                        }
                    }
                    for (w, y) in y.iter_mut().enumerate() {
                        let terms = width.entries(w).iter();
                        *y = terms
                            .map(|(i, weight)| T::from_f64(*weight) * row[*i])
                            .sum();
                    }
                }
            }
        });
    });
}

/// `d_x = A_heightᵀ · d_y · A_width` for every plane.
///
/// # Panics
/// As [`forward`].
pub fn backward<T: Real>(height: &AxisMap, width: &AxisMap, d_y: &[T], d_x: &mut [T]) {
    let planes = check(height, width, d_x, d_y);
    let (in_plane, out_plane) = (height.input * width.input, height.output() * width.output());
    let d_x = Disjoint::new(d_x);
    let per_task = parallel::rows_per_task(in_plane.max(out_plane));
    parallel::for_each(planes.div_ceil(per_task), |task| {
        scratch::with(width.input, |row: &mut [T]| {
            for plane in task * per_task..((task + 1) * per_task).min(planes) {
                let d_y = &d_y[plane * out_plane..(plane + 1) * out_plane];
                // SAFETY: each task has planes of its own.
                let d_x = unsafe { d_x.part(plane * in_plane..(plane + 1) * in_plane) };
                d_x.fill(T::ZERO);
                for (h, d_y) in d_y.chunks_exact(width.output()).enumerate() {
                    row.fill(T::ZERO);
                    for (w, d_y) in d_y.iter().enumerate() {
                        for (i, weight) in width.entries(w) {
                            row[*i] += T::from_f64(*weight) * *d_y;
                        }
                    }
                    for (i, weight) in height.entries(h) {
                        let weight = T::from_f64(*weight);
                        for (d_x, row) in d_x[i * width.input..].iter_mut().zip(&*row) {
                            *d_x += weight * *row;
                        }
                    }
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_what_their_names_say() {
        let third = 1.0 / 3.0;
        assert_eq!(
            AxisMap::mean(5, 2).matrix(),
            [third, third, third, 0.0, 0.0, 0.0, 0.0, third, third, third]
        );
        assert_eq!(AxisMap::mean(2, 3).matrix(), [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
        let nearest = AxisMap::nearest(2, 3);
        assert_eq!(nearest.matrix(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        let aligned = AxisMap::linear(2, 3, true);
        assert_eq!(aligned.matrix(), [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
        let edges = AxisMap::linear(2, 4, false);
        let want = [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0];
        assert_eq!(edges.matrix(), want);
        assert_eq!(AxisMap::linear(3, 1, true).entries(0)[0], (0, 1.0));
    }

    #[test]
    fn forward_and_backward_are_products_with_the_matrices() {
        let (height, width) = (AxisMap::linear(3, 5, false), AxisMap::mean(7, 2));
        let (a, b) = (height.matrix(), width.matrix());
        let x: Vec<f64> = (0..2 * 21).map(|i| f64::from(i * i % 17)).collect();
        let mut y = vec![9.0; 2 * 10];
        forward(&height, &width, &x, &mut y);
        let mut want = vec![0.0; y.len()];
        let mut d_x = vec![0.0; x.len()];
        for (p, h, w) in
            (0..2).flat_map(|p| (0..5).flat_map(move |h| (0..2).map(move |w| (p, h, w))))
        {
            for (i, j) in (0..3).flat_map(|i| (0..7).map(move |j| (i, j))) {
                let weight = a[h * 3 + i] * b[w * 7 + j];
                want[p * 10 + h * 2 + w] += weight * x[p * 21 + i * 7 + j];
                d_x[p * 21 + i * 7 + j] += weight * y[p * 10 + h * 2 + w];
            }
        }
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&y, &want));
        let mut got = vec![9.0; x.len()];
        backward(&height, &width, &y, &mut got);
        assert!(near(&got, &d_x));
    }
}
