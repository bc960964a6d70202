//! The inner kernel of forward pass and input gradient: a few vectors of pixels times a few channels, all in registers.

use super::plan::{Run, Runs};
use crate::parallel;
use crate::simd::Simd;

/// How many of `left` channels the next block takes: the largest power of two that a tile may have.
pub(super) fn block(left: usize, most: usize) -> usize {
    let mut size = most;
    while size > left {
        size /= 2;
    }
    size
}

/// Rearranges the weights of `channels` channels block by block, so that a tile reads them in order: for each term of
/// the sums the block's channels side by side. The weight of channel c for a term lies at `c · pitch + term`.
pub(super) fn pack(
    channels: usize,
    most: usize,
    weight: &[f32],
    pitch: usize,
    terms: impl ExactSizeIterator<Item = usize> + Clone + Send + Sync,
    packed: &mut [f32],
) {
    let k = terms.len();
    assert_eq!(packed.len(), channels * k, "room for every weight");
    if packed.is_empty() {
        return;
    }
    parallel::chunks_mut(packed, most * k, |at, mut packed| {
        let mut first = at / k;
        while !packed.is_empty() {
            let size = block(packed.len() / k, most);
            let (own, rest) = packed.split_at_mut(size * k);
            let weight = &weight[first * pitch..];
            for (own, term) in own.chunks_exact_mut(size).zip(terms.clone()) {
                for (own, w) in own.iter_mut().zip(weight[term..].iter().step_by(pitch)) {
                    *own = *w;
                }
            }
            (first, packed) = (first + size, rest);
        }
    });
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
        // Loops and no closures: one that is not inlined has not the instruction set, and costs a call for every term.
        let mut at = [[0_usize; 2]; V];
        for v in 0..V {
            at[v] = [runs[v].at[0] as usize, runs[v].at[1] as usize];
        }
        let mut sums = [[S::splat(0.0); V]; C];
        // 1. Every term of the sums: one load a vector, one broadcast a channel.
        for offset in job.offsets {
            let x = x.add(*offset as usize);
            let mut pixels = [S::splat(0.0); V];
            for v in 0..V {
                pixels[v] = if SPLIT {
                    S::load_halves(x.add(at[v][0]), x.add(at[v][1]))
                } else {
                    S::load(x.add(at[v][0]))
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
