//! Dot products of quantized rows with one row of inputs.
//!
//! Whole numbers are multiplied and summed in 32-bit lanes a block at a time, which loses nothing; only the block's sum
//! meets the scales, in single precision. With AVX-512 VNNI (which processors with AMX have too) one instruction
//! multiplies and sums 32 bytes, with AVX2 three do; elsewhere a loop does.

use super::activations::Activations;
use super::format::{q4k_part, q6k_numbers, word};
use super::{Format, blocks};
use crate::half::{bf16_to_f32, f16_to_f32};
use crate::isa::InstructionSet;
#[cfg(target_arch = "x86_64")]
use crate::isa::detected;

/// Rows of weights in a task come in multiples of this.
pub(super) const TOGETHER: usize = 4;

/// `y[j] = Σ_p x[p] · w[j, p]` for the rows that `bytes` holds.
pub(super) fn rows(
    isa: InstructionSet,
    format: Format,
    bytes: &[u8],
    x: &Activations,
    y: &mut [f32],
) {
    let row_bytes = bytes.len() / y.len().max(1);
    if blocks::is_here(format) {
        let mut block = vec![0.0; format.block()];
        for (y, row) in y.iter_mut().zip(bytes.chunks_exact(row_bytes)) {
            *y = dequantized(format, row, x, &mut block);
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let isa = isa.min(detected());
        let halves = is_x86_feature_detected!("f16c");
        if isa >= InstructionSet::Avx512 && halves && is_x86_feature_detected!("avx512vnni") {
            for (y, row) in y.iter_mut().zip(bytes.chunks_exact(row_bytes)) {
                ask_ahead(row);
                // SAFETY: the processor has every feature that the function is compiled for: `detected` and the two
                // questions above say so.
                *y = unsafe { vnni::row(format, row, x) };
            }
            return;
        }
        if isa >= InstructionSet::Avx2 && halves {
            for (y, row) in y.iter_mut().zip(bytes.chunks_exact(row_bytes)) {
                ask_ahead(row);
                // SAFETY: as above.
                *y = unsafe { avx2::row(format, row, x) };
            }
            return;
        }
    }
    let _ = isa;
    for (y, row) in y.iter_mut().zip(bytes.chunks_exact(row_bytes)) {
        *y = portable(format, row, x);
    }
}

/// The dot product of a row that is dequantized block by block, in eight sums.
fn dequantized(format: Format, row: &[u8], x: &Activations, block: &mut [f32]) -> f32 {
    let mut sums = [0.0; 8];
    let parts = row.chunks_exact(format.block_bytes());
    for (bytes, x) in parts.zip(x.plain.chunks_exact(block.len())) {
        blocks::dequantize(format, bytes, block);
        for (w, x) in block.as_chunks::<8>().0.iter().zip(x.as_chunks::<8>().0) {
            for i in 0..8 {
                sums[i] += w[i] * x[i];
            }
        }
    }
    sums.iter().sum()
}

/// Asks for the lines that lie as far ahead as this row lies here.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ask_ahead(row: &[u8]) {
    for line in row.chunks(64) {
        crate::prefetch::ahead(&line[0]);
    }
}

