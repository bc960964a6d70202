//! Eight numbers at a time.

use super::Simd;
use crate::isa::Avx2;
use std::arch::x86_64::*;

/// For each mask of eight lanes, which lane goes where when the set ones move to the front.
static FRONT: [[i32; 8]; 256] = front();

const fn front() -> [[i32; 8]; 256] {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut to) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][to] = lane;
                to += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
}

/// For each mask of eight lanes, which of the first numbers comes to each set lane.
static BACK: [[i32; 8]; 256] = back();

const fn back() -> [[i32; 8]; 256] {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut from) = (0, 0);
        while lane < 8 {
            table[mask][lane] = from;
            from += (mask >> lane & 1) as i32;
            lane += 1;
        }
        mask += 1;
    }
    table
}

/// Eight set lanes and then eight clear ones: a window of eight that starts at `8 − count` is the mask of the first
/// `count`.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
unsafe fn first(count: usize) -> __m256i {
    let start = 8 - count.min(8);
    // SAFETY: `start ≤ 8`, so eight numbers can be read; the caller runs where AVX2 exists.
    unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(start).cast()) }
}

/// The sum of eight lanes, each added to the one half of them further on: the tree of [`Simd::sum`].
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn fold(v: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

// Each function's contract is the trait's; every block below is one intrinsic or a few of them.
impl Simd for Avx2 {
    const LANES: usize = 8;
    const CHANNELS: usize = 4;
    type V = __m256;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_halves(first: *const f32, second: *const f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(first));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(second))
        }
    }
    #[inline(always)]
    unsafe fn load_even(from: *const f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe {
            let (a, b) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
            // a0 a2 b0 b2 a4 a6 b4 b6, in pairs that only need to be put in order.
            let pairs = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(pairs))
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        // SAFETY: the trait's contract.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, v: __m256, count: usize) {
        // SAFETY: the trait's contract; lanes behind `count` are not touched.
        unsafe { _mm256_maskstore_ps(to, first(count), v) }
    }
    #[inline(always)]
    unsafe fn compress(v: __m256, keep: u16) -> __m256 {
        // SAFETY: the trait's contract; the table has an entry for every eight bits.
        unsafe {
            let lanes = FRONT.as_ptr().add(usize::from(keep & 0xff));
            _mm256_permutevar8x32_ps(v, _mm256_loadu_si256(lanes.cast()))
        }
    }
    #[inline(always)]
    unsafe fn expand(v: __m256, keep: u16) -> __m256 {
        // SAFETY: the trait's contract; the table has an entry for every eight bits.
        unsafe {
            let numbers = BACK.as_ptr().add(usize::from(keep & 0xff));
            _mm256_permutevar8x32_ps(v, _mm256_loadu_si256(numbers.cast()))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn fma_where(keep: u16, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(keep.into()), bits);
            let set = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bits));
            _mm256_blendv_ps(c, _mm256_fmadd_ps(a, b, c), set)
        }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize) {
        // SAFETY: the trait's contract: eight rows of eight can be read and written.
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_loadu_ps(from.add(i * from_pitch));
            }
            // 1. Pairs of rows, 2. pairs of pairs, 3. the 128-bit halves.
            let mut t = r;
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..2 {
                let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
                r[4 * i] = _mm256_shuffle_ps::<0x44>(a, c);
                r[4 * i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
                r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
                r[4 * i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
            }
            for j in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(r[j], r[4 + j]);
                let high = _mm256_permute2f128_ps::<0x31>(r[j], r[4 + j]);
                _mm256_storeu_ps(to.add(j * to_pitch), low);
                _mm256_storeu_ps(to.add((4 + j) * to_pitch), high);
            }
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { fold(v) }
    }
}
