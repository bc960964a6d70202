//! The backward pass under a max pool, which knows the few pixels that have a gradient: one a window at most, and none
//! where the activation let nothing pass.
//!
//! Only those are multiplied, where the dense pass multiplies all zeros between them. Inputs and weights are laid out
//! channels-last, so that what one pixel contributes to all taps is a few rows of whole vectors.
//!
//! A zero that is not multiplied makes no `NaN` out of an infinite input or weight, as it does in the dense pass. A
//! gradient that is not a number is no zero, and spreads.

use super::channels::{self, Blocks, Window};
use super::gather::Source;
use super::lists::{self, Lists, Places, Windows};
use super::{TASKS, lanes, ranges, single, single_mut};
use crate::conv::Geometry;
use crate::conv::driver::{self, ImageBackward};
use crate::conv::upstream::Arrived;
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::matmul::Write;
use crate::real::Real;
use crate::{parallel, pool, scratch};
use std::ops::Range;

/// Numbers of a source that stay in the first-level cache together with what they are multiplied with.
const CACHED: usize = 6144;
/// Windows whose lists are made together for the input gradient.
const WINDOWS: usize = 48;
/// Taps of the largest windows that lists are made for.
const MOST_TAPS: usize = 16;

/// Which gradients this way is worth it for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Serves {
    pub(super) input: bool,
    pub(super) weight: bool,
}

/// Whether and for which gradients this way serves a convolution under a pool.
pub(super) fn serves(isa: InstructionSet, g: &Geometry, pool: &pool::Geometry) -> Serves {
    let [depth, height, width] = g.axes();
    let inside = (pool.axes().iter().zip(pool.output())).all(|(axis, output)| {
        let span = (axis.kernel - 1) * axis.dilation + 1;
        axis.padding == [0, 0] && output > 0 && (output - 1) * axis.stride + span <= axis.input
    });
    let [_, out_height, out_width] = g.output();
    let fits = depth.input == 1
        && depth.kernel == 1
        && depth.padding == [0, 0]
        && (width.dilation == 1 || width.kernel == 1)
        && pool.axes().map(|axis| axis.input) == [out_height, out_width]
        && inside
        && pool.taps() <= MOST_TAPS
        // One pixel in four has a gradient at most.
        && pool.axes()[0].stride * pool.axes()[1].stride >= 4
        && [&height, &width].iter().all(|axis| axis.padded().is_ok());
    if !fits {
        return Serves::default();
    }
    let lanes = lanes(isa);
    let (kernel, channels) = (height.kernel * width.kernel, g.in_per_group());
    // A place has up to `lanes` numbers more than channels, and there are as many images as are differentiated
    // together.
    let places = padded(g).iter().map(|n| *n as u128).product::<u128>();
    let images = driver::most_together(g) as u128;
    let numbers = places.saturating_mul((channels + 8 * lanes) as u128 * images);
    let sums = (g.out_per_group() * kernel) as u128 * (channels + 8 * lanes) as u128;
    if numbers.max(sums) >= u128::from(u32::MAX / 2) {
        return Serves::default();
    }
    // Multiplications of vectors for one window: dense ones, and sparse ones with what the lists cost.
    let dense = 4 * kernel * channels;
    let sparse = |side: &Side| {
        let tile = height.kernel * side.vectors * side.blocks.count();
        (tile.max(8) + 6) * lanes
    };
    Serves {
        input: channels >= lanes && sparse(&Side::new(isa, g, pool, true)) < dense,
        weight: sparse(&Side::new(isa, g, pool, false)) < dense,
    }
}

/// Height and width of the padded input.
fn padded(g: &Geometry) -> [usize; 2] {
    let [_, height, width] = g.axes();
    [height, width].map(|axis| axis.input + axis.padding[0] + axis.padding[1])
}

/// How one of the gradients reads and writes.
struct Side {
    /// Of the input or its gradient, padded.
    blocks: Blocks,
    places: Places,
    /// How far the first pixels of two rows of the kernel lie apart in the input.
    row_pitch: usize,
    /// Rows of a kernel, and vectors of a row: its columns with a block's channels, side by side.
    rows: usize,
    vectors: usize,
    lanes: usize,
}