/// The dot product of one quantized row, number by number.
pub(super) fn portable(format: Format, row: &[u8], x: &Activations) -> f32 {
    let mut sum = 0.0;
    match format {
        Format::F16 | Format::Bf16 => {
            let to = if format == Format::F16 {
                f16_to_f32
            } else {
                bf16_to_f32
            };
            for (w, x) in row.as_chunks::<2>().0.iter().zip(&x.plain) {
                sum += to(u16::from_le_bytes(*w)) * x;
            }
        }
        Format::Q5_0
        | Format::Q5_1
        | Format::Q2K
        | Format::Q3K
        | Format::Q5K
        | Format::Iq4Nl
        | Format::Iq4Xs => {
            return dequantized(format, row, x, &mut vec![0.0; format.block()]);
        }
        Format::Int8 => {
            for (b, w) in row[4..].chunks(32).enumerate() {
                sum += x.scales[b] * signed(w, &x.numbers[32 * b..]) as f32;
            }
            sum *= f32::from_le_bytes([row[0], row[1], row[2], row[3]]);
        }
        Format::Q8_0 => {
            for (b, block) in row.chunks_exact(34).enumerate() {
                let d = f16_to_f32(word(block, 0)) * x.scales[b];
                sum += d * signed(&block[2..], &x.numbers[32 * b..]) as f32;
            }
        }
        Format::Q4_0 | Format::Q4_1 => {
            for (b, block) in row.chunks_exact(format.block_bytes()).enumerate() {
                let d = f16_to_f32(word(block, 0));
                let (nibbles, least) = match format {
                    Format::Q4_0 => (&block[2..], -8.0 * d),
                    _ => (&block[4..], f16_to_f32(word(block, 2))),
                };
                let x_numbers = &x.numbers[32 * b..];
                let dot: i32 = (0..16)
                    .map(|j| {
                        let q = i32::from(nibbles[j]);
                        (q & 15) * i32::from(x_numbers[j]) + (q >> 4) * i32::from(x_numbers[j + 16])
                    })
                    .sum();
                sum += d * x.scales[b] * dot as f32 + least * x.weighted(b);
            }
        }
        Format::Q4K => {
            for (b, block) in row.chunks_exact(144).enumerate() {
                let (d, e) = (f16_to_f32(word(block, 0)), f16_to_f32(word(block, 2)));
                for j in 0..8 {
                    let (s, m) = q4k_part(&block[4..16], j);
                    let nibbles = &block[16 + 32 * (j / 2)..][..32];
                    let at = 8 * b + j;
                    let numbers = nibbles.iter().zip(&x.numbers[32 * at..]);
                    let shift = 4 * (j % 2);
                    let dot: i32 = numbers
                        .map(|(q, x)| i32::from(q >> shift & 15) * i32::from(*x))
                        .sum();
                    sum += d * f32::from(s) * x.scales[at] * dot as f32
                        - e * f32::from(m) * x.weighted(at);
                }
            }
        }
        Format::Q6K => {
            let mut numbers = [0; 256];
            for (b, block) in row.chunks_exact(210).enumerate() {
                q6k_numbers(block, &mut numbers);
                let d = f16_to_f32(word(block, 208));
                for j in 0..16 {
                    let at = 16 * b + j;
                    let pairs = numbers[16 * j..][..16].iter().zip(&x.numbers[16 * at..]);
                    let dot: i32 = pairs
                        .map(|(q, x)| (i32::from(*q) - 32) * i32::from(*x))
                        .sum();
                    let s = i32::from(block[192 + j] as i8);
                    sum += d * x.scales[at / 2] * (s * dot) as f32;
                }
            }
        }
    }
    sum
}

fn signed(w: &[u8], x: &[i8]) -> i32 {
    w.iter()
        .zip(x)
        .map(|(w, x)| i32::from(*w as i8) * i32::from(*x))
        .sum()
}

