//! Activations as operations of their own; where a layer has one, the layer's operation applies it itself.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half};
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{
    self, Activation, GELU_CUBIC, GELU_SLOPE, SELU_ALPHA, SELU_SCALE, Saves,
};
use cortical_kernels::buffer::unspecified;

const NAME: &str = "activation";

/// `y = activation(x)`, element by element; see [`Activation`] for the equations.
///
/// # Shapes
/// - `x`: any
/// - result: that of `x`
///
/// # Errors
/// [`Error::DType`](crate::Error::DType) when `x` holds no real numbers.
pub fn activate<'a>(x: impl Into<Input<'a>>, activation: Activation) -> Result<Tensor> {
    fn inner(x: Input<'_>, activation: Activation) -> Result<Tensor> {
        let dtype = x.tensor().dtype();
        check_float(NAME, "x", x.tensor())?;
        if is_half(dtype) {
            let wide = x.tensor().to_dtype(DType::F32)?;
            return Ok(activate(&wide, activation)?.to_dtype(dtype)?);
        }
        if is_fallback(x.tensor().device()) {
            return Ok(activate_fallback(activation, x.tensor())?);
        }
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(x, activation))
    }
    inner(x.into(), activation)
}

fn forward<T: Element>(x: Input<'_>, activation: Activation) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(operand.tensor().elem_count());
    activation::forward(activation, &values(operand.tensor())?, &mut y);
    let output = Output::new(y, operand.tensor().shape());
    let op = Activate::<T> {
        activation,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], output)
}

struct Activate<T> {
    activation: Activation,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Activate<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let saved = match self.activation.saves() {
            Saves::Output => pass.output(),
            Saves::Input => pass.input(0),
            Saves::Nothing => pass.d_output(0),
        };
        let mut d_x = unspecified::<T>(saved.elem_count());
        activation::backward(
            self.activation,
            &values(saved)?,
            &values(pass.d_output(0))?,
            &mut d_x,
        );
        Ok(vec![Some(tensor(d_x, saved.shape())?)])
    }

    fn reads_input(&self, _: usize) -> bool {
        self.activation.saves() == Saves::Input
    }

    fn reads_output(&self) -> bool {
        self.activation.saves() == Saves::Output
    }
}

