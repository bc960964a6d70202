//! Products with weights that are not trained.

use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{check_alike, check_float, is_half, wrong_shape};
use crate::ops::{activate, linear};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::constant::ConstantMatrix;
use std::sync::Arc;

const NAME: &str = "constant_linear";

/// `y = activation(x Wᵀ + b)` with weights in a form of their own: quantized to 16, 8, 6 or 4 bits
/// ([`QuantizedMatrix`](cortical_kernels::quantized::QuantizedMatrix)), or with severed connections
/// ([`SparseMatrix`](cortical_kernels::sparse::SparseMatrix)).
///
/// The gradient reaches `x`; weights and biases are constants. In double precision, which is for checks, the weights
/// are made dense.
///
/// # Shapes
/// - `x`: `[…, in]`, any leading dimensions
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - result: `[…, out]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device), [`Error::TooLarge`](crate::Error::TooLarge).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::{activation::Activation, quantized::{Format, QuantizedMatrix}};
/// use cortical_tensor::ops::constant_linear;
/// use std::sync::Arc;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weight = Arc::new(QuantizedMatrix::quantize(Format::Bf16, 1, 2, &[3.0, 4.0])?);
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// assert_eq!(constant_linear(&x, &weight, None, Activation::Identity)?.to_vec2::<f32>()?, [[11.0]]);
/// # Ok(())
/// # }
/// ```
pub fn constant_linear<'a, W: ConstantMatrix + ?Sized + 'static>(
    x: impl Into<Input<'a>>,
    weight: &Arc<W>,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let x = x.into();
    let t = x.tensor();
    check_float(NAME, "x", t)?;
    let dtype = t.dtype();
    if is_half(dtype) {
        let bias = bias.map(|b| b.to_dtype(DType::F32)).transpose()?;
        let y = constant_linear(&t.to_dtype(DType::F32)?, weight, bias.as_ref(), activation)?;
        return Ok(y.to_dtype(dtype)?);
    }
    let (o, i) = (weight.rows(), weight.cols());
    let leading = match t.dims().split_last() {
        Some((&last, leading)) if last == i => leading,
        _ => return Err(wrong_shape(NAME, "x", format!("[…, {i}]"), t)),
    };
    if let Some(bias) = bias {
        check_alike(NAME, t, "bias", bias)?;
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
    if is_fallback(t.device()) || dtype != DType::F32 {
        let w = Tensor::from_vec(weight.dense(), (o, i), t.device())?.to_dtype(dtype)?;
        return linear(x, &w, bias.map(Into::into), activation);
    }
    let mut shape = t.dims().to_vec();
    *shape.last_mut().expect("the last dimension was seen above") = o;
    tally::count(&[n, o, i]);
    let x = x.operand()?;
    let mut y = vec![0.0_f32; n * o];
    weight.product(n, &values::<f32>(x.tensor())?, &mut y);
    if let Some(bias) = bias.filter(|_| o > 0) {
        let bias = bias.contiguous()?;
        let bias = values::<f32>(&bias)?;
        for row in y.chunks_exact_mut(o) {
            row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
        }
    }
    let op = ConstantLinear {
        weight: weight.clone(),
        n,
    };
    let y = apply_one(op, vec![x], Output::new(y, shape))?;
    match activation {
        Activation::Identity => Ok(y),
        _ => activate(&y, activation),
    }
}

struct ConstantLinear<W: ?Sized> {
    weight: Arc<W>,
    n: usize,
}

impl<W: ConstantMatrix + ?Sized + 'static> Op for ConstantLinear<W> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = pass.input(0);
        let mut d_x = vec![0.0_f32; x.elem_count()];
        let d_y = values::<f32>(pass.d_output(0))?;
        self.weight.input_gradient(self.n, &d_y, &mut d_x);
        Ok(vec![Some(Tensor::from_vec(d_x, x.shape(), x.device())?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{random, same};
    use candle_core::{Device, Var};
    use cortical_kernels::quantized::{Format, QuantizedMatrix};
    use cortical_kernels::sparse::{Precision, SparseMatrix};

    fn weights() -> [Arc<dyn ConstantMatrix>; 2] {
        let w = random(&[3, 64], "w").to_dtype(DType::F32).unwrap();
        let w = w.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let quantized = QuantizedMatrix::quantize(Format::Q8_0, 3, 64, &w).unwrap();
        let severed: Vec<f32> = w.iter().map(|w| if *w < 0.1 { 0.0 } else { *w }).collect();
        let sparse = SparseMatrix::from_dense(3, 64, &severed, Precision::F32);
        [Arc::new(quantized), Arc::new(sparse)]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_dense_weights() {
        let bias = random(&[3], "b").to_dtype(DType::F32).unwrap();
        let shapes = [&[64][..], &[2, 64], &[3, 4, 64], &[0, 64]];
        let pairs = weights()
            .into_iter()
            .flat_map(|w| shapes.map(|shape| (w.clone(), shape)));
        for (weight, shape) in pairs {
            // Small, so that the sums stay where tanh has a slope and rounding the inputs to eight bits shows little.
            let x = (random(shape, "x") * 0.1)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let x = Var::from_tensor(&x).unwrap();
            let run = || {
                let y = constant_linear(&x, &weight, Some(&bias), Activation::Tanh).unwrap();
                let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let d_x = grads
                    .get(&x)
                    .cloned()
                    .unwrap_or_else(|| x.zeros_like().unwrap());
                (y.detach(), d_x)
            };
            let ((y, d_x), (want_y, want_d_x)) = (run(), crate::with_fallback(run));
            same(&y, &want_y, 0.1);
            same(&d_x, &want_d_x, 0.1);
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let x = Tensor::zeros((2, 63), DType::F32, &Device::Cpu).unwrap();
        let error = constant_linear(&x, &weights()[0], None, Activation::Identity).unwrap_err();
        assert_eq!(
            error.to_string(),
            "constant_linear: x must have shape […, 64], but has [2, 63]"
        );
    }
}
