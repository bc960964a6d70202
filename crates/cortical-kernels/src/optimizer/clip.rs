//! Norms of gradients and clipping by norm or by value.
//!
//! A norm over many tensors is that of all their elements in one row: [`part`] reads one tensor, [`total`] puts the
//! parts together. Sums are kept in double precision and have a fixed order: sixteen lanes in a task, tasks in turn,
//! tensors in turn.
//!
//! # Source
//! Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.

use crate::isa;
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Norm {
    /// Σ |x|
    One,
    /// √(Σ x²)
    #[default]
    Two,
    /// max |x|
    Infinity,
    /// (Σ |x|ᵖ)^(1/p) for a p above 0
    P(f64),
}

const LANES: usize = 16;

/// Puts `x` to what was gathered so far. `NaN` is kept by every norm.
#[inline(always)]
fn gather(norm: Norm, so_far: f64, x: f64) -> f64 {
    match norm {
        Norm::One | Norm::Two | Norm::P(_) => so_far + x,
        Norm::Infinity => {
            if x > so_far || x.is_nan() {
                x
            } else {
                so_far
            }
        }
    }
}

/// What one element contributes.
#[inline(always)]
fn contribution(norm: Norm, x: f64) -> f64 {
    match norm {
        Norm::Two => x * x,
        Norm::One | Norm::Infinity => x.abs(),
        Norm::P(p) => x.abs().powf(p),
    }
}

#[inline(always)]
fn gather_all<T: Real>(norm: Norm, x: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = gather(norm, lanes[i], contribution(norm, block[i].to_f64()));
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = gather(norm, *lane, contribution(norm, x.to_f64()));
    }
    lanes
        .into_iter()
        .fold(0.0, |sum, lane| gather(norm, sum, lane))
}

multiversion! {
    fn task_part<T: Real>(x: &[T], norm: Norm) -> f64 {
        // One loop for each norm, so that no element asks which it is.
        match norm {
            Norm::One => gather_all(Norm::One, x),
            Norm::Two => gather_all(Norm::Two, x),
            Norm::Infinity => gather_all(Norm::Infinity, x),
            Norm::P(p) => gather_all(Norm::P(p), x),
        }
    }
}

/// What one tensor contributes to [`total`]: Σ |x|, Σ x², max |x| or Σ |x|ᵖ.
#[must_use]
pub fn part<T: Real>(norm: Norm, x: &[T]) -> f64 {
    let isa = isa::current();
    let tasks = x.len().div_ceil(TASK_ELEMENTS);
    let of_task = |i: usize| {
        let end = x.len().min((i + 1) * TASK_ELEMENTS);
        task_part(isa, &x[i * TASK_ELEMENTS..end], norm)
    };
    parallel::map(tasks, of_task)
        .into_iter()
        .fold(0.0, |sum, part| gather(norm, sum, part))
}

/// The norm of all tensors whose [`part`]s these are.
#[must_use]
pub fn total(norm: Norm, parts: impl IntoIterator<Item = f64>) -> f64 {
    let gathered = parts
        .into_iter()
        .fold(0.0, |sum, part| gather(norm, sum, part));
    match norm {
        Norm::Two => gathered.sqrt(),
        Norm::One | Norm::Infinity => gathered,
        Norm::P(p) => gathered.powf(1.0 / p),
    }
}

/// The norm of one slice in a plain loop: the reference of [`part`] and [`total`].
#[must_use]
pub fn naive<T: Real>(norm: Norm, x: &[T]) -> f64 {
    let magnitudes = x.iter().map(|x| x.to_f64().abs());
    match norm {
        Norm::One => magnitudes.sum(),
        Norm::Two => magnitudes.map(|x| x * x).sum::<f64>().sqrt(),
        Norm::Infinity => magnitudes.fold(0.0, f64::max),
        Norm::P(p) => magnitudes.map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

/// By what gradients of norm `total_norm` are multiplied so that their norm is at most `max_norm`:
/// `min(1, max_norm / (total_norm + 10⁻⁶))`.
#[must_use]
pub fn coefficient(total_norm: f64, max_norm: f64) -> f64 {
    let c = max_norm / (total_norm + 1e-6);
    if c > 1.0 { 1.0 } else { c }
}

multiversion! {
    fn scale_task<T: Real>(x: &mut [T], by: T) {
        for x in x {
            *x *= by;
        }
    }
}

/// `x ← by · x`
pub fn scale<T: Real>(x: &mut [T], by: f64) {
    let isa = isa::current();
    parallel::chunks_mut(x, TASK_ELEMENTS, |_, x| {
        scale_task(isa, x, T::from_f64(by));
    });
}

multiversion! {
    fn clamp_task<T: Real>(x: &mut [T], limit: T) {
        for x in x {
            *x = x.maximum(-limit).minimum(limit);
        }
    }
}

/// `x ← max(−limit, min(limit, x))`; `NaN` stays.
pub fn clamp<T: Real>(x: &mut [T], limit: f64) {
    let isa = isa::current();
    parallel::chunks_mut(x, TASK_ELEMENTS, |_, x| {
        clamp_task(isa, x, T::from_f64(limit));
    });
}