/// The same products with vectors, compiled for one set of features; `$dot` sums 32 products of an unsigned and a
/// signed byte into eight lanes.
#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($name:ident, $features:literal, $dot:expr) => {
        #[allow(unsafe_code)]
        mod $name {
            use super::{Activations, Format, q4k_part};
            use std::arch::x86_64::*;

            /// The dot product of one quantized row.
            #[target_feature(enable = $features)]
            pub(super) fn row(format: Format, row: &[u8], x: &Activations) -> f32 {
                match format {
                    Format::F16 => halves(row, &x.plain),
                    Format::Bf16 => brains(row, &x.plain),
                    Format::Int8 => int8(row, x),
                    Format::Q8_0 => q8(row, x),
                    Format::Q4_0 => q4_0(row, x),
                    Format::Q4_1 => q4_1(row, x),
                    Format::Q4K => q4k(row, x),
                    Format::Q6K => q6k(row, x),
                    _ => super::portable(format, row, x),
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn dot(u: __m256i, s: __m256i) -> __m256 {
                _mm256_cvtepi32_ps($dot(u, s))
            }

            /// Products of two signed bytes: the first one's sign moves to the second.
            #[target_feature(enable = $features)]
            #[inline]
            fn dot_signed(w: __m256i, x: __m256i) -> __m256 {
                dot(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn load32<T>(from: &[T]) -> __m256i {
                const { assert!(size_of::<T>() == 1) };
                assert!(from.len() >= 32);
                // SAFETY: 32 bytes are there, as just checked, and any address will do.
                unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn load16(from: &[u8]) -> __m128i {
                assert!(from.len() >= 16);
                // SAFETY: 16 bytes are there, as just checked, and any address will do.
                unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn load8(from: &[f32]) -> __m256 {
                assert!(from.len() >= 8);
                // SAFETY: eight numbers are there, as just checked, and any address will do.
                unsafe { _mm256_loadu_ps(from.as_ptr()) }
            }

            /// A half-precision number in a file's two bytes.
            #[target_feature(enable = $features)]
            #[inline]
            fn half(bytes: &[u8], at: usize) -> f32 {
                let bits = i32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
                _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
            }

            /// The half-precision numbers in a block's first four bytes; whatever stands there, reading both is faster
            /// than one.
            #[target_feature(enable = $features)]
            #[inline]
            fn two_halves(block: &[u8]) -> __m128 {
                let bits = i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
                _mm_cvtph_ps(_mm_cvtsi32_si128(bits))
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn total(v: __m256) -> f32 {
                let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
                _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
            }

            /// The low halves of 16 bytes, then the high ones.
            #[target_feature(enable = $features)]
            #[inline]
            fn nibbles(bytes: &[u8]) -> __m256i {
                let b = load16(bytes);
                let both = _mm256_set_m128i(_mm_srli_epi16::<4>(b), b);
                _mm256_and_si256(both, _mm256_set1_epi8(15))
            }

            /// Takes one block after the other, the even ones into one state and the odd ones into another. Both are
            /// variables and no array: an array that is indexed by the block stands in memory, where each block waits
            /// for the one before.
            macro_rules! blocks {
                ($count:expr, $zero:expr, |$b:ident, $state:pat_param| $step:expr) => {{
                    let (mut even, mut odd, count) = ($zero, $zero, $count);
                    for pair in 0..count / 2 {
                        let ($b, $state) = (2 * pair, even);
                        even = $step;
                        let ($b, $state) = (2 * pair + 1, odd);
                        odd = $step;
                    }
                    if count % 2 == 1 {
                        let ($b, $state) = (count - 1, even);
                        even = $step;
                    }
                    (even, odd)
                }};
            }

            /// The sum of both states.
            #[target_feature(enable = $features)]
            #[inline]
            fn both((even, odd): (__m256, __m256)) -> f32 {
                total(_mm256_add_ps(even, odd))
            }

            /// Sums, and in its second number the part that a least value or an offset adds.
            type Sums = (__m256, __m128);

            #[target_feature(enable = $features)]
            #[inline]
            fn no_sums() -> Sums {
                (_mm256_setzero_ps(), _mm_setzero_ps())
            }

            /// What sums of blocks come to, where the second part counts so often.
            #[target_feature(enable = $features)]
            #[inline]
            fn with_least((even, odd): (Sums, Sums), factor: f32) -> f32 {
                let least = _mm_cvtss_f32(_mm_movehdup_ps(_mm_add_ps(even.1, odd.1)));
                least.mul_add(factor, both((even.0, odd.0)))
            }

            /// Adds one block's products: the first number of `own` is its scale, the second its least value, or its
            /// scale again where the offset is the same for all.
            #[target_feature(enable = $features)]
            #[inline]
            fn add(own: __m128, x: &[f32; 2], products: __m256, (sum, least): Sums) -> Sums {
                // SAFETY: two numbers are there, and any address will do.
                let x = unsafe { _mm_castpd_ps(_mm_load_sd(x.as_ptr().cast())) };
                let scaled = _mm_mul_ps(own, x);
                (
                    _mm256_fmadd_ps(_mm256_broadcastss_ps(scaled), products, sum),
                    _mm_add_ps(scaled, least),
                )
            }

            #[target_feature(enable = $features)]
            fn q4_1(row: &[u8], x: &Activations) -> f32 {
                let blocks = row.as_chunks::<20>().0;
                let count = blocks.len();
                let numbers = &x.numbers.as_chunks::<32>().0[..count];
                let scales = &x.scales_and_sums[..count];
                let sums = blocks!(count, no_sums(), |b, sums| {
                    let block = &blocks[b];
                    let own = two_halves(block);
                    let products = dot(nibbles(&block[4..]), load32(&numbers[b]));
                    add(own, &scales[b], products, sums)
                });
                with_least(sums, 1.0)
            }

            #[target_feature(enable = $features)]
            fn q4_0(row: &[u8], x: &Activations) -> f32 {
                let blocks = row.as_chunks::<18>().0;
                let count = blocks.len();
                let numbers = &x.numbers.as_chunks::<32>().0[..count];
                let scales = &x.scales_and_sums[..count];
                let sums = blocks!(count, no_sums(), |b, sums| {
                    let own = _mm_moveldup_ps(two_halves(&blocks[b]));
                    let products = dot(nibbles(&blocks[b][2..]), load32(&numbers[b]));
                    add(own, &scales[b], products, sums)
                });
                with_least(sums, -8.0)
            }

            #[target_feature(enable = $features)]
            fn q8(row: &[u8], x: &Activations) -> f32 {
                let blocks = row.as_chunks::<34>().0;
                let count = blocks.len();
                let numbers = &x.numbers.as_chunks::<32>().0[..count];
                let scales = &x.scales[..count];
                both(blocks!(count, _mm256_setzero_ps(), |b, sum| {
                    let d = _mm_mul_ss(two_halves(&blocks[b]), _mm_set_ss(scales[b]));
                    let products = dot_signed(load32(&blocks[b][2..]), load32(&numbers[b]));
                    _mm256_fmadd_ps(_mm256_broadcastss_ps(d), products, sum)
                }))
            }

            #[target_feature(enable = $features)]
            fn int8(row: &[u8], x: &Activations) -> f32 {
                let (blocks, rest) = row[4..].as_chunks::<32>();
                let count = blocks.len();
                let numbers = &x.numbers.as_chunks::<32>().0[..count];
                let scales = &x.scales[..count];
                let sums = blocks!(count, _mm256_setzero_ps(), |b, sum| {
                    let products = dot_signed(load32(&blocks[b]), load32(&numbers[b]));
                    _mm256_fmadd_ps(_mm256_set1_ps(scales[b]), products, sum)
                });
                let mut sum = both(sums);
                if !rest.is_empty() {
                    sum += x.scales[count] * super::signed(rest, &x.numbers[32 * count..]) as f32;
                }
                sum * f32::from_le_bytes([row[0], row[1], row[2], row[3]])
            }

            #[target_feature(enable = $features)]
            fn q4k(row: &[u8], x: &Activations) -> f32 {
                let (mut sums, mut least) = ([_mm256_setzero_ps(); 2], 0.0_f32);
                let low = _mm256_set1_epi8(15);
                for (b, block) in row.as_chunks::<144>().0.iter().enumerate() {
                    let (d, e) = (half(block, 0), half(block, 2));
                    for pair in 0..4 {
                        let bytes = load32(&block[16 + 32 * pair..]);
                        let parts = [bytes, _mm256_srli_epi16::<4>(bytes)];
                        for (h, part) in parts.into_iter().enumerate() {
                            let (j, at) = (2 * pair + h, 8 * b + 2 * pair + h);
                            let (s, m) = q4k_part(&block[4..16], j);
                            let products =
                                dot(_mm256_and_si256(part, low), load32(&x.numbers[32 * at..]));
                            let scale = d * f32::from(s) * x.scales[at];
                            sums[h] = _mm256_fmadd_ps(_mm256_set1_ps(scale), products, sums[h]);
                            least = (-e * f32::from(m)).mul_add(x.weighted(at), least);
                        }
                    }
                }
                total(_mm256_add_ps(sums[0], sums[1])) + least
            }

            #[target_feature(enable = $features)]
            fn q6k(row: &[u8], x: &Activations) -> f32 {
                let mut sums = [_mm256_setzero_ps(); 2];
                let (four, two) = (_mm256_set1_epi8(15), _mm256_set1_epi8(3 << 4));
                let mut offset = 0.0_f32;
                for (b, block) in row.as_chunks::<210>().0.iter().enumerate() {
                    let d = half(block, 208);
                    for side in 0..2 {
                        let (l0, l1) = (
                            load32(&block[64 * side..]),
                            load32(&block[64 * side + 32..]),
                        );
                        let high = load32(&block[128 + 32 * side..]);
                        let parts = [
                            _mm256_or_si256(
                                _mm256_and_si256(l0, four),
                                _mm256_and_si256(_mm256_slli_epi16::<4>(high), two),
                            ),
                            _mm256_or_si256(
                                _mm256_and_si256(l1, four),
                                _mm256_and_si256(_mm256_slli_epi16::<2>(high), two),
                            ),
                            _mm256_or_si256(
                                _mm256_and_si256(_mm256_srli_epi16::<4>(l0), four),
                                _mm256_and_si256(high, two),
                            ),
                            _mm256_or_si256(
                                _mm256_and_si256(_mm256_srli_epi16::<4>(l1), four),
                                _mm256_and_si256(_mm256_srli_epi16::<2>(high), two),
                            ),
                        ];
                        for (k, part) in parts.into_iter().enumerate() {
                            let (j, at) = (8 * side + 2 * k, 8 * b + 4 * side + k);
                            let scale = d * x.scales[at];
                            let s0 = f32::from(block[192 + j] as i8);
                            let s1 = f32::from(block[193 + j] as i8);
                            let both =
                                _mm256_set_m128(_mm_set1_ps(s1 * scale), _mm_set1_ps(s0 * scale));
                            let products = dot(part, load32(&x.numbers[32 * at..]));
                            sums[k % 2] = _mm256_fmadd_ps(both, products, sums[k % 2]);
                            let numbers =
                                s0 * x.sums[2 * at] as f32 + s1 * x.sums[2 * at + 1] as f32;
                            offset = (-32.0 * scale).mul_add(numbers, offset);
                        }
                    }
                }
                total(_mm256_add_ps(sums[0], sums[1])) + offset
            }

            /// The dot product of weights of 16 bits: how eight of them, and one, become numbers in single precision.
            macro_rules! sixteen_bits {
                ($row:ident, $x:ident, |$w:ident| $eight:expr, |$one:ident| $single:expr) => {{
                    // Two vectors a block: four sums hide how long one addition takes.
                    let (blocks, rest) = $row.as_chunks::<32>();
                    let count = blocks.len();
                    let (own, behind) = $x.split_at(16 * count);
                    let own = own.as_chunks::<16>().0;
                    let zero = (_mm256_setzero_ps(), _mm256_setzero_ps());
                    let (even, odd) = blocks!(count, zero, |b, (low, high)| {
                        let $w = load16(&blocks[b]);
                        let low = _mm256_fmadd_ps($eight, load8(&own[b]), low);
                        let $w = load16(&blocks[b][16..]);
                        (low, _mm256_fmadd_ps($eight, load8(&own[b][8..]), high))
                    });
                    let sums = (_mm256_add_ps(even.0, even.1), _mm256_add_ps(odd.0, odd.1));
                    let mut sum = both(sums);
                    for ($one, x) in rest.as_chunks::<2>().0.iter().zip(behind) {
                        sum = $single.mul_add(*x, sum);
                    }
                    sum
                }};
            }

            #[target_feature(enable = $features)]
            fn halves(row: &[u8], x: &[f32]) -> f32 {
                sixteen_bits!(row, x, |w| _mm256_cvtph_ps(w), |one| half(one, 0))
            }

            #[target_feature(enable = $features)]
            fn brains(row: &[u8], x: &[f32]) -> f32 {
                sixteen_bits!(row, x, |w| brain(w), |one| super::bf16_to_f32(
                    u16::from_le_bytes(*one)
                ))
            }

            /// Eight numbers that are the upper halves of those in single precision.
            #[target_feature(enable = $features)]
            #[inline]
            fn brain(w: __m128i) -> __m256 {
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(w)))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vectors!(
    vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2",
    |u, s| _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s)
);
#[cfg(target_arch = "x86_64")]
vectors!(avx2, "avx2,fma,f16c,bmi1,bmi2", |u, s| _mm256_madd_epi16(
    _mm256_maddubs_epi16(u, s),
    _mm256_set1_epi16(1)
));
