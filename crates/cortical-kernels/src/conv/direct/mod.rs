//! Convolution in single precision straight from the padded input, without unrolling windows into a matrix.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | strides and padding turned into offsets |
//! | [`tile`] | the kernel of forward pass and input gradient |
//! | [`weight`] | the kernel of the weight gradient |

mod plan;
mod tile;
mod weight;

use super::driver::ImageBackward;
use super::{Geometry, Sink};
use crate::activation::{self, Activation};
use crate::isa::InstructionSet;
use crate::matmul::Write;
use crate::real::Real;
use crate::{parallel, pool, scratch};
use plan::{Runs, Segment, Source};

/// Whether this way serves a shape.
pub(super) fn serves<T: Real>(isa: InstructionSet, g: &Geometry) -> bool {
    T::as_f32(&[]).is_some()
        && isa > InstructionSet::Portable
        && g.fan_in() > 0
        && g.input_len() > 0
        && g.output_len() > 0
        && plan::fits(g)
}

/// The numbers of a caller who has asked [`serves`].
fn single<T: Real>(x: &[T]) -> &[f32] {
    T::as_f32(x).expect("only single precision comes here")
}

/// As [`single`], to be written.
fn single_mut<T: Real>(x: &mut [T]) -> &mut [f32] {
    T::as_f32_mut(x).expect("only single precision comes here")
}

fn lanes(isa: InstructionSet) -> usize {
    if isa >= InstructionSet::Avx512 { 16 } else { 8 }
}

/// Output channels of a tile.
fn most_channels(isa: InstructionSet) -> usize {
    if isa >= InstructionSet::Avx512 { 8 } else { 4 }
}

/// How many groups, and into how many parts the channels of a group, make one task: several groups where each is little
/// work, several parts where there are few images. Both depend on the shape alone.
fn split(g: &Geometry, channels: usize) -> (usize, usize) {
    const TASK_PRODUCTS: usize = 1 << 19;
    const TASKS: usize = 8;
    let group = (g.fan_in() * g.out_pixels()).saturating_mul(g.out_per_group());
    let groups = (TASK_PRODUCTS / group.max(1)).clamp(1, g.groups());
    let tasks = g.batch() * g.groups().div_ceil(groups);
    // Whole blocks of eight channels, none of them too little work.
    let parts = (TASKS.div_ceil(tasks.max(1)))
        .min(group / TASK_PRODUCTS + 1)
        .min(channels.div_ceil(8));
    (groups, parts.max(1))
}

/// `y = activation(w ∗ x + b)`, perhaps pooled.
pub(super) fn forward<T: Real>(
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
    let (k, per_out, pixels) = (g.fan_in(), g.out_per_group(), g.out_pixels());
    let in_len = g.in_per_group() * g.in_pixels();
    let (groups, parts) = split(g, per_out);
    let part = per_out.div_ceil(parts).next_multiple_of(8).min(per_out);
    let (parts, bunches) = (per_out.div_ceil(part), g.groups().div_ceil(groups));
    scratch::with(g.weight_len(), |packed| {
        for (w, packed) in weight
            .chunks(per_out * k)
            .zip(packed.chunks_mut(per_out * k))
        {
            for first in (0..per_out).step_by(part) {
                let channels = part.min(per_out - first);
                let packed = &mut packed[first * k..(first + channels) * k];
                tile::pack(channels, k, most_channels(isa), packed, |c, t| {
                    w[(first + c) * k + t]
                });
            }
        }
        let packed = &*packed;
        parallel::for_each(g.batch() * bunches * parts, |task| {
            let (n, bunch, p) = (task / parts / bunches, task / parts % bunches, task % parts);
            let channels = p * part..((p + 1) * part).min(per_out);
            scratch::with(source.room(g.in_per_group()), |planes| {
                for group in bunch * groups..((bunch + 1) * groups).min(g.groups()) {
                    let at = n * g.groups() + group;
                    source.gather(&x[at * in_len..(at + 1) * in_len], planes);
                    let (first, last) = (
                        group * per_out + channels.start,
                        group * per_out + channels.end,
                    );
                    let job = Channels {
                        isa,
                        x: planes,
                        offsets: &offsets,
                        runs: &runs,
                        weights: &packed[first * k..last * k],
                        bias: bias.map(|bias| &bias[first..last]),
                        activation,
                        pixels,
                    };
                    job.run(n * g.out_channels() + first, last - first, sink);
                }
            });
        });
    });
}

