//! Batch norm over `[samples, channels, space]`: each channel has one mean and variance, taken from the batch in
//! training and from running averages in evaluation.
//!
//! Where `space` is small, a channel's elements lie scattered; then a sample is read as one long row and every column
//! is summed by itself before the columns of a channel are combined.

use super::{Affine, Dims, Gradients, Moments};
use crate::isa::{self, InstructionSet};
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums::sum_map;

/// Below this many adjacent elements of a channel the columns are summed instead.
pub(super) const SCATTERED_BELOW: usize = 16;

/// How many samples one task of the scattered form takes.
const SCATTERED_SAMPLES: usize = 256;

/// Count, mean and sum of squared deviations of some elements, to be combined without losing digits (Chan et al. 1979).
#[derive(Clone, Copy)]
struct Part<T> {
    count: T,
    mean: T,
    squares: T,
}

impl<T: Real> Part<T> {
    const EMPTY: Self = Self {
        count: T::ZERO,
        mean: T::ZERO,
        squares: T::ZERO,
    };

    fn join(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == T::ZERO {
            return self;
        }
        let delta = other.mean - self.mean;
        let share = other.count / count;
        Self {
            count,
            mean: self.mean + delta * share,
            squares: self.squares + other.squares + delta * delta * self.count * share,
        }
    }

    fn moments(self) -> Moments<T> {
        Moments {
            mean: self.mean,
            var: self.squares / self.count,
        }
    }
}

multiversion! {
    fn slice_part<T: Real>(x: &[T]) -> Part<T> {
        let count = T::from_f64(x.len() as f64);
        let mean = sum_map(x, |x| x) / count;
        Part { count, mean, squares: sum_map(x, |x| (x - mean) * (x - mean)) }
    }
}

multiversion! {
    /// The mean and the squared deviations of each column over the rows of `x`.
    fn column_parts<T: Real>(x: &[T], mean: &mut [T], squares: &mut [T]) {
        let cols = mean.len();
        let scale = T::from_f64(1.0 / (x.len() / cols) as f64);
        for row in x.chunks_exact(cols) {
            for (m, x) in mean.iter_mut().zip(row) {
                *m += *x;
            }
        }
        for m in mean.iter_mut() {
            *m *= scale;
        }
        for row in x.chunks_exact(cols) {
            for ((s, m), x) in squares.iter_mut().zip(&*mean).zip(row) {
                *s += (*x - *m) * (*x - *m);
            }
        }
    }
}

multiversion! {
    pub(super) fn affine_slice<T: Real>(x: &[T], mean: T, scale: T, shift: T, y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (*x - mean).mul_add::<I>(scale, shift);
        }
    }
}

multiversion! {
    fn affine_row<T: Real>(x: &[T], mean: &[T], scale: &[T], shift: &[T], y: &mut [T]) {
        for ((((y, x), m), a), b) in y.iter_mut().zip(x).zip(mean).zip(scale).zip(shift) {
            *y = (*x - *m).mul_add::<I>(*a, *b);
        }
    }
}

multiversion! {
    /// Σ d_y and Σ d_y (x − mean).
    pub(super) fn slice_sums<T: Real>(x: &[T], mean: T, d_y: &[T]) -> (T, T) {
        const LANES: usize = 16;
        let (mut a, mut b) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (ds, d_rest) = d_y.as_chunks::<LANES>();
        for (x, d) in xs.iter().zip(ds) {
            for i in 0..LANES {
                a[i] += d[i];
                b[i] = d[i].mul_add::<I>(x[i] - mean, b[i]);
            }
        }
        for i in 0..x_rest.len() {
            a[i] += d_rest[i];
            b[i] = d_rest[i].mul_add::<I>(x_rest[i] - mean, b[i]);
        }
        (sum_map(&a, |v| v), sum_map(&b, |v| v))
    }
}

multiversion! {
    fn column_sums<T: Real>(x: &[T], mean: &[T], d_y: &[T], a: &mut [T], b: &mut [T]) {
        let cols = mean.len();
        for (x, d) in x.chunks_exact(cols).zip(d_y.chunks_exact(cols)) {
            for ((((x, d), m), a), b) in x.iter().zip(d).zip(mean).zip(&mut *a).zip(&mut *b) {
                *a += *d;
                *b = d.mul_add::<I>(*x - *m, *b);
            }
        }
    }
}

multiversion! {
    /// `d_x = d_y · r + (x − mean) · slope + shift`
    pub(super) fn d_slice<T: Real>(x: &[T], d_y: &[T], mean: T, r: T, slope: T, shift: T, d_x: &mut [T]) {
        for ((d_x, x), d) in d_x.iter_mut().zip(x).zip(d_y) {
            *d_x = d.mul_add::<I>(r, slope.mul_add::<I>(*x - mean, shift));
        }
    }
}

