//! Dot products of quantized rows with several rows of inputs: the weights are read once for all of them, and every
//! result has the bits that [`dot::rows`] gives it alone.
//!
//! With AVX-512 VNNI two blocks of weights lie in one vector, the even one in its lower and the odd one in its upper
//! half, where the product of one row keeps two sums apart in the same way; so the order of additions is the same.

use super::activations::Activations;
use super::{Format, dot};
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
#[cfg(target_arch = "x86_64")]
use crate::isa::detected;
use std::ops::Range;

/// Quantized bytes that meet one row of inputs after the other while they are in the nearest cache.
const NEAR_BYTES: usize = 1 << 13;

/// Rows of inputs, ready for products with one format.
pub(super) struct Inputs {
    format: Format,
    rows: Vec<Activations>,
    #[cfg(target_arch = "x86_64")]
    groups: Vec<vnni::Group>,
}

impl Inputs {
    /// Rows of `cols` inputs each.
    pub(super) fn new(isa: InstructionSet, format: Format, x: &[f32], cols: usize) -> Self {
        let rows: Vec<Activations> = x
            .chunks_exact(cols)
            .map(|x| Activations::new(format, x))
            .collect();
        let _ = isa;
        Self {
            #[cfg(target_arch = "x86_64")]
            groups: match has_vnni(isa) && matches!(format, Format::Q8_0 | Format::Q4_1) {
                true => rows
                    .chunks(vnni::GROUP)
                    .map(|rows| vnni::Group::new(format, rows))
                    .collect(),
                false => Vec::new(),
            },
            format,
            rows,
        }
    }

    /// `y[i, j] = Σ_p x[i, p] · w[j, p]` for the neurons `j` of `range` out of `neurons`, whose quantized rows `bytes`
    /// holds.
    ///
    /// # Safety
    /// No other task writes the results of these neurons.
    pub(super) unsafe fn products(
        &self,
        isa: InstructionSet,
        bytes: &[u8],
        range: Range<usize>,
        neurons: usize,
        y: &Disjoint<'_, f32>,
    ) {
        let mut outs: Vec<&mut [f32]> = (0..self.rows.len())
            .map(|i| {
                let start = i * neurons;
                // SAFETY: the parts of two rows of results never overlap, and the caller has these columns to itself.
                unsafe { y.part(start + range.start..start + range.end) }
            })
            .collect();
        let row_bytes = bytes.len() / range.len().max(1);
        #[cfg(target_arch = "x86_64")]
        if !self.groups.is_empty() {
            for (group, outs) in self.groups.iter().zip(outs.chunks_mut(vnni::GROUP)) {
                // SAFETY: `new` makes groups only where the processor has every feature.
                unsafe { group.products(self.format, bytes, row_bytes, outs) };
            }
            return;
        }
        let near = (NEAR_BYTES / row_bytes).max(1);
        for (at, bytes) in bytes.chunks(near * row_bytes).enumerate() {
            let part = at * near..at * near + bytes.len() / row_bytes;
            for (x, out) in self.rows.iter().zip(&mut outs) {
                dot::rows(isa, self.format, bytes, x, &mut out[part.clone()]);
            }
        }
    }
}

