//! Reductions along one axis: sums of terms, extremes and their places, and the gradients of both.
//!
//! Legend: `x` is `[outer, n, inner]`, the middle axis is reduced, `y` is `[outer, inner]`. Several axes side by side
//! are one axis, and others become one when the tensor is transposed first.
//!
//! A sum is cut into blocks of rows and columns by the size of the problem, and the blocks' sums are added up in the
//! same way until one is left: the same bits on any number of threads, and an error that grows with the logarithm of
//! `n`.

use crate::disjoint::Disjoint;
use crate::isa::{self, Isa};
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;
use crate::slice_sums;

/// What each element adds to a sum; `c` is the context of the element's sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// x
    Plain,
    /// |x|
    Absolute,
    /// x²
    Square,
    /// |x|ᵖ, computed in double precision.
    Power(f64),
    /// 1 where x ≠ 0
    NonZero,
    /// (x − c)²
    Deviation,
    /// e^(x − c), and 0 for −∞ from −∞
    Exponential,
}

/// How many rows a block of several columns has at most.
const MOST_ROWS: usize = 256;

/// How a sum is cut: into groups of whole sums, or one sum into columns and rows.
struct Cut {
    group: usize,
    columns: usize,
    rows: usize,
}

impl Cut {
    fn new([_, n, inner]: [usize; 3]) -> Self {
        let whole = n.saturating_mul(inner).max(1);
        // Rows are added up one by one, so there may not be too many of them for the digits of a sum.
        if whole <= TASK_ELEMENTS && (inner == 1 || n <= MOST_ROWS) {
            return Self {
                group: (TASK_ELEMENTS / whole).max(1),
                columns: inner,
                rows: n.max(1),
            };
        }
        // A block of columns stays in the nearest cache; enough rows that a block's sums are few against its elements.
        let columns = inner.min(1024);
        let rows = match inner {
            1 => TASK_ELEMENTS,
            _ => (TASK_ELEMENTS / columns).clamp(64, MOST_ROWS),
        };
        Self {
            group: 1,
            columns,
            rows: rows.min(n),
        }
    }
}

/// Σ f(x, c) over rows that lie `inner` apart, for as many columns as `out` has.
#[inline(always)]
fn fold<T: Real>(
    inner: usize,
    rows: usize,
    x: &[T],
    c: &[T],
    out: &mut [T],
    f: impl Fn(T, T) -> T,
) {
    if inner == 1 {
        let parts = x[..rows].chunks(1024);
        out[0] = parts.map(|x| slice_sums::sum_map(x, |x| f(x, c[0]))).sum();
        return;
    }
    out.fill(T::ZERO);
    for row in 0..rows {
        let x = &x[row * inner..][..out.len()];
        for ((out, x), c) in out.iter_mut().zip(x).zip(c) {
            *out += f(*x, *c);
        }
    }
}

multiversion! {
    /// One block of a sum; `c` has a number for each column.
    fn block<T: Real>(term: Term, inner: usize, rows: usize, x: &[T], c: &[T], out: &mut [T]) {
        let (zero, one) = (T::ZERO, T::ONE);
        match term {
            Term::Plain => fold(inner, rows, x, c, out, |x, _| x),
            Term::Absolute => fold(inner, rows, x, c, out, |x, _| x.abs()),
            Term::Square => fold(inner, rows, x, c, out, |x, _| x * x),
            Term::Power(p) => fold(inner, rows, x, c, out, |x, _| power(x.abs(), p)),
            Term::NonZero => fold(inner, rows, x, c, out, |x, _| if x == zero { zero } else { one }),
            Term::Deviation => fold(inner, rows, x, c, out, |x, c| (x - c) * (x - c)),
            Term::Exponential => fold(inner, rows, x, c, out, |x, c| exponential::<I, T>(x, c)),
        }
    }
}

/// xᵖ for x ≥ 0.
fn power<T: Real>(x: T, p: f64) -> T {
    T::from_f64(x.to_f64().powf(p))
}

/// e^(x − c), where −∞ less −∞ stays −∞.
#[inline(always)]
fn exponential<I: Isa, T: Real>(x: T, c: T) -> T {
    let e = (x - c).exp::<I>();
    if x == T::NEG_INFINITY { T::ZERO } else { e }
}

fn check([outer, n, inner]: [usize; 3], x: usize, y: usize) {
    assert_eq!(x, outer * n * inner, "reduction: input");
    assert_eq!(y, outer * inner, "reduction: output");
}

