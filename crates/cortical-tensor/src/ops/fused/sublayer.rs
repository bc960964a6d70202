//! What both sublayers of a block share: the norm before them and the sum behind them.

use crate::element::{Element, tensor};
use crate::graph::Backward;
use crate::ops::prepare::{check_alike, wrong_shape};
use crate::{Error, Input, Operand, Result, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::linear as neurons;
use cortical_kernels::matmul::{MatRef, Write, matmul};
use cortical_kernels::norm::{self, Gradients, Moments};
use cortical_kernels::real::Real;
use cortical_kernels::slice_sums::add_assign;
use cortical_kernels::{isa, parallel};

/// A sublayer of a block, and what it looked like inside for whoever asked, outside of the graph.
#[derive(Clone, Debug)]
pub struct Sublayer {
    /// `x` plus the branch.
    pub output: Tensor,
    /// The norm of `x`, the branch's input.
    pub normed: Option<Tensor>,
    /// What the branch added to `x`.
    pub branch: Option<Tensor>,
}

impl Sublayer {
    /// The same in another precision.
    pub(super) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let shown = |t: &Option<Tensor>| t.as_ref().map(|t| t.to_dtype(dtype)).transpose();
        Ok(Self {
            output: self.output.to_dtype(dtype)?,
            normed: shown(&self.normed)?,
            branch: shown(&self.branch)?,
        })
    }
}

/// Checks the input, the norm's weight and its `eps`.
pub(super) fn check_norm(op: &'static str, x: &Tensor, weight: &Tensor, eps: f64) -> Result<()> {
    check_alike(op, x, "norm", weight)?;
    let Some(&cols) = x.dims().last() else {
        return Err(wrong_shape(op, "x", "[…, hidden]", x));
    };
    if weight.dims() != [cols] {
        return Err(wrong_shape(op, "norm", format!("[{cols}]"), weight));
    }
    if !(eps >= 0.0 && eps.is_finite()) {
        let (expected, got) = ("a number not below 0".to_string(), eps.to_string());
        let option = "eps";
        return Err(Error::Option {
            op,
            option,
            expected,
            got,
        });
    }
    Ok(())
}

/// Owned arguments, in the order of those that there are.
pub(super) fn operands(inputs: &[Option<Input<'_>>]) -> Result<Vec<Operand>> {
    let given = inputs.iter().flatten();
    Ok(given
        .map(|i| i.operand())
        .collect::<candle_core::Result<_>>()?)
}

/// A norm's output and what its backward pass needs.
pub(super) struct Normed<T> {
    pub(super) y: Vec<T>,
    moments: Vec<Moments<T>>,
    eps: f64,
}

impl<T: Element> Normed<T> {
    pub(super) fn new(x: &[T], weight: &[T], eps: f64) -> Self {
        let (rows, cols) = (x.len().checked_div(weight.len()).unwrap_or(0), weight.len());
        let mut y = unspecified(x.len());
        let mut moments = vec![Moments::default(); rows];
        norm::rms_forward(
            x,
            cols,
            Some(weight),
            <T as Real>::from_f64(eps),
            &mut y,
            &mut moments,
        );
        Self { y, moments, eps }
    }

    /// The gradients of x and of the norm's weight, inputs 0 and 1, from that of the norm's output; `x` also gets what
    /// came from above.
    pub(super) fn backward(
        &self,
        pass: &Backward<'_>,
        d_normed: &[T],
    ) -> Result<[Option<Tensor>; 2]> {
        let (x, weight) = (values::<T>(pass.input(0))?, values::<T>(pass.input(1))?);
        let mut d_x = pass.wants(0).then(|| unspecified::<T>(x.len()));
        let mut d_weight = pass.wants(1).then(|| vec![T::ZERO; weight.len()]);
        let gradients = Gradients {
            d_x: d_x.as_deref_mut(),
            d_weight: d_weight.as_deref_mut(),
            d_bias: None,
        };
        let eps = <T as Real>::from_f64(self.eps);
        norm::rms_backward(
            &x,
            weight.len(),
            Some(&weight),
            eps,
            &self.moments,
            d_normed,
            gradients,
        );
        if let Some(d_x) = &mut d_x {
            add(d_x, &values::<T>(pass.d_output(0))?);
        }
        let shaped =
            |d: Option<Vec<T>>, at: usize| d.map(|d| tensor(d, pass.input(at).shape())).transpose();
        Ok([shaped(d_x, 0)?, shaped(d_weight, 1)?])
    }
}

/// `y += x`
pub(super) fn add<T: Element>(y: &mut [T], x: &[T]) {
    let isa = isa::current();
    parallel::chunks_mut(y, parallel::TASK_ELEMENTS, |at, y| {
        add_assign(isa, y, &x[at..at + y.len()]);
    });
}

/// `x Wᵀ + b` of a weight `[o, i]`.
pub(super) fn project<T: Element>(
    x: &[T],
    weight: &Operand,
    bias: Option<&Operand>,
) -> Result<Vec<T>> {
    let (o, i) = weight.tensor().dims2()?;
    let n = x.len().checked_div(i).unwrap_or(0);
    tally::count(&[n, o, i]);
    let mut y = unspecified(n * o);
    let bias = bias.map(|b| values::<T>(b.tensor())).transpose()?;
    let w = values::<T>(weight.tensor())?;
    let identity = cortical_kernels::activation::Activation::Identity;
    neurons::forward([n, i, o], x, &w, bias.as_deref(), identity, &mut y, None);
    Ok(y)
}

/// The gradient of the weight that is input `at`, if it is wanted.
pub(super) fn weight_gradient<T: Element>(
    pass: &Backward<'_>,
    at: usize,
    d_y: &[T],
    x: &[T],
) -> Result<Option<Tensor>> {
    if !pass.wants(at) {
        return Ok(None);
    }
    let (o, i) = pass.input(at).dims2()?;
    let mut d_w = unspecified(o * i);
    neurons::weight_gradient(
        [d_y.len().checked_div(o).unwrap_or(0), i, o],
        d_y,
        x,
        &mut d_w,
    );
    Ok(Some(tensor(d_w, (o, i))?))
}

/// Writes or adds the gradient of the input of the weight that is input `at`.
pub(super) fn input_gradient<T: Element>(
    pass: &Backward<'_>,
    at: usize,
    d_y: &[T],
    d_x: &mut [T],
    write: Write,
) -> Result<()> {
    let (o, i) = pass.input(at).dims2()?;
    let n = d_x.len().checked_div(i).unwrap_or(0);
    let w = values::<T>(pass.input(at))?;
    matmul(
        MatRef::row_major(d_y, n, o),
        MatRef::row_major(&w, o, i),
        d_x,
        write,
    );
    Ok(())
}