/// Whether the products of one row run with the same instructions.
#[cfg(target_arch = "x86_64")]
fn has_vnni(isa: InstructionSet) -> bool {
    isa.min(detected()) >= InstructionSet::Avx512
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vnni {
    use super::{Activations, Format};
    use std::arch::x86_64::*;

    /// Rows of inputs whose sums fit into registers beside one row of weights.
    pub(super) const GROUP: usize = 8;

    /// Up to [`GROUP`] rows of inputs, pair of blocks by pair of blocks; what is missing of the last pair is zero.
    pub(super) struct Group {
        rows: usize,
        /// `[pairs][rows]`: the numbers of two blocks; for signed weights they are 128 more, so that they have no sign.
        numbers: Vec<[u8; 64]>,
        /// `[pairs][rows]`: the scales of both blocks, eight times each.
        scales: Vec<[f32; 16]>,
        /// `[blocks]`: the sums of numbers times their scale, one for each row.
        sums: Vec<[f32; GROUP]>,
    }

    impl Group {
        pub(super) fn new(format: Format, rows: &[Activations]) -> Self {
            let blocks = rows.first().map_or(0, |row| row.scales.len());
            let shift = if format == Format::Q8_0 { 128 } else { 0 };
            let (mut numbers, mut scales) = (Vec::new(), Vec::new());
            for pair in 0..blocks.div_ceil(2) {
                for row in rows {
                    let mut of_pair = [shift; 64];
                    let some = row.numbers[64 * pair..].iter().take(64);
                    for (number, x) in of_pair.iter_mut().zip(some) {
                        *number = (*x as u8).wrapping_add(shift);
                    }
                    numbers.push(of_pair);
                    let scale = |b: usize| row.scales.get(b).copied().unwrap_or(0.0);
                    let (even, odd) = (scale(2 * pair), scale(2 * pair + 1));
                    scales.push(std::array::from_fn(|i| if i < 8 { even } else { odd }));
                }
            }
            let of_block = |b: usize| {
                let mut sums = [0.0; GROUP];
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = row.weighted(b);
                }
                sums
            };
            Self {
                rows: rows.len(),
                numbers,
                scales,
                sums: (0..blocks).map(of_block).collect(),
            }
        }

        /// The products with every row of `bytes`, one output for each row of inputs.
        ///
        /// # Safety
        /// The processor has AVX-512 (F, BW, DQ, VL, VNNI), AVX2, FMA and F16C.
        pub(super) unsafe fn products(
            &self,
            format: Format,
            bytes: &[u8],
            row_bytes: usize,
            outs: &mut [&mut [f32]],
        ) {
            assert!(outs.len() == self.rows, "quantized: an output a row");
            macro_rules! of {
                ($($rows:literal)+) => {
                    for (j, row) in bytes.chunks_exact(row_bytes).enumerate() {
                        for line in row.chunks(64) {
                            crate::prefetch::ahead(&line[0]);
                        }
                        let mut dots = [0.0; GROUP];
                        // SAFETY: the caller promises the features.
                        unsafe {
                            match (format, self.rows) {
                                $((Format::Q4_1, $rows) => self.q4_1::<$rows>(row, &mut dots),
                                (_, $rows) => self.q8::<$rows>(row, &mut dots),)+
                                _ => unreachable!("a group has as many rows as fit"),
                            }
                        }
                        for (out, dot) in outs.iter_mut().zip(dots) {
                            out[j] = dot;
                        }
                    }
                };
            }
            of!(1 2 3 4 5 6 7 8);
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        fn q8<const R: usize>(&self, row: &[u8], dots: &mut [f32; GROUP]) {
            let blocks = row.as_chunks::<34>().0;
            let shift = _mm512_set1_epi8(-128);
            let mut sums = [_mm512_setzero_ps(); R];
            let inputs = self.numbers.as_chunks::<R>().0.iter();
            let inputs = inputs.zip(self.scales.as_chunks::<R>().0);
            for (pair, (numbers, scales)) in blocks.chunks(2).zip(inputs) {
                let even = &pair[0];
                let (w, d) = match pair.get(1) {
                    Some(odd) => (
                        both(load32(&even[2..]), load32(&odd[2..])),
                        halves(half(even), half(odd)),
                    ),
                    None => (
                        both(load32(&even[2..]), _mm256_setzero_si256()),
                        halves(half(even), 0.0),
                    ),
                };
                // 128 times the weights, which the numbers without a sign are too much.
                let much = _mm512_dpbusd_epi32(_mm512_setzero_si512(), shift, w);
                let less = _mm512_sub_epi32(_mm512_setzero_si512(), much);
                for r in 0..R {
                    let dot = _mm512_dpbusd_epi32(less, load64(&numbers[r]), w);
                    let scale = _mm512_mul_ps(d, load16(&scales[r]));
                    sums[r] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot), sums[r]);
                }
            }
            for r in 0..R {
                dots[r] = total(sums[r]);
            }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        fn q4_1<const R: usize>(&self, row: &[u8], dots: &mut [f32; GROUP]) {
            let blocks = row.as_chunks::<20>().0;
            let mut sums = [_mm512_setzero_ps(); R];
            let mut least = [_mm256_setzero_ps(); 2];
            let inputs = self.numbers.as_chunks::<R>().0.iter();
            let inputs = inputs.zip(self.scales.as_chunks::<R>().0);
            let all = blocks.chunks(2).zip(self.sums.chunks(2)).zip(inputs);
            for ((pair, of_blocks), (numbers, scales)) in all {
                let even = &pair[0];
                let (w, d) = match pair.get(1) {
                    Some(odd) => (
                        both(nibbles(even), nibbles(odd)),
                        halves(half(even), half(odd)),
                    ),
                    None => (
                        both(nibbles(even), _mm256_setzero_si256()),
                        halves(half(even), 0.0),
                    ),
                };
                for ((least, block), sums) in least.iter_mut().zip(pair).zip(of_blocks) {
                    let own = _mm256_set1_ps(half(&block[2..]));
                    *least = _mm256_add_ps(_mm256_mul_ps(own, load8(sums)), *least);
                }
                for r in 0..R {
                    let dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, load64(&numbers[r]));
                    let scale = _mm512_mul_ps(d, load16(&scales[r]));
                    sums[r] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot), sums[r]);
                }
            }
            let mut added = [0.0; GROUP];
            // SAFETY: eight numbers have room there, and any address will do.
            unsafe { _mm256_storeu_ps(added.as_mut_ptr(), _mm256_add_ps(least[0], least[1])) };
            for r in 0..R {
                dots[r] = added[r] + total(sums[r]);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    fn both(even: __m256i, odd: __m256i) -> __m512i {
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(even), odd)
    }

    /// The first number eight times, then the second.
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    fn halves(even: f32, odd: f32) -> __m512 {
        _mm512_insertf32x8::<1>(_mm512_set1_ps(even), _mm256_set1_ps(odd))
    }

    /// The sum of both halves, in the order in which the product of one row adds its two sums.
    #[target_feature(enable = "avx512f,avx512dq,avx2")]
    #[inline]
    fn total(v: __m512) -> f32 {
        let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
    }

    /// The half-precision number in the first two bytes.
    #[target_feature(enable = "f16c")]
    #[inline]
    fn half(bytes: &[u8]) -> f32 {
        let bits = i32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
    }

    /// The low halves of the 16 bytes behind a block's two numbers, then the high ones.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn nibbles(block: &[u8; 20]) -> __m256i {
        // SAFETY: 16 bytes are there, and any address will do.
        let b = unsafe { _mm_loadu_si128(block[4..].as_ptr().cast()) };
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(b), b);
        _mm256_and_si256(both, _mm256_set1_epi8(15))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load32(from: &[u8]) -> __m256i {
        assert!(from.len() >= 32);
        // SAFETY: 32 bytes are there, as just checked, and any address will do.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load64(from: &[u8; 64]) -> __m512i {
        // SAFETY: 64 bytes are there, and any address will do.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load16(from: &[f32; 16]) -> __m512 {
        // SAFETY: sixteen numbers are there, and any address will do.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load8(from: &[f32; 8]) -> __m256 {
        // SAFETY: eight numbers are there, and any address will do.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
}
