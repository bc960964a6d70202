//! Compares the gradients of any closure with central differences.
//!
//! `dL/dxᵢ ≈ (L(x + h eᵢ) − L(x − h eᵢ)) / 2h` with `L = Σ y ⊙ u` for the closure's output `y` and a fixed random `u`,
//! so that every element of the output takes part with a weight of its own. Everything is computed in `f64`.

use crate::{Result, Rng, Seed};
use candle_core::{DType, Device, Tensor, Var};

/// How close is close: `|got − want| ≤ atol + rtol · |want|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The step `h` of the difference.
    pub eps: f64,
    /// The absolute tolerance.
    pub atol: f64,
    /// The relative tolerance.
    pub rtol: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            eps: 1e-6,
            atol: 1e-5,
            rtol: 1e-3,
        }
    }
}

/// The element whose gradient is furthest from its difference quotient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worst {
    /// Which input.
    pub input: usize,
    /// The index of the element in that input.
    pub index: Vec<usize>,
    /// The gradient from the backward pass.
    pub got: f64,
    /// The central difference.
    pub want: f64,
}

/// What a successful check has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many elements were compared.
    pub compared: usize,
    /// The worst of them.
    pub worst: Worst,
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An element's gradient is not its difference quotient.
    #[error("input {}, element {:?}: the gradient is {:e}, central differences give {:e}", .0.input, .0.index, .0.got, .0.want)]
    Mismatch(Worst),
    /// An input got no gradient although the output depends on it.
    #[error("input {input} got no gradient")]
    Missing {
        /// Which input.
        input: usize,
    },
    /// The closure or its backward pass failed.
    #[error(transparent)]
    Op(#[from] crate::Error),
}

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        Self::Op(error.into())
    }
}

/// Checks the gradients of `f` at `inputs` (converted to `f64` variables) with the default [`Options`].
///
/// # Errors
/// [`Failure`], with the worst element by index.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::gradcheck::gradcheck;
/// let x = Tensor::new(&[1.0_f64, 2.0], &Device::Cpu).unwrap();
/// let report = gradcheck(&[x], |inputs| Ok(inputs[0].sqr()?)).unwrap();
/// assert_eq!(report.compared, 2);
/// ```
pub fn gradcheck(
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Report, Failure> {
    gradcheck_with(Options::default(), inputs, f)
}

/// [`gradcheck`] with tolerances of your own.
///
/// # Errors
/// As [`gradcheck`].
pub fn gradcheck_with(
    options: Options,
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Report, Failure> {
    let vars = inputs
        .iter()
        .map(|x| Var::from_tensor(&x.to_dtype(DType::F64)?.copy()?))
        .collect::<candle_core::Result<Vec<Var>>>()?;
    let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tracked)?;
    let upstream = upstream(y.dims())?;
    let grads = y
        .to_dtype(DType::F64)?
        .mul(&upstream)?
        .sum_all()?
        .backward()?;
    let value = |inputs: &[Tensor]| -> Result<f64, Failure> {
        let y = f(inputs)?.to_dtype(DType::F64)?;
        Ok(y.mul(&upstream)?.sum_all()?.to_scalar::<f64>()?)
    };
    let plain: Vec<Tensor> = vars.iter().map(Var::as_detached_tensor).collect();
    let mut report = Report::default();
    let mut worst_excess = f64::NEG_INFINITY;
    for (input, var) in vars.iter().enumerate() {
        let values = var.flatten_all()?.to_vec1::<f64>()?;
        // An input that the output does not depend on may go without a gradient: then every difference is zero.
        let grad = grads.get(var);
        let got = match grad {
            Some(grad) => grad.contiguous()?.flatten_all()?.to_vec1::<f64>()?,
            None => vec![0.0; values.len()],
        };
        for i in 0..values.len() {
            let at = |shift: f64| {
                let mut moved = values.clone();
                moved[i] += shift;
                let mut inputs = plain.clone();
                inputs[input] = Tensor::from_vec(moved, var.shape(), &Device::Cpu)?;
                value(&inputs)
            };
            let want = (at(options.eps)? - at(-options.eps)?) / (2.0 * options.eps);
            let excess = (got[i] - want).abs() - (options.atol + options.rtol * want.abs());
            report.compared += 1;
            // A `NaN` on either side is as bad as it gets.
            let excess = if excess.is_nan() {
                f64::INFINITY
            } else {
                excess
            };
            if excess > 0.0 && grad.is_none() {
                return Err(Failure::Missing { input });
            }
            if excess > worst_excess {
                worst_excess = excess;
                let index = unravel(i, var.dims());
                report.worst = Worst {
                    input,
                    index,
                    got: got[i],
                    want,
                };
            }
        }
    }
    if worst_excess > 0.0 {
        Err(Failure::Mismatch(report.worst))
    } else {
        Ok(report)
    }
}

/// The fixed weights of the output's elements, away from zero.
fn upstream(dims: &[usize]) -> Result<Tensor> {
    let mut rng = Rng::new(Seed(0x0067_7261_6463_6865), "upstream");
    let n = dims.iter().product();
    let values: Vec<f64> = (0..n)
        .map(|_| (0.5 + rng.uniform()) * if rng.below(2) == 0 { -1.0 } else { 1.0 })
        .collect();
    crate::element::tensor(values, dims)
}

fn unravel(mut i: usize, dims: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = dims
        .iter()
        .rev()
        .map(|d| {
            let at = i % d;
            i /= d;
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_gradient_is_found_and_named() {
        // candle's max pooling is wrong: it divides the gradient by the size of the window.
        let x = Tensor::arange(0.0, 16.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 4, 4))
            .unwrap();
        let failure = gradcheck(&[x], |x| Ok(x[0].max_pool2d(2)?)).unwrap_err();
        let Failure::Mismatch(worst) = &failure else {
            panic!("{failure}")
        };
        assert_eq!(worst.input, 0);
        assert!((worst.got * 4.0 - worst.want).abs() < 1e-6, "{failure}");
    }

    #[test]
    fn a_missing_gradient_is_named() {
        let x = Tensor::new(&[1.0_f64], &Device::Cpu).unwrap();
        let failure = gradcheck(&[x.clone(), x], |x| Ok(x[0].add(&x[1].detach())?)).unwrap_err();
        assert!(
            matches!(failure, Failure::Missing { input: 1 }),
            "{failure}"
        );
    }
}
