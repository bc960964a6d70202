//! Layer norm and RMS norm over the rows of a matrix.

use super::{Affine, Gradients, Moments};
use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::prefetch;
use crate::real::Real;
use crate::slice_sums::sum_map;
use crate::stream;

/// A block of rows sums its own part of the gradients of weight and bias; there are at most this many blocks, so that
/// the parts stay small beside the data.
const MAX_BLOCKS: usize = 64;

const LANES: usize = 16;

/// How many rows one task of the backward pass takes: a function of the problem alone.
fn rows_per_block(rows: usize, cols: usize) -> usize {
    rows_per_task(cols).max(rows.div_ceil(MAX_BLOCKS))
}

multiversion! {
    fn forward_rows<T: Real>(
        x: &[T], affine: Affine<'_, T>, eps: T, centred: bool, moments: &mut [Moments<T>], y: &mut [T], buffer: &mut [T],
    ) {
        let cols = x.len() / moments.len();
        let count = T::from_f64(cols as f64);
        let rows = x.chunks_exact(cols).zip(y.chunks_exact_mut(cols));
        for ((x, result), moments) in rows.zip(moments) {
            let y = if buffer.is_empty() { &mut *result } else { &mut *buffer };
            // 1. The moments: a second pass over a row in the first cache is cheaper than lost digits.
            prefetch::row_ahead(x);
            let mean = if centred { sum_map(x, |x| x) / count } else { T::ZERO };
            let var = sum_map(x, |x| (x - mean) * (x - mean)) / count;
            *moments = Moments { mean, var };
            let r = moments.rstd(eps);
            // 2. The row, normalised.
            match (affine.weight, affine.bias) {
                (Some(w), Some(b)) => {
                    for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(b) {
                        *y = ((*x - mean) * r).mul_add::<I>(*w, *b);
                    }
                }
                (Some(w), None) => {
                    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                        *y = (*x - mean) * r * *w;
                    }
                }
                (None, Some(b)) => {
                    for ((y, x), b) in y.iter_mut().zip(x).zip(b) {
                        *y = (*x - mean).mul_add::<I>(r, *b);
                    }
                }
                (None, None) => {
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = (*x - mean) * r;
                    }
                }
            }
            stream::finish_row(buffer, result);
        }
    }
}

multiversion! {
    /// One row's Σ g and Σ g x̂ with g = d_y · w; adds d_y to `d_bias` and d_y · x̂ to `d_weight`.
    fn backward_sums<T: Real>(
        x: &[T], m: Moments<T>, r: T, w: &[T], d_y: &[T], d_bias: &mut [T], d_weight: &mut [T],
    ) -> (T, T) {
        let (mut sum_g, mut sum_gx) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (ws, w_rest) = w.as_chunks::<LANES>();
        let (ds, d_rest) = d_y.as_chunks::<LANES>();
        let (bs, b_rest) = d_bias.as_chunks_mut::<LANES>();
        let (gs, g_rest) = d_weight.as_chunks_mut::<LANES>();
        for ((((x, w), d), b), g) in xs.iter().zip(ws).zip(ds).zip(bs).zip(gs) {
            prefetch::ahead(x);
            prefetch::ahead(d);
            for i in 0..LANES {
                let normal = (x[i] - m.mean) * r;
                let weighted = d[i] * w[i];
                sum_g[i] += weighted;
                sum_gx[i] = weighted.mul_add::<I>(normal, sum_gx[i]);
                b[i] += d[i];
                g[i] = d[i].mul_add::<I>(normal, g[i]);
            }
        }
        for i in 0..x_rest.len() {
            let normal = (x_rest[i] - m.mean) * r;
            let weighted = d_rest[i] * w_rest[i];
            sum_g[i] += weighted;
            sum_gx[i] = weighted.mul_add::<I>(normal, sum_gx[i]);
            b_rest[i] += d_rest[i];
            g_rest[i] = d_rest[i].mul_add::<I>(normal, g_rest[i]);
        }
        (sum_map(&sum_g, |s| s), sum_map(&sum_gx, |s| s))
    }
}

multiversion! {
    fn backward_row<T: Real>(
        x: &[T], m: Moments<T>, r: T, w: &[T], d_y: &[T], mean_g: T, mean_gx: T, result: &mut [T], buffer: &mut [T],
    ) {
        let d_x = if buffer.is_empty() { &mut *result } else { &mut *buffer };
        // r (g − mean_g − x̂ mean_gx) with the constants of the row drawn together.
        let (slope, shift) = (-(mean_gx * r * r), -(mean_g * r));
        for (((d_x, x), w), d) in d_x.iter_mut().zip(x).zip(w).zip(d_y) {
            *d_x = (*d * *w).mul_add::<I>(r, slope.mul_add::<I>(*x - m.mean, shift));
        }
        stream::finish_row(buffer, result);
    }
}

/// One block of rows of the backward pass.
struct Block<'a, T> {
    d_x: Option<&'a mut [T]>,
    /// d_bias, then d_weight.
    sums: &'a mut [T],
}

