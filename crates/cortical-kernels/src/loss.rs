//! Losses between two numbers, element by element, forward beside backward, and the negative log-likelihood of classes.
//!
//! A [`Pointwise`] loss is a function `l(x, t)` of a prediction and a target; the backward pass gives both derivatives,
//! as a target may be somebody else's output. Reductions are the caller's.

use crate::isa::{self, Isa};
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;

/// A loss `l(x, t)` of a prediction and its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pointwise {
    /// (x − t)²
    Squared,
    /// |x − t|; the derivative at 0 is 0
    Absolute,
    /// (x − t)² / 2β where |x − t| < β, else |x − t| − β/2 (Girshick 2015)
    SmoothL1 {
        /// Where the parabola ends; 0 makes it |x − t|.
        beta: f64,
    },
    /// (x − t)² / 2 where |x − t| ≤ δ, else δ (|x − t| − δ/2) (Huber 1964)
    Huber {
        /// Where the parabola ends.
        delta: f64,
    },
    /// −t ln x − (1 − t) ln(1 − x), each logarithm at least −100
    BinaryCrossEntropy,
    /// The same of σ(x): max(x, 0) − x t + ln(1 + e^(−|x|))
    BinaryCrossEntropyWithLogits,
    /// t (ln t − x) for a prediction x = ln q; 0 at t = 0 and a finite x
    KlDivergence,
    /// eᵗ (t − x), where the target is a logarithm as well
    KlDivergenceOfLogs,
    /// eˣ − t x, the rate being eˣ
    PoissonOfLogRate,
    /// x − t ln(x + ε), the rate being x
    Poisson {
        /// Keeps the logarithm finite.
        eps: f64,
    },
    /// ln(1 + e^(−t x)) for t of ±1
    SoftMargin,
}

/// `y[i] = $f(x[i], t[i])`.
macro_rules! map2 {
    ($x:ident, $t:ident, $y:ident, |$a:ident, $b:ident| $f:expr) => {
        for ((y, x), t) in $y.iter_mut().zip($x).zip($t) {
            let ($a, $b) = (*x, *t);
            *y = $f;
        }
    };
}

/// ln(1 + eˣ), which never overflows.
#[inline(always)]
fn softplus<I: Isa, T: Real>(x: T) -> T {
    x.maximum(T::ZERO) + (-x.abs()).exp::<I>().ln_1p::<I>()
}

/// −1, 0 or 1.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let low = if x < T::ZERO { -T::ONE } else { T::ZERO };
    if x > T::ZERO { T::ONE } else { low }
}

multiversion! {
    fn forward_chunk<T: Real>(loss: Pointwise, x: &[T], t: &[T], y: &mut [T]) {
        let c = T::from_f64;
        let (zero, one, half, floor) = (T::ZERO, T::ONE, T::HALF, c(-100.0));
        match loss {
            Pointwise::Squared => map2!(x, t, y, |x, t| (x - t) * (x - t)),
            Pointwise::Absolute => map2!(x, t, y, |x, t| (x - t).abs()),
            Pointwise::SmoothL1 { beta } => {
                let (b, r) = (c(beta), c(if beta > 0.0 { 0.5 / beta } else { 0.0 }));
                map2!(x, t, y, |x, t| { let d = (x - t).abs(); if d >= b { d - half * b } else { d * d * r } });
            }
            Pointwise::Huber { delta } => {
                let b = c(delta);
                map2!(x, t, y, |x, t| { let d = (x - t).abs(); if d > b { b * (d - half * b) } else { half * d * d } });
            }
            Pointwise::BinaryCrossEntropy => map2!(x, t, y, |x, t| {
                let (p, q) = (x.ln::<I>().maximum(floor), (-x).ln_1p::<I>().maximum(floor));
                -(t * p + (one - t) * q)
            }),
            Pointwise::BinaryCrossEntropyWithLogits => map2!(x, t, y, |x, t| {
                // The larger part of the loss as one product: for an infinite x no difference of infinities.
                let side = if x > zero { one - t } else { -t };
                x * side + softplus::<I, T>(-x.abs())
            }),
            Pointwise::KlDivergence => map2!(x, t, y, |x, t| {
                let l = t * (t.ln::<I>() - x);
                if t == zero { -(t * x) } else { l }
            }),
            Pointwise::KlDivergenceOfLogs => map2!(x, t, y, |x, t| t.exp::<I>() * (t - x)),
            Pointwise::PoissonOfLogRate => map2!(x, t, y, |x, t| x.exp::<I>() - t * x),
            Pointwise::Poisson { eps } => {
                let e = c(eps);
                map2!(x, t, y, |x, t| x - t * (x + e).ln::<I>());
            }
            Pointwise::SoftMargin => map2!(x, t, y, |x, t| softplus::<I, T>(-t * x)),
        }
    }
}

