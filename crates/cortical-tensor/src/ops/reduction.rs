//! Reductions along any axes.
//!
//! An axis counts from the front, or from the end if it is negative; no axis at all means every axis, as in PyTorch.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::reduction::{self as kernel, End, Slope, Term};

mod fallback;
#[cfg(test)]
mod tests;

/// `y = Σ x` along the axes; 0 where there is nothing to add.
///
/// # Shapes
/// - `x`: any
/// - result: that of `x` without the axes, or with length 1 along them for `keepdim`
///
/// # Errors
/// [`Error::Option`] for an axis that `x` does not have or that is named twice, [`Error::DType`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::sum;
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(sum(&x, &[-1], false)?.to_vec1::<f32>()?, [3.0, 7.0]);
/// assert_eq!(sum(&x, &[], false)?.to_scalar::<f32>()?, 10.0);
/// # Ok(())
/// # }
/// ```
pub fn sum<'a>(x: impl Into<Input<'a>>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    reduce(Kind::Sum, x.into(), axes, keepdim)
}

/// `y = Σ x / n` over the `n` elements along the axes; `NaN` where there are none.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`sum`].
pub fn mean<'a>(x: impl Into<Input<'a>>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    reduce(Kind::Mean, x.into(), axes, keepdim)
}

/// `y = max x` along the axes: `NaN` where there is one, and of equal elements the first gets the gradient.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`sum`]; [`Error::Shape`] where there is nothing to choose from.
pub fn max<'a>(x: impl Into<Input<'a>>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    reduce(Kind::Extreme(End::Most), x.into(), axes, keepdim)
}

/// `y = min x` along the axes: `NaN` where there is one, and of equal elements the first gets the gradient.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`max`].
pub fn min<'a>(x: impl Into<Input<'a>>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    reduce(Kind::Extreme(End::Least), x.into(), axes, keepdim)
}

/// `y = Σ (x − μ)² / (n − correction)` over the `n` elements along the axes, whose mean is μ. The sample's variance has
/// the correction 1 (Bessel's), the population's 0; `NaN` or ∞ where `n` is not larger than the correction.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`sum`].
pub fn variance<'a>(
    x: impl Into<Input<'a>>,
    axes: &[isize],
    correction: usize,
    keepdim: bool,
) -> Result<Tensor> {
    reduce(Kind::Variance(correction), x.into(), axes, keepdim)
}

/// `y = (Σ |x|ᵖ)^(1/p)` along the axes. `p = 0` counts what is not 0, `p = ±∞` is the largest or smallest `|x|`; the
/// derivative where the norm is 0 is 0.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`sum`]; [`Error::Option`] if `p` is NaN, [`Error::Shape`] where an infinite `p` has nothing to choose from.
pub fn norm<'a>(x: impl Into<Input<'a>>, p: f64, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    let kind = if p == f64::INFINITY {
        Kind::Extreme(End::Furthest)
    } else if p == f64::NEG_INFINITY {
        Kind::Extreme(End::Nearest)
    } else if p.is_nan() {
        return Err(Error::Option {
            op: "norm",
            option: "p",
            expected: "a number".into(),
            got: p.to_string(),
        });
    } else {
        Kind::Norm(p)
    };
    reduce(kind, x.into(), axes, keepdim)
}

/// `y = ln Σ eˣ` along the axes, without overflow; −∞ where there is nothing to add.
///
/// # Shapes
/// As [`sum`].
///
/// # Errors
/// As [`sum`].
pub fn log_sum_exp<'a>(x: impl Into<Input<'a>>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    reduce(Kind::LogSumExp, x.into(), axes, keepdim)
}

/// The place of the first largest element along one axis, as `u32`; that of the first `NaN` if there is one.
///
/// # Shapes
/// - `x`: any with that axis
/// - result: that of `x` without the axis, or with length 1 along it for `keepdim`
///
/// # Errors
/// As [`max`].
pub fn argmax(x: &Tensor, axis: isize, keepdim: bool) -> Result<Tensor> {
    places("argmax", End::Most, x, axis, keepdim)
}

/// The place of the first smallest element along one axis, as `u32`; that of the first `NaN` if there is one.
///
/// # Shapes
/// As [`argmax`].
///
/// # Errors
/// As [`max`].
pub fn argmin(x: &Tensor, axis: isize, keepdim: bool) -> Result<Tensor> {
    places("argmin", End::Least, x, axis, keepdim)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sum,
    Mean,
    Extreme(End),
    Variance(usize),
    Norm(f64),
    LogSumExp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Extreme(End::Most) => "max",
            Self::Extreme(End::Least) => "min",
            Self::Variance(_) => "variance",
            Self::Norm(_) | Self::Extreme(End::Furthest | End::Nearest) => "norm",
            Self::LogSumExp => "log_sum_exp",
        }
    }
}

/// How a tensor is reduced: its axes in the order of the kernel, what the kernel sees, and the result's shape.
struct Plan {
    /// `[outer, n, inner]`
    dims: [usize; 3],
    /// The order of the axes, unless it is that of the tensor.
    order: Option<Vec<usize>>,
    shape: Vec<usize>,
}