/// `y[o, i] = Σₙ term(x[o, n, i], context[o, i])`; 0 where there is nothing to add. Terms without a `c` may have an
/// empty context.
///
/// # Panics
/// If a length does not fit.
pub fn sum<T: Real>(dims: [usize; 3], term: Term, x: &[T], context: &[T], y: &mut [T]) {
    check(dims, x.len(), y.len());
    let needs_context = matches!(term, Term::Deviation | Term::Exponential);
    assert!(
        !needs_context || context.len() == y.len(),
        "reduction: a context for each sum"
    );
    let [outer, n, inner] = dims;
    if x.is_empty() {
        y.fill(T::ZERO);
        return;
    }
    let isa = isa::current();
    let cut = Cut::new(dims);
    let zeros;
    let context = if needs_context {
        context
    } else {
        zeros = vec![T::ZERO; cut.columns.max(1)];
        &zeros
    };
    let of = |o: usize, column: usize, len: usize| {
        let at = if needs_context { o * inner + column } else { 0 };
        &context[at..at + len]
    };
    if cut.rows == n && cut.columns == inner {
        parallel::chunks_mut(y, cut.group * inner, |at, y| {
            for (i, y) in y.chunks_exact_mut(inner).enumerate() {
                let o = at / inner + i;
                let x = &x[o * n * inner..(o + 1) * n * inner];
                block(isa, term, inner, n, x, of(o, 0, inner), y);
            }
        });
        return;
    }
    let (blocks, strips) = (n.div_ceil(cut.rows), inner.div_ceil(cut.columns));
    let mut partial = vec![T::ZERO; outer * blocks * inner];
    let parts = Disjoint::new(&mut partial);
    parallel::for_each(outer * blocks * strips, |task| {
        let (o, b, strip) = (
            task / strips / blocks,
            task / strips % blocks,
            task % strips,
        );
        let (row, column) = (b * cut.rows, strip * cut.columns);
        let (rows, columns) = (cut.rows.min(n - row), cut.columns.min(inner - column));
        let start = (o * blocks + b) * inner + column;
        // SAFETY: each task has a block and a strip of its own, which no other writes.
        let out = unsafe { parts.part(start..start + columns) };
        let x = &x[(o * n + row) * inner + column..];
        block(isa, term, inner, rows, x, of(o, column, columns), out);
    });
    if blocks == 1 {
        y.copy_from_slice(&partial);
    } else {
        sum([outer, blocks, inner], Term::Plain, &partial, &[], y);
    }
}

/// Which end of an order is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The largest element.
    Most,
    /// The smallest element.
    Least,
    /// The element furthest from 0.
    Furthest,
    /// The element nearest to 0.
    Nearest,
}

impl End {
    /// Whether a later candidate takes the place of the best so far: `NaN` beats every number and nothing beats `NaN`.
    #[inline(always)]
    fn beats<T: Real>(self, candidate: T, best: T) -> bool {
        let before = match self {
            Self::Most => candidate > best,
            Self::Least => candidate < best,
            Self::Furthest => candidate.abs() > best.abs(),
            Self::Nearest => candidate.abs() < best.abs(),
        };
        // `NaN` differs from itself.
        #[allow(clippy::eq_op)]
        let (candidate_is_none, best_is_none) = (candidate != candidate, best != best);
        before || (candidate_is_none && !best_is_none)
    }
}

/// `y[o, i]` is the extreme of `x[o, :, i]` and `places[o, i]` where along the axis it stands, the first of several.
///
/// # Panics
/// If a length does not fit, the axis is empty although there is an output, or it has 2³² elements or more.
pub fn extreme<T: Real>(dims: [usize; 3], end: End, x: &[T], y: &mut [T], places: &mut [u32]) {
    check(dims, x.len(), y.len());
    assert_eq!(places.len(), y.len(), "reduction: a place for each extreme");
    let [outer, n, inner] = dims;
    if y.is_empty() {
        return;
    }
    assert!(n > 0, "something to choose from");
    assert!(u32::try_from(n).is_ok(), "a place fits its type");
    let cut = Cut::new(dims);
    let scan = |o: usize,
                rows: std::ops::Range<usize>,
                columns: std::ops::Range<usize>,
                y: &mut [T],
                places: &mut [u32]| {
        let row = |r: usize| &x[(o * n + r) * inner + columns.start..][..columns.len()];
        y.copy_from_slice(row(rows.start));
        places.fill(rows.start as u32);
        for r in rows.start + 1..rows.end {
            for ((y, place), x) in y.iter_mut().zip(&mut *places).zip(row(r)) {
                if end.beats(*x, *y) {
                    (*y, *place) = (*x, r as u32);
                }
            }
        }
    };
    if cut.rows == n && cut.columns == inner {
        let chunk = cut.group * inner;
        parallel::chunks2_mut(y, chunk, places, chunk, |at, y, places| {
            let each = y
                .chunks_exact_mut(inner)
                .zip(places.chunks_exact_mut(inner));
            for (i, (y, places)) in each.enumerate() {
                scan(at * cut.group + i, 0..n, 0..inner, y, places);
            }
        });
        return;
    }
    let (blocks, strips) = (n.div_ceil(cut.rows), inner.div_ceil(cut.columns));
    let best = parallel::map(outer * blocks * strips, |task| {
        let (o, strip, b) = (
            task / blocks / strips,
            task / blocks % strips,
            task % blocks,
        );
        let rows = b * cut.rows..((b + 1) * cut.rows).min(n);
        let columns = strip * cut.columns..((strip + 1) * cut.columns).min(inner);
        let (mut y, mut places) = (vec![T::ZERO; columns.len()], vec![0; columns.len()]);
        scan(o, rows, columns, &mut y, &mut places);
        (y, places)
    });
    for (task, (values, rows)) in best.into_iter().enumerate() {
        let (o, strip, b) = (
            task / blocks / strips,
            task / blocks % strips,
            task % blocks,
        );
        let start = o * inner + strip * cut.columns;
        for (i, (value, row)) in values.into_iter().zip(rows).enumerate() {
            if b == 0 || end.beats(value, y[start + i]) {
                (y[start + i], places[start + i]) = (value, row);
            }
        }
    }
}

