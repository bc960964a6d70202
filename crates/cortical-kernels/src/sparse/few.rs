//! Up to four rows of inputs: the weights of a neuron meet the inputs in the lanes of a vector.

use super::{Values, WORD, for_each_bit};
use crate::half::bf16_to_f32;
use crate::isa::InstructionSet;
#[cfg(target_arch = "x86_64")]
use crate::isa::detected;

/// Rows of inputs that are multiplied together.
pub(super) const TOGETHER: usize = 4;

/// `sums[j, i] = Σ_p x[i, p] · w[j, p]` for the neurons of `mask`, whose values begin at `starts`. Each row of `x` has
/// as many numbers as a row of the mask has bits; there are as many rows as there are sums for each neuron.
pub(super) fn rows(
    isa: InstructionSet,
    mask: &[u64],
    starts: &[usize],
    values: &Values,
    x: &[f32],
    sums: &mut [f32],
) {
    let count = sums.len() / starts.len().max(1);
    assert!((1..=TOGETHER).contains(&count), "sparse: rows of inputs");
    let words = mask.len() / starts.len();
    assert!(x.len() >= count * words * WORD, "sparse: padded inputs");
    #[cfg(target_arch = "x86_64")]
    if isa.min(detected()) >= InstructionSet::Avx2 {
        // SAFETY: the processor has the instruction set; a matrix has a value for every bit of its mask and as many
        // behind as the widest vector has lanes; `x` has a number for every bit, as just checked.
        unsafe { vectors::rows(isa, mask, starts, values, x, sums) };
        return;
    }
    let _ = isa;
    for ((mask, start), sums) in mask
        .chunks_exact(words)
        .zip(starts)
        .zip(sums.chunks_exact_mut(count))
    {
        match values {
            Values::F32(values) => portable(mask, &values[*start..], |w| *w, x, sums),
            Values::Bf16(values) => portable(mask, &values[*start..], |w| bf16_to_f32(*w), x, sums),
        }
    }
}

/// One neuron, connection by connection.
fn portable<W>(mask: &[u64], values: &[W], to: impl Fn(&W) -> f32, x: &[f32], sums: &mut [f32]) {
    let pitch = mask.len() * WORD;
    sums.fill(0.0);
    let mut values = values.iter();
    for (i, word) in mask.iter().enumerate() {
        for_each_bit(*word, |bit| {
            let w = values.next().map_or(0.0, &to);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum += w * x[r * pitch + i * WORD + bit];
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::{Values, WORD};
    use crate::prefetch;
    use crate::simd::Simd;

    /// Weights as they are stored.
    trait Stored: Copy {
        /// # Safety
        /// The processor has the instruction set, and a vector of weights can be read at `from`.
        unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    }

    impl Stored for f32 {
        #[inline(always)]
        unsafe fn load<S: Simd>(from: *const f32) -> S::V {
            // SAFETY: the trait's contract.
            unsafe { S::load(from) }
        }
    }

    impl Stored for u16 {
        #[inline(always)]
        unsafe fn load<S: Simd>(from: *const u16) -> S::V {
            // SAFETY: the trait's contract.
            unsafe { S::load_bf16(from) }
        }
    }

    simd! {
        /// # Safety
        /// The values of each neuron begin at its start, one for every bit of its mask, and sixteen more can be read
        /// behind the last; `x` has a number for every bit of a row of the mask, for every sum of a neuron.
        pub(super) unsafe fn rows(mask: &[u64], starts: &[usize], values: &Values, x: &[f32], sums: &mut [f32]) {
            // SAFETY: the caller's promises.
            unsafe {
                match values {
                    Values::F32(values) => all::<S, f32>(mask, starts, values, x, sums),
                    Values::Bf16(values) => all::<S, u16>(mask, starts, values, x, sums),
                }
            }
        }
    }

    /// # Safety
    /// As for [`rows`].
    #[inline(always)]
    unsafe fn all<S: Simd, W: Stored>(
        mask: &[u64],
        starts: &[usize],
        values: &[W],
        x: &[f32],
        sums: &mut [f32],
    ) {
        let count = sums.len() / starts.len();
        // SAFETY: the caller's promises.
        unsafe {
            match count {
                1 => counted::<S, W, 1>(mask, starts, values, x, sums),
                2 => counted::<S, W, 2>(mask, starts, values, x, sums),
                3 => counted::<S, W, 3>(mask, starts, values, x, sums),
                _ => counted::<S, W, 4>(mask, starts, values, x, sums),
            }
        }
    }

    /// # Safety
    /// As for [`rows`], with `N` sums for each neuron.
    #[inline(always)]
    unsafe fn counted<S: Simd, W: Stored, const N: usize>(
        mask: &[u64],
        starts: &[usize],
        values: &[W],
        x: &[f32],
        sums: &mut [f32],
    ) {
        let words = mask.len() / starts.len();
        for ((mask, start), sums) in mask
            .chunks_exact(words)
            .zip(starts)
            .zip(sums.chunks_exact_mut(N))
        {
            // SAFETY: the caller's promises.
            let found = unsafe { neuron::<S, W, N>(mask, values.as_ptr().add(*start), x.as_ptr()) };
            sums.copy_from_slice(&found);
        }
    }

    /// # Safety
    /// As for [`rows`].
    #[inline(always)]
    unsafe fn neuron<S: Simd, W: Stored, const N: usize>(
        mask: &[u64],
        mut values: *const W,
        mut x: *const f32,
    ) -> [f32; N] {
        let pitch = mask.len() * WORD;
        // SAFETY: the values that are passed by are as many as bits that are set, and a vector behind them can be
        // read; every group of lanes lies inside its word's inputs.
        unsafe {
            // Two sums each, in registers of their own: a multiply-add takes longer than a vector of weights.
            let (mut even, mut odd) = ([S::splat(0.0); N], [S::splat(0.0); N]);
            for word in mask {
                let mut word = *word;
                for _ in 0..WORD / S::LANES / 2 {
                    prefetch::ahead(&*values);
                    for sums in [&mut even, &mut odd] {
                        let keep = word as u16 & (u32::MAX >> (32 - S::LANES)) as u16;
                        word >>= S::LANES;
                        let w = S::expand(W::load::<S>(values), keep);
                        values = values.add(keep.count_ones() as usize);
                        for (r, sum) in sums.iter_mut().enumerate() {
                            *sum = S::fma_where(keep, w, S::load(x.add(r * pitch)), *sum);
                        }
                        x = x.add(S::LANES);
                    }
                }
            }
            let mut y = [0.0; N];
            for (r, y) in y.iter_mut().enumerate() {
                *y = S::sum(S::add(even[r], odd[r]));
            }
            y
        }
    }
}
