//! The sum of two branches, with an activation: how a residual block ends.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::activation::activate_fallback;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{self, Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::residual as kernel;

const NAME: &str = "residual";

/// `y = activation(x + branch)`, the end of a residual block in one pass over memory.
///
/// # Shapes
/// - `x`, `branch`: any, the same
/// - result: the same
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the two do not fit together.
///
/// # Source
/// He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016), equation 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::activation::Activation;
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let branch = Tensor::new(&[3.0_f32, -5.0], &Device::Cpu)?;
/// let y = cortical_tensor::ops::residual(&x, &branch, Activation::Relu)?;
/// assert_eq!(y.to_vec1::<f32>()?, [4.0, 0.0]);
/// # Ok(())
/// # }
/// ```
pub fn residual<'a>(
    x: impl Into<Input<'a>>,
    branch: impl Into<Input<'a>>,
    activation: Activation,
) -> Result<Tensor> {
    fn inner(x: Input<'_>, branch: Input<'_>, activation: Activation) -> Result<Tensor> {
        let (a, b) = (x.tensor(), branch.tensor());
        check_float(NAME, "x", a)?;
        check_alike(NAME, a, "branch", b)?;
        if a.dims() != b.dims() {
            let expected = format!("that of x, {:?}", a.dims());
            return Err(wrong_shape(NAME, "branch", expected, b));
        }
        checked_count(NAME, a.dims())?;
        if is_half(a.dtype()) {
            let (wide_a, wide_b) = (a.to_dtype(DType::F32)?, b.to_dtype(DType::F32)?);
            return Ok(residual(&wide_a, &wide_b, activation)?.to_dtype(a.dtype())?);
        }
        if is_fallback(a.device()) {
            return Ok(activate_fallback(activation, &(a + b)?)?);
        }
        by_dtype!(NAME, "x", a, T => forward::<T>(x, branch, activation))
    }
    inner(x.into(), branch.into(), activation)
}

fn forward<T: Element>(x: Input<'_>, branch: Input<'_>, activation: Activation) -> Result<Tensor> {
    let operands = vec![x.operand()?, branch.operand()?];
    let shape = x.tensor().shape();
    let mut y = unspecified::<T>(shape.elem_count());
    let mut sum = None;
    {
        let (a, b) = (
            values::<T>(operands[0].tensor())?,
            values::<T>(operands[1].tensor())?,
        );
        if activation.saves() == Saves::Input {
            let mut z = unspecified::<T>(y.len());
            kernel::forward(&a, &b, Activation::Identity, &mut z);
            activation::forward(activation, &z, &mut y);
            sum = Some(tensor(z, shape)?);
        } else {
            kernel::forward(&a, &b, activation, &mut y);
        }
    }
    let op = Residual::<T> {
        activation,
        sum,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, operands, Output::new(y, shape))
}

struct Residual<T> {
    activation: Activation,
    /// x + branch, where the activation's derivative needs it.
    sum: Option<Tensor>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Residual<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let d_y = pass.d_output(0);
        let d_sum = if self.activation == Activation::Identity {
            d_y.clone()
        } else {
            let saved = values::<T>(self.sum.as_ref().unwrap_or_else(|| pass.output()))?;
            let mut d = unspecified::<T>(saved.len());
            activation::backward(self.activation, &saved, &values(d_y)?, &mut d);
            tensor(d, d_y.shape())?
        };
        Ok(vec![Some(d_sum.clone()), Some(d_sum)])
    }

    fn reads_input(&self, _: usize) -> bool {
        false
    }

    fn reads_output(&self) -> bool {
        self.activation.saves() == Saves::Output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};
    use cortical_kernels::activation::ALL;

    #[test]
    fn gradients_of_plain_strided_broadcast_empty_and_single_inputs() {
        let (a, b) = (random(&[3, 4], "a"), random(&[3, 4], "b"));
        for activation in ALL {
            check(&[a.clone(), b.clone()], |t| {
                residual(&t[0], &t[1], activation)
            });
        }
        let run = |t: &[Tensor]| residual(&t[0], &t[1], Activation::Tanh);
        check(&[a.t().unwrap(), random(&[4, 3], "c")], run);
        check(
            &[random(&[1, 4], "d").broadcast_as((3, 4)).unwrap(), b],
            run,
        );
        check(&[random(&[0, 4], "a"), random(&[0, 4], "b")], run);
        check(&[random(&[1], "a"), random(&[1], "b")], run);
    }

    #[test]
    fn an_input_used_twice_gets_both_gradients() {
        let run = |t: &[Tensor]| {
            let y = residual(&t[0], &t[0], Activation::Identity)?;
            let z = residual(&y, &t[0], Activation::Tanh)?;
            residual(&z, &y, Activation::Identity)
        };
        check(&[random(&[5], "x")], run);
    }

    #[test]
    fn half_precision_is_rounded_once() {
        let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
        let (a, b) = (half(&random(&[9], "a")), half(&random(&[9], "b")));
        let wide = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let want = half(&residual(&wide(&a), &wide(&b), Activation::Silu).unwrap());
        let got = residual(&a, &b, Activation::Silu).unwrap();
        let bits = |t: &Tensor| wide(t).to_vec1::<f32>().unwrap();
        assert_eq!(bits(&got), bits(&want));
    }

    #[test]
    fn shapes_must_be_the_same() {
        let error =
            residual(&random(&[3, 4], "a"), &random(&[4], "b"), Activation::Relu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "residual: branch must have shape that of x, [3, 4], but has [4]"
        );
    }
}