fn plan(op: &'static str, x: &Tensor, axes: &[isize], keepdim: bool) -> Result<Plan> {
    check_float(op, "x", x)?;
    let (rank, dims) = (x.rank(), x.dims());
    let mut reduced = vec![axes.is_empty(); rank];
    for &axis in axes {
        let from_front = if axis < 0 { axis + rank as isize } else { axis };
        let free = usize::try_from(from_front)
            .ok()
            .filter(|a| reduced.get(*a) == Some(&false));
        let Some(place) = free else {
            return Err(Error::Option {
                op,
                option: "axes",
                expected: format!("different axes of x, from -{rank} to below {rank}"),
                got: format!("{axes:?}"),
            });
        };
        reduced[place] = true;
    }
    let (mut kept, mut gone): (Vec<usize>, Vec<usize>) = (0..rank).partition(|a| !reduced[*a]);
    let shape = (0..rank)
        .filter(|a| keepdim || !reduced[*a])
        .map(|a| if reduced[a] { 1 } else { dims[a] })
        .collect();
    let count = |axes: &[usize]| {
        let sizes: Vec<usize> = axes.iter().map(|a| dims[*a]).collect();
        checked_count(op, &sizes)
    };
    let n = count(&gone)?;
    // Axes that are neighbours are one axis as they stand; others are moved behind the ones that stay.
    let (first, end) = (
        gone.first().copied().unwrap_or(rank),
        gone.last().map_or(rank, |a| a + 1),
    );
    if end - first == gone.len() {
        let (outer, inner) = (count(&kept[..first])?, count(&kept[first..])?);
        let dims = [outer, n, inner];
        return Ok(Plan {
            dims,
            order: None,
            shape,
        });
    }
    let dims = [count(&kept)?, n, 1];
    kept.append(&mut gone);
    Ok(Plan {
        dims,
        order: Some(kept),
        shape,
    })
}

fn reduce(kind: Kind, x: Input<'_>, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    let (op, t) = (kind.name(), x.tensor());
    let plan = plan(op, t, axes, keepdim)?;
    if let Kind::Extreme(_) = kind {
        check_choice(op, t, &plan)?;
    }
    if is_half(t.dtype()) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(reduce(kind, (&wide).into(), axes, keepdim)?.to_dtype(t.dtype())?);
    }
    let moved = match &plan.order {
        Some(order) => Some(t.permute(&order[..])?),
        None => None,
    };
    let x = moved.as_ref().map_or(x, Input::from);
    if is_fallback(t.device()) {
        return Ok(fallback::reduce(kind, plan.dims, x.tensor())?.reshape(plan.shape)?);
    }
    by_dtype!(op, "x", t, T => forward::<T>(kind, plan, x))
}

/// There is something to choose from, and its place fits in 32 bits.
fn check_choice(op: &'static str, x: &Tensor, plan: &Plan) -> Result<()> {
    let [outer, n, inner] = plan.dims;
    if outer * inner > 0 && n == 0 {
        return Err(wrong_shape(
            op,
            "x",
            "at least one element along the axes",
            x,
        ));
    }
    if u32::try_from(n).is_err() {
        return Err(wrong_shape(
            op,
            "x",
            "fewer than 2³² elements along the axes",
            x,
        ));
    }
    Ok(())
}

fn places(op: &'static str, end: End, x: &Tensor, axis: isize, keepdim: bool) -> Result<Tensor> {
    let plan = plan(op, x, &[axis], keepdim)?;
    check_choice(op, x, &plan)?;
    let x = if is_half(x.dtype()) {
        x.to_dtype(DType::F32)?
    } else {
        x.clone()
    };
    if is_fallback(x.device()) {
        return Ok(fallback::places(end, plan.dims, &x)?.reshape(plan.shape)?);
    }
    let x = x.contiguous()?;
    let places = by_dtype!(op, "x", x, T => {
        let x = values::<T>(&x)?;
        let [outer, _, inner] = plan.dims;
        let (mut y, mut places) = (unspecified::<T>(outer * inner), vec![0; outer * inner]);
        kernel::extreme(plan.dims, end, &x, &mut y, &mut places);
        Ok::<_, Error>(places)
    })?;
    tensor(places, plan.shape)
}

