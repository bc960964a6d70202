//! Vectors of `f32` for the kernels that a compiler does not vectorise well enough by itself.
//!
//! A kernel is written once over [`Simd`] and compiled for AVX-512 and for AVX2 by the `simd!` macro. Portable code has
//! no such kernels: there the families fall back on matrix products.

mod avx2;
mod avx512;

use crate::isa::Isa;

/// A vector of `f32`. Everything is `unsafe` because it may run only where the instruction set exists, and inlined
/// because only a function compiled for it can hold a vector in a register.
pub(crate) trait Simd: Isa {
    /// Numbers in a vector.
    const LANES: usize;
    /// Output channels that a convolution's tile computes together: what the register file holds.
    const CHANNELS: usize;
    /// The vector.
    type V: Copy;

    /// Every lane `x`.
    ///
    /// # Safety
    /// The processor has the instruction set, as for every function here.
    unsafe fn splat(x: f32) -> Self::V;
    /// # Safety
    /// `LANES` numbers can be read at `from`.
    unsafe fn load(from: *const f32) -> Self::V;
    /// The first half of the lanes from one place, the second from another.
    ///
    /// # Safety
    /// `LANES / 2` numbers can be read at both.
    unsafe fn load_halves(first: *const f32, second: *const f32) -> Self::V;
    /// Every second number from `from` on.
    ///
    /// # Safety
    /// `2 · LANES` numbers can be read at `from`.
    unsafe fn load_even(from: *const f32) -> Self::V;
    /// # Safety
    /// `LANES` numbers can be written at `to`.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// # Safety
    /// `count` numbers can be written at `to`, and `count ≤ LANES`.
    unsafe fn store_first(to: *mut f32, v: Self::V, count: usize);
    /// Moves the lanes whose bit is set in `keep` to the front.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn compress(v: Self::V, keep: u16) -> Self::V;
    /// Moves the first numbers to the lanes whose bit is set in `keep`, in order; the other lanes hold anything.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn expand(v: Self::V, keep: u16) -> Self::V;
    /// `LANES` numbers of 16 bits that are the upper halves of `f32`.
    ///
    /// # Safety
    /// `LANES` numbers can be read at `from`.
    unsafe fn load_bf16(from: *const u16) -> Self::V;
    /// `a · b + c` in the lanes whose bit is set in `keep`, `c` in the others, whatever `a` and `b` hold there.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn fma_where(keep: u16, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// The larger of each pair; `b` where either is not a number.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Transposes a square of `LANES` rows: row `i` starts at `from + i · from_pitch`.
    ///
    /// # Safety
    /// All rows can be read and written.
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize);

    /// The sum of all lanes, as a tree.
    ///
    /// # Safety
    /// As for [`Self::splat`].
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: no vector has more than sixteen lanes.
        unsafe { Self::store(lanes.as_mut_ptr(), v) };
        let mut width = Self::LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// Compiles one function body for AVX-512 and for AVX2, with the type `S: Simd` in scope. The function takes the
/// instruction set as its first argument; it must not be [`Portable`](crate::isa::InstructionSet::Portable).
macro_rules! simd {
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        $vis unsafe fn $name (isa: $crate::isa::InstructionSet, $($arg: $ty),*) {
            #[inline(always)]
            unsafe fn body<S: $crate::simd::Simd>($($arg: $ty),*) $body

            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,popcnt")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { body::<$crate::isa::Avx512>($($arg),*) }
            }
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { body::<$crate::isa::Avx2>($($arg),*) }
            }
            match isa.min($crate::isa::detected()) {
                // SAFETY: the minimum with `detected` proves that the processor has these features; the rest is the
                // caller's promise.
                $crate::isa::InstructionSet::Amx | $crate::isa::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                $crate::isa::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
                $crate::isa::InstructionSet::Portable => {
                    unreachable!("callers choose another way where there are no vectors")
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::isa::{InstructionSet, detected};

    simd! {
        unsafe fn exercise(out: &mut Vec<f32>) {
            let x: Vec<f32> = (0..256_u16).map(f32::from).collect();
            let mut y = vec![0.0_f32; 256];
            // SAFETY: every access lies inside the 256 numbers.
            unsafe {
                S::transpose(x.as_ptr(), 16, y.as_mut_ptr(), 16);
                for i in 0..S::LANES {
                    for j in 0..S::LANES {
                        assert_eq!(y[i * 16 + j], x[j * 16 + i]);
                    }
                }
                for keep in [0_u16, 1, 0b1010_1100, 0xff, 0x80] {
                    let v = S::compress(S::load(x.as_ptr().add(1)), keep);
                    let count = keep.count_ones() as usize;
                    y.fill(-1.0);
                    S::store_first(y.as_mut_ptr(), v, count);
                    let want: Vec<f32> = (0..8).filter(|i| keep >> i & 1 == 1).map(|i| x[i + 1]).collect();
                    assert_eq!(y[..count], want);
                    assert!(y[count..].iter().all(|y| *y == -1.0));
                }
                let (all, ones) = (S::load(x.as_ptr()), S::splat(1.0));
                for keep in [0_u16, 1, 0b1010_1100, 0xff, 0x80] {
                    let v = S::fma_where(keep, S::expand(all, keep), S::splat(2.0), ones);
                    S::store(y.as_mut_ptr(), v);
                    for i in 0..S::LANES {
                        let before = (keep & ((1 << i) - 1)).count_ones() as f32;
                        let want = if keep >> i & 1 == 1 { 2.0 * before + 1.0 } else { 1.0 };
                        assert_eq!(y[i], want, "{keep:b} {i}");
                    }
                    // What is not kept is not even multiplied.
                    let v = S::fma_where(keep, S::splat(f32::NAN), ones, ones);
                    S::store(y.as_mut_ptr(), v);
                    assert!((0..S::LANES).all(|i| y[i].is_nan() == (keep >> i & 1 == 1)));
                }
                let halves: Vec<u16> = x[..16].iter().map(|x| (x.to_bits() >> 16) as u16).collect();
                S::store(y.as_mut_ptr(), S::load_bf16(halves.as_ptr()));
                assert_eq!(y[..S::LANES], x[..S::LANES]);
                S::store(y.as_mut_ptr(), S::load_halves(x.as_ptr().add(3), x.as_ptr().add(40)));
                assert_eq!((y[0], y[S::LANES / 2 - 1]), (3.0, 2.0 + (S::LANES / 2) as f32));
                assert_eq!((y[S::LANES / 2], y[S::LANES - 1]), (40.0, 39.0 + (S::LANES / 2) as f32));
                S::store(y.as_mut_ptr(), S::load_even(x.as_ptr().add(1)));
                assert!((0..S::LANES).all(|i| y[i] == (2 * i + 1) as f32));
                let v = S::load(x.as_ptr());
                assert_eq!(S::sum(v), (S::LANES * (S::LANES - 1) / 2) as f32);
                let v = S::fma(v, S::splat(2.0), S::splat(-3.0));
                S::store(y.as_mut_ptr(), S::max(S::splat(0.0), S::add(v, S::splat(0.0))));
                out.extend_from_slice(&y[..4]);
            }
        }
    }

    #[test]
    fn vectors_do_what_their_names_say() {
        for isa in [InstructionSet::Avx2, InstructionSet::Avx512] {
            if isa <= detected() {
                let mut out = Vec::new();
                // SAFETY: the instruction set is there, and the function stays inside its own memory.
                unsafe { exercise(isa, &mut out) };
                assert_eq!(out, [0.0, 0.0, 1.0, 3.0]);
            }
        }
    }
}
