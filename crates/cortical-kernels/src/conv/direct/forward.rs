//! The forward pass over images, groups and channels.

use super::gather::Source;
use super::plan::{self, Runs};
use super::{TASK_PRODUCTS, TASKS, lanes, most_channels, ranges, single, single_mut, tile};
use crate::activation::{self, Activation};
use crate::conv::{Geometry, Sink};
use crate::isa::InstructionSet;
use crate::real::Real;
use crate::{parallel, pool, scratch};
use std::ops::Range;

/// `y = activation(w ∗ x + b)`, perhaps pooled. A task is several groups where each is little work, and some channels
/// of one where there are few images; both depend on the shape alone.
pub(in crate::conv) fn forward<T: Real>(
    isa: InstructionSet,
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    sink: &Sink<'_, T>,
) {
    let (x, weight, bias) = (single(x), single(weight), bias.map(single));
    let (source, offsets) = plan::forward(g);
    let runs = plan::runs(&source, g.output(), lanes(isa));
    let (k, per_out) = (g.fan_in(), g.out_per_group());
    let products = k * g.out_pixels();
    let groups = (TASK_PRODUCTS / (products.saturating_mul(per_out)).max(1)).clamp(1, g.groups());
    let bunches = g.groups().div_ceil(groups);
    let tasks = TASKS.div_ceil((g.batch() * bunches).max(1));
    let parts: Vec<Range<usize>> = ranges(per_out, tasks, products).collect();
    scratch::with(g.weight_len(), |packed| {
        let each = (weight.chunks(per_out * k)).zip(packed.chunks_mut(per_out * k));
        for (w, packed) in each {
            tile::pack(per_out, most_channels(isa), w, k, 0..k, packed);
        }
        let pass = Forward {
            isa,
            g,
            reach: tile::reach(&offsets, &runs),
            source,
            offsets,
            runs,
            packed,
            bias,
            activation,
        };
        pass.with_inputs(x, parts.len() > 1, |inputs| {
            parallel::for_each(g.batch() * bunches * parts.len(), |task| {
                let (task, part) = (task / parts.len(), task % parts.len());
                let (n, bunch) = (task / bunches, task % bunches);
                scratch::with(pass.source.room(g.in_per_group()), |room| {
                    for group in bunch * groups..((bunch + 1) * groups).min(g.groups()) {
                        let planes = match inputs {
                            Inputs::Raw(x) => pass.planes(x, n * g.groups() + group, room),
                            Inputs::Ready(all) => &all[(n * g.groups() + group) * room.len()..],
                        };
                        pass.run(n, group, &parts[part], planes, sink);
                    }
                });
            });
        });
    });
}

/// The input as the tasks find it.
#[derive(Clone, Copy)]
enum Inputs<'a> {
    /// As it came.
    Raw(&'a [f32]),
    /// Laid out, as several tasks read each image.
    Ready(&'a [f32]),
}

/// What the tasks share.
struct Forward<'a> {
    isa: InstructionSet,
    g: &'a Geometry,
    source: Source,
    offsets: Vec<u32>,
    runs: Runs,
    /// How far a source is read.
    reach: usize,
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Activation,
}

impl Forward<'_> {
    /// The source planes of an image and group.
    fn planes<'a>(&self, x: &'a [f32], at: usize, room: &'a mut [f32]) -> &'a [f32] {
        let in_len = self.g.in_per_group() * self.g.in_pixels();
        self.source
            .planes(self.isa, &x[at * in_len..], self.reach, room)
    }

    /// Calls `f` with the input, laid out beforehand if it is `shared` by several tasks.
    fn with_inputs(&self, x: &[f32], shared: bool, f: impl FnOnce(Inputs<'_>)) {
        if !shared {
            return f(Inputs::Raw(x));
        }
        let images = self.g.batch() * self.g.groups();
        let len = self.source.room(self.g.in_per_group());
        let in_len = self.g.in_per_group() * self.g.in_pixels();
        scratch::with(images * len, |all| {
            parallel::chunks_mut(all, len, |at, room| {
                self.source.gather(self.isa, &x[at / len * in_len..], room);
            });
            f(Inputs::Ready(all));
        });
    }

    /// Computes some channels of one image and group.
    fn run<T: Real>(
        &self,
        n: usize,
        group: usize,
        channels: &Range<usize>,
        planes: &[f32],
        sink: &Sink<'_, T>,
    ) {
        let pixels = self.g.out_pixels();
        let first = group * self.g.out_per_group() + channels.start;
        let plane = n * self.g.out_channels() + first;
        let count = channels.len();
        match sink {
            Sink::Whole(y) => {
                // SAFETY: each task writes the planes of its own image, groups and channels.
                let y = unsafe { y.part(plane * pixels..(plane + count) * pixels) };
                self.correlate(first, count, planes, single_mut(y));
            }
            Sink::Pooled { pool, pooled, taps } => {
                let own = plane * pool.out_pixels()..(plane + count) * pool.out_pixels();
                // SAFETY: as above.
                let (pooled, taps) = unsafe { (pooled.part(own.clone()), taps.part(own)) };
                self.correlate_pooled(first, planes, pool, single_mut(pooled), taps);
            }
        }
    }

    /// As [`Self::correlate`] through a pool: a block of channels at a time, so that what the pool reads is still in
    /// the cache.
    fn correlate_pooled(
        &self,
        first: usize,
        planes: &[f32],
        pool: &pool::Geometry,
        pooled: &mut [f32],
        taps: &mut [u8],
    ) {
        let (size, pixels, len) = (
            most_channels(self.isa),
            self.g.out_pixels(),
            pool.out_pixels(),
        );
        let channels = pooled.len() / len.max(1);
        scratch::with(size * pixels, |y| {
            let mut c = 0;
            while c < channels {
                let count = tile::block(channels - c, size);
                let y = &mut y[..count * pixels];
                self.correlate(first + c, count, planes, y);
                let own = c * len..(c + count) * len;
                let (pooled, taps) = (&mut pooled[own.clone()], &mut taps[own]);
                pool::max_forward_planes(self.isa, pool, y, pooled, taps);
                c += count;
            }
        });
    }

    /// Computes `count` channels from `first` on, which begins a block.
    fn correlate(&self, first: usize, count: usize, planes: &[f32], y: &mut [f32]) {
        let k = self.offsets.len();
        let mut job = tile::Job {
            x: planes,
            offsets: &self.offsets,
            runs: &self.runs,
            weights: &self.packed[first * k..(first + count) * k],
            channels: count,
            bias: self.bias.map(|bias| &bias[first..first + count]),
            relu: self.activation == Activation::Relu,
            y,
            pitch: self.g.out_pixels(),
        };
        job.check();
        // SAFETY: the job was checked, and `plan::runs` makes ascending runs.
        unsafe { tile::correlate(self.isa, &mut job) };
        if self.activation != Activation::Relu {
            activation::forward_in_place(self.isa, self.activation, job.y);
        }
    }
}
