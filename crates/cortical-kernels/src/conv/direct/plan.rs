//! A convolution as correlations of stride 1: where padded inputs lie, and which outputs a vector computes.
//!
//! Strides disappear by cutting the padded input into *phases*: phase r of an axis with stride s holds its elements r,
//! r + s, r + 2s, …, and every tap reads one phase shifted by whole elements. Then output (h, w) lies at one place of a
//! *source* plane for all taps, up to an offset a tap, and consecutive places are consecutive outputs, but for the few
//! at the end of each row that belong to no output. The input gradient is the same with the phases on the side of the
//! result.

use super::super::{Axis, Geometry};
use super::gather::Source;

/// One vector of outputs: where it reads the source, which of its lanes are outputs, and where those go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Places of the first lane of both halves in a source plane.
    pub(super) at: [u32; 2],
    /// Index of the first output.
    pub(super) out: u32,
    /// The lanes that are outputs.
    pub(super) keep: u16,
    /// How many they are.
    pub(super) count: u16,
}

/// The vectors that cover all outputs.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    pub(super) list: Vec<Run>,
    /// Whether the halves of a vector may lie apart.
    pub(super) split: bool,
}

/// The vectors of `lanes` numbers that cover all outputs, each starting at an output. Where it saves vectors, as for
/// rows of 8 or 24, both halves start at an output of their own, at the price of a second load.
pub(super) fn runs(source: &Source, output: [usize; 3], lanes: usize) -> Runs {
    let whole = cover(source, output, lanes, false);
    let split = cover(source, output, lanes, true);
    // A second load for each vector must be worth it.
    if split.len() * 20 <= whole.len() * 19 {
        Runs {
            list: split,
            split: true,
        }
    } else {
        Runs {
            list: whole,
            split: false,
        }
    }
}

fn cover(source: &Source, output: [usize; 3], lanes: usize, split: bool) -> Vec<Run> {
    let half = lanes / 2;
    let mut runs: Vec<Run> = Vec::new();
    // Where in the last vector a place lies, if it does; the second half settles when its first output comes.
    let lane = |run: &mut Run, place: usize, first_of_second: bool| {
        let [low, high] = run.at.map(|at| at as usize);
        if place < low + half {
            return Some(place - low);
        }
        if split && first_of_second {
            run.at[1] = place as u32;
            return Some(half);
        }
        (place < high + half).then(|| half + place - high)
    };
    let mut out = 0;
    for (d, h) in (0..output[0]).flat_map(|d| (0..output[1]).map(move |h| (d, h))) {
        let row = source.place(d, h);
        for place in row..row + output[2] {
            let found = runs.last_mut().and_then(|run| {
                let first = usize::from(run.keep) >> half == 0;
                let lane = lane(run, place, first)?;
                run.keep |= 1 << lane;
                run.count += 1;
                Some(())
            });
            if found.is_none() {
                runs.push(Run {
                    at: [place as u32, (place + half) as u32],
                    out,
                    keep: 1,
                    count: 1,
                });
            }
            out += 1;
        }
    }
    runs
}

/// A segment of outputs in one row: where it starts in a source plane and how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) at: u32,
    pub(super) count: u32,
}

/// The rows of the output in segments of at most `most`.
pub(super) fn segments(source: &Source, output: [usize; 3], most: usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (d, h) in (0..output[0]).flat_map(|d| (0..output[1]).map(move |h| (d, h))) {
        for w in (0..output[2]).step_by(most) {
            segments.push(Segment {
                at: (source.place(d, h) + w) as u32,
                count: most.min(output[2] - w) as u32,
            });
        }
    }
    segments
}

/// Whether every place of the sources of a convolution fits the tables' 32 bits.
pub(super) fn fits(g: &Geometry) -> bool {
    let wide = |n: usize| n as u128;
    let elements = |channels: usize, axes: [u128; 3]| {
        (axes.iter()).fold(wide(channels), |n, &len| n.saturating_mul(len + 1))
    };
    let padded = g.axes().map(|axis| {
        let window = wide(axis.kernel) * wide(axis.dilation);
        wide(axis.input)
            + wide(axis.padding[0])
            + wide(axis.padding[1])
            + window
            + wide(axis.stride)
    });
    // Phases cut the padded input and add at most one element an axis and phase.
    let phases = |axis: &Axis| wide(axis.stride).min(wide(axis.kernel) * wide(axis.dilation));
    let strides = (g.axes().iter().map(phases)).fold(1, u128::saturating_mul);
    let channels = g.in_per_group().max(g.out_per_group());
    elements(channels, padded).saturating_mul(strides.max(1)) < u128::from(u32::MAX / 2)
}

