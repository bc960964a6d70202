//! PReLU: a leaky ReLU whose slope is learnt, one for all channels or one for each; forward beside backward.
//!
//! Legend: `n` batch, `c` channel, `i` what lies inside a channel.

use crate::parallel;
use crate::real::Real;

/// Dimensions `[n, c, i]` of the input.
pub type Dims = [usize; 3];

/// `y = x` for x > 0, else `slope[c] x`.
///
/// # Panics
/// If the lengths do not fit together.
pub fn forward<T: Real>([n, c, i]: Dims, x: &[T], slope: &[T], y: &mut [T]) {
    check([n, c, i], x.len(), slope.len());
    assert_eq!(y.len(), x.len(), "prelu: output");
    if y.is_empty() {
        return;
    }
    parallel::chunks_mut(y, c * i, |at, y| {
        for (k, (y, x)) in y.iter_mut().zip(&x[at..]).enumerate() {
            let s = slope[if slope.len() == 1 { 0 } else { k / i }];
            *y = if *x > T::ZERO { *x } else { s * *x };
        }
    });
}

/// `d_x = d_y` for x > 0, else `slope[c] d_y`.
///
/// # Panics
/// If the lengths do not fit together.
pub fn input_gradient<T: Real>(dims: Dims, x: &[T], slope: &[T], d_y: &[T], d_x: &mut [T]) {
    let [_, c, i] = dims;
    check(dims, x.len(), slope.len());
    assert_eq!(
        (d_y.len(), d_x.len()),
        (x.len(), x.len()),
        "prelu: gradients"
    );
    if d_x.is_empty() {
        return;
    }
    parallel::chunks_mut(d_x, c * i, |at, d_x| {
        for (k, d_x) in d_x.iter_mut().enumerate() {
            let s = slope[if slope.len() == 1 { 0 } else { k / i }];
            let d = d_y[at + k];
            *d_x = if x[at + k] > T::ZERO { d } else { s * d };
        }
    });
}

/// `d_slope[c] = Σ_{x ≤ 0} x d_y` over the channel, or over everything for a single slope.
///
/// # Panics
/// If the lengths do not fit together.
pub fn slope_gradient<T: Real>([n, c, i]: Dims, x: &[T], d_y: &[T], d_slope: &mut [T]) {
    check([n, c, i], x.len(), d_slope.len());
    assert_eq!(d_y.len(), x.len(), "prelu: upstream gradient");
    // One sum for each channel, in the order of the batch; then, for a single slope, over channels.
    let channel = |channel: usize| {
        let mut sum = 0.0_f64;
        for row in 0..n {
            let start = (row * c + channel) * i;
            for k in start..start + i {
                let product = x[k].to_f64() * d_y[k].to_f64();
                sum += if x[k] > T::ZERO { 0.0 } else { product };
            }
        }
        sum
    };
    let sums = parallel::map(c, channel);
    if d_slope.len() == c {
        for (d, sum) in d_slope.iter_mut().zip(sums) {
            *d = T::from_f64(sum);
        }
    } else {
        d_slope[0] = T::from_f64(sums.into_iter().sum());
    }
}

fn check([n, c, i]: Dims, x: usize, slopes: usize) {
    assert_eq!(x, n * c * i, "prelu: input");
    assert!(
        slopes == 1 || slopes == c,
        "prelu: one slope or one for each channel"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_close, assert_gradient, dot, numbers, same_bits_on_any_threads, singles,
    };

    #[test]
    fn gradients_are_central_differences() {
        let dims = [3, 4, 5];
        let (x, d_y) = (numbers(60, 1), numbers(60, 2));
        for slopes in [1, 4] {
            let slope = numbers(slopes, 3);
            let value = |x: &[f64], slope: &[f64]| {
                let mut y = vec![0.0; 60];
                forward(dims, x, slope, &mut y);
                dot(&y, &d_y)
            };
            let (mut d_x, mut d_slope) = (vec![0.0; 60], vec![0.0; slopes]);
            input_gradient(dims, &x, &slope, &d_y, &mut d_x);
            assert_gradient("x", &x, &d_x, |x| value(x, &slope));
            slope_gradient(dims, &x, &d_y, &mut d_slope);
            assert_gradient("slope", &slope, &d_slope, |slope| value(&x, slope));
        }
    }

    #[test]
    fn single_precision_follows_double_and_threads_do_not_matter() {
        let dims = [2, 3, 9000];
        let (x, d_y, slope) = (numbers(54_000, 1), numbers(54_000, 2), numbers(3, 3));
        let (x32, d_y32, slope32) = (singles(&x), singles(&d_y), singles(&slope));
        let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let mut want = vec![0.0; 3];
        slope_gradient(dims, &wide(&x32), &wide(&d_y32), &mut want);
        let run = || {
            let (mut y, mut d_x, mut d_slope) =
                (vec![0.0; 54_000], vec![0.0; 54_000], vec![0.0; 3]);
            forward(dims, &x32, &slope32, &mut y);
            input_gradient(dims, &x32, &slope32, &d_y32, &mut d_x);
            slope_gradient(dims, &x32, &d_y32, &mut d_slope);
            y.extend(d_x);
            y.extend(d_slope);
            y
        };
        assert_close("d_slope", &run()[108_000..], &want, 1e-6);
        same_bits_on_any_threads(run);
    }

    #[test]
    fn nothing_is_no_work() {
        let mut d_slope = [9.0];
        forward::<f64>([0, 3, 2], &[], &[0.1], &mut []);
        slope_gradient::<f64>([0, 3, 2], &[], &[], &mut d_slope);
        assert_eq!(d_slope, [0.0]);
    }
}