/// Some output channels of one image and group.
struct Channels<'a> {
    isa: InstructionSet,
    x: &'a [f32],
    offsets: &'a [u32],
    runs: &'a Runs,
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Activation,
    pixels: usize,
}

impl Channels<'_> {
    /// Computes `channels` planes of the output, the first of which is `plane`.
    fn run<T: Real>(&self, plane: usize, channels: usize, sink: &Sink<'_, T>) {
        match sink {
            Sink::Whole(y) => {
                // SAFETY: each task writes the planes of its own image, group and channels.
                let y = unsafe { y.part(plane * self.pixels..(plane + channels) * self.pixels) };
                self.correlate(0, channels, single_mut(y));
            }
            Sink::Pooled { pool, pooled, taps } => {
                // A block of channels at a time, so that what the pool reads is still in the cache.
                let (size, len) = (most_channels(self.isa), pool.out_pixels());
                scratch::with(size * self.pixels, |y| {
                    let mut first = 0;
                    while first < channels {
                        let count = tile::block(channels - first, size);
                        let y = &mut y[..count * self.pixels];
                        self.correlate(first, count, y);
                        let own = (plane + first) * len..(plane + first + count) * len;
                        // SAFETY: as above.
                        let (pooled, taps) = unsafe { (pooled.part(own.clone()), taps.part(own)) };
                        pool::max_forward_planes(self.isa, pool, y, single_mut(pooled), taps);
                        first += count;
                    }
                });
            }
        }
    }

    /// Computes the channels from `first` on, which begins a block.
    fn correlate(&self, first: usize, channels: usize, y: &mut [f32]) {
        let k = self.offsets.len();
        let mut job = tile::Job {
            x: self.x,
            offsets: self.offsets,
            runs: self.runs,
            weights: &self.weights[first * k..(first + channels) * k],
            channels,
            bias: self.bias.map(|bias| &bias[first..first + channels]),
            relu: self.activation == Activation::Relu,
            y,
            pitch: self.pixels,
        };
        job.check();
        // SAFETY: the job was checked, and `plan::runs` makes ascending runs.
        unsafe { tile::correlate(self.isa, &mut job) };
        if self.activation != Activation::Relu {
            activation::forward_in_place(self.isa, self.activation, y);
        }
    }
}

/// The backward pass of one image and group.
pub(super) struct Direct {
    isa: InstructionSet,
    g: Geometry,
    /// Source, offsets and stretches of the input, for the weight gradient.
    input: Option<(Source, Vec<u32>, Vec<Segment>)>,
    /// Plan and packed weights, group by group and in each phase by phase, for the input gradient.
    upstream: Option<(plan::Backward, Runs, Vec<f32>)>,
    cut: weight::Cut,
}

impl Direct {
    pub(super) fn new<T: Real>(
        isa: InstructionSet,
        g: &Geometry,
        weight: &[T],
        (wants_input, wants_weight): (bool, bool),
    ) -> Self {
        /// Longer stretches would not let their gradients stay in the first-level cache.
        const STRETCH: usize = 96;
        let weight = single(weight);
        let input = wants_weight.then(|| {
            let (source, offsets) = plan::forward(g);
            let segments = plan::segments(&source, g.output(), STRETCH);
            (source, offsets, segments)
        });
        let upstream = wants_input.then(|| {
            let plan = plan::backward(g);
            let runs = plan::runs(&plan.source, plan.result, lanes(isa));
            let mut packed = vec![0.0; weight.len()];
            pack_transposed(isa, g, weight, &plan, &mut packed);
            (plan, runs, packed)
        });
        Self {
            isa,
            g: *g,
            input,
            upstream,
            cut: weight::Cut::new(lanes(isa)),
        }
    }

