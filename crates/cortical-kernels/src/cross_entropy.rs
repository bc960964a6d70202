//! Softmax and cross-entropy in one pass, forward beside backward.
//!
//! `loss_r = Σ_c t[r, c] · (ln Σⱼ exp(x[r, j] − max_r) − (x[r, c] − max_r))`. The forward pass keeps only a [`Shift`]
//! for each row; the backward pass makes the probabilities again from it.
//!
//! Legend: `r` a row (one prediction), `c` a class, `n` rows, `k` classes.

use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums::{max_body, sum_map};
use crate::softmax::Shift;

/// What each row should have been, and how much it counts.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a, T> {
    /// The class of each row; a row of `None`'s class is left out.
    pub classes: &'a [u32],
    /// Rows of this class are left out of loss and gradient.
    pub ignore: Option<u32>,
    /// The weight of each class, 1 if absent.
    pub weights: Option<&'a [T]>,
    /// How much of the target is spread evenly over all classes, 0 to 1.
    pub smoothing: T,
}

impl<T: Real> Targets<'_, T> {
    /// The weight of class `c`.
    #[inline(always)]
    fn weight(&self, c: usize) -> T {
        self.weights.map_or(T::ONE, |w| w[c])
    }

    /// The weight of row `r`: its class's, or 0 if it is left out.
    #[must_use]
    pub fn row_weight(&self, r: usize) -> T {
        let class = self.classes[r];
        if self.ignore == Some(class) {
            T::ZERO
        } else {
            self.weight(class as usize)
        }
    }
}

multiversion! {
    fn shift_rows<T: Real>(x: &[T], shifts: &mut [Shift<T>], cols: usize) {
        for (x, shift) in x.chunks_exact(cols).zip(shifts) {
            let max = max_body(x);
            let sum = sum_map(x, |x| (x - max).exp::<I>());
            *shift = Shift { max, log_sum: sum.ln::<I>(), inverse_sum: T::ONE / sum };
        }
    }
}

/// What each row's scores become probabilities by.
fn shifts_of<T: Real>(x: &[T], shifts: &mut [Shift<T>], cols: usize) {
    assert_eq!(x.len(), shifts.len() * cols, "cross-entropy: rows");
    if cols == 0 {
        return;
    }
    let isa = isa::current();
    parallel::chunks_mut(shifts, rows_per_task(cols), |row, shifts| {
        let x = &x[row * cols..(row + shifts.len()) * cols];
        shift_rows(isa, x, shifts, cols);
    });
}

/// Writes each row's loss and what its scores become probabilities by.
///
/// # Panics
/// If the lengths do not fit or a class is not below `cols`.
pub fn forward<T: Real>(
    x: &[T],
    cols: usize,
    targets: &Targets<'_, T>,
    loss: &mut [T],
    shifts: &mut [Shift<T>],
) {
    assert_eq!(
        targets.classes.len(),
        loss.len(),
        "cross-entropy: a class and a loss a row"
    );
    shifts_of(x, shifts, cols);
    for (r, loss) in loss.iter_mut().enumerate() {
        let class = targets.classes[r];
        if targets.ignore == Some(class) {
            *loss = T::ZERO;
            continue;
        }
        let row = &x[r * cols..(r + 1) * cols];
        let class = class as usize;
        let hard = targets.weight(class) * -shifts[r].log_probability(row[class]);
        *loss = if targets.smoothing == T::ZERO {
            hard
        } else {
            let mut spread = T::ZERO;
            for (c, x) in row.iter().enumerate() {
                spread += targets.weight(c) * -shifts[r].log_probability(*x);
            }
            (T::ONE - targets.smoothing) * hard
                + targets.smoothing / T::from_f64(cols as f64) * spread
        };
    }
}

multiversion! {
    fn backward_row<T: Real>(x: &[T], shift: Shift<T>, scale: T, d_x: &mut [T]) {
        let scale = scale * shift.inverse_sum;
        for (d_x, x) in d_x.iter_mut().zip(x) {
            *d_x = scale * (*x - shift.max).exp::<I>();
        }
    }
}

/// Writes `d_x[r, c] = d_loss[r] · (W_r · softmax(x)[r, c] − w_c t[r, c])`, where `t` is the smoothed target and
/// `W_r = Σ_c w_c t[r, c]`.
///
/// # Panics
/// If the lengths do not fit or a class is not below `cols`.
pub fn backward<T: Real>(
    x: &[T],
    cols: usize,
    targets: &Targets<'_, T>,
    shifts: &[Shift<T>],
    d_loss: &[T],
    d_x: &mut [T],
) {
    assert_eq!(
        x.len(),
        d_x.len(),
        "cross-entropy: scores and their gradient"
    );
    assert_eq!(x.len(), shifts.len() * cols, "cross-entropy: rows");
    assert_eq!(
        d_loss.len(),
        shifts.len(),
        "cross-entropy: an upstream gradient a row"
    );
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    let even = targets.smoothing / T::from_f64(cols as f64);
    let mut all = T::ZERO;
    for c in 0..cols {
        all += targets.weight(c);
    }
    let rows = rows_per_task(cols);
    parallel::chunks_mut(d_x, rows * cols, |at, d_x| {
        for (i, d_x) in d_x.chunks_exact_mut(cols).enumerate() {
            let r = at / cols + i;
            let class = targets.classes[r];
            if targets.ignore == Some(class) {
                d_x.fill(T::ZERO);
                continue;
            }
            let class = class as usize;
            let hard = (T::ONE - targets.smoothing) * targets.weight(class);
            let total = hard + even * all;
            backward_row(
                isa,
                &x[r * cols..(r + 1) * cols],
                shifts[r],
                d_loss[r] * total,
                d_x,
            );
            d_x[class] -= d_loss[r] * hard;
            if targets.smoothing > T::ZERO {
                for (c, d_x) in d_x.iter_mut().enumerate() {
                    *d_x -= d_loss[r] * even * targets.weight(c);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_central_differences() {
        let (n, k) = (4, 5);
        let x: Vec<f64> = (0..n * k)
            .map(|i| ((i * 7 % 13) as f64) * 0.31 - 1.0)
            .collect();
        let weights = [0.5, 1.0, 1.5, 2.0, 0.25];
        for (smoothing, weighted) in [(0.0, false), (0.2, false), (0.0, true), (0.3, true)] {
            let targets = Targets {
                classes: &[1, 4, 2, 0],
                ignore: Some(2),
                weights: weighted.then_some(&weights[..]),
                smoothing,
            };
            let total = |x: &[f64]| {
                let (mut loss, mut shifts) = ([0.0; 4], [Shift::default(); 4]);
                forward(x, k, &targets, &mut loss, &mut shifts);
                (loss[0] + 2.0 * loss[1] + 3.0 * loss[2] - loss[3], shifts)
            };
            let (_, shifts) = total(&x);
            let mut d_x = vec![0.0; n * k];
            backward(&x, k, &targets, &shifts, &[1.0, 2.0, 3.0, -1.0], &mut d_x);
            for i in 0..x.len() {
                let moved = |h: f64| {
                    let mut x = x.clone();
                    x[i] += h;
                    total(&x).0
                };
                let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                assert!(
                    (d_x[i] - want).abs() < 1e-8,
                    "{smoothing} {weighted} {i}: {} {want}",
                    d_x[i]
                );
            }
        }
    }
}
