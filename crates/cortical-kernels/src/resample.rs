//! Resampling of planes: adaptive averages, and upsampling by the nearest element or by interpolation.
//!
//! All of them weigh elements along the height and then along the width: `y = A_height · x · A_widthᵀ` with matrices of
//! few entries a row. [`AxisMap`] is such a matrix, and one pair of kernels serves them all.

use crate::disjoint::Disjoint;
use crate::parallel;
use crate::real::Real;
use crate::scratch;

/// Where along an input the outputs of an interpolation lie.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Places {
    /// Whether the centres of the end elements of both axes fall together; otherwise their outer edges do.
    pub align_corners: bool,
    /// Outputs an input; the ratio of the lengths if it is not given. It does not count with aligned corners.
    pub factor: Option<f64>,
}

impl Places {
    /// Inputs an output.
    fn scale(self, input: usize, output: usize) -> f64 {
        match (self.align_corners, self.factor) {
            (true, _) if output > 1 => (input - 1) as f64 / (output - 1) as f64,
            (true, _) => 0.0,
            (false, Some(factor)) => 1.0 / factor,
            (false, None) => input as f64 / output as f64,
        }
    }

    /// The place of output `p` between the centres of the inputs.
    fn at(self, p: usize, input: usize, output: usize) -> f64 {
        let scale = self.scale(input, output);
        if self.align_corners {
            scale * p as f64
        } else {
            scale * (p as f64 + 0.5) - 0.5
        }
    }
}

/// What stands beyond the ends of a padded axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Zeros.
    Zeros,
    /// The axis in a mirror that stands on its end element.
    Reflect,
    /// The end element.
    Replicate,
    /// The axis again from its other end.
    Circular,
}

