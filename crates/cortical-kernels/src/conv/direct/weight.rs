//! The weight gradient of one image and group, added to sums of the layout
//! `[block of channels][k][channels of the block]`.
//!
//! Wide: for each pixel the upstream gradients of many channels stand in vectors (transposed beforehand), and each
//! tap's pixel is broadcast against them. Narrow, for groups of few channels such as depthwise convolutions: vectors of
//! pixels times vectors of upstream gradients, laid out like the source, and the lanes summed at the end.

use super::plan::Segment;
use crate::simd::Simd;
use std::ops::Range;

/// Channels up to which the narrow way is faster.
pub(super) const NARROW: usize = 4;
/// Sums that one pass over the pixels keeps in registers, the narrow way.
const NARROW_TAPS: usize = 12;

/// How the wide way cuts its sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Numbers in a vector.
    lanes: usize,
    /// Vectors in a full block of channels.
    vectors: usize,
}

impl Cut {
    pub(super) fn new(lanes: usize) -> Self {
        // Sixteen registers hold two vectors and six taps, thirty-two hold four and six.
        Self {
            lanes,
            vectors: if lanes == 16 { 4 } else { 2 },
        }
    }

    /// Vectors of the block that starts at channel `first`.
    fn block_vectors(self, first: usize, channels: usize) -> usize {
        (channels - first).div_ceil(self.lanes).min(self.vectors)
    }

    /// Taps that stay in registers beside so many vectors.
    fn taps(self, vectors: usize) -> usize {
        match (self.lanes, vectors) {
            (16, 1) => 24,
            (16, 2) => 12,
            (16, 3) => 8,
            (16, _) => 6,
            (_, 1) => 12,
            _ => 6,
        }
    }

    /// The blocks of `channels` channels: first channel, vectors, and `k` rounded up to whole passes.
    pub(super) fn blocks(
        self,
        channels: usize,
        k: usize,
    ) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..channels)
            .step_by(self.lanes * self.vectors)
            .map(move |first| {
                let vectors = self.block_vectors(first, channels);
                (first, vectors, k.next_multiple_of(self.pass(vectors, k)))
            })
    }

    /// Taps of one pass: as many as there is room for, but evenly spread over the passes.
    fn pass(self, vectors: usize, k: usize) -> usize {
        let most = self.taps(vectors);
        let even = k.div_ceil(k.div_ceil(most));
        // Only these sizes are compiled.
        let compiled = [most / 4, most / 2, most * 3 / 4, most];
        let fits = compiled.into_iter().find(|&taps| taps >= even.max(1));
        fits.unwrap_or(most)
    }

    /// The sums in up to `tasks` shares of each block, in the order of the sums.
    pub(super) fn shares(
        self,
        channels: usize,
        k: usize,
        tasks: usize,
    ) -> impl Iterator<Item = Share> {
        let (mut sums, mut block) = (0, 0);
        self.blocks(channels, k)
            .flat_map(move |(_, vectors, padded_k)| {
                let (from, transposed) = (sums, block);
                let (width, pass) = (vectors * self.lanes, self.pass(vectors, k));
                sums += width * padded_k;
                block += width;
                let step = (padded_k / pass).div_ceil(tasks) * pass;
                (0..padded_k).step_by(step).map(move |tap| {
                    let taps = tap..(tap + step).min(padded_k);
                    Share {
                        vectors,
                        pass,
                        sums: from + taps.start * width..from + taps.end * width,
                        taps,
                        transposed,
                    }
                })
            })
    }

    /// Elements of the sums.
    pub(super) fn len(self, channels: usize, k: usize) -> usize {
        self.blocks(channels, k)
            .map(|(_, vectors, k)| vectors * self.lanes * k)
            .sum()
    }

    /// Elements of the transposed upstream gradients.
    pub(super) fn transposed_len(self, channels: usize, pixels: usize) -> usize {
        channels.next_multiple_of(self.lanes) * pixels
    }
}