impl Side {
    fn new(isa: InstructionSet, g: &Geometry, pool: &pool::Geometry, whole_vectors: bool) -> Self {
        /// Vectors that a tile holds.
        const ROW: usize = 6;
        let lanes = lanes(isa);
        let [_, height, width] = g.axes();
        let channels = g.in_per_group();
        let [padded_height, padded_width] = padded(g);
        let pitch = if channels < lanes && !whole_vectors {
            channels
        } else {
            let most = if lanes == 16 { 28 } else { 14 };
            let fits = (ROW / width.kernel).min(most / (width.kernel * height.kernel));
            let vectors = channels.div_ceil(lanes);
            lanes * vectors.div_ceil(vectors.div_ceil(fits.max(1)))
        };
        let blocks = Blocks {
            channels,
            pitch,
            places: padded_height * padded_width,
        };
        let place = |h: usize, w: usize| {
            ((h * height.stride * padded_width + w * width.stride) * pitch) as u32
        };
        let [pool_height, pool_width] = pool.axes();
        let [rows, columns] = pool.output();
        let windows = (0..rows).flat_map(|h| (0..columns).map(move |w| (h, w)));
        let windows = windows.map(|(h, w)| place(h * pool_height.stride, w * pool_width.stride));
        let mut taps = [0; 256];
        for (t, tap) in taps.iter_mut().enumerate().take(pool.taps()) {
            let (h, w) = (t / pool_width.kernel, t % pool_width.kernel);
            *tap = place(h * pool_height.dilation, w * pool_width.dilation);
        }
        Self {
            blocks,
            places: Places {
                windows: windows.collect(),
                taps,
                count: pool.taps(),
            },
            row_pitch: height.dilation * padded_width * pitch,
            rows: height.kernel,
            vectors: (width.kernel * pitch).div_ceil(lanes),
            lanes,
        }
    }

    /// Numbers of a row of a kernel, and of a kernel.
    fn kernel_row(&self) -> usize {
        self.vectors * self.lanes
    }
    fn kernel_len(&self) -> usize {
        self.rows * self.kernel_row()
    }

    /// How many images and windows of each have their lists made together for the weight gradient, so that what these
    /// read of a block stays in the cache.
    fn segment(&self, pool: &pool::Geometry) -> (usize, usize) {
        let [rows, columns] = pool.output();
        let row = (self.blocks.block_len() / rows).max(1);
        let cached = (CACHED / row).max(1);
        if cached >= rows {
            (cached / rows, rows * columns)
        } else {
            (1, cached * columns)
        }
    }
}

/// What the backward pass plans beforehand.
pub(super) struct Sparse<'a> {
    isa: InstructionSet,
    g: &'a Geometry,
    pool: &'a pool::Geometry,
    /// The padded planes.
    source: Source,
    weight: Option<Side>,
    /// For the input gradient, and the weights as it reads them: `[group][block][output channel][row of the kernel]`.
    input: Option<(Side, Vec<f32>)>,
}

impl<'a> Sparse<'a> {
    /// A plan for gradients that [`serves`] has named.
    pub(super) fn new(
        isa: InstructionSet,
        g: &'a Geometry,
        pool: &'a pool::Geometry,
        weight: &[f32],
        wants: Serves,
    ) -> Self {
        let [_, height, width] = g.axes();
        let [rows, columns] = padded(g);
        let origin = [
            0,
            -(height.padding[0] as isize),
            -(width.padding[0] as isize),
        ];
        let input = [1, height.input, width.input];
        Self {
            isa,
            g,
            pool,
            source: Source::new([1, rows, columns], [1; 3], &[origin], input),
            weight: (wants.weight).then(|| Side::new(isa, g, pool, false)),
            input: wants.input.then(|| {
                let side = Side::new(isa, g, pool, true);
                let packed = pack(g, &side, weight);
                (side, packed)
            }),
        }
    }

    fn windows<'d>(&self, d: &'d [f32], taps: &'d [u8]) -> Windows<'d> {
        Windows {
            d,
            taps,
            channels: self.g.out_per_group(),
        }
    }

    /// Multiplications of the windows of one channel.
    fn products(&self) -> usize {
        self.g.fan_in() * self.pool.out_pixels()
    }

    /// Adds the weight gradient of neighbouring images.
    fn weight_gradient(
        &self,
        alone: bool,
        count: usize,
        x: &[f32],
        windows: Windows<'_>,
        sums: &mut [f32],
    ) {
        let g = self.g;
        let side = (self.weight.as_ref()).expect("planned, as the weight gradient is wanted");
        let (in_len, image) = (g.in_per_group() * g.in_pixels(), side.blocks.len());
        // The last row of a kernel may end behind the last channel.
        scratch::with(count * image + side.lanes, |source| {
            for (i, out) in source.chunks_exact_mut(image).take(count).enumerate() {
                self.lay_out(side, &x[i * in_len..(i + 1) * in_len], out);
            }
            source[count * image..].fill(0.0);
            let tasks = if alone { TASKS } else { 1 };
            let parts: Vec<_> = ranges(g.out_per_group(), tasks, self.products()).collect();
            let per_channel = side.blocks.count() * side.kernel_len();
            let (source, sums) = (&*source, Disjoint::new(sums));
            parallel::for_each(parts.len(), |i| {
                let channels = parts[i].clone();
                let own = channels.start * per_channel..channels.end * per_channel;
                // SAFETY: each part has its own channels, in one task.
                let sums = unsafe { sums.part(own) };
                self.weight_channels(side, count, channels, source, windows, sums);
            });
        });
    }

