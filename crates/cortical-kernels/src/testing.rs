//! What the tests of every kernel family share: numbers, closeness, instruction sets and threads.

use crate::isa::{InstructionSet, limited_to};
use crate::philox;

/// A real number in `[0, 1)` with 24 random bits, from one word.
pub(crate) fn unit(word: u32) -> f64 {
    f64::from(word >> 8) / 16_777_216.0
}

/// `n` numbers in [−1, 1) that depend on nothing but `seed`.
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f64> {
    (0..n as u32)
        .map(|i| {
            let word = philox::block([seed, 0x5eed], [i, 0, 0, 0])[0];
            unit(word) * 2.0 - 1.0
        })
        .collect()
}

/// The same numbers in single precision.
pub(crate) fn singles(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

/// Panics where `got` and `want` differ by more than `tolerance · max(1, |want|)`.
#[track_caller]
pub(crate) fn assert_close<A: Copy + Into<f64>>(
    what: &str,
    got: &[A],
    want: &[f64],
    tolerance: f64,
) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let g: f64 = (*g).into();
        let same = g == *w || (g.is_nan() && w.is_nan());
        assert!(
            same || (g - w).abs() <= tolerance * w.abs().max(1.0),
            "{what}[{i}]: {g} but expected {w}"
        );
    }
}

/// Runs `f` limited to each instruction set.
pub(crate) fn on_every_isa(mut f: impl FnMut(InstructionSet)) {
    for isa in [
        InstructionSet::Portable,
        InstructionSet::Avx2,
        InstructionSet::Avx512,
        InstructionSet::Amx,
    ] {
        limited_to(isa, || f(isa));
    }
}

/// Asserts that `f` gives the same bits on pools of 1, 2, 4 and 8 threads.
#[track_caller]
pub(crate) fn same_bits_on_any_threads(f: impl Fn() -> Vec<f32> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let bits: Vec<u32> = pool.install(|| f().iter().map(|v| v.to_bits()).collect());
        bits
    };
    let one = run(1);
    for threads in [2, 4, 8] {
        assert!(run(threads) == one, "{threads} threads change the bits");
    }
}

/// Compares a gradient with central differences of `loss`, element by element.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, x: &[f64], d_x: &[f64], loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), d_x.len(), "{what}: lengths");
    for i in 0..x.len() {
        let moved = |h: f64| {
            let mut x = x.to_vec();
            x[i] += h;
            loss(&x)
        };
        let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        assert!(
            (d_x[i] - want).abs() <= 1e-5 + 1e-3 * want.abs(),
            "d_{what}[{i}]: {} but the difference quotient is {want}",
            d_x[i]
        );
    }
}

/// Σ aᵢ bᵢ, the loss whose upstream gradient is `b`.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
