//! The backward pass over a batch: images in parts of fixed size, each with its own partial sums.
//!
//! How many images a part has depends on the shape alone, and partial sums are added up in the order of the parts: the
//! bits do not depend on the number of threads.

use super::{Geometry, Gradients, Upstream};
use crate::disjoint::Disjoint;
use crate::matmul::Write;
use crate::parallel;
use crate::real::Real;
use crate::{isa, reduce, scratch};

/// How one image and group is differentiated; what the ways of convolving differ in.
pub(super) trait ImageBackward<T>: Sync {
    /// Elements of the weight gradient's partial sums.
    fn partial_len(&self) -> usize;

    /// Writes the input gradient of one image and group and adds to the partial sums of the weight gradient.
    fn image(
        &self,
        group: usize,
        x: &[T],
        d_z: &[T],
        d_x: Option<&mut [T]>,
        d_weight: Option<&mut [T]>,
    );

    /// Turns the sum over all images into the weight's layout.
    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]);
}

/// How many parts a batch is cut into: enough for many threads, few enough for their partial sums to stay small.
fn parts(batch: usize, partial_len: usize) -> usize {
    const MOST: usize = 16;
    const MOST_ELEMENTS: usize = 8 << 20;
    let affordable = (MOST_ELEMENTS / partial_len.max(1)).clamp(1, MOST);
    batch.min(affordable)
}

/// Runs `method` over every image and group.
pub(super) fn backward<T: Real>(
    g: &Geometry,
    method: &impl ImageBackward<T>,
    x: &[T],
    upstream: &Upstream<'_, T>,
    gradients: Gradients<'_, T>,
) {
    let isa = isa::current();
    let Gradients {
        input,
        weight,
        bias,
    } = gradients;
    let (per_in, per_out, pixels) = (g.in_per_group(), g.out_per_group(), g.out_pixels());
    let weight_len = weight.as_ref().map_or(0, |_| method.partial_len());
    let bias_len = bias.as_ref().map_or(0, |_| g.out_channels());
    let partial_len = weight_len + bias_len;
    let parts = parts(g.batch(), partial_len);
    let per_part = g.batch().div_ceil(parts.max(1)).max(1);
    let parts = g.batch().div_ceil(per_part);
    let wants_input = input.is_some();
    let d_x = Disjoint::new(input.unwrap_or_default());
    scratch::with((parts * partial_len).max(partial_len), |partials| {
        // An empty batch still has a sum, zero.
        partials[..partial_len].fill(T::ZERO);
        let shared = Disjoint::new(&mut *partials);
        parallel::for_each(parts, |part| {
            // SAFETY: each task has its own partial sums.
            let partial = unsafe { shared.part(part * partial_len..(part + 1) * partial_len) };
            partial.fill(T::ZERO);
            let (d_weight, d_bias) = partial.split_at_mut(weight_len);
            let images = part * per_part..((part + 1) * per_part).min(g.batch());
            for at in images.start * g.groups()..images.end * g.groups() {
                let group = at % g.groups();
                let in_len = per_in * g.in_pixels();
                let own = at * in_len..(at + 1) * in_len;
                scratch::with(upstream.scratch_len(per_out * pixels), |room| {
                    let d_z = upstream.sum(isa, at, per_out * pixels, room);
                    if bias_len > 0 {
                        let d_bias = &mut d_bias[group * per_out..(group + 1) * per_out];
                        reduce::add_row_sums(isa, d_z, d_bias);
                    }
                    // SAFETY: each image and group has its own inputs, in one task.
                    let d_x = wants_input.then(|| unsafe { d_x.part(own.clone()) });
                    let d_weight = (weight_len > 0).then_some(&mut *d_weight);
                    // A transposed convolution has no input here, as nobody asks for the weight gradient.
                    let x = x.get(own).unwrap_or_default();
                    method.image(group, x, d_z, d_x, d_weight);
                });
            }
        });
        let (sum, rest) = partials.split_at_mut(partial_len);
        for partial in rest.chunks_exact(partial_len.max(1)).take(parts.max(1) - 1) {
            reduce::add_assign(isa, sum, partial);
        }
        if let Some((d_weight, write)) = weight {
            method.finish(&sum[..weight_len], write, d_weight);
        }
        if let Some((d_bias, write)) = bias {
            store(&sum[weight_len..], write, d_bias);
        }
    });
}

/// `out = sum` or `out += sum`.
pub(super) fn store<T: Real>(sum: &[T], write: Write, out: &mut [T]) {
    match write {
        Write::Replace => out.copy_from_slice(sum),
        Write::Add => reduce::add_assign(isa::current(), out, sum),
    }
}
