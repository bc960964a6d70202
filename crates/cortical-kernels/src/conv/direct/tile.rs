//! The inner kernel of forward pass and input gradient: a few vectors of pixels times a few channels, all in registers.

use super::plan::{Run, Runs};
use crate::simd::Simd;

/// How many of `left` channels the next block takes: the largest power of two that a tile may have.
pub(super) fn block(left: usize, most: usize) -> usize {
    let mut size = most;
    while size > left {
        size /= 2;
    }
    size
}

/// Rearranges the weights of `channels` channels block by block, so that a tile reads them in order: for each of `k` offsets the
/// block's channels side by side.
pub(super) fn pack(
    channels: usize,
    k: usize,
    most: usize,
    packed: &mut [f32],
    weight: impl Fn(usize, usize) -> f32,
) {
    let mut out = packed.iter_mut();
    let mut first = 0;
    while first < channels {
        let size = block(channels - first, most);
        for offset in 0..k {
            for c in first..first + size {
                *out.next().expect("room for every weight") = weight(c, offset);
            }
        }
        first += size;
    }
}

/// What one call computes: `channels` channels of one image and group.
pub(super) struct Job<'a> {
    /// The source planes, with their slack.
    pub(super) x: &'a [f32],
    /// Where each term of the sums lies, relative to an output's place.
    pub(super) offsets: &'a [u32],
    pub(super) runs: &'a Runs,
    /// The packed weights of these channels.
    pub(super) weights: &'a [f32],
    pub(super) channels: usize,
    /// What the sums begin with, one number a channel.
    pub(super) bias: Option<&'a [f32]>,
    /// Whether negative sums become zero.
    pub(super) relu: bool,
    /// The outputs, `pitch` apart from channel to channel.
    pub(super) y: &'a mut [f32],
    pub(super) pitch: usize,
}

/// How many numbers of a source the vectors read.
pub(super) fn reach(offsets: &[u32], runs: &Runs) -> usize {
    /// Half a vector starts at each place.
    const HALF: usize = 8;
    let furthest = offsets.iter().max().copied().unwrap_or(0) as usize;
    let places = runs.list.iter().flat_map(|run| run.at);
    places
        .max()
        .map_or(0, |last| furthest + last as usize + HALF)
}

impl Job<'_> {
    /// Asserts what the kernel relies on.
    pub(super) fn check(&self) {
        let reach = reach(self.offsets, self.runs);
        assert!(reach <= self.x.len(), "the source holds every vector");
        let runs = &self.runs.list;
        assert_eq!(self.weights.len(), self.channels * self.offsets.len());
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels));
        let outputs = runs
            .last()
            .map_or(0, |run| (run.out + u32::from(run.count)) as usize);
        assert!(outputs <= self.pitch && self.channels * self.pitch <= self.y.len());
    }
}

simd! {
    /// Computes a job.
    ///
    /// # Safety
    /// [`Job::check`] has passed, and the runs of the job ascend.
    pub(super) unsafe fn correlate(job: &mut Job<'_>) {
        // SAFETY: the caller's promises.
        unsafe {
            if job.runs.split {
                all::<S, true>(job);
            } else {
                all::<S, false>(job);
            }
        }
    }
}

/// # Safety
/// As [`correlate`]; `SPLIT` says whether halves of vectors may lie apart.
#[inline(always)]
unsafe fn all<S: Simd, const SPLIT: bool>(job: &mut Job<'_>) {
    // Few channels leave registers for more pixels.
    for runs in job.runs.list.chunks(6) {
        // Two tiles of two and not of three and one, which would wait for its own sums.
        let three = runs.len().div_ceil(2).clamp(1, 3);
        let (mut first, mut weights) = (0, job.weights.as_ptr());
        while first < job.channels {
            let size = block(job.channels - first, S::CHANNELS);
            // SAFETY: `check` has compared every length: sources hold all offsets of all runs, weights all channels,
            // outputs all runs of all channels.
            unsafe {
                let y = job.y.as_mut_ptr().add(first * job.pitch);
                let bias = job.bias.map(|bias| bias.as_ptr().add(first));
                match size {
                    8 => {
                        for runs in tiles(runs, three) {
                            rows::<S, 8, SPLIT>(job, runs, weights, bias, y);
                        }
                    }
                    4 => {
                        for runs in tiles(runs, three) {
                            rows::<S, 4, SPLIT>(job, runs, weights, bias, y);
                        }
                    }
                    2 => rows::<S, 2, SPLIT>(job, runs, weights, bias, y),
                    _ => rows::<S, 1, SPLIT>(job, runs, weights, bias, y),
                }
                weights = weights.add(size * job.offsets.len());
            }
            first += size;
        }
    }
}

