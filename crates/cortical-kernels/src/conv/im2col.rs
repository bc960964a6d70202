//! Convolution as a matrix product: every window of an image unrolled into a column.
//!
//! Serves any shape and both number types. Windows are unrolled a block at a time, so that the columns of a large
//! image never stand in memory together. A 1×1 kernel needs no columns: the image is the matrix.

use super::driver::ImageBackward;
use super::upstream::Arrived;
use super::{Geometry, Sink};
use crate::isa::InstructionSet;
use crate::matmul::{MatRef, Write, matmul_serial};
use crate::real::Real;
use crate::scratch;
use crate::{activation, activation::Activation, parallel, pool};
use std::ops::Range;

/// Elements of one block of columns; a few megabytes at most.
const BLOCK_ELEMENTS: usize = 256 * 1024;

/// Whether the image is its own matrix of columns.
fn is_pointwise(g: &Geometry) -> bool {
    g.axes()
        .iter()
        .all(|axis| axis.kernel == 1 && axis.stride == 1 && axis.padding == [0, 0])
}

fn pixels_per_block(g: &Geometry) -> usize {
    (BLOCK_ELEMENTS / g.fan_in().max(1)).clamp(64, g.out_pixels().max(64))
}

/// The blocks that the output pixels of an image are cut into.
fn blocks(g: &Geometry) -> impl Iterator<Item = Range<usize>> {
    let (pixels, block) = (g.out_pixels(), pixels_per_block(g));
    (0..pixels)
        .step_by(block)
        .map(move |at| at..(at + block).min(pixels))
}

/// One segment of windows in an output row, seen by one tap.
struct Segment {
    /// Where the segment starts, counted from the block's first window.
    at: usize,
    /// First and one-past-last window of the segment, along the width.
    windows: Range<usize>,
    /// Flat index of the input row that the tap reads, or none in the padding.
    row: Option<usize>,
}

/// Calls `f` with every segment of the windows in `block`, for the tap `[d, h, _]`.
fn for_each_segment(
    g: &Geometry,
    block: &Range<usize>,
    tap: [usize; 2],
    mut f: impl FnMut(Segment),
) {
    let [depth, height, width] = g.axes();
    let [_, out_height, out_width] = g.output();
    let read = |axis: &super::Axis, p: usize, t: usize| {
        (p * axis.stride + t * axis.dilation)
            .checked_sub(axis.padding[0])
            .filter(|&at| at < axis.input)
    };
    let mut p = block.start;
    while p < block.end {
        let (line, w) = (p / out_width, p % out_width);
        let len = (out_width - w).min(block.end - p);
        let d = read(&depth, line / out_height, tap[0]);
        let h = read(&height, line % out_height, tap[1]);
        f(Segment {
            at: p - block.start,
            windows: w..w + len,
            row: d.zip(h).map(|(d, h)| (d * height.input + h) * width.input),
        });
        p += len;
    }
}

/// The windows of `0..out_width` for which tap `t` reads the input and not its padding.
fn inside(axis: &super::Axis, t: usize, windows: &Range<usize>) -> Range<usize> {
    let shift = t * axis.dilation;
    let first = axis.padding[0].saturating_sub(shift).div_ceil(axis.stride);
    let end = (axis.input + axis.padding[0])
        .saturating_sub(shift)
        .div_ceil(axis.stride);
    let start = first.clamp(windows.start, windows.end);
    start..end.clamp(start, windows.end)
}

