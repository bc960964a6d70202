//! The innermost block of a product of pairs, kept in registers, and the rounding of its sums.

use super::super::tile::by_rows;
use std::arch::x86_64::*;

/// The most rows of a block: with two vectors of sums a row they fill 24 of 32 registers.
pub(super) const ROWS: usize = 12;
/// Columns of a packed panel.
pub(super) const PANEL: usize = 32;

/// Where the numbers of one block are: `c[r, j] (+)= Σ_p a[r, p] · b[p, j]`, each step over a pair.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Pairs of the sum.
    pub(super) pairs: usize,
    pub(super) a: *const f32,
    /// Distance between rows of `a`.
    pub(super) a_row: usize,
    /// Distance between pairs of a row of `a`.
    pub(super) a_pair: usize,
    /// [`PANEL`] pairs a step.
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
    /// Distance between rows of `c`, which has whole panels.
    pub(super) c_row: usize,
    /// Whether more than the first half of the panel is wanted.
    pub(super) is_wide: bool,
    /// Whether to add to what is in `c`.
    pub(super) add: bool,
}

/// One block of `rows` rows.
///
/// # Safety
/// The processor has AVX-512 BF16; every number that `block` names lies in memory that may be read, and for `c`
/// written.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn run(rows: usize, block: &Block) {
    // SAFETY: the caller's promises.
    unsafe {
        if block.is_wide {
            by_rows!(rows, tile, { 2 }, (block));
        } else {
            by_rows!(rows, tile, { 1 }, (block));
        }
    }
}

/// # Safety
/// As [`run`], with `R` rows and `V` vectors of columns.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const R: usize, const V: usize>(block: &Block) {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    // Three rows share a base pointer: their offsets are then index registers and not twelve pointers.
    let mut bases = [block.a; 4];
    for (group, base) in bases.iter_mut().enumerate() {
        *base = base.wrapping_add(3 * group * block.a_row);
    }
    let mut b = block.b;
    // SAFETY: step p of `a`, of `b`, and the rows of `c` are the caller's.
    unsafe {
        if block.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(block.c.add(r * block.c_row + 16 * v));
                }
            }
        }
        for _ in 0..block.pairs {
            let mut columns = [_mm512_setzero_ps(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(b.add(16 * v));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_castps_si512(_mm512_set1_ps(
                    *bases[r / 3].wrapping_add((r % 3) * block.a_row),
                ));
                for (sum, column) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbf16_ps(*sum, pairs(x), pairs(_mm512_castps_si512(*column)));
                }
            }
            for base in &mut bases {
                *base = base.wrapping_add(block.a_pair);
            }
            b = b.wrapping_add(PANEL);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(block.c.add(r * block.c_row + 16 * v), *sum);
            }
        }
    }
}

/// The same bits as pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(x: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, and any bits are pairs of bf16.
    unsafe { std::mem::transmute(x) }
}

/// Rows of sums, `sums_row` apart, as `bf16` in rows that are `to_row` apart: nearest, ties to even; what is too small
/// for a normal number becomes zero.
///
/// # Safety
/// The processor has AVX-512 BF16; the named sums may be read, and as many numbers written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn round(
    [rows, columns]: [usize; 2],
    sums: *const f32,
    sums_row: usize,
    to: *mut u16,
    to_row: usize,
) {
    for i in 0..rows {
        for j in (0..columns).step_by(16) {
            let mask = match columns - j {
                rest @ 0..16 => (1_u16 << rest) - 1,
                _ => !0,
            };
            // SAFETY: the mask leaves out what lies beyond the columns; 256 bits are sixteen bf16.
            unsafe {
                let x = _mm512_maskz_loadu_ps(mask, sums.add(i * sums_row + j));
                let bits: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(x));
                _mm256_mask_storeu_epi16(to.add(i * to_row + j).cast(), mask, bits);
            }
        }
    }
}