/// The convolution kernel of cubic interpolation: 1 at 0, 0 at every other integer and from ±2 on.
///
/// # Source
/// Keys, "Cubic convolution interpolation for digital image processing" (1981).
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

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

    /// Every output is the input at its place.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        Self::new(n, n, |p| [(p, 1.0)])
    }

    /// The inputs with `front` outputs before them and `behind` after them.
    ///
    /// # Panics
    /// If something that is not there must be repeated: an image longer than the axis in its mirror, a round longer
    /// than the axis, an element of an empty axis.
    #[must_use]
    pub fn padded(input: usize, [front, behind]: [usize; 2], border: Border) -> Self {
        let most = match border {
            Border::Reflect => input.saturating_sub(1),
            Border::Circular => input,
            Border::Zeros => usize::MAX,
            Border::Replicate => {
                assert!(input > 0 || front + behind == 0, "an element to repeat");
                usize::MAX
            }
        };
        assert!(
            front.max(behind) <= most,
            "a border no longer than what it repeats"
        );
        Self::new(input, front + input + behind, |p| {
            let inside = p.checked_sub(front).filter(|i| *i < input);
            // How far outside of the nearer end, counted from 1.
            let beyond = if p < front {
                front - p
            } else {
                (p + 1).saturating_sub(front + input)
            };
            let from = |front_side: usize, behind_side: usize| {
                Some(if p < front { front_side } else { behind_side })
            };
            let at = match (inside, border) {
                (Some(at), _) => Some(at),
                (None, Border::Zeros) => None,
                (None, Border::Reflect) => from(beyond, input.wrapping_sub(1 + beyond)),
                (None, Border::Replicate) => from(0, input.wrapping_sub(1)),
                (None, Border::Circular) => {
                    from(input.wrapping_sub(beyond), beyond.wrapping_sub(1))
                }
            };
            at.map(|at| (at, 1.0))
        })
    }

    /// Whether every output is the input at its place.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.input == self.output()
            && self.entries.len() == self.input
            && (self.entries.iter().enumerate()).all(|(p, entry)| *entry == (p, 1.0))
    }

    /// Output `p` is input ⌊(p + offset) · scale⌋, where `scale` is one over `factor`, or input / output without one.
    /// The place is reckoned in single precision as PyTorch does, which decides between two neighbours where it falls
    /// on an integer.
    fn pick(input: usize, output: usize, factor: Option<f64>, offset: f32) -> Self {
        assert!(input > 0, "there is something to repeat");
        let scale = factor.map_or(input as f32 / output as f32, |factor| (1.0 / factor) as f32);
        Self::new(input, output, |p| {
            let at = ((p as f32 + offset) * scale) as usize;
            [(at.min(input - 1), 1.0)]
        })
    }

    /// Output `p` is input ⌊p / factor⌋, or ⌊p · input / output⌋ without a factor.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn nearest(input: usize, output: usize, factor: Option<f64>) -> Self {
        Self::pick(input, output, factor, 0.0)
    }

    /// Output `p` is input ⌊(p + ½) / factor⌋, or ⌊(p + ½) · input / output⌋ without a factor: the one whose centre is
    /// nearest.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn nearest_exact(input: usize, output: usize, factor: Option<f64>) -> Self {
        Self::pick(input, output, factor, 0.5)
    }

    /// Output `p` lies between two inputs and weighs them by its distance.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn linear(input: usize, output: usize, places: Places) -> Self {
        assert!(input > 0, "there is something to interpolate");
        Self::new(input, output, |p| {
            let at = places.at(p, input, output).max(0.0);
            let low = (at as usize).min(input - 1);
            let high = (low + 1).min(input - 1);
            let share = (at - low as f64).min(1.0);
            [(low, 1.0 - share), (high, share)]
        })
    }

    /// Output `p` lies among four inputs, which the cubic of Keys with `a = −¾` weighs; beyond the ends the end
    /// elements repeat.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn cubic(input: usize, output: usize, places: Places) -> Self {
        assert!(input > 0, "there is something to interpolate");
        Self::new(input, output, |p| {
            let at = places.at(p, input, output);
            let first = at.floor();
            (-1..3_i32).map(move |tap| {
                let place = first + f64::from(tap);
                let inside = place.clamp(0.0, (input - 1) as f64) as usize;
                (inside, cubic(at - place, -0.75))
            })
        })
    }

    /// As [`Self::linear`] with a triangle as wide as an output is, so that shrinking averages instead of skipping.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn linear_antialiased(input: usize, output: usize, places: Places) -> Self {
        Self::filtered(input, output, places, 1.0, |x| (1.0 - x.abs()).max(0.0))
    }

    /// As [`Self::cubic`], with `a = −½`, stretched to the width of an output, so that shrinking averages instead of
    /// skipping.
    ///
    /// # Panics
    /// If `input` is 0.
    #[must_use]
    pub fn cubic_antialiased(input: usize, output: usize, places: Places) -> Self {
        Self::filtered(input, output, places, 2.0, |x| cubic(x, -0.5))
    }

    /// Output `p` weighs the inputs around it by a filter of half width `reach`, and the weights add up to 1.
    fn filtered(
        input: usize,
        output: usize,
        places: Places,
        reach: f64,
        filter: impl Fn(f64) -> f64,
    ) -> Self {
        assert!(input > 0, "there is something to interpolate");
        let scale = places.scale(input, output);
        let widening = scale.max(1.0);
        Self::new(input, output, |p| {
            let centre = scale * (p as f64 + 0.5);
            let reach = reach * widening;
            let start = ((centre - reach + 0.5).max(0.0) as usize).min(input - 1);
            let end = ((centre + reach + 0.5) as usize).clamp(start + 1, input);
            let weights = (start..end).map(|i| filter((i as f64 - centre + 0.5) / widening));
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            weights
                .into_iter()
                .enumerate()
                .map(move |(i, weight)| (start + i, weight / sum))
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
    let across = !width.is_identity();
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
                    if !across {
                        y.copy_from_slice(row);
                        continue;
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
    let across = !width.is_identity();
    parallel::for_each(planes.div_ceil(per_task), |task| {
        scratch::with(width.input, |row: &mut [T]| {
            for plane in task * per_task..((task + 1) * per_task).min(planes) {
                let d_y = &d_y[plane * out_plane..(plane + 1) * out_plane];
                // SAFETY: each task has planes of its own.
                let d_x = unsafe { d_x.part(plane * in_plane..(plane + 1) * in_plane) };
                d_x.fill(T::ZERO);
                for (h, d_y) in d_y.chunks_exact(width.output()).enumerate() {
                    if across {
                        row.fill(T::ZERO);
                        for (w, d_y) in d_y.iter().enumerate() {
                            for (i, weight) in width.entries(w) {
                                row[*i] += T::from_f64(*weight) * *d_y;
                            }
                        }
                    } else {
                        row.copy_from_slice(d_y);
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
        let nearest = AxisMap::nearest(2, 3, None);
        assert_eq!(nearest.matrix(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        // By the factor 1.6, not by the ratio 3 / 2 of the lengths: the second output lies at 1 / 1.6.
        let places = |align_corners, factor| Places {
            align_corners,
            factor,
        };
        let by_factor = AxisMap::linear(2, 3, places(false, Some(1.6)));
        assert_eq!(by_factor.entries(1), [(0, 0.5625), (1, 0.4375)]);
        let exact = AxisMap::nearest_exact(3, 2, None);
        assert_eq!(exact.matrix(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let aligned = AxisMap::linear(2, 3, places(true, None));
        assert_eq!(aligned.matrix(), [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
        let edges = AxisMap::linear(2, 4, Places::default());
        let want = [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0];
        assert_eq!(edges.matrix(), want);
        assert_eq!(
            AxisMap::linear(3, 1, places(true, None)).entries(0)[0],
            (0, 1.0)
        );
        assert!(AxisMap::identity(3).is_identity() && !nearest.is_identity());
        assert!(AxisMap::nearest(4, 4, None).is_identity());
    }

    #[test]
    fn borders_repeat_what_their_names_say() {
        let places = |border| {
            let map = AxisMap::padded(3, [2, 1], border);
            let first = |p| map.entries(p).first().map(|(at, _)| *at);
            (0..6).map(first).collect::<Vec<_>>()
        };
        let inside = [Some(0), Some(1), Some(2)];
        let around = |a, b, c| [&[a, b][..], &inside, &[c]].concat();
        assert_eq!(places(Border::Zeros), around(None, None, None));
        assert_eq!(places(Border::Reflect), around(Some(2), Some(1), Some(1)));
        assert_eq!(places(Border::Replicate), around(Some(0), Some(0), Some(2)));
        assert_eq!(places(Border::Circular), around(Some(1), Some(2), Some(0)));
    }

    #[test]
    fn cubics_and_filters_add_up_to_one_and_meet_the_inputs() {
        let places = Places::default();
        for (input, output) in [(5, 9), (9, 4), (1, 3), (7, 7), (20, 3)] {
            for map in [
                AxisMap::cubic(input, output, places),
                AxisMap::linear_antialiased(input, output, places),
                AxisMap::cubic_antialiased(input, output, places),
            ] {
                for p in 0..output {
                    let sum: f64 = map.entries(p).iter().map(|(_, weight)| weight).sum();
                    assert!((sum - 1.0).abs() < 1e-12, "{input} to {output}: {sum}");
                }
            }
        }
        let same = AxisMap::cubic(4, 4, places).matrix();
        assert_eq!(same, AxisMap::identity(4).matrix());
        let halved = AxisMap::linear_antialiased(4, 2, places).matrix();
        let weights = [3.0, 3.0, 1.0, 0.0].map(|w| w / 7.0);
        assert!(
            halved[..4]
                .iter()
                .zip(weights)
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{halved:?}"
        );
    }

    #[test]
    fn forward_and_backward_are_products_with_the_matrices() {
        products_with_the_matrices(AxisMap::mean(7, 2));
        products_with_the_matrices(AxisMap::identity(7));
    }

    fn products_with_the_matrices(width: AxisMap) {
        let (height, across) = (AxisMap::linear(3, 5, Places::default()), width.output());
        let (a, b) = (height.matrix(), width.matrix());
        let x: Vec<f64> = (0..2 * 21).map(|i| f64::from(i * i % 17)).collect();
        let mut y = vec![9.0; 2 * 5 * across];
        forward(&height, &width, &x, &mut y);
        let mut want = vec![0.0; y.len()];
        let mut d_x = vec![0.0; x.len()];
        for (p, h, w) in
            (0..2).flat_map(|p| (0..5).flat_map(move |h| (0..across).map(move |w| (p, h, w))))
        {
            for (i, j) in (0..3).flat_map(|i| (0..7).map(move |j| (i, j))) {
                let weight = a[h * 3 + i] * b[w * 7 + j];
                want[(p * 5 + h) * across + w] += weight * x[p * 21 + i * 7 + j];
                d_x[p * 21 + i * 7 + j] += weight * y[(p * 5 + h) * across + w];
            }
        }
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&y, &want));
        let mut got = vec![9.0; x.len()];
        backward(&height, &width, &y, &mut got);
        assert!(near(&got, &d_x));
    }
}