/// Up to six runs as tiles of at most three.
#[inline(always)]
fn tiles(runs: &[Run], most: usize) -> std::slice::Chunks<'_, Run> {
    runs.chunks(if runs.len() <= 3 { 3 } else { most })
}

/// # Safety
/// As [`correlate`], for the channels that `weights`, `bias` and `y` begin with.
#[inline(always)]
unsafe fn rows<S: Simd, const C: usize, const SPLIT: bool>(
    job: &Job<'_>,
    runs: &[Run],
    weights: *const f32,
    bias: Option<*const f32>,
    y: *mut f32,
) {
    // SAFETY: the caller's promises; each arm passes as many runs as its tile has vectors.
    unsafe {
        match runs.len() {
            1 => tile::<S, C, 1, SPLIT>(job, runs, weights, bias, y),
            2 => tile::<S, C, 2, SPLIT>(job, runs, weights, bias, y),
            3 => tile::<S, C, 3, SPLIT>(job, runs, weights, bias, y),
            4 if C <= 2 => tile::<S, C, 4, SPLIT>(job, runs, weights, bias, y),
            5 if C <= 2 => tile::<S, C, 5, SPLIT>(job, runs, weights, bias, y),
            6 if C <= 2 => tile::<S, C, 6, SPLIT>(job, runs, weights, bias, y),
            _ => unreachable!("tiles of three vectors, or six for few channels"),
        }
    }
}

/// # Safety
/// As [`rows`], and `runs` has `V` runs.
#[inline(always)]
unsafe fn tile<S: Simd, const C: usize, const V: usize, const SPLIT: bool>(
    job: &Job<'_>,
    runs: &[Run],
    mut weights: *const f32,
    bias: Option<*const f32>,
    y: *mut f32,
) {
    // SAFETY: `check` has proved that every load and store lies inside its slice.
    unsafe {
        let x = job.x.as_ptr();
        let at: [[usize; 2]; V] = std::array::from_fn(|v| runs[v].at.map(|at| at as usize));
        let mut sums = [[S::splat(0.0); V]; C];
        // 1. Every term of the sums: one load a vector, one broadcast a channel.
        for offset in job.offsets {
            let x = x.add(*offset as usize);
            let mut pixels = [S::splat(0.0); V];
            for v in 0..V {
                let [first, second] = at[v].map(|at| x.add(at));
                pixels[v] = if SPLIT {
                    S::load_halves(first, second)
                } else {
                    S::load(first)
                };
            }
            for c in 0..C {
                let weight = S::splat(*weights.add(c));
                for v in 0..V {
                    sums[c][v] = S::fma(pixels[v], weight, sums[c][v]);
                }
            }
            weights = weights.add(C);
        }
        // 2. Bias, activation, and the lanes that are outputs to their places.
        let zero = S::splat(0.0);
        for c in 0..C {
            let bias = bias.map(|bias| S::splat(*bias.add(c)));
            let row = y.add(c * job.pitch);
            for v in 0..V {
                let mut sum = sums[c][v];
                if let Some(bias) = bias {
                    sum = S::add(sum, bias);
                }
                if job.relu {
                    sum = S::max(zero, sum);
                }
                let (run, to) = (&runs[v], row.add(runs[v].out as usize));
                if run.count as usize == S::LANES {
                    S::store(to, sum);
                } else {
                    S::store_first(to, S::compress(sum, run.keep), run.count as usize);
                }
            }
        }
    }
}