multiversion! {
    /// As [`d_slice`] with constants of its own for each column.
    fn d_row<T: Real>(x: &[T], d_y: &[T], mean: &[T], k: [&[T]; 3], d_x: &mut [T]) {
        let [r, slope, shift] = k;
        let n = d_x.len();
        let (x, d_y, mean) = (&x[..n], &d_y[..n], &mean[..n]);
        let (r, slope, shift) = (&r[..n], &slope[..n], &shift[..n]);
        for i in 0..n {
            d_x[i] = d_y[i].mul_add::<I>(r[i], slope[i].mul_add::<I>(x[i] - mean[i], shift[i]));
        }
    }
}

/// `values[c]` repeated for every element of a sample.
fn spread<T: Real>(dims: Dims, value: impl Fn(usize) -> T) -> Vec<T> {
    let mut row = Vec::with_capacity(dims.channels * dims.space);
    for c in 0..dims.channels {
        row.extend(std::iter::repeat_n(value(c), dims.space));
    }
    row
}

/// Calls `f(channel, x, out)` for every channel of every sample.
fn each_slice<T: Real>(
    dims: Dims,
    out: &mut [T],
    f: impl Fn(usize, usize, &mut [T]) + Sync + Send,
) {
    let s = dims.space;
    let slices = rows_per_task(s);
    parallel::chunks_mut(out, slices * s, |at, out| {
        for (i, out) in out.chunks_exact_mut(s).enumerate() {
            let slice = at / s + i;
            f(slice % dims.channels, slice * s, out);
        }
    });
}

/// Calls `f(first_element, sample)` for every sample of the scattered form.
fn each_sample<T: Real>(dims: Dims, out: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
    let row = dims.channels * dims.space;
    parallel::chunks_mut(out, rows_per_task(row) * row, |at, out| {
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            f(at + i * row, out);
        }
    });
}

/// The mean and variance of one channel whose elements lie side by side.
pub(super) fn channel_moments<T: Real>(
    isa: InstructionSet,
    x: &[T],
    dims: Dims,
    channel: usize,
) -> Moments<T> {
    let s = dims.space;
    let mut all = Part::EMPTY;
    for sample in x.chunks_exact(dims.channels * s) {
        all = all.join(slice_part(isa, &sample[channel * s..(channel + 1) * s]));
    }
    all.moments()
}

/// The mean and variance of each channel over samples and space.
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn batch_moments<T: Real>(x: &[T], dims: Dims, moments: &mut [Moments<T>]) {
    assert_eq!(x.len(), dims.elements(), "batch norm: input");
    assert_eq!(
        moments.len(),
        dims.channels,
        "batch norm: moments a channel"
    );
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let s = dims.space;
    let row = dims.channels * s;
    if s >= SCATTERED_BELOW {
        let channels = rows_per_task(dims.samples * s);
        parallel::chunks_mut(moments, channels, |first, moments| {
            for (i, moments) in moments.iter_mut().enumerate() {
                *moments = channel_moments(isa, x, dims, first + i);
            }
        });
        return;
    }
    let parts = parallel::map(dims.samples.div_ceil(SCATTERED_SAMPLES), |i| {
        let first = i * SCATTERED_SAMPLES;
        let last = (first + SCATTERED_SAMPLES).min(dims.samples);
        let (mut mean, mut squares) = (vec![T::ZERO; row], vec![T::ZERO; row]);
        column_parts(isa, &x[first * row..last * row], &mut mean, &mut squares);
        (T::from_f64((last - first) as f64), mean, squares)
    });
    for (c, moments) in moments.iter_mut().enumerate() {
        let mut all = Part::EMPTY;
        for (count, mean, squares) in &parts {
            for col in c * s..(c + 1) * s {
                all = all.join(Part {
                    count: *count,
                    mean: mean[col],
                    squares: squares[col],
                });
            }
        }
        *moments = all.moments();
    }
}

/// `y = (x − μ) · r · weight + bias` with given moments a channel: batch norm's output in training and in evaluation.
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn channels_forward<T: Real>(
    x: &[T],
    dims: Dims,
    affine: Affine<'_, T>,
    eps: T,
    moments: &[Moments<T>],
    y: &mut [T],
) {
    assert_eq!(x.len(), dims.elements(), "batch norm: input");
    assert_eq!(x.len(), y.len(), "batch norm: input and output");
    assert_eq!(
        moments.len(),
        dims.channels,
        "batch norm: moments a channel"
    );
    affine.check(dims.channels);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let scale = |c: usize| affine.weight_at(c) * moments[c].rstd(eps);
    if dims.space >= SCATTERED_BELOW {
        each_slice(dims, y, |c, at, y| {
            affine_slice(
                isa,
                &x[at..at + y.len()],
                moments[c].mean,
                scale(c),
                affine.bias_at(c),
                y,
            );
        });
    } else {
        let mean = spread(dims, |c| moments[c].mean);
        let (scale, shift) = (spread(dims, scale), spread(dims, |c| affine.bias_at(c)));
        each_sample(dims, y, |at, y| {
            affine_row(isa, &x[at..at + y.len()], &mean, &scale, &shift, y);
        });
    }
}

