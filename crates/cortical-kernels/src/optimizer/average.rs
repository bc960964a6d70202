//! Averages of weights: `a ← a + w (x − a)`, the step of an exponential moving average and of a running mean.
//!
//! # Source
//! Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); Izmailov et al., "Averaging
//! weights leads to wider optima and better generalization" (2018), section 3.

use super::{Rule, run};
use crate::real::Real;

#[derive(Clone, Copy)]
struct Towards<T>(T);

impl<T: Real> Rule<T, 0> for Towards<T> {
    #[inline(always)]
    fn update(&self, a: T, x: T, _: [T; 0]) -> (T, [T; 0]) {
        (a + self.0 * (x - a), [])
    }
}

/// Moves every element of `average` by the share `weight` of its distance to `x`.
///
/// # Panics
/// If the lengths differ.
pub fn move_towards<T: Real>(average: &mut [T], x: &[T], weight: f64) {
    run(Towards(T::from_f64(weight)), average, x, &mut []);
}

/// The same, element by element.
///
/// # Panics
/// As [`move_towards`].
pub fn move_towards_naive<T: Real>(average: &mut [T], x: &[T], weight: f64) {
    assert_eq!(average.len(), x.len(), "average: lengths");
    for (a, x) in average.iter_mut().zip(x) {
        *a += T::from_f64(weight) * (*x - *a);
    }
}
