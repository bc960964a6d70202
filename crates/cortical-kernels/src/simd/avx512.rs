//! Sixteen numbers at a time.

use super::Simd;
use crate::isa::Avx512;
use std::arch::x86_64::*;

/// The mask of the first `count` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    (0xffff_u32 >> (16 - count.min(16))) as __mmask16
}

/// The first numbers in the lanes of `keep`. Said by the instruction's name because the compiler would join it with a
/// load before it, and from memory it takes some processors several times as long.
#[target_feature(enable = "avx512f")]
#[inline]
fn expand(v: __m512, keep: __mmask16) -> __m512 {
    let lanes: __m512;
    // SAFETY: one instruction on registers, which the processor has.
    unsafe {
        std::arch::asm!(
            "vexpandps {lanes} {{{keep}}} {{z}}, {v}",
            lanes = lateout(zmm_reg) lanes,
            keep = in(kreg) keep,
            v = in(zmm_reg) v,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    lanes
}

// Each function's contract is the trait's; every block below is one intrinsic or a few of them.
impl Simd for Avx512 {
    const LANES: usize = 16;
    const CHANNELS: usize = 8;
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_halves(first: *const f32, second: *const f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe {
            let low = _mm512_castps256_ps512(_mm256_loadu_ps(first));
            _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(second))
        }
    }
    #[inline(always)]
    unsafe fn load_even(from: *const f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(_mm512_loadu_ps(from), even, _mm512_loadu_ps(from.add(16)))
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        // SAFETY: the trait's contract.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, v: __m512, count: usize) {
        // SAFETY: the trait's contract; lanes behind `count` are not touched.
        unsafe { _mm512_mask_storeu_ps(to, first(count), v) }
    }
    #[inline(always)]
    unsafe fn compress(v: __m512, keep: u16) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_maskz_compress_ps(keep, v) }
    }
    #[inline(always)]
    unsafe fn expand(v: __m512, keep: u16) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { expand(v, keep) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn fma_where(keep: u16, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_mask3_fmadd_ps(a, b, c, keep) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize) {
        // SAFETY: the trait's contract: sixteen rows of sixteen can be read and written.
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm512_loadu_ps(from.add(i * from_pitch));
            }
            // 1. Pairs of rows, 2. pairs of pairs: r[4i + j] has in its 128-bit lane L column 4L + j of rows 4i to 4i +
            //    3.
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..4 {
                let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
                let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                let (c, d) = (_mm512_castps_pd(c), _mm512_castps_pd(d));
                r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
            }
            // 3. The 128-bit lanes themselves.
            for j in 0..4 {
                let a = _mm512_shuffle_f32x4::<0x88>(r[j], r[4 + j]);
                let b = _mm512_shuffle_f32x4::<0xdd>(r[j], r[4 + j]);
                let c = _mm512_shuffle_f32x4::<0x88>(r[8 + j], r[12 + j]);
                let d = _mm512_shuffle_f32x4::<0xdd>(r[8 + j], r[12 + j]);
                let row = |i: usize| to.add(i * to_pitch);
                _mm512_storeu_ps(row(j), _mm512_shuffle_f32x4::<0x88>(a, c));
                _mm512_storeu_ps(row(4 + j), _mm512_shuffle_f32x4::<0x88>(b, d));
                _mm512_storeu_ps(row(8 + j), _mm512_shuffle_f32x4::<0xdd>(a, c));
                _mm512_storeu_ps(row(12 + j), _mm512_shuffle_f32x4::<0xdd>(b, d));
            }
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: the trait's contract.
        unsafe {
            let upper = _mm512_extractf32x8_ps::<1>(v);
            super::avx2::fold(_mm256_add_ps(_mm512_castps512_ps256(v), upper))
        }
    }
}