/// The positions of all taps of a kernel, row by row.
fn taps(axes: &[Axis; 3]) -> Vec<[usize; 3]> {
    let [depth, height, width] = axes.map(|axis| axis.kernel);
    (0..depth)
        .flat_map(|d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w])))
        .collect()
}

/// The source of a convolution's input and the offset of every channel and tap in it.
pub(super) fn forward(g: &Geometry) -> (Source, Vec<u32>) {
    let axes = g.axes();
    let taps = taps(&axes);
    let shift = |i: usize, t: usize| t * axes[i].dilation / axes[i].stride;
    let len: [usize; 3] = std::array::from_fn(|i| g.output()[i] + shift(i, axes[i].kernel - 1));
    let phase_of = |tap: &[usize; 3]| -> [isize; 3] {
        std::array::from_fn(|i| {
            (tap[i] * axes[i].dilation % axes[i].stride) as isize - axes[i].padding[0] as isize
        })
    };
    let mut origins: Vec<[isize; 3]> = Vec::new();
    let phases: Vec<usize> = taps
        .iter()
        .map(|tap| {
            let origin = phase_of(tap);
            let known = origins.iter().position(|o| *o == origin);
            known.unwrap_or_else(|| {
                origins.push(origin);
                origins.len() - 1
            })
        })
        .collect();
    let input = axes.map(|axis| axis.input);
    let source = Source::new(len, axes.map(|axis| axis.stride), &origins, input);
    let (plane, count) = (source.plane(), origins.len());
    let mut offsets = Vec::with_capacity(g.fan_in());
    for c in 0..g.in_per_group() {
        for (tap, phase) in taps.iter().zip(&phases) {
            let [d, h, w] = std::array::from_fn(|i| shift(i, tap[i]));
            let place = source.place(d, h) + w;
            offsets.push(((c * count + phase) * plane + place) as u32);
        }
    }
    (source, offsets)
}

/// The input positions of one residue of the strides, all computed from the same taps.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// The residue along each axis.
    pub(super) residue: [usize; 3],
    /// The kernel's taps that reach these positions, as flat indices.
    pub(super) taps: Vec<usize>,
    /// The offset of every output channel and tap in the source.
    pub(super) offsets: Vec<u32>,
}

/// The input gradient as correlations: the source of the output's gradient, the box of results a phase has, where the
/// box starts in multiples of the strides, and the phases.
pub(super) struct Backward {
    pub(super) source: Source,
    pub(super) result: [usize; 3],
    pub(super) start: [usize; 3],
    pub(super) phases: Vec<Phase>,
}

/// Plans the input gradient. Input q of an axis gets, for a = (q + padding) div stride with residue r, the upstream
/// gradients a − (t · dilation − r) / stride of all taps t with t · dilation ≡ r.
pub(super) fn backward(g: &Geometry) -> Backward {
    let axes = g.axes();
    let start = axes.map(|axis| axis.padding[0] / axis.stride);
    let result: [usize; 3] = std::array::from_fn(|i| {
        let axis = axes[i];
        (axis.input + axis.padding[0]).div_ceil(axis.stride) - start[i]
    });
    let reach = axes.map(|axis| (axis.kernel - 1) * axis.dilation / axis.stride);
    let origin = std::array::from_fn(|i| start[i] as isize - reach[i] as isize);
    let len = std::array::from_fn(|i| result[i] + reach[i]);
    let source = Source::new(len, [1; 3], &[origin], g.output());
    let all = taps(&axes);
    let [sd, sh, sw] = axes.map(|axis| axis.stride);
    let residues = (0..sd).flat_map(|d| (0..sh).flat_map(move |h| (0..sw).map(move |w| [d, h, w])));
    let phases = residues
        .map(|residue| {
            let own = |tap: &[usize; 3]| {
                (0..3).all(|i| tap[i] * axes[i].dilation % axes[i].stride == residue[i])
            };
            let taps: Vec<usize> = (0..all.len()).filter(|&t| own(&all[t])).collect();
            let mut offsets = Vec::with_capacity(taps.len() * g.out_per_group());
            for o in 0..g.out_per_group() {
                for &t in &taps {
                    let [d, h, w] = std::array::from_fn(|i| {
                        reach[i] - all[t][i] * axes[i].dilation / axes[i].stride
                    });
                    offsets.push((o * source.plane() + source.place(d, h) + w) as u32);
                }
            }
            Phase {
                residue,
                taps,
                offsets,
            }
        })
        .collect();
    Backward {
        source,
        result,
        start,
        phases,
    }
}