fn forward<T: Real>(
    x: &[T],
    cols: usize,
    affine: Affine<'_, T>,
    eps: T,
    centred: bool,
    y: &mut [T],
    moments: &mut [Moments<T>],
) {
    assert_eq!(x.len(), y.len(), "norm: input and output");
    assert_eq!(x.len(), moments.len() * cols, "norm: moments a row");
    affine.check(cols);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let (rows, elements) = (rows_per_task(cols), y.len());
    parallel::chunks2_mut(y, rows * cols, moments, rows, |i, y, moments| {
        let at = i * rows * cols;
        stream::with_row(stream::pays::<T>(elements), cols, |buffer| {
            let x = &x[at..at + y.len()];
            forward_rows(isa, x, affine, eps, centred, moments, y, buffer);
        });
    });
}

fn backward<T: Real>(
    x: &[T],
    cols: usize,
    weight: Option<&[T]>,
    eps: T,
    centred: bool,
    moments: &[Moments<T>],
    d_y: &[T],
    mut gradients: Gradients<'_, T>,
) {
    assert_eq!(x.len(), d_y.len(), "norm: input and upstream gradient");
    assert_eq!(x.len(), moments.len() * cols, "norm: moments a row");
    gradients.check(x.len(), cols);
    Affine { weight, bias: None }.check(cols);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let ones;
    let weight = match weight {
        Some(weight) => weight,
        None => {
            ones = vec![T::ONE; cols];
            &ones
        }
    };
    let rows = rows_per_block(moments.len(), cols);
    let blocks = moments.len().div_ceil(rows);
    let mut sums = vec![T::ZERO; blocks * 2 * cols];
    let mut parts: Vec<Block<'_, T>> = sums
        .chunks_exact_mut(2 * cols)
        .map(|sums| Block { d_x: None, sums })
        .collect();
    if let Some(d_x) = gradients.d_x.take() {
        for (part, d_x) in parts.iter_mut().zip(d_x.chunks_mut(rows * cols)) {
            part.d_x = Some(d_x);
        }
    }
    let scale = T::from_f64(1.0 / cols as f64);
    let past = stream::pays::<T>(x.len());
    parallel::chunks_mut(&mut parts, 1, |block, part| {
        let Block { d_x, sums } = &mut part[0];
        let (d_bias, d_weight) = sums.split_at_mut(cols);
        let first = block * rows;
        stream::with_row(past, cols, |buffer| {
            for row in first..(first + rows).min(moments.len()) {
                let span = row * cols..(row + 1) * cols;
                let (x, d_y, m) = (&x[span.clone()], &d_y[span], moments[row]);
                let r = m.rstd(eps);
                let (sum_g, sum_gx) = backward_sums(isa, x, m, r, weight, d_y, d_bias, d_weight);
                if let Some(d_x) = d_x {
                    let at = (row - first) * cols;
                    let mean_g = if centred { sum_g * scale } else { T::ZERO };
                    let d_x = &mut d_x[at..at + cols];
                    backward_row(
                        isa,
                        x,
                        m,
                        r,
                        weight,
                        d_y,
                        mean_g,
                        sum_gx * scale,
                        d_x,
                        buffer,
                    );
                }
            }
        });
    });
    for sums in sums.chunks_exact(2 * cols) {
        gradients.add(isa, &sums[..cols], &sums[cols..]);
    }
}

/// Layer norm of each row of `cols` elements; fills in the row's moments.
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_forward<T: Real>(
    x: &[T],
    cols: usize,
    affine: Affine<'_, T>,
    eps: T,
    y: &mut [T],
    moments: &mut [Moments<T>],
) {
    forward(x, cols, affine, eps, true, y, moments);
}

/// The gradients of [`layer_forward`].
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_backward<T: Real>(
    x: &[T],
    cols: usize,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    d_y: &[T],
    gradients: Gradients<'_, T>,
) {
    backward(x, cols, weight, eps, true, moments, d_y, gradients);
}

/// RMS norm of each row of `cols` elements: `y = x / √(mean(x²) + eps) · weight`; fills in the row's moments, whose
/// mean is 0 and whose variance is the mean square.
///
/// # Panics
/// If the lengths do not fit.
pub fn rms_forward<T: Real>(
    x: &[T],
    cols: usize,
    weight: Option<&[T]>,
    eps: T,
    y: &mut [T],
    moments: &mut [Moments<T>],
) {
    forward(
        x,
        cols,
        Affine { weight, bias: None },
        eps,
        false,
        y,
        moments,
    );
}

/// The gradients of [`rms_forward`].
///
/// # Panics
/// If the lengths do not fit.
pub fn rms_backward<T: Real>(
    x: &[T],
    cols: usize,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    d_y: &[T],
    gradients: Gradients<'_, T>,
) {
    backward(x, cols, weight, eps, false, moments, d_y, gradients);
}
