//! Sums over lists: the inner kernel of the sparse backward pass.
//!
//! Every target is a few rows of vectors, which stay in registers while the terms of its list are added: a number times
//! rows of vectors that lie at the term's place in a source. For the weight gradient a target is an output channel, a
//! term a pixel of the input; for the input gradient a target is a pixel, a term an output channel.

use crate::scratch;
use crate::simd::Simd;
use std::ops::Range;

/// One number to be multiplied with the vectors at a place of the source.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Term {
    at: u32,
    factor: f32,
}

/// Where the sum of one list goes, and how many terms the list has.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Target {
    to: u32,
    count: u32,
}

/// As many lists as there are targets, each with room for as many terms.
pub(super) struct Lists<'a> {
    targets: &'a mut [Target],
    terms: &'a mut [Term],
    /// Terms that a list has room for.
    room: usize,
}

/// The places of a pool's windows, in a plane of numbers.
pub(super) struct Places {
    /// Of each window's first tap.
    pub(super) windows: Vec<u32>,
    /// Of each tap, relative to that. There is an entry for every byte, so that no byte leads out of a plane.
    pub(super) taps: [u32; 256],
    /// How many taps a window has.
    pub(super) count: usize,
}

impl Places {
    /// The largest of all.
    pub(super) fn furthest(&self) -> usize {
        let windows = self.windows.iter().max().copied().unwrap_or(0);
        let taps = self.taps.iter().max().copied().unwrap_or(0);
        windows as usize + taps as usize
    }
}

/// The gradients of a pool's windows and which tap of each won, `[image, channels, windows]`.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    pub(super) d: &'a [f32],
    pub(super) taps: &'a [u8],
    pub(super) channels: usize,
}

/// Whether a gradient has to be added: 1 or 0. What is not a number has to be.
#[inline(always)]
fn counts(d: f32) -> u32 {
    u32::from(d.to_bits() << 1 != 0)
}

impl Lists<'_> {
    /// Calls `f` with room for so many lists of so many terms, whose content is unspecified.
    pub(super) fn with<R>(lists: usize, room: usize, f: impl FnOnce(&mut Lists<'_>) -> R) -> R {
        scratch::with(2 * lists * (1 + room), |numbers: &mut [f32]| {
            let (targets, terms) = numbers.split_at_mut(2 * lists);
            // SAFETY: both types are two numbers of four bytes, aligned as `f32`, for which any bits are a value; the
            // slices are as long as those they are made of, which nobody else uses meanwhile.
            let (targets, terms) = unsafe {
                (
                    std::slice::from_raw_parts_mut(targets.as_mut_ptr().cast(), lists),
                    std::slice::from_raw_parts_mut(terms.as_mut_ptr().cast(), lists * room),
                )
            };
            f(&mut Lists {
                targets,
                terms,
                room,
            })
        })
    }

    /// A list for each of `channels`: the windows `own` of each of `images`, whose planes in the source are `image_len`
    /// apart. The targets are `pitch` apart.
    pub(super) fn by_channel(
        &mut self,
        windows: Windows<'_>,
        places: &Places,
        channels: Range<usize>,
        images: Range<usize>,
        own: Range<usize>,
        image_len: usize,
        pitch: usize,
    ) {
        let plane = places.windows.len();
        let lists = self
            .targets
            .iter_mut()
            .zip(self.terms.chunks_exact_mut(self.room));
        for (i, ((target, terms), channel)) in lists.zip(channels).enumerate() {
            let mut count = 0;
            for image in images.clone() {
                let from = (image * windows.channels + channel) * plane;
                let range = from + own.start..from + own.end;
                let (d, taps) = (&windows.d[range.clone()], &windows.taps[range]);
                let base = (image * image_len) as u32;
                for ((d, tap), place) in d.iter().zip(taps).zip(&places.windows[own.clone()]) {
                    // Written in any case, and kept if it counts.
                    terms[count as usize] = Term {
                        at: base + place + places.taps[usize::from(*tap)],
                        factor: *d,
                    };
                    count += counts(*d);
                }
            }
            *target = Target {
                to: (i * pitch) as u32,
                count,
            };
        }
    }

    /// A list for each tap of each of the windows `own` of one image: the output channels `channels`, whose vectors in
    /// the source are `pitch` apart.
    pub(super) fn by_place(
        &mut self,
        windows: Windows<'_>,
        places: &Places,
        channels: Range<usize>,
        own: Range<usize>,
        pitch: usize,
    ) {
        let plane = places.windows.len();
        let each = self.targets.chunks_exact_mut(places.count);
        for (targets, window) in each.zip(&places.windows[own.clone()]) {
            for (target, tap) in targets.iter_mut().zip(&places.taps) {
                *target = Target {
                    to: window + tap,
                    count: 0,
                };
            }
        }
        for channel in channels {
            let range = channel * plane + own.start..channel * plane + own.end;
            let at = (channel * pitch) as u32;
            let each = self.targets.chunks_exact_mut(places.count);
            let rooms = self.terms.chunks_exact_mut(places.count * self.room);
            let windows = windows.d[range.clone()].iter().zip(&windows.taps[range]);
            for (((targets, terms), (d, tap)), _) in each.zip(rooms).zip(windows).zip(own.clone()) {
                let tap = usize::from(*tap).min(places.count - 1);
                let target = &mut targets[tap];
                terms[tap * self.room + target.count as usize] = Term { at, factor: *d };
                target.count += counts(*d);
            }
        }
    }
}

