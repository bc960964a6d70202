//! Average pooling: y[p] = Σ_t x[p · stride + t − padding] / divisor.

use super::Geometry;
use crate::parallel;
use crate::real::Real;
use std::ops::Range;

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Divisor {
    /// The window's elements, those in the padding included but not those that hang over it (PyTorch's
    /// `count_include_pad=True`).
    #[default]
    Padded,
    /// The window's elements inside the input (`count_include_pad=False`).
    Inside,
    /// A given number (`divisor_override`), at least 1.
    Given(usize),
}

/// The elements of the input that one window covers, and what their sum is divided by.
struct Window {
    rows: Range<usize>,
    cols: Range<usize>,
    divisor: usize,
}

/// Calls `f` with every window of a plane, in order.
fn for_each_window(g: &Geometry, divisor: Divisor, mut f: impl FnMut(usize, Window)) {
    // Both ends of a window, and how long it is with the padding but without what hangs over it.
    let ends = |i: usize, p: usize| {
        let axis = g.axes()[i];
        let start = p * axis.stride;
        let end = (start + axis.kernel).min(axis.input + axis.padding[0] + axis.padding[1]);
        let inside = |at: usize| at.saturating_sub(axis.padding[0]).min(axis.input);
        (inside(start)..inside(end), end - start)
    };
    let [out_height, out_width] = g.output();
    for h in 0..out_height {
        let (rows, height) = ends(0, h);
        for w in 0..out_width {
            let (cols, width) = ends(1, w);
            let divisor = match divisor {
                Divisor::Padded => height * width,
                Divisor::Inside => rows.len() * cols.len(),
                Divisor::Given(n) => n,
            };
            let rows = rows.clone();
            f(
                h * out_width + w,
                Window {
                    rows,
                    cols,
                    divisor,
                },
            );
        }
    }
}

fn check(g: &Geometry, x_len: usize, y_len: usize, divisor: Divisor) {
    assert_eq!(x_len, g.input_len(), "input of a pool");
    assert_eq!(y_len, g.output_len(), "output of a pool");
    assert_ne!(divisor, Divisor::Given(0), "divisor of an average");
    assert!(
        g.axes().iter().all(|axis| axis.dilation == 1),
        "an average pool has no dilation"
    );
}

/// Writes the means.
///
/// # Panics
/// If a slice has not the length that the geometry calls for, the geometry has a dilation, or the divisor is 0.
pub fn avg_forward<T: Real>(g: &Geometry, divisor: Divisor, x: &[T], y: &mut [T]) {
    check(g, x.len(), y.len(), divisor);
    if y.is_empty() {
        return;
    }
    let width = g.axes()[1].input;
    parallel::chunks_mut(y, g.planes_per_task() * g.out_pixels(), |at, y| {
        let first = at / g.out_pixels();
        for (plane, y) in y.chunks_exact_mut(g.out_pixels()).enumerate() {
            let x = &x[(first + plane) * g.in_pixels()..(first + plane + 1) * g.in_pixels()];
            for_each_window(g, divisor, |p, window| {
                let mut sum = T::ZERO;
                for row in window.rows {
                    for x in &x[row * width..][window.cols.clone()] {
                        sum += *x;
                    }
                }
                y[p] = sum / T::from_f64(window.divisor as f64);
            });
        }
    });
}

/// What each window of a plane multiplies its sum with: one over its divisor.
#[must_use]
pub fn avg_factors(g: &Geometry, divisor: Divisor) -> Vec<f64> {
    let mut factors = vec![0.0; g.out_pixels()];
    for_each_window(g, divisor, |p, window| {
        factors[p] = 1.0 / window.divisor as f64;
    });
    factors
}

/// Writes the gradient of the input: each window's gradient, divided, goes to all of its elements.
///
/// # Panics
/// As [`avg_forward`].
pub fn avg_backward<T: Real>(g: &Geometry, divisor: Divisor, d_y: &[T], d_x: &mut [T]) {
    check(g, d_x.len(), d_y.len(), divisor);
    if d_x.is_empty() {
        return;
    }
    let width = g.axes()[1].input;
    parallel::chunks_mut(d_x, g.planes_per_task() * g.in_pixels(), |at, d_x| {
        let first = at / g.in_pixels();
        for (plane, d_x) in d_x.chunks_exact_mut(g.in_pixels()).enumerate() {
            d_x.fill(T::ZERO);
            let d_y = &d_y[(first + plane) * g.out_pixels()..];
            for_each_window(g, divisor, |p, window| {
                let share = d_y[p] / T::from_f64(window.divisor as f64);
                for row in window.rows {
                    for d_x in &mut d_x[row * width..][window.cols.clone()] {
                        *d_x += share;
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Axis;

    #[test]
    fn divisors_differ_at_the_edges_only() {
        let axis = Axis {
            input: 4,
            kernel: 3,
            stride: 2,
            padding: [1, 1],
            dilation: 1,
        };
        let g = Geometry::new(1, [Axis::UNUSED, axis], true).unwrap();
        assert_eq!(g.output(), [1, 3]);
        let x = [1.0, 2.0, 3.0, 4.0_f64];
        // The last window covers one element, one zero, and nothing behind the padding.
        let cases = [
            (Divisor::Padded, [1.0, 3.0, 2.0]),
            (Divisor::Inside, [1.5, 3.0, 4.0]),
            (Divisor::Given(6), [0.5, 1.5, 4.0 / 6.0]),
        ];
        for (divisor, want) in cases {
            let mut y = [0.0; 3];
            avg_forward(&g, divisor, &x, &mut y);
            assert_eq!(y, want, "{divisor:?}");
            assert_eq!(avg_factors(&g, divisor)[1], y[1] / 9.0);
        }
        let mut d_x = [9.0; 4];
        avg_backward(&g, Divisor::Padded, &[3.0, 6.0, 8.0], &mut d_x);
        assert_eq!(d_x, [1.0, 3.0, 2.0, 6.0]);
    }
}