/// `columns[c · taps + t, p] = x[c, window p at tap t]` for the windows in `block`.
fn unroll<T: Real>(g: &Geometry, x: &[T], block: &Range<usize>, columns: &mut [T]) {
    let (kernel, width) = (g.axes().map(|axis| axis.kernel), g.axes()[2]);
    if g.in_pixels() == 0 {
        // Every window sees padding alone.
        return columns.fill(T::ZERO);
    }
    let mut rows = columns.chunks_exact_mut(block.len());
    for channel in x.chunks_exact(g.in_pixels()).take(g.in_per_group()) {
        for (d, h) in (0..kernel[0]).flat_map(|d| (0..kernel[1]).map(move |h| (d, h))) {
            for t in 0..kernel[2] {
                let out = rows.next().expect("a row for every channel and tap");
                for_each_segment(g, block, [d, h], |s| {
                    let out = &mut out[s.at..s.at + s.windows.len()];
                    let Some(row) = s.row else {
                        return out.fill(T::ZERO);
                    };
                    let valid = inside(&width, t, &s.windows);
                    let (a, b) = (valid.start - s.windows.start, valid.end - s.windows.start);
                    out[..a].fill(T::ZERO);
                    out[b..].fill(T::ZERO);
                    if valid.is_empty() {
                        return;
                    }
                    let from =
                        row + valid.start * width.stride + t * width.dilation - width.padding[0];
                    let input = channel[from..].iter().step_by(width.stride);
                    for (out, x) in out[a..b].iter_mut().zip(input) {
                        *out = *x;
                    }
                });
            }
        }
    }
}

/// The transpose of [`unroll`]: adds every column back to where it was read.
fn roll<T: Real>(g: &Geometry, columns: &[T], block: &Range<usize>, d_x: &mut [T]) {
    let (kernel, width) = (g.axes().map(|axis| axis.kernel), g.axes()[2]);
    let mut rows = columns.chunks_exact(block.len());
    for channel in d_x
        .chunks_exact_mut(g.in_pixels().max(1))
        .take(g.in_per_group())
    {
        for (d, h) in (0..kernel[0]).flat_map(|d| (0..kernel[1]).map(move |h| (d, h))) {
            for t in 0..kernel[2] {
                let column = rows.next().expect("a row for every channel and tap");
                for_each_segment(g, block, [d, h], |s| {
                    let valid = inside(&width, t, &s.windows);
                    let Some(row) = s.row.filter(|_| !valid.is_empty()) else {
                        return;
                    };
                    let at = s.at + valid.start - s.windows.start;
                    let from =
                        row + valid.start * width.stride + t * width.dilation - width.padding[0];
                    let input = channel[from..].iter_mut().step_by(width.stride);
                    for (d_x, column) in input.zip(&column[at..at + valid.len()]) {
                        *d_x += *column;
                    }
                });
            }
        }
    }
}

/// `y = activation(w ∗ x + b)`, perhaps pooled: a task for each image and group.
pub(super) fn forward<T: Real>(
    isa: InstructionSet,
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    sink: &Sink<'_, T>,
) {
    let in_len = g.in_per_group() * g.in_pixels();
    let out_len = g.out_per_group() * g.out_pixels();
    parallel::for_each(g.batch() * g.groups(), |at| {
        let (group, x) = (at % g.groups(), &x[at * in_len..(at + 1) * in_len]);
        match sink {
            Sink::Whole(y) => {
                // SAFETY: each task writes the outputs of its own image and group.
                let y = unsafe { y.part(at * out_len..(at + 1) * out_len) };
                forward_image(isa, g, group, x, weight, bias, activation, y);
            }
            Sink::Pooled { pool, pooled, taps } => {
                let len = g.out_per_group() * pool.out_pixels();
                let own = at * len..(at + 1) * len;
                // SAFETY: as above.
                let (pooled, taps) = unsafe { (pooled.part(own.clone()), taps.part(own)) };
                scratch::with(out_len, |y| {
                    forward_image(isa, g, group, x, weight, bias, activation, y);
                    pool::max_forward_planes(isa, pool, y, pooled, taps);
                });
            }
        }
    });
}