/// The activation as candle operations whose gradients are right: no `relu` (its derivative at 0 is 1), no `gelu` (its
/// derivative is right to seven digits only).
pub(crate) fn activate_fallback(activation: Activation, x: &Tensor) -> candle_core::Result<Tensor> {
    let sigmoid = |x: &Tensor| ((x * 0.5)?.tanh()? * 0.5)? + 0.5;
    // What is chosen where a comparison fails is what NaN gets: x itself.
    let relu = |x: &Tensor| x.le(0.0)?.where_cond(&x.zeros_like()?, x);
    // The smaller of x and 0, so that exp never overflows where it is not used; at 0 the gradient flows through x.
    let negative = |x: &Tensor| x.le(0.0)?.where_cond(x, &x.zeros_like()?);
    // candle's derivative of |x| at 0 is 1, so that of the first term must be 1 there too: together they make 1/2.
    let positive = |x: &Tensor| x.ge(0.0)?.where_cond(x, &x.zeros_like()?);
    let softplus = |x: &Tensor| positive(x)? + ((x.abs()?.neg()?.exp()? + 1.0)?.log()?);
    let elu = |x: &Tensor, alpha: f64, scale: f64| {
        let low = ((negative(x)?.exp()? - 1.0)? * (alpha * scale))?;
        x.le(0.0)?.where_cond(&low, &(x * scale)?)
    };
    let between = |x: &Tensor, low: f64, high: f64| {
        let constant = |value: f64| x.zeros_like()?.affine(1.0, value);
        let low_side = x.le(low)?.where_cond(&constant(low)?, x)?;
        x.ge(high)?.where_cond(&constant(high)?, &low_side)
    };
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Relu => relu(x),
        Activation::Relu2 => relu(x)?.sqr(),
        Activation::Relu6 => between(x, 0.0, 6.0),
        Activation::LeakyRelu { slope } => x.gt(0.0)?.where_cond(x, &(x * slope)?),
        Activation::Elu { alpha } => elu(x, alpha, 1.0),
        Activation::Selu => elu(x, SELU_ALPHA, SELU_SCALE),
        Activation::Celu { alpha } => {
            let low = ((((negative(x)? / alpha)?.exp()? - 1.0)?) * alpha)?;
            x.le(0.0)?.where_cond(&low, x)
        }
        Activation::Gelu => {
            let phi = ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?;
            x * (phi * 0.5)?
        }
        Activation::GeluTanh => {
            let cubic = (x * ((x * x)? * GELU_CUBIC)?)?;
            let inner = ((x + cubic)? * GELU_SLOPE)?;
            x * ((inner.tanh()? + 1.0)? * 0.5)?
        }
        Activation::Silu => x * sigmoid(x)?,
        Activation::Mish => x * softplus(x)?.tanh()?,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Softplus { beta, threshold } => {
            let scaled = (x * beta)?;
            scaled
                .gt(threshold)?
                .where_cond(x, &(softplus(&scaled)? / beta)?)
        }
        Activation::Softsign => x / (x.abs()? + 1.0)?,
        Activation::Hardswish => {
            // A 0 stands in for NaN, of which both factors would hand on a NaN as gradient.
            let none = x.ne(x)?;
            let safe = none.where_cond(&x.zeros_like()?, x)?;
            let y = (&safe * (between(&(&safe + 3.0)?, 0.0, 6.0)? / 6.0)?)?;
            none.where_cond(x, &y)
        }
        Activation::Hardsigmoid => {
            let y = (between(&(x + 3.0)?, 0.0, 6.0)? / 6.0)?;
            // PyTorch has no gradient where x is NaN.
            x.ne(x)?.where_cond(&y.detach(), &y)
        }
        Activation::Hardtanh { low, high } => between(x, low, high),
        Activation::LogSigmoid => softplus(&x.neg()?)?.neg(),
        Activation::Tanhshrink => x - x.tanh()?,
        Activation::Hardshrink { lambda } => x.abs()?.le(lambda)?.where_cond(&x.zeros_like()?, x),
        Activation::Softshrink { lambda } => {
            let outer = x.le(lambda)?.where_cond(&x.zeros_like()?, &(x - lambda)?)?;
            x.lt(-lambda)?.where_cond(&(x + lambda)?, &outer)
        }
        Activation::Threshold { threshold, value } => {
            let constant = x.zeros_like()?.affine(1.0, value)?;
            x.le(threshold)?.where_cond(&constant, x)
        }
        other => candle_core::bail!("no fallback for the activation {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::with_fallback;
    use candle_core::Device;

    #[test]
    fn every_activation_has_right_gradients_on_both_paths() {
        let x: Vec<f64> = (-20..20).map(|i| f64::from(i) * 0.4321 + 0.0123).collect();
        let x = Tensor::from_vec(x, (5, 8), &Device::Cpu).unwrap();
        for activation in activation::ALL {
            for x in [
                x.clone(),
                x.t().unwrap(),
                x.narrow(0, 0, 0).unwrap(),
                x.narrow(1, 3, 1).unwrap(),
            ] {
                let run = |t: &[Tensor]| activate(&t[0], activation);
                gradcheck(std::slice::from_ref(&x), run)
                    .unwrap_or_else(|e| panic!("{activation:?}: {e}"));
                with_fallback(|| gradcheck(std::slice::from_ref(&x), run))
                    .unwrap_or_else(|e| panic!("fallback {activation:?}: {e}"));
                let kernel = run(std::slice::from_ref(&x)).unwrap();
                let fallback = with_fallback(|| run(std::slice::from_ref(&x))).unwrap();
                let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                for (k, c) in values(&kernel).iter().zip(values(&fallback)) {
                    assert!((k - c).abs() < 1e-6, "{activation:?}: {k} {c}");
                }
            }
        }
    }

    #[test]
    fn both_paths_agree_where_pieces_meet() {
        let x = Tensor::new(
            &[0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 0.1],
            &Device::Cpu,
        );
        let x = candle_core::Var::from_tensor(&x.unwrap()).unwrap();
        for activation in activation::ALL {
            let run = || {
                let y = activate(&x, activation).unwrap();
                let grads = y.sum_all().unwrap().backward().unwrap();
                let d_x = grads.get(&x).unwrap().to_vec1::<f64>().unwrap();
                (y.to_vec1::<f64>().unwrap(), d_x)
            };
            let ((y, d_x), (y_fallback, d_x_fallback)) = (run(), with_fallback(run));
            for i in 0..y.len() {
                assert!((y[i] - y_fallback[i]).abs() < 1e-6, "{activation:?} at {i}");
                let (d, c) = (d_x[i], d_x_fallback[i]);
                assert!((d - c).abs() < 1e-6, "{activation:?}' at {i}: {d} {c}");
            }
        }
    }

    #[test]
    fn the_derivative_of_relu_at_zero_is_zero() {
        let x = candle_core::Var::new(&[0.0_f32, 1.0], &Device::Cpu).unwrap();
        let y = activate(&x, Activation::Relu).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 1.0]);
    }

    #[test]
    fn the_square_of_relu_is_pytorchs() {
        // `torch.relu(x).square()` and its gradient, PyTorch 2.15.
        let x = candle_core::Var::new(&[-1.5, -0.25, 0.0, 0.3, 2.0], &Device::Cpu).unwrap();
        let d_y = Tensor::new(&[1.0, 2.0, 3.0, -0.5, 0.25], &Device::Cpu).unwrap();
        let y = activate(&x, Activation::Relu2).unwrap();
        assert_eq!(y.to_vec1::<f64>().unwrap(), [0.0, 0.0, 0.0, 0.09, 4.0]);
        let grads = (y * d_y).unwrap().sum_all().unwrap().backward().unwrap();
        let d_x = grads.get(&x).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(d_x, [0.0, 0.0, 0.0, -0.3, 1.0]);
    }

    #[test]
    fn integers_are_refused() {
        let x = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
        assert!(matches!(
            activate(&x, Activation::Relu),
            Err(crate::Error::DType { .. })
        ));
    }
}
