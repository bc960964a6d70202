//! Operands as blocks of three `bf16` parts: what the tile instructions read.
//!
//! `x = high + middle + low` exactly: each part is the nearest `bf16` to what the parts before it left over. Eight bits
//! of significand three times are the twenty-four of an `f32`.
//!
//! A block holds 16 rows (or columns) times 32 steps of the sum: 16 lines of 16 pairs. A pair joins step `p` with step
//! `p + 16`; the instructions only ask that both operands agree. A line of the left operand is a row of the matrix, a
//! line of the right one is a pair of steps; which of the two lies in memory decides whether a block is transposed on
//! its way.

use super::super::MatRef;
use super::super::tile::avx512::transpose16;
use std::arch::x86_64::*;

/// Rows or columns of a tile.
pub(super) const TILE: usize = 16;
/// Steps of the sum in a block.
pub(super) const STEPS: usize = 32;
/// Bytes of one part of a block.
pub(super) const PART: usize = 1024;
/// Numbers of `f32` that fill the place of a packed block.
pub(super) const BLOCK: usize = 3 * PART / size_of::<f32>();

/// The bits of the least magnitude that is left to another kernel: 2⁴⁰. Infinities and numbers that are none have
/// larger bits, and the high part of a larger finite number could round to infinity. Below it, parts that fall under
/// the least normal number (the instructions take them for zero) change no product by more than 2⁻⁸⁶.
pub(super) const TOO_LARGE: u32 = 0x5380_0000;

/// What packing has seen of an operand's numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// The largest bits of a magnitude.
    largest: u32,
    /// All bits that were set in any number.
    any: u32,
}

impl Seen {
    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            any: self.any | other.any,
        }
    }

    /// Whether the numbers may be multiplied in parts.
    pub(super) fn is_small(self) -> bool {
        self.largest < TOO_LARGE
    }

    /// Whether every number is a `bf16`, so that its middle and low parts are zero.
    pub(super) fn is_narrow(self) -> bool {
        self.any & 0xffff == 0
    }
}