/// Some taps of a block of channels.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Vectors of the block.
    vectors: usize,
    /// Taps of a pass, whose sums stay in registers, and those of all its passes.
    pass: usize,
    taps: Range<usize>,
    /// Which of the sums are its own.
    pub(super) sums: Range<usize>,
    /// Channels in front of the block's in the transposed gradients.
    transposed: usize,
}

/// What is added up.
pub(super) struct Job<'a> {
    pub(super) cut: Cut,
    /// The source planes of the input, image behind image.
    pub(super) x: &'a [f32],
    /// Where each of the sums' taps lies, relative to an output's place.
    pub(super) offsets: &'a [u32],
    pub(super) segments: &'a [Segment],
    pub(super) channels: usize,
    /// Pixels of one image's plane, and of all images.
    pub(super) plane: usize,
    pub(super) pixels: usize,
    /// Upstream gradients, `[image, channels, plane]`.
    pub(super) d_z: &'a [f32],
}

impl Job<'_> {
    /// Asserts what the kernel relies on, for so much room for transposed gradients and for sums.
    pub(super) fn check(&self, transposed: usize, sums: usize) {
        let furthest = self.offsets.iter().max().copied().unwrap_or(0);
        let last = self.segments.last().map_or(0, |s| s.at + s.count);
        assert!(
            (furthest + last) as usize <= self.x.len(),
            "the source holds every pixel"
        );
        let pixels: u32 = self.segments.iter().map(|s| s.count).sum();
        assert_eq!(pixels as usize, self.pixels);
        assert!(self.pixels.is_multiple_of(self.plane.max(1)));
        assert_eq!(self.d_z.len(), self.channels * self.pixels);
        let (channels, k) = (self.channels, self.offsets.len());
        assert_eq!(sums, self.cut.len(channels, k));
        assert_eq!(transposed, self.cut.transposed_len(channels, self.pixels));
    }
}

simd! {
    /// Transposes a job's upstream gradients, block by block of its channels.
    ///
    /// # Safety
    /// [`Job::check`] has passed for this room.
    pub(super) unsafe fn transpose(job: &Job<'_>, transposed: &mut [f32]) {
        let mut d = transposed.as_mut_ptr();
        for (first, vectors, _) in job.cut.blocks(job.channels, job.offsets.len()) {
            let width = vectors * S::LANES;
            for image in 0..job.pixels / job.plane.max(1) {
                // SAFETY: `check` has compared the length with the sum over these blocks and images.
                unsafe {
                    let from = job.d_z.as_ptr().add((image * job.channels + first) * job.plane);
                    transpose_plane::<S>(from, job.plane, job.channels - first, width, d);
                    d = d.add(width * job.plane);
                }
            }
        }
    }
}

simd! {
    /// Adds the products of one share to its sums, the wide way.
    ///
    /// # Safety
    /// [`Job::check`] has passed with a cut for this instruction set, `transposed` is what [`transpose`] made, and the
    /// share is one of the cut's and has these sums.
    pub(super) unsafe fn add_wide(job: &Job<'_>, share: &Share, transposed: &[f32], sums: &mut [f32]) {
        // SAFETY: the caller's promises.
        unsafe {
            let d = transposed.as_ptr().add(share.transposed * job.pixels);
            let sums = sums.as_mut_ptr();
            match (S::LANES, share.vectors) {
                (16, 1) => block::<S, 1, 4>(job, share, sums, d),
                (16, 2) => block::<S, 2, 2>(job, share, sums, d),
                (16, 3) => block::<S, 3, 1>(job, share, sums, d),
                (16, _) => block::<S, 4, 1>(job, share, sums, d),
                (_, 1) => block::<S, 1, 2>(job, share, sums, d),
                _ => block::<S, 2, 1>(job, share, sums, d),
            }
        }
    }
}