multiversion! {
    fn d_prediction<T: Real>(loss: Pointwise, x: &[T], t: &[T], y: &mut [T]) {
        let c = T::from_f64;
        let (zero, one) = (T::ZERO, T::ONE);
        match loss {
            Pointwise::Squared => map2!(x, t, y, |x, t| (x - t) + (x - t)),
            Pointwise::Absolute | Pointwise::SmoothL1 { beta: 0.0 } => map2!(x, t, y, |x, t| sign(x - t)),
            Pointwise::SmoothL1 { beta } => {
                let (b, r) = (c(beta), c(1.0 / beta));
                map2!(x, t, y, |x, t| { let d = x - t; if d.abs() >= b { sign(d) } else { d * r } });
            }
            Pointwise::Huber { delta } => {
                let b = c(delta);
                map2!(x, t, y, |x, t| (x - t).maximum(-b).minimum(b));
            }
            // The product of both probabilities is kept away from 0, as PyTorch does.
            Pointwise::BinaryCrossEntropy => map2!(x, t, y, |x, t| (x - t) / ((one - x) * x).maximum(c(1e-12))),
            Pointwise::BinaryCrossEntropyWithLogits => map2!(x, t, y, |x, t| x.sigmoid::<I>() - t),
            Pointwise::KlDivergence => map2!(x, t, y, |x, t| -t),
            Pointwise::KlDivergenceOfLogs => map2!(x, t, y, |x, t| -t.exp::<I>()),
            Pointwise::PoissonOfLogRate => map2!(x, t, y, |x, t| x.exp::<I>() - t),
            Pointwise::Poisson { eps } => map2!(x, t, y, |x, t| one - t / (x + c(eps))),
            Pointwise::SoftMargin => map2!(x, t, y, |x, t| -t * (-t * x).sigmoid::<I>()),
        }
    }
}

multiversion! {
    fn d_target<T: Real>(loss: Pointwise, x: &[T], t: &[T], y: &mut [T]) {
        let c = T::from_f64;
        let (zero, one, floor) = (T::ZERO, T::ONE, c(-100.0));
        match loss {
            // Functions of x − t alone.
            Pointwise::Squared | Pointwise::Absolute | Pointwise::SmoothL1 { .. } | Pointwise::Huber { .. } => {
                unreachable!("`backward` negates the other derivative")
            }
            Pointwise::BinaryCrossEntropy => map2!(x, t, y, |x, t| {
                (-x).ln_1p::<I>().maximum(floor) - x.ln::<I>().maximum(floor)
            }),
            Pointwise::BinaryCrossEntropyWithLogits => map2!(x, t, y, |x, t| -x),
            Pointwise::KlDivergence => map2!(x, t, y, |x, t| {
                let d = t.ln::<I>() + one - x;
                if t == zero { zero } else { d }
            }),
            Pointwise::KlDivergenceOfLogs => map2!(x, t, y, |x, t| t.exp::<I>() * (t - x + one)),
            Pointwise::PoissonOfLogRate => map2!(x, t, y, |x, t| -x),
            Pointwise::Poisson { eps } => map2!(x, t, y, |x, t| -(x + c(eps)).ln::<I>()),
            Pointwise::SoftMargin => map2!(x, t, y, |x, t| -x * (-t * x).sigmoid::<I>()),
        }
    }
}

/// `y[i] = l(x[i], t[i])`.
///
/// # Panics
/// If the lengths differ.
pub fn forward<T: Real>(loss: Pointwise, x: &[T], t: &[T], y: &mut [T]) {
    assert_eq!((x.len(), t.len()), (y.len(), y.len()), "loss: lengths");
    let isa = isa::current();
    parallel::chunks_mut(y, TASK_ELEMENTS, |at, y| {
        let part = at..at + y.len();
        forward_chunk(isa, loss, &x[part.clone()], &t[part], y);
    });
}