/// The gradients of batch norm in training, whose moments came from `x`.
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn batch_backward<T: Real>(
    x: &[T],
    dims: Dims,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    d_y: &[T],
    gradients: Gradients<'_, T>,
) {
    backward(x, dims, weight, eps, moments, false, d_y, gradients);
}

/// The gradients of [`channels_forward`] with moments that are constants (evaluation).
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn channels_backward<T: Real>(
    x: &[T],
    dims: Dims,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    d_y: &[T],
    gradients: Gradients<'_, T>,
) {
    backward(x, dims, weight, eps, moments, true, d_y, gradients);
}

/// Σ d_y and Σ d_y (x − μ) of each channel.
fn channel_sums<T: Real>(x: &[T], dims: Dims, moments: &[Moments<T>], d_y: &[T]) -> Vec<(T, T)> {
    let isa = isa::current();
    let s = dims.space;
    let row = dims.channels * s;
    let mut sums = vec![(T::ZERO, T::ZERO); dims.channels];
    if s >= SCATTERED_BELOW {
        parallel::chunks_mut(&mut sums, rows_per_task(dims.samples * s), |first, sums| {
            for (i, sums) in sums.iter_mut().enumerate() {
                let c = first + i;
                for at in (c * s..x.len()).step_by(row) {
                    let (a, b) = slice_sums(isa, &x[at..at + s], moments[c].mean, &d_y[at..at + s]);
                    *sums = (sums.0 + a, sums.1 + b);
                }
            }
        });
        return sums;
    }
    let mean = spread(dims, |c| moments[c].mean);
    let parts = parallel::map(dims.samples.div_ceil(SCATTERED_SAMPLES), |i| {
        let first = i * SCATTERED_SAMPLES;
        let last = (first + SCATTERED_SAMPLES).min(dims.samples);
        let span = first * row..last * row;
        let (mut a, mut b) = (vec![T::ZERO; row], vec![T::ZERO; row]);
        column_sums(isa, &x[span.clone()], &mean, &d_y[span], &mut a, &mut b);
        (a, b)
    });
    for (a, b) in &parts {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let sums = &mut sums[i / s];
            *sums = (sums.0 + *a, sums.1 + *b);
        }
    }
    sums
}

fn backward<T: Real>(
    x: &[T],
    dims: Dims,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    constant: bool,
    d_y: &[T],
    mut gradients: Gradients<'_, T>,
) {
    assert_eq!(x.len(), dims.elements(), "batch norm: input");
    assert_eq!(
        x.len(),
        d_y.len(),
        "batch norm: input and upstream gradient"
    );
    assert_eq!(
        moments.len(),
        dims.channels,
        "batch norm: moments a channel"
    );
    gradients.check(x.len(), dims.channels);
    let affine = Affine { weight, bias: None };
    affine.check(dims.channels);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    // 1. The sums of each channel.
    let wants_sums = !constant || gradients.d_weight.is_some() || gradients.d_bias.is_some();
    let sums = if wants_sums {
        channel_sums(x, dims, moments, d_y)
    } else {
        vec![(T::ZERO, T::ZERO); dims.channels]
    };
    // 2. The gradient of the input: d_y · scale + (x − μ) · slope + shift.
    let per_element = T::from_f64(if constant {
        0.0
    } else {
        1.0 / (dims.samples * dims.space) as f64
    });
    let scale = |c: usize| affine.weight_at(c) * moments[c].rstd(eps);
    let slope = |c: usize| {
        let r = moments[c].rstd(eps);
        -(scale(c) * r * r * sums[c].1 * per_element)
    };
    let shift = |c: usize| -(scale(c) * sums[c].0 * per_element);
    if let Some(d_x) = gradients.d_x.take() {
        if dims.space >= SCATTERED_BELOW {
            each_slice(dims, d_x, |c, at, d_x| {
                let part = at..at + d_x.len();
                let (x, d_y, mean) = (&x[part.clone()], &d_y[part], moments[c].mean);
                d_slice(isa, x, d_y, mean, scale(c), slope(c), shift(c), d_x);
            });
        } else {
            let mean = spread(dims, |c| moments[c].mean);
            let k = [
                spread(dims, scale),
                spread(dims, slope),
                spread(dims, shift),
            ];
            each_sample(dims, d_x, |at, d_x| {
                let part = at..at + d_x.len();
                let k = [&k[0][..], &k[1][..], &k[2][..]];
                d_row(isa, &x[part.clone()], &d_y[part], &mean, k, d_x);
            });
        }
    }
    // 3. The gradients of scale and shift.
    let d_bias: Vec<T> = sums.iter().map(|s| s.0).collect();
    let d_weight: Vec<T> = sums
        .iter()
        .zip(moments)
        .map(|(s, m)| s.1 * m.rstd(eps))
        .collect();
    gradients.add(isa, &d_bias, &d_weight);
}