/// Writes `d[p, c] = from[c, p]` for `width` channels of one plane, of which `channels` are there and the others zero.
///
/// # Safety
/// `from` holds the planes of the channels that are there, and `d` has room for `plane · width` numbers.
#[inline(always)]
pub(super) unsafe fn transpose_plane<S: Simd>(
    from: *const f32,
    plane: usize,
    channels: usize,
    width: usize,
    d: *mut f32,
) {
    let lanes = S::LANES;
    let squares = plane / lanes * lanes;
    for c in (0..width).step_by(lanes) {
        let there = channels.saturating_sub(c).min(lanes);
        // SAFETY: the caller's promises.
        unsafe {
            // Vectors without any channel that is there are not read.
            let from = from.wrapping_add(c * plane);
            let mut p = 0;
            if there == lanes {
                while p < squares {
                    S::transpose(from.add(p), plane, d.add(p * width + c), width);
                    p += lanes;
                }
            }
            while p < plane {
                for i in 0..lanes {
                    let value = if i < there {
                        *from.add(i * plane + p)
                    } else {
                        0.0
                    };
                    *d.add(p * width + c + i) = value;
                }
                p += 1;
            }
        }
    }
}

/// One share: `V` vectors of channels, the taps of a pass at once, `P` pixels at a time.
///
/// # Safety
/// As [`add_wide`], with the share's sums and its block's transposed gradients.
#[inline(always)]
unsafe fn block<S: Simd, const V: usize, const P: usize>(
    job: &Job<'_>,
    share: &Share,
    sums: *mut f32,
    d: *const f32,
) {
    let width = V * S::LANES;
    // As many pixels as let their gradients stay in the first-level cache while all taps pass over them.
    let most = (6144 / width) as u32;
    let (mut start, mut pixel) = (0, 0);
    while start < job.segments.len() {
        let (mut end, mut count) = (start, 0);
        while end < job.segments.len() && (end == start || count + job.segments[end].count <= most)
        {
            count += job.segments[end].count;
            end += 1;
        }
        let segments = &job.segments[start..end];
        for k in share.taps.clone().step_by(share.pass) {
            // SAFETY: the sums hold whole passes; the last pass of all repeats the last offset.
            unsafe {
                let sums = sums.add((k - share.taps.start) * width);
                let d = d.add(pixel * width);
                passes::<S, V, P>(job, share.pass, k, segments, sums, d);
            }
        }
        pixel += count as usize;
        start = end;
    }
}

/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn passes<S: Simd, const V: usize, const P: usize>(
    job: &Job<'_>,
    pass: usize,
    k: usize,
    segments: &[Segment],
    sums: *mut f32,
    d: *const f32,
) {
    // SAFETY: the caller's promises; `pass` is one of the sizes that `Cut::pass` gives.
    unsafe {
        match pass {
            24 if V <= 1 => taps::<S, V, 24, P>(job, k, segments, sums, d),
            18 if V <= 1 => taps::<S, V, 18, P>(job, k, segments, sums, d),
            12 if V <= 2 => taps::<S, V, 12, P>(job, k, segments, sums, d),
            9 if V <= 2 => taps::<S, V, 9, P>(job, k, segments, sums, d),
            8 if V <= 3 => taps::<S, V, 8, P>(job, k, segments, sums, d),
            6 => taps::<S, V, 6, P>(job, k, segments, sums, d),
            4 => taps::<S, V, 4, P>(job, k, segments, sums, d),
            3 => taps::<S, V, 3, P>(job, k, segments, sums, d),
            2 => taps::<S, V, 2, P>(job, k, segments, sums, d),
            _ => taps::<S, V, 1, P>(job, k, segments, sums, d),
        }
    }
}