/// The derivative of a reduction by each element; `c` is the context of the element's sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slope {
    /// k
    Constant(f64),
    /// k (x − c)
    Deviation(f64),
    /// e^(x − c), and 0 for −∞ from −∞
    Exponential,
    /// The sign of x
    Sign,
    /// x / c, and 0 where c is 0
    Ratio,
    /// The sign of x times (|x| / c)^(p − 1), and 0 where x or c is 0; computed in double precision.
    Power(f64),
}

/// d_x = f(x, c) · d_y over rows of `c.len()` elements.
#[inline(always)]
fn spread<T: Real>(x: &[T], c: &[T], d_y: &[T], d_x: &mut [T], f: impl Fn(T, T) -> T) {
    if c.len() == 1 {
        for (d_x, x) in d_x.iter_mut().zip(x) {
            *d_x = f(*x, c[0]) * d_y[0];
        }
        return;
    }
    for (d_x, x) in d_x.chunks_exact_mut(c.len()).zip(x.chunks_exact(c.len())) {
        for (((d_x, x), c), d_y) in d_x.iter_mut().zip(x).zip(c).zip(d_y) {
            *d_x = f(*x, *c) * *d_y;
        }
    }
}

multiversion! {
    fn slope_rows<T: Real>(slope: Slope, x: &[T], c: &[T], d_y: &[T], d_x: &mut [T]) {
        let zero = T::ZERO;
        let sign = |x: T| if x > zero { T::ONE } else if x < zero { -T::ONE } else { x };
        match slope {
            Slope::Constant(k) => { let k = T::from_f64(k); spread(x, c, d_y, d_x, |_, _| k); }
            Slope::Deviation(k) => { let k = T::from_f64(k); spread(x, c, d_y, d_x, |x, c| k * (x - c)); }
            Slope::Exponential => spread(x, c, d_y, d_x, |x, c| exponential::<I, T>(x, c)),
            Slope::Sign => spread(x, c, d_y, d_x, |x, _| sign(x)),
            Slope::Ratio => spread(x, c, d_y, d_x, |x, c| if c == zero { zero } else { x / c }),
            Slope::Power(p) => spread(x, c, d_y, d_x, |x, c| {
                if x == zero || c == zero { zero } else { sign(x) * power(x.abs() / c, p - 1.0) }
            }),
        }
    }
}

/// `d_x[o, n, i] = slope(x[o, n, i], context[o, i]) · d_y[o, i]`.
///
/// # Panics
/// If a length does not fit.
pub fn backward<T: Real>(
    dims: [usize; 3],
    slope: Slope,
    x: &[T],
    context: &[T],
    d_y: &[T],
    d_x: &mut [T],
) {
    check(dims, x.len(), d_y.len());
    assert_eq!(d_x.len(), x.len(), "reduction: input gradient");
    assert_eq!(
        context.len(),
        d_y.len(),
        "reduction: a context for each sum"
    );
    let [_, n, inner] = dims;
    if x.is_empty() {
        return;
    }
    let isa = isa::current();
    // Whole rows of `inner` elements, all of one sum at a time.
    let rows = (TASK_ELEMENTS / inner).max(1);
    parallel::chunks_mut(d_x, rows * inner, |at, d_x| {
        let (mut row, mut done) = (at / inner, 0);
        while done < d_x.len() {
            let o = row / n;
            let len = ((n - row % n) * inner).min(d_x.len() - done);
            let (x, d_x) = (&x[row * inner..][..len], &mut d_x[done..done + len]);
            let of = o * inner..(o + 1) * inner;
            slope_rows(isa, slope, x, &context[of.clone()], &d_y[of], d_x);
            row += len / inner;
            done += len;
        }
    });
}

/// `d_x` is zero but for `d_x[o, places[o, i], i] = d_y[o, i]`.
///
/// # Panics
/// If a length does not fit, or a place lies outside the axis.
pub fn extreme_backward<T: Real>(dims: [usize; 3], places: &[u32], d_y: &[T], d_x: &mut [T]) {
    check(dims, d_x.len(), d_y.len());
    assert_eq!(
        places.len(),
        d_y.len(),
        "reduction: a place for each extreme"
    );
    let [_, n, inner] = dims;
    d_x.fill(T::ZERO);
    for (at, (place, d)) in places.iter().zip(d_y).enumerate() {
        let (o, i) = (at / inner, at % inner);
        assert!((*place as usize) < n, "a place on the axis");
        d_x[(o * n + *place as usize) * inner + i] = *d;
    }
}

#[cfg(test)]
mod tests;