    fn is_narrow(&self) -> bool {
        self.g.out_per_group() <= weight::NARROW
    }

    /// Elements of one group's sums.
    fn group_len(&self) -> usize {
        let (k, per_out) = (self.g.fan_in(), self.g.out_per_group());
        if self.is_narrow() {
            per_out * k
        } else {
            self.cut.len(per_out, k)
        }
    }

    fn weight_gradient(&self, group: usize, x: &[f32], d_z: &[f32], sums: &mut [f32]) {
        let g = &self.g;
        let (source, offsets, segments) =
            (self.input.as_ref()).expect("planned, as the weight gradient is wanted");
        let (per_out, pixels) = (g.out_per_group(), g.out_pixels());
        let own = group * self.group_len()..(group + 1) * self.group_len();
        let sums = &mut sums[own];
        scratch::with(source.room(g.in_per_group()), |planes| {
            source.gather(x, planes);
            if self.is_narrow() {
                return self.narrow_gradient(planes, d_z, sums);
            }
            scratch::with(self.cut.transposed_len(per_out, pixels), |transposed| {
                let mut job = weight::Job {
                    cut: self.cut,
                    x: planes,
                    offsets,
                    segments,
                    channels: per_out,
                    pixels,
                    d_z,
                    transposed,
                    sums,
                };
                job.check();
                // SAFETY: the job was checked, and its cut is that of this instruction set.
                unsafe { weight::add_wide(self.isa, &mut job) };
            });
        });
    }

    fn narrow_gradient(&self, planes: &[f32], d_z: &[f32], sums: &mut [f32]) {
        let (source, offsets, segments) =
            (self.input.as_ref()).expect("planned, as the weight gradient is wanted");
        let end = segments.last().map_or(0, |s| (s.at + s.count) as usize);
        let len = end.next_multiple_of(lanes(self.isa));
        let furthest = offsets.iter().max().copied().unwrap_or(0) as usize;
        assert!(
            furthest + len <= planes.len(),
            "the source holds every vector"
        );
        let k = self.g.fan_in();
        scratch::with(source.plane() + plan::SLACK, |spread| {
            for (d_z, sums) in d_z.chunks(self.g.out_pixels()).zip(sums.chunks_mut(k)) {
                // The gradient laid out like the source, with zeros at places that are no outputs.
                let mut from = 0;
                let mut filled = 0;
                for segment in segments {
                    let (at, count) = (segment.at as usize, segment.count as usize);
                    spread[filled..at].fill(0.0);
                    spread[at..at + count].copy_from_slice(&d_z[from..from + count]);
                    (from, filled) = (from + count, at + count);
                }
                spread[filled..len].fill(0.0);
                // SAFETY: both slices hold `len`, whole vectors, behind every offset.
                unsafe { weight::add_narrow(self.isa, planes, offsets, spread, len, sums) };
            }
        });
    }

    fn input_gradient(&self, group: usize, d_z: &[f32], d_x: &mut [f32]) {
        let g = &self.g;
        let (plan, runs, packed) =
            (self.upstream.as_ref()).expect("planned, as the input gradient is wanted");
        let (per_in, per_out) = (g.in_per_group(), g.out_per_group());
        let group_len = per_out * g.fan_in();
        let mut weights = &packed[group * group_len..(group + 1) * group_len];
        let pixels: usize = plan.result.iter().product();
        scratch::with(plan.source.room(per_out), |planes| {
            plan.source.gather(d_z, planes);
            let direct = plan.phases.len() == 1;
            scratch::with(if direct { 0 } else { per_in * pixels }, |room| {
                for phase in &plan.phases {
                    let (own, rest) = weights.split_at(per_in * phase.offsets.len());
                    weights = rest;
                    let y = if direct { &mut *d_x } else { &mut *room };
                    let mut job = tile::Job {
                        x: planes,
                        offsets: &phase.offsets,
                        runs,
                        weights: own,
                        channels: per_in,
                        bias: None,
                        relu: false,
                        y,
                        pitch: pixels,
                    };
                    job.check();
                    // SAFETY: the job was checked, and `plan::runs` makes ascending runs.
                    unsafe { tile::correlate(self.isa, &mut job) };
                    if !direct {
                        interleave(g, plan, phase.residue, room, d_x);
                    }
                }
            });
        });
    }
}