/// The upstream gradient of a [`Pointwise`] loss: one for each element, or one for all.
#[derive(Clone, Copy, Debug)]
pub enum Upstream<'a, T> {
    /// Each element's own.
    Each(&'a [T]),
    /// The same for every element: what a mean or a sum hands back.
    All(T),
}

/// Which of the two derivatives [`backward`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// ∂l/∂x
    Prediction,
    /// ∂l/∂t
    Target,
}

/// `out[i] = d_l[i] · ∂l/∂x` or `d_l[i] · ∂l/∂t`.
///
/// # Panics
/// If the lengths differ.
pub fn backward<T: Real>(
    loss: Pointwise,
    side: Side,
    x: &[T],
    t: &[T],
    d_l: Upstream<'_, T>,
    out: &mut [T],
) {
    assert_eq!((x.len(), t.len()), (out.len(), out.len()), "loss: lengths");
    if let Upstream::Each(d_l) = d_l {
        assert_eq!(d_l.len(), out.len(), "loss: upstream gradient");
    }
    let of_difference = matches!(
        loss,
        Pointwise::Squared
            | Pointwise::Absolute
            | Pointwise::SmoothL1 { .. }
            | Pointwise::Huber { .. }
    );
    let negate = side == Side::Target && of_difference;
    let isa = isa::current();
    parallel::chunks_mut(out, TASK_ELEMENTS, |at, out| {
        let part = at..at + out.len();
        let (x, t) = (&x[part.clone()], &t[part.clone()]);
        if side == Side::Prediction || of_difference {
            d_prediction(isa, loss, x, t, out);
        } else {
            d_target(isa, loss, x, t, out);
        }
        match d_l {
            Upstream::All(d) => {
                let d = if negate { -d } else { d };
                out.iter_mut().for_each(|o| *o *= d);
            }
            Upstream::Each(d_l) => {
                for (o, d) in out.iter_mut().zip(&d_l[part]) {
                    *o *= if negate { -*d } else { *d };
                }
            }
        }
    });
}

/// Marks a row of [`nll_forward`] that is left out; no class can have this number.
pub const LEFT_OUT: u32 = u32::MAX;

/// `y[r] = −w[c] x[r, c]` for the class `c` of each row `r`; 0 for a row that is [`LEFT_OUT`].
///
/// # Panics
/// If the lengths do not fit together or a class lies outside its row.
pub fn nll_forward<T: Real>(x: &[T], cols: usize, classes: &[u32], w: Option<&[T]>, y: &mut [T]) {
    assert_eq!(x.len(), cols * classes.len(), "nll: rows");
    assert_eq!(y.len(), classes.len(), "nll: losses");
    for (r, (y, class)) in y.iter_mut().zip(classes).enumerate() {
        let c = *class as usize;
        *y = match *class {
            LEFT_OUT => T::ZERO,
            _ => -(w.map_or(T::ONE, |w| w[c]) * x[r * cols..(r + 1) * cols][c]),
        };
    }
}