/// [`Seen`] for each lane.
#[derive(Clone, Copy)]
struct Lanes {
    largest: __m512i,
    any: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none() -> Self {
        Self {
            largest: _mm512_setzero_si512(),
            any: _mm512_setzero_si512(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn and(self, other: Self) -> Self {
        Self {
            largest: _mm512_max_epu32(self.largest, other.largest),
            any: _mm512_or_si512(self.any, other.any),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fold(self) -> Seen {
        Seen {
            largest: _mm512_reduce_max_epu32(self.largest),
            any: _mm512_reduce_or_epi32(self.any) as u32,
        }
    }
}

/// Packs the blocks of sixteen columns of `x` (`[k, columns]`, of which `first` is the first) and returns what it has
/// seen. With `lines_are_steps` the operand is a right one, otherwise the transpose of a left one.
///
/// # Safety
/// The processor has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
pub(super) unsafe fn columns(
    x: MatRef<'_, f32>,
    first: usize,
    lines_are_steps: bool,
    to: &mut [f32],
) -> Seen {
    let width = (x.cols - first).min(TILE);
    let steps_apart = x.col_stride == 1 && x.row_stride != 1;
    let mut seen = Seen::default();
    for (block, to) in to.chunks_exact_mut(BLOCK).enumerate() {
        let start = block * STEPS;
        let x = x.block(start..(start + STEPS).min(x.rows), first..first + width);
        // SAFETY: the caller's promise; the block's 3 · 1024 bytes are what is written.
        let of_block = unsafe {
            if steps_apart == lines_are_steps {
                in_place(x, lines_are_steps, to.as_mut_ptr())
            } else {
                turned(x, steps_apart, to.as_mut_ptr())
            }
        };
        seen = seen.and(of_block);
    }
    seen
}

/// The mask of the first `count` lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    (0xffff_u32 >> (16 - count.min(16))) as __mmask16
}

/// A block whose lines lie in memory as they are wanted.
///
/// # Safety
/// As [`columns`]; the block of `to` can be written.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn in_place(x: MatRef<'_, f32>, lines_are_steps: bool, to: *mut f32) -> Seen {
    let from = x.data.as_ptr();
    let mut seen = Lanes::none();
    for line in 0..TILE {
        // SAFETY: masks and conditions leave out what lies beyond the matrix; the line lies inside the block.
        unsafe {
            let (first, second) = if lines_are_steps {
                let row = |step: usize| {
                    let lanes = if step < x.rows { mask(x.cols) } else { 0 };
                    _mm512_maskz_loadu_epi32(lanes, from.wrapping_add(step * x.row_stride).cast())
                };
                (row(line), row(line + TILE))
            } else {
                let row = |step: usize| {
                    let count = if line < x.cols {
                        x.rows.saturating_sub(step)
                    } else {
                        0
                    };
                    let at = from.wrapping_add(line * x.col_stride + step);
                    _mm512_maskz_loadu_epi32(mask(count), at.cast())
                };
                (row(0), row(TILE))
            };
            seen = seen.and(split(first, second, to.add(line * TILE)));
        }
    }
    seen.fold()
}

/// A block that is transposed on its way.
///
/// # Safety
/// As [`in_place`].
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn turned(x: MatRef<'_, f32>, steps_apart: bool, to: *mut f32) -> Seen {
    let mut halves = [[0.0_f32; TILE * TILE]; 2];
    for (half, out) in halves.iter_mut().enumerate() {
        let start = half * TILE;
        let steps = x.rows.saturating_sub(start).min(TILE);
        if steps == 0 {
            continue;
        }
        let x = x.block(start..start + steps, 0..x.cols);
        // Rows in memory are lines of the other kind: steps become lanes, or lanes steps.
        let (shape, apart) = if steps_apart {
            ([steps, x.cols], x.row_stride)
        } else {
            ([x.cols, steps], x.col_stride)
        };
        // SAFETY: the rows named by the shape lie inside the block, and 16 × 16 numbers fit behind `out`.
        unsafe {
            let apart = apart * size_of::<f32>();
            transpose16(shape, x.data.as_ptr(), apart, out.as_mut_ptr(), TILE);
        }
    }
    let mut seen = Lanes::none();
    for line in 0..TILE {
        // SAFETY: the line lies inside the halves and inside the block.
        unsafe {
            let load = |half: &[f32; TILE * TILE]| {
                _mm512_loadu_epi32(half.as_ptr().add(line * TILE).cast())
            };
            let (first, second) = (load(&halves[0]), load(&halves[1]));
            seen = seen.and(split(first, second, to.add(line * TILE)));
        }
    }
    seen.fold()
}

/// Writes the parts of two vectors as pairs and returns what it has seen.
///
/// # Safety
/// As [`columns`]; a line can be written in each of the three parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn split(first: __m512i, second: __m512i, to: *mut f32) -> Lanes {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let seen = Lanes {
        largest: _mm512_max_epu32(
            _mm512_and_si512(first, magnitude),
            _mm512_and_si512(second, magnitude),
        ),
        any: _mm512_or_si512(first, second),
    };
    let (mut first, mut second) = (first, second);
    for part in 0..3 {
        let (high, other) = (nearest(first), nearest(second));
        // SAFETY: the caller's promise.
        unsafe {
            let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(high), other);
            _mm512_storeu_epi32(to.add(part * PART / size_of::<f32>()).cast(), pairs);
        }
        (first, second) = (rest(first, high), rest(second, other));
    }
    seen
}

/// The nearest `bf16`, in the upper half of the bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(x: __m512i) -> __m512i {
    let half = _mm512_add_epi32(x, _mm512_set1_epi32(0x8000));
    _mm512_and_si512(half, _mm512_set1_epi32(0xffff_0000_u32 as i32))
}

/// `x − part`, without rounding.
#[inline]
#[target_feature(enable = "avx512f")]
fn rest(x: __m512i, part: __m512i) -> __m512i {
    _mm512_castps_si512(_mm512_sub_ps(
        _mm512_castsi512_ps(x),
        _mm512_castsi512_ps(part),
    ))
}
