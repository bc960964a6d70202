//! A layer of neurons that weigh every pair of two inputs.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::linear;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::outer as kernel;

const NAME: &str = "bilinear";

/// `y_o = Σ_ij x₁ᵢ W_oij x₂ⱼ + b_o`: each of `out` neurons weighs all products of an element of `x1` and an element of
/// `x2`. It is [`linear`] on those products.
///
/// # Shapes
/// - `x1`: `[…, in1]`, `x2`: `[…, in2]`, the same leading dimensions
/// - `weight`: `[out, in1, in2]`, as PyTorch has it
/// - `bias`: `[out]`
/// - result: `[…, out]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together,
/// [`Error::TooLarge`](crate::Error::TooLarge).
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x1 = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let x2 = Tensor::new(&[[3.0_f32, 4.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[1.0_f32, 0.0], [0.0, 1.0]]], &Device::Cpu)?;
/// let y = cortical_tensor::ops::bilinear(&x1, &x2, &weight, None)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.0]]); // 1 · 3 + 2 · 4
/// # Ok(())
/// # }
/// ```
pub fn bilinear<'a>(
    x1: impl Into<Input<'a>>,
    x2: impl Into<Input<'a>>,
    weight: &Tensor,
    bias: Option<Input<'a>>,
) -> Result<Tensor> {
    fn inner(
        x1: Input<'_>,
        x2: Input<'_>,
        weight: &Tensor,
        bias: Option<Input<'_>>,
    ) -> Result<Tensor> {
        let (t1, t2) = (x1.tensor(), x2.tensor());
        check_float(NAME, "x1", t1)?;
        check_alike(NAME, t1, "x2", t2)?;
        check_alike(NAME, t1, "weight", weight)?;
        let &[out, i, j] = weight.dims() else {
            return Err(wrong_shape(NAME, "weight", "[out, in1, in2]", weight));
        };
        let Some((_, leading)) = t1.dims().split_last().filter(|(last, _)| **last == i) else {
            let expected = format!("[…, {i}], as the weight reads {i} inputs");
            return Err(wrong_shape(NAME, "x1", expected, t1));
        };
        let second = [leading, &[j]].concat();
        if t2.dims() != second {
            let expected = format!("{second:?}, one row for each of x1");
            return Err(wrong_shape(NAME, "x2", expected, t2));
        }
        if let Some(bias) = bias.map(|b| b.tensor()) {
            check_alike(NAME, t1, "bias", bias)?;
            if bias.dims() != [out] {
                let expected = format!("[{out}], one for each neuron");
                return Err(wrong_shape(NAME, "bias", expected, bias));
            }
        }
        let rows = checked_count(NAME, leading)?;
        let pairs = checked_count(NAME, &[i, j])?;
        checked_count(NAME, &[rows, pairs])?;
        checked_count(NAME, &[rows, out])?;
        let mut shape = leading.to_vec();
        shape.push(out);
        let dtype = t1.dtype();
        if is_half(dtype) {
            let wide = |t: &Tensor| t.to_dtype(DType::F32);
            let bias = bias.map(|b| wide(b.tensor())).transpose()?;
            let bias = bias.as_ref().map(Input::from);
            let y = bilinear(&wide(t1)?, &wide(t2)?, &wide(weight)?, bias)?;
            return Ok(y.to_dtype(dtype)?);
        }
        let products = products(x1, x2, [rows, i, j])?;
        let weight = (weight.contiguous()?).reshape((out, pairs))?;
        let y = linear(&products, &weight, bias, Activation::Identity)?;
        Ok(y.reshape(shape)?)
    }
    inner(x1.into(), x2.into(), weight, bias)
}

/// The products of all pairs of each row, `[rows, i · j]`.
fn products(x1: Input<'_>, x2: Input<'_>, [n, i, j]: [usize; 3]) -> Result<Tensor> {
    let (t1, t2) = (x1.tensor(), x2.tensor());
    if is_fallback(t1.device()) {
        let left = (t1.contiguous()?).reshape((n, i, 1))?;
        let right = (t2.contiguous()?).reshape((n, 1, j))?;
        return Ok(left.broadcast_mul(&right)?.reshape((n, i * j))?);
    }
    by_dtype!(NAME, "x1", t1, T => forward::<T>(x1, x2, [n, i, j]))
}

fn forward<T: Element>(x1: Input<'_>, x2: Input<'_>, dims: [usize; 3]) -> Result<Tensor> {
    let [n, i, j] = dims;
    let (x1, x2) = (x1.operand()?, x2.operand()?);
    let mut y = unspecified::<T>(n * i * j);
    kernel::forward(dims, &values(x1.tensor())?, &values(x2.tensor())?, &mut y);
    let op = Products::<T> {
        dims,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![x1, x2], Output::new(y, (n, i * j)))
}

struct Products<T> {
    dims: [usize; 3],
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Products<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x1, x2) = (pass.input(0), pass.input(1));
        let d_y = values::<T>(pass.d_output(0))?;
        let mut grads = vec![None, None];
        if pass.wants(0) {
            let mut d = unspecified::<T>(x1.elem_count());
            kernel::left_gradient(self.dims, &values(x2)?, &d_y, &mut d);
            grads[0] = Some(tensor(d, x1.shape())?);
        }
        if pass.wants(1) {
            let mut d = unspecified::<T>(x2.elem_count());
            kernel::right_gradient(self.dims, &values(x1)?, &d_y, &mut d);
            grads[1] = Some(tensor(d, x2.shape())?);
        }
        Ok(grads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    #[test]
    fn gradients_of_both_inputs_weight_and_bias() {
        for leading in [&[4][..], &[2, 3], &[], &[0], &[1]] {
            let x1 = random(&[leading, &[3]].concat(), "x1");
            let x2 = random(&[leading, &[2]].concat(), "x2");
            let inputs = [x1, x2, random(&[5, 3, 2], "w"), random(&[5], "b")];
            check(&inputs, |t| {
                bilinear(&t[0], &t[1], &t[2], Some((&t[3]).into()))
            });
            check(&inputs[..3], |t| bilinear(&t[0], &t[1], &t[2], None));
        }
        // One tensor as both inputs gets both gradients.
        check(&[random(&[3, 2], "x"), random(&[4, 2, 2], "w")], |t| {
            bilinear(&t[0], &t[0], &t[1], None)
        });
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        let (x1, x2) = (random(&[4, 3], "x1"), random(&[3, 2], "x2"));
        let error = bilinear(&x1, &x2, &random(&[5, 3, 2], "w"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bilinear: x2 must have shape [4, 2], one row for each of x1, but has [3, 2]"
        );
    }
}
