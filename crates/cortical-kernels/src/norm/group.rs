//! Group norm over `[samples, channels, space]`: the channels of a group share a mean and variance in each sample.
//! One channel a group is instance norm, one group alone is layer norm over channels and space.

use super::{Affine, Dims, Gradients, Moments};
use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums::sum_map;

multiversion! {
    fn group_moments<T: Real>(x: &[T]) -> Moments<T> {
        let count = T::from_f64(x.len() as f64);
        let mean = sum_map(x, |x| x) / count;
        Moments { mean, var: sum_map(x, |x| (x - mean) * (x - mean)) / count }
    }
}

multiversion! {
    fn forward_slice<T: Real>(x: &[T], mean: T, scale: T, shift: T, y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (*x - mean).mul_add::<I>(scale, shift);
        }
    }
}

multiversion! {
    /// Σ d_y and Σ d_y x̂ of one channel of one sample.
    fn slice_sums<T: Real>(x: &[T], mean: T, r: T, d_y: &[T]) -> (T, T) {
        const LANES: usize = 16;
        let (mut a, mut b) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (ds, d_rest) = d_y.as_chunks::<LANES>();
        for (x, d) in xs.iter().zip(ds) {
            for i in 0..LANES {
                a[i] += d[i];
                b[i] = d[i].mul_add::<I>((x[i] - mean) * r, b[i]);
            }
        }
        for i in 0..x_rest.len() {
            a[i] += d_rest[i];
            b[i] = d_rest[i].mul_add::<I>((x_rest[i] - mean) * r, b[i]);
        }
        (sum_map(&a, |v| v), sum_map(&b, |v| v))
    }
}

multiversion! {
    fn backward_slice<T: Real>(x: &[T], d_y: &[T], mean: T, scale: T, slope: T, shift: T, d_x: &mut [T]) {
        for ((d_x, x), d) in d_x.iter_mut().zip(x).zip(d_y) {
            *d_x = d.mul_add::<I>(scale, slope.mul_add::<I>(*x - mean, shift));
        }
    }
}

fn check(elements: usize, dims: Dims, groups: usize, moments: usize) {
    assert_eq!(elements, dims.elements(), "group norm: input");
    assert!(groups > 0, "group norm: at least one group");
    assert_eq!(
        dims.channels % groups,
        0,
        "group norm: whole channels in a group"
    );
    assert_eq!(
        moments,
        dims.samples * groups,
        "group norm: moments a sample and group"
    );
}

/// Group norm; fills in the moments of each group of each sample.
///
/// # Panics
/// If the lengths do not fit or `groups` does not divide the channels.
pub fn group_forward<T: Real>(
    x: &[T],
    dims: Dims,
    groups: usize,
    affine: Affine<'_, T>,
    eps: T,
    y: &mut [T],
    moments: &mut [Moments<T>],
) {
    check(x.len(), dims, groups, moments.len());
    assert_eq!(x.len(), y.len(), "group norm: input and output");
    affine.check(dims.channels);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let (s, in_group) = (dims.space, dims.channels / groups);
    let size = in_group * s;
    let sets = rows_per_task(size);
    parallel::chunks2_mut(y, sets * size, moments, sets, |task, y, moments| {
        for (i, (y, moments)) in y.chunks_exact_mut(size).zip(moments).enumerate() {
            let set = task * sets + i;
            let x = &x[set * size..(set + 1) * size];
            let m = group_moments(isa, x);
            *moments = m;
            for (j, (x, y)) in x.chunks_exact(s).zip(y.chunks_exact_mut(s)).enumerate() {
                let c = set % groups * in_group + j;
                let scale = affine.weight_at(c) * m.rstd(eps);
                forward_slice(isa, x, m.mean, scale, affine.bias_at(c), y);
            }
        }
    });
}

/// The gradients of [`group_forward`].
///
/// # Panics
/// If the lengths do not fit or `groups` does not divide the channels.
pub fn group_backward<T: Real>(
    x: &[T],
    dims: Dims,
    groups: usize,
    weight: Option<&[T]>,
    eps: T,
    moments: &[Moments<T>],
    d_y: &[T],
    mut gradients: Gradients<'_, T>,
) {
    check(x.len(), dims, groups, moments.len());
    assert_eq!(
        x.len(),
        d_y.len(),
        "group norm: input and upstream gradient"
    );
    gradients.check(x.len(), dims.channels);
    let affine = Affine { weight, bias: None };
    affine.check(dims.channels);
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let (s, in_group) = (dims.space, dims.channels / groups);
    let size = in_group * s;
    // 1. The two sums of every channel of every sample.
    let mut sums = vec![(T::ZERO, T::ZERO); dims.samples * dims.channels];
    parallel::chunks_mut(&mut sums, rows_per_task(s), |first, sums| {
        for (i, sums) in sums.iter_mut().enumerate() {
            let slice = first + i;
            let m = moments[slice / in_group];
            let part = slice * s..(slice + 1) * s;
            *sums = slice_sums(isa, &x[part.clone()], m.mean, m.rstd(eps), &d_y[part]);
        }
    });
    // 2. The gradient of the input, a group at a time.
    if let Some(d_x) = gradients.d_x.take() {
        let per_element = T::from_f64(1.0 / size as f64);
        parallel::chunks_mut(d_x, rows_per_task(size) * size, |at, d_x| {
            for (i, d_x) in d_x.chunks_exact_mut(size).enumerate() {
                let set = at / size + i;
                let (m, r) = (moments[set], moments[set].rstd(eps));
                let (mut mean_g, mut mean_gx) = (T::ZERO, T::ZERO);
                for j in 0..in_group {
                    let w = affine.weight_at(set % groups * in_group + j) * per_element;
                    mean_g += w * sums[set * in_group + j].0;
                    mean_gx += w * sums[set * in_group + j].1;
                }
                let (slope, shift) = (-(mean_gx * r * r), -(mean_g * r));
                for (j, d_x) in d_x.chunks_exact_mut(s).enumerate() {
                    let scale = affine.weight_at(set % groups * in_group + j) * r;
                    let first = set * size + j * s;
                    let part = first..first + s;
                    backward_slice(
                        isa,
                        &x[part.clone()],
                        &d_y[part],
                        m.mean,
                        scale,
                        slope,
                        shift,
                        d_x,
                    );
                }
            }
        });
    }
    // 3. The gradients of scale and shift, sample after sample.
    for sample in sums.chunks_exact(dims.channels) {
        for (out, pick) in [
            (&mut gradients.d_bias, (|s| s.0) as fn(&(T, T)) -> T),
            (&mut gradients.d_weight, |s| s.1),
        ] {
            if let Some(out) = out {
                for (out, sums) in out.iter_mut().zip(sample) {
                    *out += pick(sums);
                }
            }
        }
    }
}