/// # Safety
/// As [`block`], for the taps from `k` on.
#[inline(always)]
unsafe fn taps<S: Simd, const V: usize, const K: usize, const P: usize>(
    job: &Job<'_>,
    k: usize,
    segments: &[Segment],
    sums: *mut f32,
    mut d: *const f32,
) {
    let width = V * S::LANES;
    // SAFETY: every place of every segment plus every offset lies in the source, as `check` has shown.
    unsafe {
        let x = job.x.as_ptr();
        let last = job.offsets.len() - 1;
        let mut acc = [[S::splat(0.0); V]; K];
        for t in 0..K {
            for v in 0..V {
                acc[t][v] = S::load(sums.add(t * width + v * S::LANES));
            }
        }
        for segment in segments {
            // Taps beyond the last repeat it; their sums are never read.
            let mut from = [x; K];
            for t in 0..K {
                let offset = job.offsets[(k + t).min(last)];
                from[t] = x.add((offset + segment.at) as usize);
            }
            let count = segment.count as usize;
            let mut w = 0;
            while w + P <= count {
                pixels::<S, V, K, P>(&mut acc, &from, w, d);
                d = d.add(P * width);
                w += P;
            }
            while w < count {
                pixels::<S, V, K, 1>(&mut acc, &from, w, d);
                d = d.add(width);
                w += 1;
            }
        }
        for t in 0..K {
            for v in 0..V {
                S::store(sums.add(t * width + v * S::LANES), acc[t][v]);
            }
        }
    }
}

/// # Safety
/// `P` pixels from `w` on can be read behind each pointer, and their gradients behind `d`.
#[inline(always)]
unsafe fn pixels<S: Simd, const V: usize, const K: usize, const P: usize>(
    acc: &mut [[S::V; V]; K],
    from: &[*const f32; K],
    w: usize,
    d: *const f32,
) {
    // SAFETY: the caller's promises.
    unsafe {
        let mut gradients = [[S::splat(0.0); V]; P];
        for p in 0..P {
            for v in 0..V {
                gradients[p][v] = S::load(d.add((p * V + v) * S::LANES));
            }
        }
        for t in 0..K {
            let from = from[t].add(w);
            for p in 0..P {
                let x = S::splat(*from.add(p));
                for v in 0..V {
                    acc[t][v] = S::fma(x, gradients[p][v], acc[t][v]);
                }
            }
        }
    }
}

simd! {
    /// `sums[k] += Σ_p x[offset_k + p] · d_z[p]` over `len` places, for one channel, the narrow way: `d_z` is laid out
    /// like a source plane, with zeros where there is no output.
    ///
    /// # Safety
    /// `x` holds every offset plus `len` rounded up to whole vectors, `d_z` as many numbers.
    pub(super) unsafe fn add_narrow(
        x: &[f32],
        offsets: &[u32],
        d_z: &[f32],
        len: usize,
        sums: &mut [f32],
    ) {
        for (offsets, sums) in offsets.chunks(NARROW_TAPS).zip(sums.chunks_mut(NARROW_TAPS)) {
            // SAFETY: the caller's promises.
            unsafe {
                match offsets.len() {
                    9 => narrow::<S, 9>(x, offsets, d_z, len, sums),
                    NARROW_TAPS => narrow::<S, NARROW_TAPS>(x, offsets, d_z, len, sums),
                    _ => for (offset, sum) in offsets.chunks(1).zip(sums.chunks_mut(1)) {
                        narrow::<S, 1>(x, offset, d_z, len, sum);
                    },
                }
            }
        }
    }
}

/// # Safety
/// As [`add_narrow`], for `K` offsets and sums.
#[inline(always)]
unsafe fn narrow<S: Simd, const K: usize>(
    x: &[f32],
    offsets: &[u32],
    d_z: &[f32],
    len: usize,
    sums: &mut [f32],
) {
    // SAFETY: the caller's promises.
    unsafe {
        let mut from = [x.as_ptr(); K];
        for t in 0..K {
            from[t] = x.as_ptr().add(offsets[t] as usize);
        }
        let mut acc = [S::splat(0.0); K];
        let mut p = 0;
        while p < len {
            let d = S::load(d_z.as_ptr().add(p));
            for t in 0..K {
                acc[t] = S::fma(S::load(from[t].add(p)), d, acc[t]);
            }
            p += S::LANES;
        }
        for t in 0..K {
            sums[t] += S::sum(acc[t]);
        }
    }
}
