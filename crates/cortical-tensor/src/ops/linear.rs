//! A layer of neurons that read everything.

mod pairs;

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::activation::activate_fallback;
use crate::ops::pairs::are_for as on_pairs;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, tally, values};
use candle_core::Tensor;
use cortical_kernels::activation::{self, Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::linear as kernel;

const NAME: &str = "linear";

/// `y = activation(x Wᵀ + b)`: each of `out` neurons weighs all `in` inputs, adds its bias and applies its activation.
///
/// # Shapes
/// - `x`: `[…, in]`, any leading dimensions
/// - `weight`: `[out, in]`, as PyTorch has it
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
/// use cortical_kernels::activation::Activation;
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3.0_f32, 4.0]], &Device::Cpu)?;
/// let bias = Tensor::new(&[0.5_f32], &Device::Cpu)?;
/// let y = cortical_tensor::ops::linear(&x, &weight, Some((&bias).into()), Activation::Identity)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.5]]);
/// # Ok(())
/// # }
/// ```
pub fn linear<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    activation: Activation,
) -> Result<Tensor> {
    fn inner(
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
        activation: Activation,
    ) -> Result<Tensor> {
        let dims = check(x.tensor(), weight.tensor(), bias.map(|b| b.tensor()))?;
        let dtype = x.tensor().dtype();
        if on_pairs(x.tensor()) {
            tally::count(&dims);
            return pairs::forward(x, weight, bias, activation, dims);
        }
        if is_half(dtype) {
            let wide = |t: &Tensor| t.to_dtype(candle_core::DType::F32);
            let (x, weight) = (wide(x.tensor())?, wide(weight.tensor())?);
            let bias = bias.map(|b| wide(b.tensor())).transpose()?;
            let y = linear(&x, &weight, bias.as_ref().map(Into::into), activation)?;
            return Ok(y.to_dtype(dtype)?);
        }
        tally::count(&dims);
        if is_fallback(x.tensor().device()) {
            return fallback(
                x.tensor(),
                weight.tensor(),
                bias.map(|b| b.tensor()),
                activation,
            );
        }
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(x, weight, bias, activation, dims))
    }
    inner(x.into(), weight.into(), bias, activation)
}

/// The dimensions `[n, in, out]` of a product that fits together.
pub(super) fn check(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<[usize; 3]> {
    check_float(NAME, "x", x)?;
    check_alike(NAME, x, "weight", weight)?;
    let &[o, i] = weight.dims() else {
        return Err(wrong_shape(NAME, "weight", "[out, in]", weight));
    };
    let Some((&last, leading)) = x.dims().split_last() else {
        return Err(wrong_shape(NAME, "x", format!("[…, {i}]"), x));
    };
    if last != i {
        return Err(wrong_shape(
            NAME,
            "x",
            format!("[…, {i}], as the weight reads {i} inputs"),
            x,
        ));
    }
    if let Some(bias) = bias {
        check_alike(NAME, x, "bias", bias)?;
        if bias.dims() != [o] {
            return Err(wrong_shape(
                NAME,
                "bias",
                format!("[{o}], one for each neuron"),
                bias,
            ));
        }
    }
    let n = checked_count(NAME, leading)?;
    checked_count(NAME, &[n, o])?;
    Ok([n, i, o])
}

fn forward<T: Element>(
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    activation: Activation,
    dims: [usize; 3],
) -> Result<Tensor> {
    let [n, _, o] = dims;
    let mut shape = x.tensor().dims().to_vec();
    *shape.last_mut().expect("`check` saw the last dimension") = o;
    let has_bias = bias.is_some();
    let operands = [Some(x), Some(weight), bias]
        .into_iter()
        .flatten()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let keeps_sum = activation.saves() == Saves::Input;
    let mut y = unspecified::<T>(n * o);
    let mut z = if keeps_sum {
        unspecified::<T>(n * o)
    } else {
        Vec::new()
    };
    {
        let (x, w) = (values(operands[0].tensor())?, values(operands[1].tensor())?);
        let b = operands
            .get(2)
            .map(|b| values::<T>(b.tensor()))
            .transpose()?;
        let z = keeps_sum.then_some(&mut z[..]);
        kernel::forward(dims, &x, &w, b.as_deref(), activation, &mut y, z);
    }
    let sum = keeps_sum.then(|| tensor(z, (n, o))).transpose()?;
    let op = Linear::<T> {
        dims,
        activation,
        has_bias,
        sum,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, operands, Output::new(y, shape))
}

struct Linear<T> {
    dims: [usize; 3],
    activation: Activation,
    has_bias: bool,
    /// x Wᵀ + b, where the activation's derivative needs it.
    sum: Option<Tensor>,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Linear<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let [n, i, o] = self.dims;
        let d_y = values::<T>(pass.d_output(0))?;
        let gated;
        let d_z: &[T] = if self.activation == Activation::Identity {
            &d_y
        } else {
            let saved = values::<T>(self.sum.as_ref().unwrap_or_else(|| pass.output()))?;
            let mut d_z = unspecified(n * o);
            activation::backward(self.activation, &saved, &d_y, &mut d_z);
            gated = d_z;
            &gated
        };
        let d_x = if pass.wants(0) {
            let mut d_x = unspecified::<T>(n * i);
            kernel::input_gradient(self.dims, d_z, &values(pass.input(1))?, &mut d_x);
            Some(tensor(d_x, pass.input(0).shape())?)
        } else {
            None
        };
        let d_w = if pass.wants(1) {
            let mut d_w = unspecified::<T>(o * i);
            kernel::weight_gradient(self.dims, d_z, &values(pass.input(0))?, &mut d_w);
            Some(tensor(d_w, (o, i))?)
        } else {
            None
        };
        let mut grads = vec![d_x, d_w];
        if self.has_bias {
            grads.push(if pass.wants(2) {
                let mut d_b = unspecified::<T>(o);
                kernel::bias_gradient(d_z, &mut d_b);
                Some(tensor(d_b, o)?)
            } else {
                None
            });
        }
        Ok(grads)
    }

    fn reads_output(&self) -> bool {
        self.sum.is_none() && self.activation != Activation::Identity
    }
}

