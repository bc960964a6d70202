//! Up to four rows of inputs by weights of 16 bits, thirty-two connections at a time.
//!
//! AVX-512 VBMI2 moves sixteen-bit numbers to the lanes of their connections, and zeros to the others. Two of them lie
//! in each lane of a single-precision vector: the odd ones are its upper halves already, the even ones are shifted
//! there. So the inputs are put in order as well, of each thirty-two the even ones before the odd ones. A severed
//! connection multiplies its input by 0 here, which carries nothing as long as the input is finite: the caller asks.

use crate::isa::InstructionSet;
#[cfg(target_arch = "x86_64")]
use crate::isa::detected;

/// Connections that are taken together.
const STEP: usize = 32;

/// Whether the processor has what this takes.
pub(super) fn are_supported(isa: InstructionSet) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa.min(detected()) >= InstructionSet::Avx512
        && is_x86_feature_detected!("avx512vbmi2");
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        false
    }
}

/// Puts a row of inputs in the order in which [`rows`] meets them; `to` has whole words of the mask.
pub(super) fn arrange(from: &[f32], to: &mut [f32]) {
    for (from, to) in from.chunks(STEP).zip(to.chunks_exact_mut(STEP)) {
        if from.len() < STEP {
            // What multiplies nothing has to be finite.
            to.fill(0.0);
        }
        let (even, odd) = to.split_at_mut(STEP / 2);
        for (pair, (even, odd)) in from.chunks(2).zip(even.iter_mut().zip(odd)) {
            (*even, *odd) = (pair[0], pair.get(1).copied().unwrap_or(0.0));
        }
    }
}

/// `sums[j, i] = Σ_p x[i, p] · w[j, p]` for the neurons of `mask`, whose values begin at `starts`, with
/// [`arrange`]d inputs, as many rows as there are sums for each neuron.
///
/// # Panics
/// Where they are not supported, and if a length does not fit.
pub(super) fn rows(mask: &[u64], starts: &[usize], values: &[u16], x: &[f32], sums: &mut [f32]) {
    let count = sums.len() / starts.len().max(1);
    let words = mask.len() / starts.len().max(1);
    let all = values.len().checked_sub(super::BEHIND);
    let last = starts.last().copied().unwrap_or(0);
    let of_last: usize = mask[mask.len() - words..]
        .iter()
        .map(|word| word.count_ones() as usize)
        .sum();
    assert!(
        (1..=super::few::TOGETHER).contains(&count),
        "sparse: rows of inputs"
    );
    assert!(
        x.len() >= count * words * super::WORD,
        "sparse: padded inputs"
    );
    assert!(
        all.is_some_and(|all| last + of_last <= all),
        "sparse: values"
    );
    assert!(are_supported(InstructionSet::Avx512), "sparse: processor");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the instructions, as just asked; a matrix has a value for every bit of its mask, the
    // neurons' values follow one another, the last ones end so far before the end as was just asked, and `x` has a
    // number for every bit of a row.
    unsafe {
        match count {
            1 => vectors::rows::<1>(mask, starts, values, x, sums),
            2 => vectors::rows::<2>(mask, starts, values, x, sums),
            3 => vectors::rows::<3>(mask, starts, values, x, sums),
            _ => vectors::rows::<4>(mask, starts, values, x, sums),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::super::WORD;
    use super::STEP;
    use crate::prefetch;
    use std::arch::x86_64::*;

    /// The first numbers in the lanes of `keep`, zeros in the others. Said by the instruction's name because the
    /// compiler would join it with a load before it, and from memory it takes some processors several times as long.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn expand(v: __m512i, keep: __mmask32) -> __m512i {
        let lanes: __m512i;
        // SAFETY: one instruction on registers, which the caller's caller asked the processor for.
        unsafe {
            std::arch::asm!(
                "vpexpandw {lanes} {{{keep}}} {{z}}, {v}",
                lanes = lateout(zmm_reg) lanes,
                keep = in(kreg) keep,
                v = in(zmm_reg) v,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        lanes
    }

    /// # Safety
    /// The processor has AVX-512 with VBMI2. The values of each neuron begin at its start, one for every bit of its
    /// mask, and thirty-two can be read behind the last one; `x` has `N` rows of a number for every bit of a row.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,popcnt")]
    pub(super) unsafe fn rows<const N: usize>(
        mask: &[u64],
        starts: &[usize],
        values: &[u16],
        x: &[f32],
        sums: &mut [f32],
    ) {
        let words = mask.len() / starts.len();
        let pitch = words * WORD;
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        let neurons = mask.chunks_exact(words).zip(starts);
        for ((mask, start), sums) in neurons.zip(sums.chunks_exact_mut(N)) {
            // SAFETY: the caller's promises: values are passed by as many at a time as bits are set.
            unsafe {
                let mut values = values.as_ptr().add(*start);
                let mut x = x.as_ptr();
                // The even and the odd connections of the lower and of the upper half of a word.
                let mut acc = [[_mm512_setzero_ps(); 4]; N];
                prefetch::row_ahead(mask);
                for word in mask {
                    for half in 0..2 {
                        prefetch::ahead(&*values);
                        let keep = (word >> (STEP * half)) as u32;
                        let w = expand(_mm512_loadu_si512(values.cast()), keep);
                        values = values.add(keep.count_ones() as usize);
                        let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(w));
                        let odd = _mm512_castsi512_ps(_mm512_and_si512(w, upper));
                        for (r, acc) in acc.iter_mut().enumerate() {
                            let x = x.add(r * pitch);
                            let (a, b) = (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(STEP / 2)));
                            acc[2 * half] = _mm512_fmadd_ps(even, a, acc[2 * half]);
                            acc[2 * half + 1] = _mm512_fmadd_ps(odd, b, acc[2 * half + 1]);
                        }
                        x = x.add(STEP);
                    }
                }
                for (sum, [a, b, c, d]) in sums.iter_mut().zip(acc) {
                    let all = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
                    *sum = _mm512_reduce_add_ps(all);
                }
            }
        }
    }
}
