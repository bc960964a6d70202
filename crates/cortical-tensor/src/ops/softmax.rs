//! Softmax and its logarithm along any dimension.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::{Input, Result, is_fallback, values};
use candle_core::shape::Dim;
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::softmax::{self as kernel, Kind};

/// `yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ)` along `dim`.
///
/// # Shapes
/// - `x`: any with at least one dimension
/// - result: that of `x`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when there is no such dimension, [`Error::DType`](crate::Error::DType).
pub fn softmax<'a>(x: impl Into<Input<'a>>, dim: impl Dim) -> Result<Tensor> {
    let x = x.into();
    let dim = dim.to_index(x.tensor().shape(), "softmax").ok();
    along(x, dim, Kind::Softmax, "softmax")
}

/// `yᵢ = xᵢ − ln Σⱼ exp(xⱼ)` along `dim`.
///
/// # Shapes
/// - `x`: any with at least one dimension
/// - result: that of `x`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when there is no such dimension, [`Error::DType`](crate::Error::DType).
pub fn log_softmax<'a>(x: impl Into<Input<'a>>, dim: impl Dim) -> Result<Tensor> {
    let x = x.into();
    let dim = dim.to_index(x.tensor().shape(), "log_softmax").ok();
    along(x, dim, Kind::LogSoftmax, "log_softmax")
}

/// `dim` is `None` when `x` has no such dimension.
fn along(x: Input<'_>, dim: Option<usize>, kind: Kind, name: &'static str) -> Result<Tensor> {
    let t = x.tensor();
    check_float(name, "x", t)?;
    let last = match t.rank().checked_sub(1) {
        Some(last) => last,
        None => return Err(wrong_shape(name, "x", "at least one dimension", t)),
    };
    let Some(dim) = dim else {
        return Err(wrong_shape(name, "x", "the dimension that is asked for", t));
    };
    if is_half(t.dtype()) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(along((&wide).into(), Some(dim), kind, name)?.to_dtype(t.dtype())?);
    }
    if dim != last {
        let moved = t.transpose(dim, last)?.contiguous()?;
        return Ok(along((&moved).into(), Some(last), kind, name)?
            .transpose(dim, last)?
            .contiguous()?);
    }
    if is_fallback(t.device()) {
        return Ok(fallback(t, kind)?);
    }
    by_dtype!(name, "x", t, T => forward::<T>(x, kind, name))
}

fn forward<T: Element>(x: Input<'_>, kind: Kind, name: &'static str) -> Result<Tensor> {
    let operand = x.operand()?;
    let cols = *operand
        .tensor()
        .dims()
        .last()
        .expect("`along` saw a dimension");
    let mut y = unspecified::<T>(operand.tensor().elem_count());
    kernel::forward(kind, &values(operand.tensor())?, &mut y, cols);
    let output = Output::new(y, operand.tensor().shape());
    let op = Softmax::<T> {
        kind,
        cols,
        name,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], output)
}

struct Softmax<T> {
    kind: Kind,
    cols: usize,
    name: &'static str,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Softmax<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let y = pass.output();
        let mut d_x = unspecified::<T>(y.elem_count());
        kernel::backward(
            self.kind,
            &values(y)?,
            &values(pass.d_output(0))?,
            &mut d_x,
            self.cols,
        );
        Ok(vec![Some(tensor(d_x, y.shape())?)])
    }
}

fn fallback(x: &Tensor, kind: Kind) -> candle_core::Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let last = x.rank() - 1;
    // The maximum only moves the range of the exponents: no gradient flows through it.
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(last)?)?;
    let exp = shifted.exp()?;
    let sum = exp.sum_keepdim(last)?;
    match kind {
        Kind::Softmax => exp.broadcast_div(&sum),
        Kind::LogSoftmax => shifted.broadcast_sub(&sum.log()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::with_fallback;
    use candle_core::Device;

    #[test]
    fn gradients_along_every_dimension_on_both_paths() {
        let x = Tensor::arange(0.0, 24.0, &Device::Cpu).unwrap();
        let x = (x * 1.7)
            .unwrap()
            .sin()
            .unwrap()
            .reshape((2, 3, 4))
            .unwrap();
        let views = [
            x.clone(),
            x.transpose(0, 2).unwrap(),
            x.narrow(2, 1, 1).unwrap(),
            x.narrow(0, 0, 0).unwrap(),
        ];
        for x in views {
            for dim in 0..3 {
                for kind in [Kind::Softmax, Kind::LogSoftmax] {
                    let run = |t: &[Tensor]| along((&t[0]).into(), Some(dim), kind, "softmax");
                    gradcheck(std::slice::from_ref(&x), run).unwrap();
                    with_fallback(|| gradcheck(std::slice::from_ref(&x), run)).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_missing_dimension_is_an_error() {
        let x = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
        assert!(softmax(&x, 1).is_err());
        let scalar = Tensor::new(1.0_f32, &Device::Cpu).unwrap();
        assert!(matches!(
            softmax(&scalar, 0),
            Err(crate::Error::Shape { .. })
        ));
    }
}