/// What is added up: for every target `t` and term `i` of its list,
/// `to[t + r · to_pitch + ..] += factor_i · from[at_i + r · from_pitch + ..]` for `rows` rows of `vectors` vectors.
pub(super) struct Job<'a> {
    pub(super) lists: &'a Lists<'a>,
    /// How many of the lists count.
    pub(super) targets: usize,
    pub(super) from: &'a [f32],
    pub(super) from_pitch: usize,
    /// The largest place of a term.
    pub(super) furthest: usize,
    pub(super) to: &'a mut [f32],
    pub(super) to_pitch: usize,
    pub(super) rows: usize,
    pub(super) vectors: usize,
}

impl Job<'_> {
    /// Asserts what the kernel relies on, but that no term's place is beyond the furthest.
    pub(super) fn check(&self, lanes: usize) {
        let targets = &self.lists.targets[..self.targets];
        let last = targets.iter().map(|t| t.to).max().unwrap_or(0) as usize;
        let most = targets.iter().map(|t| t.count).max().unwrap_or(0) as usize;
        assert!(
            most <= self.lists.room,
            "a list has not more terms than room"
        );
        assert!(self.rows > 0 && self.vectors > 0);
        let reach = |pitch: usize| (self.rows - 1) * pitch + self.vectors * lanes;
        assert!(
            self.furthest + reach(self.from_pitch) <= self.from.len(),
            "the source holds every vector"
        );
        assert!(
            last + reach(self.to_pitch) <= self.to.len(),
            "the sums have room"
        );
    }
}

/// Sums that stay in registers beside a factor.
const fn most_sums(lanes: usize) -> usize {
    if lanes == 16 { 28 } else { 14 }
}
/// Vectors and rows of the largest tile.
const MOST_VECTORS: usize = 6;
const MOST_ROWS: usize = 5;

/// `n` in ranges of at most `most`, evenly long.
#[inline(always)]
fn even(n: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let part = n.div_ceil(n.div_ceil(most).max(1)).max(1);
    (0..n)
        .step_by(part)
        .map(move |first| first..(first + part).min(n))
}

simd! {
    /// Adds up a job.
    ///
    /// # Safety
    /// [`Job::check`] has passed for this instruction set, and no place of a term is beyond the furthest.
    pub(super) unsafe fn add(job: &mut Job<'_>) {
        for vectors in even(job.vectors, MOST_VECTORS) {
            let most = (most_sums(S::LANES) / vectors.len()).min(MOST_ROWS);
            for rows in even(job.rows, most) {
                let (first, size) = ((rows.start, vectors.start * S::LANES), rows.len());
                // SAFETY: the caller's promises; the tile lies in the job's rows and vectors.
                unsafe {
                    match vectors.len() {
                        1 => tiles::<S, 1>(job, first, size),
                        2 => tiles::<S, 2>(job, first, size),
                        3 => tiles::<S, 3>(job, first, size),
                        4 => tiles::<S, 4>(job, first, size),
                        5 => tiles::<S, 5>(job, first, size),
                        _ => tiles::<S, MOST_VECTORS>(job, first, size),
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`add`], for `rows` rows of `V` vectors from the place `first` on.
#[inline(always)]
unsafe fn tiles<S: Simd, const V: usize>(job: &mut Job<'_>, first: (usize, usize), rows: usize) {
    let most = most_sums(S::LANES);
    // SAFETY: the caller's promises; no tile is larger than the caller has made it.
    unsafe {
        match rows {
            1 => tile::<S, 1, V>(job, first),
            2 if 2 * V <= most => tile::<S, 2, V>(job, first),
            3 if 3 * V <= most => tile::<S, 3, V>(job, first),
            4 if 4 * V <= most => tile::<S, 4, V>(job, first),
            5 if 5 * V <= most => tile::<S, 5, V>(job, first),
            _ => unreachable!("as many rows as registers hold"),
        }
    }
}

/// # Safety
/// As [`add`], for `R` rows of `V` vectors from the place `first` on.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(job: &mut Job<'_>, first: (usize, usize)) {
    let (row, column) = first;
    let (from_pitch, to_pitch, room) = (job.from_pitch, job.to_pitch, job.lists.room);
    // SAFETY: `check` has compared every target and the furthest term with both slices, and every count with the lists'
    // room.
    unsafe {
        let from = job.from.as_ptr().add(row * from_pitch + column);
        let to = job.to.as_mut_ptr().add(row * to_pitch + column);
        let mut list = job.lists.terms.as_ptr();
        for target in &job.lists.targets[..job.targets] {
            let (mut term, end) = (list, list.add(target.count as usize));
            list = list.add(room);
            if term == end {
                continue;
            }
            let to = to.add(target.to as usize);
            let mut sums = [[S::splat(0.0); V]; R];
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = S::load(to.add(r * to_pitch + v * S::LANES));
                }
            }
            while term < end {
                let factor = S::splat((*term).factor);
                let from = from.add((*term).at as usize);
                for r in 0..R {
                    let from = from.add(r * from_pitch);
                    for v in 0..V {
                        sums[r][v] = S::fma(factor, S::load(from.add(v * S::LANES)), sums[r][v]);
                    }
                }
                term = term.add(1);
            }
            for r in 0..R {
                for v in 0..V {
                    S::store(to.add(r * to_pitch + v * S::LANES), sums[r][v]);
                }
            }
        }
    }
}
