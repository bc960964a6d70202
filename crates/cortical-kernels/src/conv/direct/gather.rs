//! The padded input laid out as the kernels read it.

use crate::isa::InstructionSet;
use crate::simd::Simd;

/// Numbers behind a source that vectors may read and that no output depends on.
pub(super) const SLACK: usize = 128;

/// Padded planes of one image and group: for each channel one plane for each phase.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Depth, height and width of a plane.
    pub(super) len: [usize; 3],
    /// How far apart in an input row neighbours in a plane are.
    step: usize,
    phases: Vec<Phase>,
    /// Elements of one channel of the input.
    pixels: usize,
    /// Whether the input's planes are the source's as they are.
    pub(super) whole: bool,
}

/// Which part of a channel one plane holds.
#[derive(Clone, Debug)]
struct Phase {
    /// For each row of the plane, where its first element that is no padding lies in the channel; `None` for a row of
    /// padding.
    rows: Vec<Option<usize>>,
    /// The elements of a row that are no padding.
    first: usize,
    end: usize,
}

impl Source {
    /// Planes of `len` elements along each axis; element j of an axis is element `origin + j · step` of the input, for
    /// each of the origins.
    pub(super) fn new(
        len: [usize; 3],
        step: [usize; 3],
        origins: &[[isize; 3]],
        input: [usize; 3],
    ) -> Self {
        let phase = |origin: &[isize; 3]| {
            let read = |axis: usize, j: usize| {
                let at = origin[axis] + (j * step[axis]) as isize;
                usize::try_from(at).ok().filter(|&at| at < input[axis])
            };
            // How many elements of a row lie in front of element `bound` of the input.
            let before = |bound: isize| bound.max(0).unsigned_abs().div_ceil(step[2]).min(len[2]);
            let first = before(-origin[2]);
            let end = before(input[2] as isize - origin[2]).max(first);
            let start = read(2, first).filter(|_| first < end);
            let row = |(d, h)| Some((read(0, d)? * input[1] + read(1, h)?) * input[2] + start?);
            let lines = (0..len[0]).flat_map(|d| (0..len[1]).map(move |h| (d, h)));
            Phase {
                rows: lines.map(row).collect(),
                first,
                end,
            }
        };
        Self {
            len,
            step: step[2],
            phases: origins.iter().map(phase).collect(),
            pixels: input.iter().product(),
            whole: len == input && step == [1; 3] && origins == [[0; 3]],
        }
    }

    pub(super) fn plane(&self) -> usize {
        self.len.iter().product()
    }

    /// Elements of the planes of `channels` channels, with the slack behind.
    pub(super) fn room(&self, channels: usize) -> usize {
        channels * self.phases.len() * self.plane() + SLACK
    }

    /// Where output `[d, h, 0]` lies in a plane.
    pub(super) fn place(&self, d: usize, h: usize) -> usize {
        (d * self.len[1] + h) * self.len[2]
    }

    /// The planes of the first channels of `x`: `x` itself where its planes are the source's and it holds the `reach`
    /// numbers that will be read, else copies in `room`, whose length says how many there are.
    pub(super) fn planes<'a>(
        &self,
        isa: InstructionSet,
        x: &'a [f32],
        reach: usize,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        if self.whole && x.len() >= reach {
            return x;
        }
        self.gather(isa, x, room);
        room
    }

    /// Copies the first channels of `x` to their places, zeros around and behind them.
    pub(super) fn gather(&self, isa: InstructionSet, x: &[f32], out: &mut [f32]) {
        let end = out.len() - SLACK;
        if self.whole {
            out[..end].copy_from_slice(&x[..end]);
        } else if end > 0 {
            let channels = end / (self.phases.len() * self.plane());
            assert!(x.len() >= channels * self.pixels, "channels of the input");
            // SAFETY: `x` holds so many channels, and every row was planned to lie in one; `out` holds their planes and
            // behind them more than a vector of slack.
            unsafe { fill(isa, self, x, channels, out) };
        }
        out[end..].fill(0.0);
    }
}

simd! {
    /// Writes the planes of `channels` channels row by row. Each write may run over the end of its row by less than a
    /// vector, as what comes behind is written later.
    ///
    /// # Safety
    /// `x` holds `channels` channels and `out` their planes and a vector more.
    unsafe fn fill(source: &Source, x: &[f32], channels: usize, out: &mut [f32]) {
        let width = source.len[2];
        let mut to = out.as_mut_ptr();
        for c in 0..channels {
            for phase in &source.phases {
                for row in &phase.rows {
                    // SAFETY: the caller's promises.
                    unsafe {
                        match row {
                            Some(row) => {
                                zeros::<S>(to, phase.first);
                                let from = c * source.pixels + row;
                                copy::<S>(x, from, source.step, phase.end - phase.first, to.add(phase.first));
                                zeros::<S>(to.add(phase.end), width - phase.end);
                            }
                            None => zeros::<S>(to, width),
                        }
                        to = to.add(width);
                    }
                }
            }
        }
    }
}

/// # Safety
/// `count` numbers and a vector more can be written at `to`.
#[inline(always)]
unsafe fn zeros<S: Simd>(to: *mut f32, count: usize) {
    let mut i = 0;
    while i < count {
        // SAFETY: the caller's promise.
        unsafe { S::store(to.add(i), S::splat(0.0)) };
        i += S::LANES;
    }
}

/// Copies `count` numbers that lie `step` apart from `x[from]` on.
///
/// # Safety
/// They lie in `x`, and `count` numbers and a vector more can be written at `to`.
#[inline(always)]
unsafe fn copy<S: Simd>(x: &[f32], from: usize, step: usize, count: usize, to: *mut f32) {
    // Whole vectors may read behind the last number.
    let vectors = step <= 2 && from + count.next_multiple_of(S::LANES) * step <= x.len();
    // SAFETY: the caller's promises, and the line above for whole vectors.
    unsafe {
        let from = x.as_ptr().add(from);
        let mut i = 0;
        match (vectors, step) {
            (true, 1) => {
                while i < count {
                    S::store(to.add(i), S::load(from.add(i)));
                    i += S::LANES;
                }
            }
            (true, _) => {
                while i < count {
                    S::store(to.add(i), S::load_even(from.add(2 * i)));
                    i += S::LANES;
                }
            }
            (false, _) => {
                while i < count {
                    *to.add(i) = *from.add(i * step);
                    i += 1;
                }
            }
        }
    }
}