    /// Writes one image channels-last.
    fn lay_out(&self, side: &Side, x: &[f32], out: &mut [f32]) {
        let (channels, len) = (side.blocks.channels, x.len());
        scratch::with(self.source.room(channels), |room| {
            let planes = self.source.planes(self.isa, x, len, room);
            assert!(channels * side.blocks.places <= planes.len());
            assert_eq!(out.len(), side.blocks.len());
            // SAFETY: both lengths were just compared.
            unsafe { channels::interleave(self.isa, &side.blocks, planes, out) };
        });
    }

    fn weight_channels(
        &self,
        side: &Side,
        count: usize,
        channels: Range<usize>,
        source: &[f32],
        windows: Windows<'_>,
        sums: &mut [f32],
    ) {
        let plane = self.pool.out_pixels();
        let (images, segment) = side.segment(self.pool);
        let (image, blocks) = (side.blocks.len(), side.blocks.count());
        let pitch = blocks * side.kernel_len();
        let room = images.min(count) * segment;
        Lists::with(channels.len(), room, |lists| {
            let starts = (0..count).step_by(images);
            for (first, start) in
                starts.flat_map(|n| (0..plane).step_by(segment).map(move |w| (n, w)))
            {
                let together = first..(first + images).min(count);
                let own = start..(start + segment).min(plane);
                let places = &side.places;
                let range = channels.clone();
                lists.by_channel(windows, places, range, together, own, image, pitch);
                for block in 0..blocks {
                    let mut job = lists::Job {
                        lists: &*lists,
                        targets: channels.len(),
                        from: &source[block * side.blocks.block_len()..],
                        from_pitch: side.row_pitch,
                        furthest: (count - 1) * image + places.furthest(),
                        to: &mut sums[block * side.kernel_len()..],
                        to_pitch: side.kernel_row(),
                        rows: side.rows,
                        vectors: side.vectors,
                    };
                    job.check(side.lanes);
                    // SAFETY: the job was checked, and its terms lie at windows and taps of these images.
                    unsafe { lists::add(self.isa, &mut job) };
                }
            }
        });
    }

    /// Writes the input gradient of one image.
    fn input_gradient(&self, group: usize, alone: bool, windows: Windows<'_>, d_x: &mut [f32]) {
        let (side, packed) =
            (self.input.as_ref()).expect("planned, as the input gradient is wanted");
        let (per_in, pixels) = (self.g.in_per_group(), self.g.in_pixels());
        let len = packed.len() / self.g.groups();
        let weights = &packed[group * len..(group + 1) * len];
        let (blocks, pitch) = (side.blocks.count(), side.blocks.pitch);
        // With few images each block is a task of its own.
        let part = if alone { 1 } else { blocks };
        let d_x = Disjoint::new(d_x);
        parallel::for_each(blocks.div_ceil(part), |i| {
            let blocks = i * part..((i + 1) * part).min(blocks);
            let own = blocks.start * pitch * pixels..(blocks.end * pitch).min(per_in) * pixels;
            // SAFETY: each block has its own channels, in one task.
            let d_x = unsafe { d_x.part(own) };
            self.input_blocks(side, blocks, weights, windows, d_x);
        });
    }

    fn input_blocks(
        &self,
        side: &Side,
        blocks: Range<usize>,
        weights: &[f32],
        windows: Windows<'_>,
        d_x: &mut [f32],
    ) {
        let (plane, per_out) = (self.pool.out_pixels(), self.g.out_per_group());
        let (block_len, len) = (side.blocks.block_len(), side.kernel_len());
        // As many output channels as let their weights stay in the cache.
        let channels = (CACHED * 2 / len).clamp(8, 64).min(per_out);
        let count = side.places.count;
        let slack = side.lanes * side.blocks.pitch;
        scratch::with(blocks.len() * block_len + slack, |sums| {
            sums.fill(0.0);
            Lists::with(WINDOWS.min(plane) * count, channels, |lists| {
                for first in (0..per_out).step_by(channels) {
                    for start in (0..plane).step_by(WINDOWS) {
                        let own = start..(start + WINDOWS).min(plane);
                        let range = first..(first + channels).min(per_out);
                        lists.by_place(windows, &side.places, range, own.clone(), len);
                        for (i, block) in blocks.clone().enumerate() {
                            let mut job = lists::Job {
                                lists: &*lists,
                                targets: own.len() * count,
                                from: &weights[block * per_out * len..],
                                from_pitch: side.kernel_row(),
                                furthest: (per_out - 1) * len,
                                to: &mut sums[i * block_len..],
                                to_pitch: side.row_pitch,
                                rows: side.rows,
                                vectors: side.vectors,
                            };
                            job.check(side.lanes);
                            // SAFETY: the job was checked, and its terms lie at output channels.
                            unsafe { lists::add(self.isa, &mut job) };
                        }
                    }
                }
            });
            self.collect(side, &blocks, sums, d_x);
        });
    }