fn forward<T: Element>(kind: Kind, plan: Plan, x: Input<'_>) -> Result<Tensor> {
    let dims = plan.dims;
    let operand = x.operand()?;
    let len = dims[0] * dims[2];
    let mut y = unspecified::<T>(len);
    let mut kept = Kept::<T>::Nothing;
    {
        let x = values::<T>(operand.tensor())?;
        let divide = |y: &mut [T], by: f64| {
            // A product with the reciprocal would make `0 · ∞` of nothing.
            let by = <T as cortical_kernels::real::Real>::from_f64(by);
            y.iter_mut().for_each(|y| *y /= by);
        };
        match kind {
            Kind::Sum => kernel::sum(dims, Term::Plain, &x, &[], &mut y),
            Kind::Mean => {
                kernel::sum(dims, Term::Plain, &x, &[], &mut y);
                divide(&mut y, dims[1] as f64);
            }
            Kind::Variance(correction) => {
                let mut mean = unspecified::<T>(len);
                kernel::sum(dims, Term::Plain, &x, &[], &mut mean);
                divide(&mut mean, dims[1] as f64);
                kernel::sum(dims, Term::Deviation, &x, &mean, &mut y);
                divide(&mut y, dims[1].saturating_sub(correction) as f64);
                kept = Kept::Context(mean);
            }
            Kind::Norm(p) => {
                kernel::sum(dims, term(p), &x, &[], &mut y);
                root(p, &mut y);
            }
            Kind::LogSumExp => {
                // The largest element, or 0 where that is infinite or missing.
                let mut most = vec![T::ZERO; len];
                if dims[1] > 0 {
                    kernel::extreme(dims, End::Most, &x, &mut most, &mut vec![0; len]);
                }
                for m in most.iter_mut().filter(|m| !finite(**m)) {
                    *m = T::ZERO;
                }
                kernel::sum(dims, Term::Exponential, &x, &most, &mut y);
                y.iter_mut()
                    .zip(&most)
                    .for_each(|(y, m)| *y = logarithm(*y) + *m);
            }
            Kind::Extreme(end) => {
                let mut places = vec![0; len];
                kernel::extreme(dims, end, &x, &mut y, &mut places);
                if matches!(end, End::Furthest | End::Nearest) {
                    y.iter_mut()
                        .for_each(|y| *y = cortical_kernels::real::Real::abs(*y));
                }
                kept = Kept::Places(places);
            }
        }
    }
    let op = Reduce { kind, dims, kept };
    apply_one(op, vec![operand], Output::new(y, plan.shape))
}

fn finite<T: Element>(x: T) -> bool {
    cortical_kernels::real::Real::to_f64(x).is_finite()
}

fn logarithm<T: Element>(x: T) -> T {
    let x = cortical_kernels::real::Real::to_f64(x);
    cortical_kernels::real::Real::from_f64(x.ln())
}

fn term(p: f64) -> Term {
    match p {
        0.0 => Term::NonZero,
        1.0 => Term::Absolute,
        2.0 => Term::Square,
        p => Term::Power(p),
    }
}

fn root<T: Element>(p: f64, y: &mut [T]) {
    use cortical_kernels::real::Real;
    match p {
        0.0 | 1.0 => {}
        2.0 => y.iter_mut().for_each(|y| *y = Real::sqrt(*y)),
        p => y
            .iter_mut()
            .for_each(|y| *y = Real::from_f64(Real::to_f64(*y).powf(1.0 / p))),
    }
}

/// What a reduction's backward pass needs besides input and output.
enum Kept<T> {
    Nothing,
    Context(Vec<T>),
    Places(Vec<u32>),
}

struct Reduce<T> {
    kind: Kind,
    dims: [usize; 3],
    kept: Kept<T>,
}

impl<T: Element> Op for Reduce<T> {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (t, dims) = (pass.input(0), self.dims);
        let (x, y) = (values::<T>(t)?, values::<T>(pass.output())?);
        let d_y = values::<T>(pass.d_output(0))?;
        let mut d_x = unspecified::<T>(x.len());
        let (slope, context) = match (self.kind, &self.kept) {
            (Kind::Extreme(end), Kept::Places(places)) => {
                kernel::extreme_backward(dims, places, &d_y, &mut d_x);
                if matches!(end, End::Furthest | End::Nearest) {
                    for (d_x, x) in d_x.iter_mut().zip(&*x).filter(|(_, x)| **x <= T::ZERO) {
                        // |x| falls where x is negative, and its derivative at 0 is 0.
                        *d_x = if *x < T::ZERO { -*d_x } else { T::ZERO };
                    }
                }
                return Ok(vec![Some(tensor(d_x, t.shape())?)]);
            }
            (Kind::Mean, _) => (Slope::Constant(1.0 / dims[1] as f64), &y[..]),
            (Kind::Variance(correction), Kept::Context(mean)) => {
                let degrees = dims[1].saturating_sub(correction) as f64;
                (Slope::Deviation(2.0 / degrees), &mean[..])
            }
            (Kind::Norm(0.0), _) => (Slope::Constant(0.0), &y[..]),
            (Kind::Norm(1.0), _) => (Slope::Sign, &y[..]),
            (Kind::Norm(2.0), _) => (Slope::Ratio, &y[..]),
            (Kind::Norm(p), _) => (Slope::Power(p), &y[..]),
            (Kind::LogSumExp, _) => (Slope::Exponential, &y[..]),
            _ => (Slope::Constant(1.0), &y[..]),
        };
        kernel::backward(dims, slope, &x, context, &d_y, &mut d_x);
        Ok(vec![Some(tensor(d_x, t.shape())?)])
    }
}
