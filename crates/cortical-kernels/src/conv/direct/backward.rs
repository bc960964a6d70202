//! The backward pass of some images of one group.

use super::gather::{self, Source};
use super::plan::{self, Runs, Segment};
use super::{TASKS, lanes, most_channels, ranges, single, single_mut, tile, weight};
use crate::conv::Geometry;
use crate::conv::driver::{self, ImageBackward};
use crate::conv::upstream::Arrived;
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::matmul::Write;
use crate::real::Real;
use crate::{parallel, scratch};
use std::ops::Range;

/// What the backward pass of a convolution plans beforehand.
pub(in crate::conv) struct Direct {
    isa: InstructionSet,
    g: Geometry,
    weight: Option<WeightPlan>,
    input: Option<InputPlan>,
    cut: weight::Cut,
}

/// For the weight gradient.
struct WeightPlan {
    source: Source,
    offsets: Vec<u32>,
    /// The rows of the output in segments, for as many images as are differentiated together.
    segments: Vec<Segment>,
    images: usize,
}

/// For the input gradient.
struct InputPlan {
    plan: plan::Backward,
    runs: Runs,
    /// How far a source is read.
    reach: usize,
    /// Weights, group by group and in each phase by phase.
    packed: Vec<f32>,
}

impl Direct {
    pub(in crate::conv) fn new<T: Real>(
        isa: InstructionSet,
        g: &Geometry,
        weight: &[T],
        (wants_input, wants_weight): (bool, bool),
    ) -> Self {
        Self {
            isa,
            g: *g,
            weight: wants_weight.then(|| WeightPlan::new(g)),
            input: wants_input.then(|| InputPlan::new(isa, g, single(weight))),
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

    /// Adds the weight gradient of neighbouring images.
    fn weight_gradient(&self, alone: bool, x: &[f32], d_z: &[f32], sums: &mut [f32]) {
        let g = &self.g;
        let plan = (self.weight.as_ref()).expect("planned, as the weight gradient is wanted");
        let (in_len, out_len) = (
            g.in_per_group() * g.in_pixels(),
            g.out_per_group() * g.out_pixels(),
        );
        let together = if self.is_narrow() { 1 } else { plan.images };
        for (x, d_z) in x
            .chunks(together * in_len)
            .zip(d_z.chunks(together * out_len))
        {
            let images = d_z.len() / out_len;
            plan.with_planes(self.isa, g, x, images, self.is_narrow(), |planes| {
                if self.is_narrow() {
                    self.narrow_gradient(plan, planes, d_z, sums);
                } else {
                    let segments = &plan.segments[..plan.segments.len() / plan.images * images];
                    self.wide_gradient(&plan.offsets, segments, alone, planes, d_z, sums);
                }
            });
        }
    }

    fn wide_gradient(
        &self,
        offsets: &[u32],
        segments: &[Segment],
        alone: bool,
        planes: &[f32],
        d_z: &[f32],
        sums: &mut [f32],
    ) {
        let (channels, plane) = (self.g.out_per_group(), self.g.out_pixels());
        let pixels = d_z.len() / channels;
        scratch::with(self.cut.transposed_len(channels, pixels), |transposed| {
            let job = weight::Job {
                cut: self.cut,
                x: planes,
                offsets,
                segments,
                channels,
                plane,
                pixels,
                d_z,
            };
            job.check(transposed.len(), sums.len());
            // SAFETY: the job was checked with this room, and its cut is that of this instruction set.
            unsafe { weight::transpose(self.isa, &job, transposed) };
            let transposed = &*transposed;
            let tasks = if alone { 2 * TASKS } else { 1 };
            let shares = self.cut.shares(channels, offsets.len(), tasks);
            let shares: Vec<weight::Share> = shares.collect();
            let sums = Disjoint::new(sums);
            let add = |share: &weight::Share| {
                // SAFETY: as above, and the sums of a share are its own.
                unsafe {
                    let sums = sums.part(share.sums.clone());
                    weight::add_wide(self.isa, &job, share, transposed, sums);
                }
            };
            match alone {
                true => parallel::for_each(shares.len(), |i| add(&shares[i])),
                false => shares.iter().for_each(add),
            }
        });
    }

    fn narrow_gradient(&self, plan: &WeightPlan, planes: &[f32], d_z: &[f32], sums: &mut [f32]) {
        let segments = &plan.segments[..plan.segments.len() / plan.images];
        let end = segments.last().map_or(0, |s| (s.at + s.count) as usize);
        let len = end.next_multiple_of(lanes(self.isa));
        let furthest = plan.offsets.iter().max().copied().unwrap_or(0) as usize;
        assert!(
            furthest + len <= planes.len(),
            "the source holds every vector"
        );
        let k = self.g.fan_in();
        scratch::with(plan.source.plane() + gather::SLACK, |spread| {
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
                unsafe { weight::add_narrow(self.isa, planes, &plan.offsets, spread, len, sums) };
            }
        });
    }

    /// Writes the input gradient of one image.
    fn input_gradient(&self, group: usize, alone: bool, d_z: &[f32], d_x: &mut [f32]) {
        let g = &self.g;
        let own = (self.input.as_ref()).expect("planned, as the input gradient is wanted");
        let (per_in, per_out) = (g.in_per_group(), g.out_per_group());
        let tasks = if alone { TASKS } else { 1 };
        let d_x = Disjoint::new(d_x);
        scratch::with(own.plan.source.room(per_out), |room| {
            let planes = own.plan.source.planes(self.isa, d_z, own.reach, room);
            let run = |channels: Range<usize>| {
                let place = channels.start * g.in_pixels()..channels.end * g.in_pixels();
                // SAFETY: each range of channels has its own planes, in one task.
                let d_x = unsafe { d_x.part(place) };
                self.input_channels(own, group, channels, planes, d_x);
            };
            if tasks == 1 {
                return run(0..per_in);
            }
            let products = per_out * g.taps() * g.out_pixels();
            let parts: Vec<_> = ranges(per_in, tasks, products).collect();
            parallel::for_each(parts.len(), |i| run(parts[i].clone()));
        });
    }

    /// Writes the input gradient of some channels, which begin a block.
    fn input_channels(
        &self,
        own: &InputPlan,
        group: usize,
        channels: Range<usize>,
        planes: &[f32],
        d_x: &mut [f32],
    ) {
        let (g, plan) = (&self.g, &own.plan);
        let group_len = g.out_per_group() * g.fan_in();
        let mut weights = &own.packed[group * group_len..(group + 1) * group_len];
        let pixels: usize = plan.result.iter().product();
        let direct = plan.phases.len() == 1;
        scratch::with(if direct { 0 } else { channels.len() * pixels }, |room| {
            for phase in &plan.phases {
                let k = phase.offsets.len();
                let (of_phase, rest) = weights.split_at(g.in_per_group() * k);
                weights = rest;
                let mut job = tile::Job {
                    x: planes,
                    offsets: &phase.offsets,
                    runs: &own.runs,
                    weights: &of_phase[channels.start * k..channels.end * k],
                    channels: channels.len(),
                    bias: None,
                    relu: false,
                    y: if direct { &mut *d_x } else { &mut *room },
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
    }
}

impl WeightPlan {
    fn new(g: &Geometry) -> Self {
        /// Longer segments would not let their gradients stay in the first-level cache.
        const SEGMENT: usize = 96;
        let (source, offsets) = plan::forward(g);
        let one = plan::segments(&source, g.output(), SEGMENT);
        let image = source.room(g.in_per_group()) - gather::SLACK;
        // Every place of every image must fit the table.
        let images = driver::most_together(g)
            .min((u32::MAX / 2) as usize / image.max(1))
            .max(1);
        let segments = (0..images)
            .flat_map(|i| {
                let from = (i * image) as u32;
                one.iter().map(move |s| Segment {
                    at: from + s.at,
                    count: s.count,
                })
            })
            .collect();
        Self {
            source,
            offsets,
            segments,
            images,
        }
    }

    /// Calls `f` with the source planes of some images one behind the other, with slack behind them if it is asked for.
    fn with_planes(
        &self,
        isa: InstructionSet,
        g: &Geometry,
        x: &[f32],
        images: usize,
        slack: bool,
        f: impl FnOnce(&[f32]),
    ) {
        if self.source.whole && !slack {
            return f(x);
        }
        let in_len = g.in_per_group() * g.in_pixels();
        let image = self.source.room(g.in_per_group()) - gather::SLACK;
        scratch::with(images * image + gather::SLACK, |planes| {
            for i in 0..images {
                let room = &mut planes[i * image..(i + 1) * image + gather::SLACK];
                self.source.gather(isa, &x[i * in_len..], room);
            }
            f(planes);
        });
    }
}

impl InputPlan {
    fn new(isa: InstructionSet, g: &Geometry, weight: &[f32]) -> Self {
        let plan = plan::backward(g);
        let runs = plan::runs(&plan.source, plan.result, lanes(isa));
        let mut packed = vec![0.0; weight.len()];
        pack_transposed(isa, g, weight, &plan, &mut packed);
        let phases = plan.phases.iter();
        let reach = phases.map(|phase| tile::reach(&phase.offsets, &runs)).max();
        Self {
            reach: reach.unwrap_or(0),
            plan,
            runs,
            packed,
        }
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
            let (own, rest) = packed.split_at_mut(per_in * phase.offsets.len());
            packed = rest;
            let terms: Vec<usize> = (0..per_out)
                .flat_map(|o| phase.taps.iter().map(move |t| o * per_in * taps + t))
                .collect();
            let terms = terms.iter().copied();
            tile::pack(per_in, most_channels(isa), w, taps, terms, own);
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

    fn images(
        &self,
        group: usize,
        count: usize,
        alone: bool,
        x: &[T],
        arrived: Arrived<'_, T>,
        d_x: Option<&mut [T]>,
        d_weight: Option<&mut [T]>,
    ) {
        let (x, d_z) = (single(x), single(arrived.d));
        if let Some(sums) = d_weight {
            self.weight_gradient(alone, x, d_z, single_mut(sums));
        }
        if let Some(d_x) = d_x {
            let (d_x, image) = (single_mut(d_x), d_z.len() / count);
            let each = d_x.chunks_mut(self.g.in_per_group() * self.g.in_pixels());
            for (d_z, d_x) in d_z.chunks(image).zip(each) {
                self.input_gradient(group, alone, d_z, d_x);
            }
        }
    }

    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]) {
        if self.is_narrow() {
            return driver::store(sum, write, d_weight);
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