    /// Writes the planes of some blocks.
    fn collect(&self, side: &Side, blocks: &Range<usize>, sums: &[f32], d_x: &mut [f32]) {
        let [_, height, width] = self.g.axes();
        let [_, row] = padded(self.g);
        let window = Window {
            first: height.padding[0] * row + width.padding[0],
            row,
            height: height.input,
            width: width.input,
        };
        let pitch = side.blocks.pitch;
        let planes = d_x.chunks_mut(pitch * self.g.in_pixels());
        for (i, d_x) in planes.enumerate() {
            let channels = d_x.len() / self.g.in_pixels();
            let block = &sums[i * side.blocks.block_len()..];
            assert!(side.blocks.block_len() + side.lanes * pitch <= block.len());
            // SAFETY: the block and as many places as a vector has lanes are there, as the line above says; the window
            // lies in the block.
            unsafe { channels::planes(self.isa, &window, pitch, channels, block, d_x) };
        }
        debug_assert_eq!(blocks.len(), d_x.len().div_ceil(pitch * self.g.in_pixels()));
    }
}

/// The weights with the channels of a block side by side.
fn pack(g: &Geometry, side: &Side, weight: &[f32]) -> Vec<f32> {
    let (per_in, per_out, k) = (g.in_per_group(), g.out_per_group(), g.fan_in());
    let (blocks, len) = (side.blocks.count(), side.kernel_len());
    let mut packed = vec![0.0; g.groups() * blocks * per_out * len];
    for (to, kernel) in packed.chunks_exact_mut(len).enumerate() {
        let (o, block) = (to % per_out, to / per_out % blocks);
        let group = to / (per_out * blocks);
        let weight = &weight[(group * per_out + o) * k..][..k];
        let first = block * side.blocks.pitch;
        for c in first..(first + side.blocks.pitch).min(per_in) {
            let weight = &weight[c * g.taps()..][..g.taps()];
            for (at, w) in kernel_places(g, side, c - first).zip(weight) {
                kernel[at] = *w;
            }
        }
    }
    packed
}

/// Where the taps of one channel lie in a kernel whose channels are side by side.
fn kernel_places(g: &Geometry, side: &Side, channel: usize) -> impl Iterator<Item = usize> {
    let width = g.axes()[2].kernel;
    let (row, pitch) = (side.kernel_row(), side.blocks.pitch);
    (0..g.taps()).map(move |t| t / width * row + t % width * pitch + channel)
}

impl<T: Real> ImageBackward<T> for Sparse<'_> {
    const WINDOWS: bool = true;

    fn partial_len(&self) -> usize {
        let side = self.weight.as_ref();
        side.map_or(0, |side| {
            self.g.out_channels() * side.blocks.count() * side.kernel_len()
        })
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
        let (d, taps) = (single(arrived.d), arrived.taps);
        if let Some(sums) = d_weight {
            let windows = self.windows(d, taps);
            self.weight_gradient(alone, count, single(x), windows, single_mut(sums));
        }
        if let Some(d_x) = d_x {
            let image = d.len() / count;
            let each = single_mut(d_x).chunks_mut(self.g.in_per_group() * self.g.in_pixels());
            for (i, d_x) in each.enumerate() {
                let own = i * image..(i + 1) * image;
                let windows = self.windows(&d[own.clone()], &taps[own]);
                self.input_gradient(group, alone, windows, d_x);
            }
        }
    }

    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]) {
        let side = (self.weight.as_ref()).expect("planned, as the weight gradient is wanted");
        let (taps, pitch) = (self.g.taps(), side.blocks.pitch);
        let len = side.kernel_len();
        let kernels = sum.chunks_exact(side.blocks.count() * len);
        for (d_weight, kernels) in d_weight.chunks_exact_mut(self.g.fan_in()).zip(kernels) {
            for (c, d_weight) in d_weight.chunks_exact_mut(taps).enumerate() {
                let kernel = &kernels[c / pitch * len..][..len];
                for (d, at) in d_weight
                    .iter_mut()
                    .zip(kernel_places(self.g, side, c % pitch))
                {
                    let sum = kernel[at];
                    *d = if write == Write::Add { *d + sum } else { sum };
                }
            }
        }
    }
}
