//! PReLU: a leaky ReLU whose slope is learnt.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::prelu as kernel;

const NAME: &str = "prelu";

/// `y = x` for `x > 0`, else `w_c x`; at 0 the derivative of `x` is `w_c`, as in PyTorch.
///
/// # Shapes
/// - `x`: any; channels are its second dimension
/// - `weight`: `[1]` for one slope, or `[channels]`
/// - result: that of `x`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together.
///
/// # Source
/// He et al., "Delving deep into rectifiers" (2015), section 2.1.
pub fn prelu<'a>(x: impl Into<Input<'a>>, weight: impl Into<Input<'a>>) -> Result<Tensor> {
    fn inner(x: Input<'_>, weight: Input<'_>) -> Result<Tensor> {
        let dims = check(x.tensor(), weight.tensor())?;
        let dtype = x.tensor().dtype();
        if is_half(dtype) {
            let (x, w) = (
                x.tensor().to_dtype(DType::F32)?,
                weight.tensor().to_dtype(DType::F32)?,
            );
            return Ok(prelu(&x, &w)?.to_dtype(dtype)?);
        }
        if is_fallback(x.tensor().device()) {
            return fallback(x.tensor(), weight.tensor());
        }
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(x, weight, dims))
    }
    inner(x.into(), weight.into())
}

/// `[n, channels, inside]`.
fn check(x: &Tensor, weight: &Tensor) -> Result<[usize; 3]> {
    check_float(NAME, "x", x)?;
    check_alike(NAME, x, "weight", weight)?;
    let dims = x.dims();
    let channels = dims.get(1).copied().unwrap_or(1);
    let &[slopes] = weight.dims() else {
        return Err(wrong_shape(NAME, "weight", "[1] or [channels]", weight));
    };
    if slopes != 1 && slopes != channels {
        let expected = format!("[1] or [{channels}], one slope for each channel of x");
        return Err(wrong_shape(NAME, "weight", expected, weight));
    }
    let n = dims.first().copied().unwrap_or(1);
    Ok([n, channels, dims.iter().skip(2).product()])
}

fn forward<T: Element>(x: Input<'_>, weight: Input<'_>, dims: [usize; 3]) -> Result<Tensor> {
    let (x, weight) = (x.operand()?, weight.operand()?);
    let mut y = zeros::<T>(x.tensor().elem_count());
    kernel::forward(
        dims,
        &values(x.tensor())?,
        &values(weight.tensor())?,
        &mut y,
    );
    let output = Output::new(y, x.tensor().shape());
    let op = Prelu::<T> {
        dims,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![x, weight], output)
}

struct Prelu<T> {
    dims: [usize; 3],
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Prelu<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (pass.input(0), pass.input(1));
        let (x_values, d_y) = (values::<T>(x)?, values::<T>(pass.d_output(0))?);
        let mut grads = vec![None, None];
        if pass.wants(0) {
            let mut d_x = zeros::<T>(x.elem_count());
            kernel::input_gradient(self.dims, &x_values, &values(weight)?, &d_y, &mut d_x);
            grads[0] = Some(tensor(d_x, x.shape())?);
        }
        if pass.wants(1) {
            let mut d_w = zeros::<T>(weight.elem_count());
            kernel::slope_gradient(self.dims, &x_values, &d_y, &mut d_w);
            grads[1] = Some(tensor(d_w, weight.shape())?);
        }
        Ok(grads)
    }
}

fn fallback(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    if weight.elem_count() > 1 {
        shape[1] = weight.elem_count();
    }
    let low = x.broadcast_mul(&weight.reshape(shape)?)?;
    Ok(x.gt(0.0)?.where_cond(x, &low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::ops::testing::{check, random};

    #[test]
    fn gradients_on_both_paths() {
        let run = |t: &[Tensor]| prelu(&t[0], &t[1]);
        for slopes in [1, 3] {
            let w = random(&[slopes], "w");
            for shape in [&[4, 3][..], &[2, 3, 4], &[2, 3, 2, 2], &[0, 3], &[1, 3]] {
                check(&[random(shape, "x"), w.clone()], run);
            }
            check(&[random(&[3, 4], "x").t().unwrap(), w.clone()], run);
            check(
                &[random(&[1, 3], "x").broadcast_as((4, 3)).unwrap(), w],
                run,
            );
        }
        check(&[random(&[5], "x"), random(&[1], "w")], run);
        check(&[random(&[], "x"), random(&[1], "w")], run);
        check(&[random(&[1, 1], "x")], |t| {
            prelu(&t[0], &t[0].flatten_all()?)
        });
    }

    #[test]
    fn slopes_that_fit_no_channel_are_refused() {
        let error = prelu(&random(&[4, 3], "x"), &random(&[2], "w")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "prelu: weight must have shape [1] or [3], one slope for each channel of x, but has [2]"
        );
        let error = prelu(&random(&[4, 3], "x"), &random(&[], "w")).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
    }
}