/// `d_x[r, c] = −w[c] d_y[r]` at each row's class, 0 elsewhere.
///
/// # Panics
/// If the lengths do not fit together or a class lies outside its row.
pub fn nll_backward<T: Real>(
    cols: usize,
    classes: &[u32],
    w: Option<&[T]>,
    d_y: &[T],
    d_x: &mut [T],
) {
    assert_eq!(d_x.len(), cols * classes.len(), "nll: rows");
    assert_eq!(d_y.len(), classes.len(), "nll: upstream gradient");
    d_x.fill(T::ZERO);
    for (r, (d_y, class)) in d_y.iter().zip(classes).enumerate() {
        if *class != LEFT_OUT {
            let c = *class as usize;
            d_x[r * cols..(r + 1) * cols][c] = -(w.map_or(T::ONE, |w| w[c]) * *d_y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_close, assert_gradient, dot, numbers, on_every_isa, same_bits_on_any_threads,
        singles,
    };

    const ALL: [Pointwise; 11] = [
        Pointwise::Squared,
        Pointwise::Absolute,
        Pointwise::SmoothL1 { beta: 0.7 },
        Pointwise::Huber { delta: 0.6 },
        Pointwise::BinaryCrossEntropy,
        Pointwise::BinaryCrossEntropyWithLogits,
        Pointwise::KlDivergence,
        Pointwise::KlDivergenceOfLogs,
        Pointwise::PoissonOfLogRate,
        Pointwise::Poisson { eps: 1e-8 },
        Pointwise::SoftMargin,
    ];

    /// Predictions and targets inside the domain of every loss: both in (0, 1).
    fn pair(n: usize) -> (Vec<f64>, Vec<f64>) {
        let inside = |v: Vec<f64>| v.into_iter().map(|v| 0.5 + 0.45 * v).collect();
        (inside(numbers(n, 1)), inside(numbers(n, 2)))
    }

    #[test]
    fn both_derivatives_are_central_differences() {
        let (x, t) = pair(37);
        let d_l = numbers(37, 3);
        for loss in ALL {
            let value = |x: &[f64], t: &[f64]| {
                let mut y = vec![0.0; x.len()];
                forward(loss, x, t, &mut y);
                dot(&y, &d_l)
            };
            let mut d = vec![0.0; x.len()];
            backward(loss, Side::Prediction, &x, &t, Upstream::Each(&d_l), &mut d);
            assert_gradient("x", &x, &d, |x| value(x, &t));
            backward(loss, Side::Target, &x, &t, Upstream::Each(&d_l), &mut d);
            assert_gradient("t", &t, &d, |t| value(&x, t));
        }
    }

    #[test]
    fn single_precision_follows_double_on_every_instruction_set() {
        let (x, t) = pair(1003);
        let (x32, t32) = (singles(&x), singles(&t));
        let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let (x, t) = (wide(&x32), wide(&t32));
        for loss in ALL {
            let mut want = vec![0.0; x.len()];
            forward(loss, &x, &t, &mut want);
            on_every_isa(|isa| {
                let what = format!("{loss:?} {isa:?}");
                let mut got = vec![0.0; x.len()];
                forward(loss, &x32, &t32, &mut got);
                assert_close(&what, &got, &want, 4e-6);
                for side in [Side::Prediction, Side::Target] {
                    let mut want = vec![0.0; x.len()];
                    backward(loss, side, &x, &t, Upstream::All(0.5), &mut want);
                    backward(loss, side, &x32, &t32, Upstream::All(0.5), &mut got);
                    assert_close(&what, &got, &want, 1e-5);
                }
            });
        }
    }

    #[test]
    fn corners_are_finite_and_what_pytorch_says() {
        let one = |loss, x: f32, t: f32| {
            let (mut y, mut d) = ([0.0], [0.0]);
            forward(loss, &[x], &[t], &mut y);
            backward(
                loss,
                Side::Prediction,
                &[x],
                &[t],
                Upstream::All(1.0),
                &mut d,
            );
            (y[0], d[0])
        };
        assert_eq!(one(Pointwise::BinaryCrossEntropy, 0.0, 1.0), (100.0, -1e12));
        assert_eq!(one(Pointwise::BinaryCrossEntropy, 1.0, 1.0), (0.0, 0.0));
        let logits = Pointwise::BinaryCrossEntropyWithLogits;
        assert_eq!(one(logits, 200.0, 1.0), (0.0, 0.0));
        assert_eq!(one(logits, -200.0, 1.0), (200.0, -1.0));
        assert_eq!(one(Pointwise::KlDivergence, -3.0, 0.0), (0.0, 0.0));
        assert_eq!(one(Pointwise::Absolute, 2.0, 2.0), (0.0, 0.0));
        assert_eq!(
            one(Pointwise::SmoothL1 { beta: 0.0 }, 1.0, 3.0),
            (2.0, -1.0)
        );
        assert!(one(Pointwise::Squared, f32::NAN, 0.0).0.is_nan());
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let (x, t) = pair(3 * TASK_ELEMENTS + 5);
        let (x, t) = (singles(&x), singles(&t));
        same_bits_on_any_threads(|| {
            let mut y = vec![0.0; x.len()];
            forward(Pointwise::BinaryCrossEntropyWithLogits, &x, &t, &mut y);
            y
        });
    }

    #[test]
    fn negative_log_likelihood_picks_the_class() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let classes = [2, LEFT_OUT];
        let w = [1.0, 1.0, 0.5];
        let (mut y, mut d_x) = ([9.0; 2], [9.0; 6]);
        nll_forward(&x, 3, &classes, Some(&w), &mut y);
        assert_eq!(y, [-1.5, 0.0]);
        nll_backward(3, &classes, Some(&w), &[2.0, 2.0], &mut d_x);
        assert_eq!(d_x, [0.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        nll_forward(&x, 3, &classes, None, &mut y);
        assert_eq!(y, [-3.0, 0.0]);
    }
}