/// The weights as the input gradient reads them, `[group][phase][block of input channels][output channel and tap]`.
fn pack_transposed(
    isa: InstructionSet,
    g: &Geometry,
    weight: &[f32],
    plan: &plan::Backward,
    packed: &mut [f32],
) {
    let (per_in, per_out, taps) = (g.in_per_group(), g.out_per_group(), g.taps());
    let group_len = per_out * g.fan_in();
    for (w, mut packed) in weight.chunks(group_len).zip(packed.chunks_mut(group_len)) {
        for phase in &plan.phases {
            let k = phase.offsets.len();
            let (own, rest) = packed.split_at_mut(per_in * k);
            packed = rest;
            let reach = phase.taps.len().max(1);
            tile::pack(per_in, k, most_channels(isa), own, |c, i| {
                w[(i / reach * per_in + c) * taps + phase.taps[i % reach]]
            });
        }
    }
}

/// Puts the results of one phase to their places in the input gradient, a stride apart.
fn interleave(
    g: &Geometry,
    plan: &plan::Backward,
    residue: [usize; 3],
    results: &[f32],
    d_x: &mut [f32],
) {
    let axes = g.axes();
    // The position that result `a` of an axis belongs to, if it is not padding.
    let position = |i: usize, a: usize| {
        ((plan.start[i] + a) * axes[i].stride + residue[i])
            .checked_sub(axes[i].padding[0])
            .filter(|&q| q < axes[i].input)
    };
    let [depth, height, width] = plan.result;
    // Along the width the valid results are a range.
    let valid: Vec<usize> = (0..width).filter(|&a| position(2, a).is_some()).collect();
    let (Some(&first), Some(&last)) = (valid.first(), valid.last()) else {
        return;
    };
    let start = position(2, first).expect("the first valid result has a position");
    let channels = results.chunks_exact(depth * height * width);
    for (results, d_x) in channels.zip(d_x.chunks_exact_mut(g.in_pixels())) {
        for (line, row) in results.chunks_exact(width).enumerate() {
            let (d, h) = (position(0, line / height), position(1, line % height));
            let (Some(d), Some(h)) = (d, h) else {
                continue;
            };
            let out = (d * axes[1].input + h) * axes[2].input + start;
            let out = d_x[out..].iter_mut().step_by(axes[2].stride);
            for (d_x, result) in out.zip(&row[first..=last]) {
                *d_x = *result;
            }
        }
    }
}

impl<T: Real> ImageBackward<T> for Direct {
    fn partial_len(&self) -> usize {
        self.g.groups() * self.group_len()
    }

    fn image(
        &self,
        group: usize,
        x: &[T],
        d_z: &[T],
        d_x: Option<&mut [T]>,
        d_weight: Option<&mut [T]>,
    ) {
        if let Some(sums) = d_weight {
            self.weight_gradient(group, single(x), single(d_z), single_mut(sums));
        }
        if let Some(d_x) = d_x {
            self.input_gradient(group, single(d_z), single_mut(d_x));
        }
    }

    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]) {
        if self.is_narrow() {
            return super::driver::store(sum, write, d_weight);
        }
        let (k, per_out) = (self.g.fan_in(), self.g.out_per_group());
        let groups = d_weight.chunks_mut(per_out * k);
        for (d_weight, mut sums) in groups.zip(sum.chunks(self.group_len())) {
            for (first, vectors, padded_k) in self.cut.blocks(per_out, k) {
                let width = vectors * lanes(self.isa);
                let (own, rest) = sums.split_at(width * padded_k);
                sums = rest;
                for o in first..(first + width).min(per_out) {
                    let row = &mut d_weight[o * k..(o + 1) * k];
                    let column = own[o - first..].iter().step_by(width);
                    for (d, sum) in row.iter_mut().zip(column) {
                        *d = if write == Write::Add { *d + *sum } else { *sum };
                    }
                }
            }
        }
    }
}
