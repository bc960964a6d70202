//! The backward pass over a batch: images in parts of fixed size, each with its own partial sums.
//!
//! How many images a part has depends on the shape alone, and partial sums are added up in the order of the parts: the
//! bits do not depend on the number of threads.

use super::upstream::Arrived;
use super::{Geometry, Gradients, Upstream};
use crate::disjoint::Disjoint;
use crate::matmul::Write;
use crate::parallel;
use crate::real::Real;
use crate::{isa, scratch, slice_sums};

/// How some images of one group are differentiated; what the ways of convolving differ in.
pub(super) trait ImageBackward<T>: Sync {
    /// Whether it wants the gradients of a pool's windows instead of those of the weighted sums.
    const WINDOWS: bool = false;

    /// Elements of the weight gradient's partial sums.
    fn partial_len(&self) -> usize;

    /// Writes the input gradient of `count` neighbouring images of one group and adds to the group's share of the
    /// partial sums of the weight gradient. There is more than one image only if there is one group. `alone` says that
    /// there are few tasks, so that each had better use several threads.
    fn images(
        &self,
        group: usize,
        count: usize,
        alone: bool,
        x: &[T],
        arrived: Arrived<'_, T>,
        d_x: Option<&mut [T]>,
        d_weight: Option<&mut [T]>,
    );

    /// Turns the sum over all images into the weight's layout.
    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]);
}

/// How many images are differentiated together at most: those of few pixels, so that sums stay in registers for longer,
/// as long as their gradients fit the cache.
pub(super) fn most_together(g: &Geometry) -> usize {
    const PIXELS: usize = 1024;
    const GRADIENTS: usize = 1 << 16;
    if g.groups() > 1 {
        return 1;
    }
    let pixels = g.out_pixels().max(1);
    let fits = GRADIENTS / pixels.saturating_mul(g.out_channels().max(1));
    (PIXELS / pixels).min(fits).clamp(1, g.batch().max(1))
}

/// How a batch is cut.
struct Cut {
    /// Images of a part, which has its own partial sums.
    per_part: usize,
    parts: usize,
    /// Groups of a task, which is a part or less.
    groups: usize,
    /// Images that are differentiated together.
    bunch: usize,
}

impl Cut {
    fn new(g: &Geometry, partial_len: usize) -> Self {
        /// Enough parts for many threads, few enough for their partial sums to stay small.
        const PARTS: usize = 16;
        const PARTIAL_ELEMENTS: usize = 1 << 20;
        let affordable = (PARTIAL_ELEMENTS / partial_len.max(1)).clamp(2, PARTS);
        let per_part = g.batch().div_ceil(affordable).max(1);
        let parts = g.batch().div_ceil(per_part);
        Self {
            per_part,
            parts,
            groups: g.groups().div_ceil((PARTS / parts.max(1)).max(1)),
            bunch: most_together(g).min(per_part),
        }
    }

    /// How many tasks a part is.
    fn tasks_per_part(&self, g: &Geometry) -> usize {
        g.groups().div_ceil(self.groups)
    }
}

/// Runs `method` over every image and group.
pub(super) fn backward<T: Real, M: ImageBackward<T>>(
    g: &Geometry,
    method: &M,
    x: &[T],
    upstream: &Upstream<'_, T>,
    gradients: Gradients<'_, T>,
) {
    /// Fewer tasks than this leave threads without work.
    const FEW: usize = 8;
    let isa = isa::current();
    let Gradients {
        input,
        weight,
        bias,
    } = gradients;
    let in_len = g.in_per_group() * g.in_pixels();
    let out_len = g.out_per_group() * g.out_pixels();
    let weight_len = weight.as_ref().map_or(0, |_| method.partial_len());
    let bias_len = bias.as_ref().map_or(0, |_| g.out_channels());
    let partial_len = weight_len + bias_len;
    let (group_len, group_bias) = (weight_len / g.groups(), bias_len / g.groups());
    let cut = Cut::new(g, partial_len);
    let (parts, per_part) = (cut.parts, cut.tasks_per_part(g));
    let tasks = parts * per_part;
    let wants_input = input.is_some();
    let d_x = Disjoint::new(input.unwrap_or_default());
    scratch::with((parts * partial_len).max(partial_len), |partials| {
        // An empty batch still has a sum, zero.
        partials[..partial_len].fill(T::ZERO);
        let shared = Disjoint::new(&mut *partials);
        parallel::for_each(tasks, |task| {
            let (part, bunch) = (task / per_part, task % per_part);
            let images = part * cut.per_part..((part + 1) * cut.per_part).min(g.batch());
            for group in bunch * cut.groups..((bunch + 1) * cut.groups).min(g.groups()) {
                let from = part * partial_len;
                let weight = from + group * group_len..from + (group + 1) * group_len;
                let from = from + weight_len;
                let bias = from + group * group_bias..from + (group + 1) * group_bias;
                // SAFETY: each group of each part has its own partial sums, in one task.
                let (d_weight, d_bias) = unsafe { (shared.part(weight), shared.part(bias)) };
                d_weight.fill(T::ZERO);
                d_bias.fill(T::ZERO);
                for n in images.clone().step_by(cut.bunch) {
                    let count = cut.bunch.min(images.end - n);
                    let at = n * g.groups() + group;
                    let own = at * in_len..(at + count) * in_len;
                    let out = at * out_len..(at + count) * out_len;
                    scratch::with(upstream.scratch_len(out.len()), |room| {
                        let arrived = upstream.arrive(isa, M::WINDOWS, out, room);
                        if group_bias > 0 {
                            for d in arrived.d.chunks_exact((arrived.d.len() / count).max(1)) {
                                slice_sums::add_row_sums(isa, d, d_bias);
                            }
                        }
                        // SAFETY: each image and group has its own inputs, in one task.
                        let d_x = wants_input.then(|| unsafe { d_x.part(own.clone()) });
                        let d_weight = (weight_len > 0).then_some(&mut *d_weight);
                        // A transposed convolution has no input here, as nobody asks for the weight gradient.
                        let x = x.get(own).unwrap_or_default();
                        method.images(group, count, tasks < FEW, x, arrived, d_x, d_weight);
                    });
                }
            }
        });
        let (sum, rest) = partials.split_at_mut(partial_len);
        add_parts(isa, sum, rest, parts);
        if let Some((d_weight, write)) = weight {
            method.finish(&sum[..weight_len], write, d_weight);
        }
        if let Some((d_bias, write)) = bias {
            store(&sum[weight_len..], write, d_bias);
        }
    });
}

/// Adds the partial sums of all parts but the first, which are in `rest`, to those of the first.
fn add_parts<T: Real>(isa: isa::InstructionSet, sum: &mut [T], rest: &[T], parts: usize) {
    let len = sum.len();
    if len == 0 {
        return;
    }
    parallel::chunks_mut(sum, parallel::TASK_ELEMENTS, |at, sum| {
        for partial in rest.chunks_exact(len).take(parts.max(1) - 1) {
            slice_sums::add_assign(isa, sum, &partial[at..at + sum.len()]);
        }
    });
}

/// `out = sum` or `out += sum`.
pub(super) fn store<T: Real>(sum: &[T], write: Write, out: &mut [T]) {
    match write {
        Write::Replace => out.copy_from_slice(sum),
        Write::Add => slice_sums::add_assign(isa::current(), out, sum),
    }
}