/// `y = activation(w ∗ x + b)` of one image and group.
fn forward_image<T: Real>(
    isa: InstructionSet,
    g: &Geometry,
    group: usize,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
) {
    let (k, pixels, per_out) = (g.fan_in(), g.out_pixels(), g.out_per_group());
    let w = &weight[group * per_out * k..(group + 1) * per_out * k];
    let w = MatRef::row_major(w, per_out, k);
    for (o, row) in y.chunks_exact_mut(pixels).enumerate() {
        row.fill(bias.map_or(T::ZERO, |bias| bias[group * per_out + o]));
    }
    if is_pointwise(g) {
        matmul_serial(w, MatRef::row_major(x, k, pixels), y, pixels, Write::Add);
    } else {
        scratch::with(k * pixels_per_block(g), |columns| {
            for block in blocks(g) {
                let columns = &mut columns[..k * block.len()];
                unroll(g, x, &block, columns);
                let columns = MatRef::row_major(columns, k, block.len());
                matmul_serial(w, columns, &mut y[block.start..], pixels, Write::Add);
            }
        });
    }
    activation::forward_in_place(isa, activation, y);
}

/// The backward pass of one image and group.
pub(super) struct Im2col<'a, T> {
    pub(super) g: Geometry,
    pub(super) weight: &'a [T],
}

impl<T: Real> ImageBackward<T> for Im2col<'_, T> {
    fn partial_len(&self) -> usize {
        self.g.weight_len()
    }

    fn images(
        &self,
        group: usize,
        count: usize,
        _alone: bool,
        x: &[T],
        arrived: Arrived<'_, T>,
        mut d_x: Option<&mut [T]>,
        mut d_weight: Option<&mut [T]>,
    ) {
        let (g, d_z) = (&self.g, arrived.d);
        let in_len = g.in_per_group() * g.in_pixels();
        let out_len = g.out_per_group() * g.out_pixels();
        for i in 0..count {
            let own = i * in_len..(i + 1) * in_len;
            let d_z = &d_z[i * out_len..(i + 1) * out_len];
            let x = x.get(own.clone()).unwrap_or_default();
            let d_x = d_x.as_deref_mut().map(|d_x| &mut d_x[own]);
            self.image(group, x, d_z, d_x, d_weight.as_deref_mut());
        }
    }

    fn finish(&self, sum: &[T], write: Write, d_weight: &mut [T]) {
        super::driver::store(sum, write, d_weight);
    }
}

impl<T: Real> Im2col<'_, T> {
    /// As [`ImageBackward::images`] for one image.
    fn image(
        &self,
        group: usize,
        x: &[T],
        d_z: &[T],
        d_x: Option<&mut [T]>,
        d_weight: Option<&mut [T]>,
    ) {
        let g = &self.g;
        let (k, pixels, per_out) = (g.fan_in(), g.out_pixels(), g.out_per_group());
        let own = group * per_out * k..(group + 1) * per_out * k;
        if let Some(d_weight) = d_weight {
            let mut add = |d_z, columns: MatRef<'_, T>| {
                matmul_serial(d_z, columns.t(), d_weight, k, Write::Add);
            };
            if is_pointwise(g) {
                let d_z = MatRef::row_major(d_z, per_out, pixels);
                add(d_z, MatRef::row_major(x, k, pixels));
            } else {
                scratch::with(k * pixels_per_block(g), |columns| {
                    for block in blocks(g) {
                        let columns = &mut columns[..k * block.len()];
                        unroll(g, x, &block, columns);
                        let d_z =
                            MatRef::strided(&d_z[block.start..], per_out, block.len(), pixels, 1);
                        add(d_z, MatRef::row_major(columns, k, block.len()));
                    }
                });
            }
        }
        if let Some(d_x) = d_x {
            let w = MatRef::row_major(&self.weight[own], per_out, k).t();
            if is_pointwise(g) {
                let d_z = MatRef::row_major(d_z, per_out, pixels);
                return matmul_serial(w, d_z, d_x, pixels, Write::Replace);
            }
            d_x.fill(T::ZERO);
            scratch::with(k * pixels_per_block(g), |columns| {
                for block in blocks(g) {
                    let columns = &mut columns[..k * block.len()];
                    let d_z = MatRef::strided(&d_z[block.start..], per_out, block.len(), pixels, 1);
                    matmul_serial(w, d_z, columns, block.len(), Write::Replace);
                    roll(g, columns, &block, d_x);
                }
            });
        }
    }
}
