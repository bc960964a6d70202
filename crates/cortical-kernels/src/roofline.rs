//! What this machine can do at most: multiply-adds from registers, and bytes from cache and from memory.
//!
//! A time means little without the best time that the machine allows: work of `f` floating-point operations that moves
//! `b` bytes takes at least `max(f / peak, b / bandwidth)` (Williams, Waterman and Patterson, "Roofline", 2009). Both
//! are measured here, with as many threads as the current pool has, and with the instruction set in use.

use crate::isa::{self, InstructionSet};
use crate::parallel;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The measured limits of all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Thousand million `f32` operations a second, a multiply-add counting as two.
    pub gflops: f64,
    /// GB/s of arrays of 16 MiB together, which stay in cache.
    pub cache_gb_s: f64,
    /// GB/s of arrays of 256 MiB together, which do not.
    pub memory_gb_s: f64,
}

/// What is moved to measure the bandwidth of caches.
const CACHE_BYTES: usize = 16 << 20;
/// What is moved to measure the bandwidth of memory.
const MEMORY_BYTES: usize = 256 << 20;

impl Roofline {
    /// Measures for about `effort` each; the best of several tries counts, as other programs can only slow this down.
    #[must_use]
    pub fn measure(effort: Duration) -> Self {
        Self::measure_with(effort, CACHE_BYTES, MEMORY_BYTES)
    }

    fn measure_with(effort: Duration, cache_bytes: usize, memory_bytes: usize) -> Self {
        Self {
            gflops: peak(effort),
            cache_gb_s: bandwidth(effort, cache_bytes),
            memory_gb_s: bandwidth(effort, memory_bytes),
        }
    }

    /// The least number of milliseconds for this many operations, of which `bytes` are moved in passes of `working_set`
    /// bytes that do little arithmetic.
    #[must_use]
    pub fn floor_ms(&self, operations: f64, bytes: f64, working_set: f64) -> f64 {
        let gb_s = if working_set <= CACHE_BYTES as f64 {
            self.cache_gb_s
        } else {
            self.memory_gb_s
        };
        operations / self.gflops / 1e6 + bytes / gb_s / 1e6
    }
}

/// The best of the rates that `work`, which returns how much it did, reaches in several tries, in units of 10⁹.
fn best(effort: Duration, mut work: impl FnMut() -> f64) -> f64 {
    let start = Instant::now();
    let mut best = 0.0_f64;
    loop {
        let before = Instant::now();
        let done = work();
        best = best.max(done / before.elapsed().as_secs_f64() / 1e9);
        if start.elapsed() >= effort {
            return best;
        }
    }
}

/// Independent chains of multiply-adds: enough to hide the latency of two units, few enough for the registers.
const CHAINS: usize = 12;
const ROUNDS: usize = 200_000;

/// Runs the chains; returns how many operations they were.
fn chains(isa: InstructionSet) -> usize {
    let [start, factor, addend] = black_box([1.0_f32, 0.999, 1e-3]);
    #[cfg(target_arch = "x86_64")]
    if isa >= InstructionSet::Avx512 {
        // SAFETY: `isa` is no higher than what was detected.
        return unsafe { avx512_chains(start, factor, addend) };
    } else if isa == InstructionSet::Avx2 {
        // SAFETY: as above.
        return unsafe { avx2_chains(start, factor, addend) };
    }
    let mut sums = [start; CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = *sum * factor + addend;
        }
    }
    black_box(sums);
    2 * ROUNDS * CHAINS
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512_chains(start: f32, factor: f32, addend: f32) -> usize {
    use std::arch::x86_64::*;
    let (factor, addend) = (_mm512_set1_ps(factor), _mm512_set1_ps(addend));
    let mut sums = [_mm512_set1_ps(start); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, addend);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
    2 * ROUNDS * CHAINS * 16
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2_chains(start: f32, factor: f32, addend: f32) -> usize {
    use std::arch::x86_64::*;
    let (factor, addend) = (_mm256_set1_ps(factor), _mm256_set1_ps(addend));
    let mut sums = [_mm256_set1_ps(start); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, addend);
        }
    }
    black_box(sums.map(|sum| _mm256_cvtss_f32(sum)));
    2 * ROUNDS * CHAINS * 8
}

fn peak(effort: Duration) -> f64 {
    let isa = isa::current();
    let threads = rayon::current_num_threads();
    best(effort, || {
        let done = parallel::map(threads, |_| chains(isa));
        done.iter().sum::<usize>() as f64
    })
}

multiversion! {
    fn scale_and_add(x: &[f32], y: &mut [f32], factor: f32) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *y * factor + *x;
        }
    }
}

/// `y ← a y + x`: two numbers read and one written, as in an optimizer or a residual connection.
fn bandwidth(effort: Duration, bytes: usize) -> f64 {
    let isa = isa::current();
    let n = bytes / 2 / size_of::<f32>();
    let x = vec![1.0_f32; n];
    let mut y = vec![1.0_f32; n];
    best(effort, || {
        parallel::chunks_mut(&mut y, 1 << 16, |first, y| {
            scale_and_add(isa, &x[first..first + y.len()], y, 0.5);
        });
        black_box(&mut y);
        (3 * n * size_of::<f32>()) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_floors_follow() {
        let roofline = Roofline::measure_with(Duration::from_millis(1), 1 << 16, 1 << 20);
        assert!(roofline.gflops > 0.1, "{roofline:?}");
        assert!(
            roofline.cache_gb_s > 0.1 && roofline.memory_gb_s > 0.1,
            "{roofline:?}"
        );
        let exact = Roofline {
            gflops: 100.0,
            cache_gb_s: 50.0,
            memory_gb_s: 10.0,
        };
        assert_eq!(exact.floor_ms(1e8, 0.0, 0.0), 1.0);
        assert_eq!(exact.floor_ms(0.0, 5e7, 1e6), 1.0);
        assert_eq!(exact.floor_ms(1e8, 1e7, 1e9), 2.0);
    }
}