fn fallback(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (o, i) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    *shape.last_mut().expect("`check` saw the last dimension") = o;
    let rows = x.elem_count() / i.max(1);
    let rows = if i == 0 {
        shape.iter().rev().skip(1).product()
    } else {
        rows
    };
    let sum = if i == 0 {
        Tensor::zeros((rows, o), x.dtype(), x.device())?
    } else {
        x.contiguous()?.reshape((rows, i))?.matmul(&weight.t()?)?
    };
    let sum = match bias {
        Some(bias) => sum.broadcast_add(bias)?,
        None => sum,
    };
    Ok(activate_fallback(activation, &sum)?.reshape(shape)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::ops::testing::as_widened;
    use crate::{GradSlot, Rng, Seed, with_fallback};
    use candle_core::{DType, Device, Var};

    fn random(shape: &[usize], stream: &str) -> Tensor {
        let mut rng = Rng::new(Seed(5), stream);
        let n = shape.iter().product();
        tensor((0..n).map(|_| rng.normal()).collect::<Vec<f64>>(), shape).unwrap()
    }

    fn check_gradients(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) {
        for activation in [Activation::Identity, Activation::Tanh, Activation::Gelu] {
            let mut inputs = vec![x.clone(), weight.clone()];
            inputs.extend(bias.cloned());
            let run = |t: &[Tensor]| linear(&t[0], &t[1], t.get(2).map(Into::into), activation);
            gradcheck(&inputs, run).unwrap();
            with_fallback(|| gradcheck(&inputs, run)).unwrap();
            let kernel = run(&inputs).unwrap();
            let fallback = with_fallback(|| run(&inputs)).unwrap();
            let difference =
                (kernel.flatten_all().unwrap() - fallback.flatten_all().unwrap()).unwrap();
            let largest = difference
                .abs()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
                .into_iter()
                .fold(0.0, f64::max);
            assert!(largest < 1e-6, "{activation:?}: {largest}");
        }
    }

    #[test]
    fn gradients_of_plain_strided_empty_and_single_inputs() {
        let (w, b) = (random(&[4, 3], "w"), random(&[4], "b"));
        check_gradients(&random(&[5, 3], "x"), &w, Some(&b));
        check_gradients(&random(&[2, 5, 3], "x"), &w, None);
        check_gradients(&random(&[3], "x"), &w, Some(&b));
        check_gradients(&random(&[1, 1], "x"), &random(&[1, 1], "w"), None);
        check_gradients(&random(&[0, 3], "x"), &w, Some(&b));
        let strided = random(&[3, 5], "x").t().unwrap();
        check_gradients(&strided, &random(&[3, 4], "w").t().unwrap(), Some(&b));
        let broadcast = random(&[1, 3], "x").broadcast_as((4, 3)).unwrap();
        check_gradients(&broadcast, &w, Some(&b));
    }

    #[test]
    fn an_input_used_twice_gets_both_gradients() {
        gradcheck(&[random(&[3, 3], "x")], |t| {
            linear(&t[0], &t[0], None, Activation::Identity)
        })
        .unwrap();
    }

    #[test]
    fn layers_of_bf16_are_widened_ones() {
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Tanh,
            Activation::Gelu,
        ] {
            let run = |t: &[Tensor]| linear(&t[0], &t[1], t.get(2).map(Into::into), activation);
            let (x, w, b) = (
                random(&[2, 20, 37], "x"),
                random(&[50, 37], "w"),
                random(&[50], "b"),
            );
            as_widened(&[x.clone(), w.clone(), b.clone()], run);
            as_widened(&[x, w.clone()], run);
            let view = random(&[37, 20], "x").t().unwrap();
            as_widened(&[view, w.clone(), b.clone()], run);
            as_widened(&[random(&[0, 37], "x"), w, b], run);
        }
    }

    #[test]
    fn half_precision_is_f32_rounded() {
        let x = random(&[2, 3], "x").to_dtype(DType::F32).unwrap();
        let w = random(&[4, 3], "w").to_dtype(DType::F32).unwrap();
        let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
        let y = linear(&half(&x), &half(&w), None, Activation::Identity).unwrap();
        assert_eq!(y.dtype(), DType::BF16);
        let wide = |t: &Tensor| half(t).to_dtype(DType::F32).unwrap();
        let want = half(&linear(&wide(&x), &wide(&w), None, Activation::Identity).unwrap());
        let bits = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(bits(&y), bits(&want));
    }

    #[test]
    fn a_slot_takes_the_gradient_that_candle_would_have_held() {
        let x = random(&[5, 3], "x");
        let weight = Var::from_tensor(&random(&[4, 3], "w")).unwrap();
        let slot = GradSlot::new();
        let run = |w: Input<'_>| {
            let y = linear(&x, w, None, Activation::Relu).unwrap();
            y.sum_all().unwrap().backward().unwrap()
        };
        let plain = run((&weight).into())
            .get(&weight)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap();
        let store = run(Input::with_slot(&weight, &slot));
        assert!(store.get(&weight).is_none());
        assert_eq!(slot.get().unwrap().to_vec2::<f64>().unwrap(), plain);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let (x, w) = (random(&[5, 3], "x"), random(&[4, 2], "w"));
        let message = |x: &Tensor, w: &Tensor, b: Option<&Tensor>| {
            linear(x, w, b.map(Into::into), Activation::Relu)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&x, &w, None),
            "linear: x must have shape […, 2], as the weight reads 2 inputs, but has [5, 3]"
        );
        assert_eq!(
            message(&random(&[5, 2], "x"), &w, Some(&random(&[3], "b"))),
            "linear: bias must have shape [4], one for each neuron, but has [3]"
        );
        let scalar = Tensor::new(1.0, &Device::Cpu).unwrap();
        assert!(message(&scalar, &w, None).contains("[…, 2]"));
        assert!(message(&x, &x.to_dtype(DType::F32).unwrap(), None).contains("to_dtype"));
    }

    #[test]
    fn a_result_too_large_to_address_is_refused() {
        let x = Tensor::zeros((1, 1), DType::F32, &Device::Cpu).unwrap();
        let x = x.broadcast_as((1 << 33, 1)).unwrap();
        let w = Tensor::zeros((1, 1), DType::F32, &Device::Cpu)
            .unwrap()
            .broadcast_as((1 << 33, 1))
            .unwrap();
        let error = linear(&x, &w, None, Activation::Identity).unwrap_err();
        assert!(matches!(error, crate::Error::TooLarge { .. }), "{error}");
    }
}
