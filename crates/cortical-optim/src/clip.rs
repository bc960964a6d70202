//! Limits on gradients, between `backward` and the optimizer's step.

use crate::algorithm::check;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::clip;
use cortical_kernels::real::Real;
use cortical_neuron::{Param, Params};
use cortical_tensor::{is_fallback, values};
use serde::{Deserialize, Serialize};

/// Which norm of all gradients together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Σ |g|
    One,
    /// √(Σ g²)
    #[default]
    Two,
    /// max |g|
    Infinity,
    /// (Σ |g|ᵖ)^(1/p) for a p above 0
    P(f64),
}

impl Norm {
    fn kernel(self) -> clip::Norm {
        match self {
            Self::One => clip::Norm::One,
            Self::Two => clip::Norm::Two,
            Self::Infinity => clip::Norm::Infinity,
            Self::P(p) => clip::Norm::P(p),
        }
    }

    /// What one gradient contributes: Σ |g|, Σ g², max |g| or Σ |g|ᵖ.
    fn part(self, grad: &Tensor) -> Result<f64> {
        let grad = grad.detach().contiguous()?;
        match (grad.dtype(), is_fallback(grad.device())) {
            (DType::F64, false) => Ok(clip::part(self.kernel(), &values::<f64>(&grad)?)),
            (DType::F32, false) => Ok(clip::part(self.kernel(), &values::<f32>(&grad)?)),
            (_, false) => {
                let wide = grad.to_dtype(DType::F32)?;
                Ok(clip::part(self.kernel(), &values::<f32>(&wide)?))
            }
            (_, true) => self.fallback_part(&grad),
        }
    }

    fn fallback_part(self, grad: &Tensor) -> Result<f64> {
        if grad.elem_count() == 0 {
            return Ok(0.0);
        }
        let wide = grad.to_dtype(if grad.dtype() == DType::F64 {
            DType::F64
        } else {
            DType::F32
        })?;
        let part = match self {
            Self::One => wide.abs()?.sum_all()?,
            Self::Two => wide.sqr()?.sum_all()?,
            Self::Infinity => wide.abs()?.flatten_all()?.max(0)?,
            Self::P(p) => wide.abs()?.powf(p)?.sum_all()?,
        };
        Ok(part.to_dtype(DType::F64)?.to_scalar()?)
    }
}

/// Trainable parameters that have a gradient, with it.
fn gradients(params: &Params) -> Vec<(Param, Tensor)> {
    params
        .trainable()
        .into_iter()
        .filter_map(|param| {
            let grad = param.grad()?;
            Some((param, grad))
        })
        .collect()
}

/// The norm of the gradients of all trainable parameters as one vector; 0 if there are none.
///
/// Sums are kept in double precision, in an order that does not depend on threads.
///
/// # Errors
/// [`Error::NotFinite`] if the norm is infinite or NaN.
pub fn grad_norm(params: &Params, norm: Norm) -> Result<f64> {
    norm.of(named(&gradients(params)))
}

fn named(grads: &[(Param, Tensor)]) -> impl Iterator<Item = (&str, &Tensor)> {
    grads.iter().map(|(param, grad)| (param.name(), grad))
}

impl Norm {
    /// The norm of gradients that are given with the names of their parameters.
    pub(crate) fn of<'a>(self, grads: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<f64> {
        if let Self::P(p) = self {
            check("norm", "p", "above 0", p > 0.0, p)?;
        }
        let (mut names, mut parts) = (Vec::new(), Vec::new());
        for (name, grad) in grads {
            names.push(name);
            parts.push(self.part(grad)?);
        }
        let norm = clip::total(self.kernel(), parts.iter().copied());
        if norm.is_finite() {
            return Ok(norm);
        }
        // To blame is the first part that is not finite, else, if only their sum is not, the largest.
        let first = parts.iter().position(|part| !part.is_finite());
        let largest = || (0..parts.len()).max_by(|a, b| parts[*a].total_cmp(&parts[*b]));
        let name = first.or_else(largest).map_or("no parameter", |i| names[i]);
        let name = name.to_string();
        Err(Error::NotFinite { name, norm })
    }
}

/// Scales the gradients of all trainable parameters down so that their norm is at most `max_norm`, and returns the
/// norm they had: `g ← g · min(1, max_norm / (norm + 10⁻⁶))`.
///
/// The clipped gradients are new tensors, which takes time; where an optimizer's step comes next,
/// [`step_clipped`](crate::Optimizer::step_clipped) does both without them.
///
/// # Errors
/// [`Error::Hyperparameter`] if `max_norm` is negative or NaN, [`Error::NotFinite`] if the norm is infinite or NaN; the
/// gradients are then as they were.
///
/// # Source
/// Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
pub fn clip_grad_norm(params: &Params, max_norm: f64, norm: Norm) -> Result<f64> {
    check_max_norm("clip_grad_norm", max_norm)?;
    let grads = gradients(params);
    let total = norm.of(named(&grads))?;
    let coefficient = clip::coefficient(total, max_norm);
    if coefficient < 1.0 {
        for (param, grad) in &grads {
            param.slot().set(Some(scaled(grad, coefficient)?));
        }
    }
    Ok(total)
}

/// Refuses a limit that is negative or NaN; infinity is allowed and only measures.
pub(crate) fn check_max_norm(function: &'static str, max_norm: f64) -> Result<()> {
    let finite = if max_norm == f64::INFINITY {
        0.0
    } else {
        max_norm
    };
    check(
        function,
        "max_norm",
        "a number from 0 up",
        finite >= 0.0,
        finite,
    )
}

/// Limits every element of every gradient to `[−clip_value, clip_value]`.
///
/// # Errors
/// [`Error::Hyperparameter`] if `clip_value` is negative, infinite or NaN.
pub fn clip_grad_value(params: &Params, clip_value: f64) -> Result<()> {
    let holds = clip_value >= 0.0;
    check(
        "clip_grad_value",
        "clip_value",
        "a number from 0 up",
        holds,
        clip_value,
    )?;
    for (param, grad) in gradients(params) {
        param.slot().set(Some(clamped(&grad, clip_value)?));
    }
    Ok(())
}

/// A gradient times a number. It is a new tensor: others may hold the old one.
fn scaled(grad: &Tensor, by: f64) -> Result<Tensor> {
    map(
        grad,
        |x| clip::scale(x, by),
        |x| clip::scale(x, by),
        |grad| grad.affine(by, 0.0),
    )
}

/// A gradient limited by value.
fn clamped(grad: &Tensor, limit: f64) -> Result<Tensor> {
    map(
        grad,
        |x| clip::clamp(x, limit),
        |x| clip::clamp(x, limit),
        |grad| grad.clamp(-limit, limit),
    )
}

/// A kernel over a copy of the values, or the fallback.
fn map(
    grad: &Tensor,
    single: impl Fn(&mut [f32]),
    double: impl Fn(&mut [f64]),
    fallback: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    fn copied<T: Real + candle_core::WithDType>(
        grad: &Tensor,
        kernel: impl Fn(&mut [T]),
    ) -> Result<Tensor> {
        let mut copy = values::<T>(grad)?.to_vec();
        kernel(&mut copy);
        Ok(Tensor::from_vec(copy, grad.shape(), grad.device())?)
    }
    let grad = grad.detach().contiguous()?;
    match (grad.dtype(), is_fallback(grad.device())) {
        (DType::F32, false) => copied(&grad, single),
        (DType::F64, false) => copied(&grad, double),
        (dtype, false) => Ok(copied(&grad.to_dtype(DType::F32)?, single)?.to_dtype(dtype)?),
        (_, true) => Ok(fallback(&grad)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use cortical_tensor::{Seed, with_fallback};

    /// Two parameters with the gradients (3, 0, −4) and (12).
    fn store(dtype: DType) -> Params {
        let params = Params::new(&Device::Cpu, Seed(1));
        for (name, grad) in [("a", vec![3.0_f32, 0.0, -4.0]), ("b", vec![12.0])] {
            let var = Var::zeros(grad.len(), dtype, &Device::Cpu).unwrap();
            let param = params.adopt(name, var).unwrap();
            let grad = Tensor::new(grad, &Device::Cpu).unwrap();
            param.slot().set(Some(grad.to_dtype(dtype).unwrap()));
        }
        params
    }

    fn grads(params: &Params) -> Vec<f64> {
        let flat = |(_, grad): &(Param, Tensor)| -> Vec<f64> {
            grad.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
        };
        gradients(params).iter().flat_map(flat).collect()
    }

    /// Runs a check on both paths and in every dtype; the tolerance is that of the dtype.
    fn everywhere(check: impl Fn(DType, f64)) {
        for (dtype, tolerance) in [
            (DType::F64, 1e-12),
            (DType::F32, 1e-6),
            (DType::BF16, 1e-2),
            (DType::F16, 2e-3),
        ] {
            check(dtype, tolerance);
            with_fallback(|| check(dtype, tolerance));
        }
    }

    #[test]
    fn norms_and_scaling_by_them() {
        everywhere(|dtype, tolerance| {
            for (norm, want) in [(Norm::One, 19.0), (Norm::Two, 13.0), (Norm::Infinity, 12.0)] {
                let params = store(dtype);
                assert_eq!(grad_norm(&params, norm).unwrap(), want);
                // Above the norm nothing changes, infinity only measures.
                for max_norm in [20.0, f64::INFINITY] {
                    assert_eq!(clip_grad_norm(&params, max_norm, norm).unwrap(), want);
                }
                assert_eq!(grads(&params), [3.0, 0.0, -4.0, 12.0]);
                assert_eq!(clip_grad_norm(&params, 6.5, norm).unwrap(), want);
                for (got, old) in grads(&params).iter().zip([3.0, 0.0, -4.0, 12.0]) {
                    let want = old * 6.5 / (want + 1e-6);
                    assert!(
                        (got - want).abs() <= tolerance * 12.0,
                        "{dtype:?} {got} {want}"
                    );
                }
            }
        });
    }

    #[test]
    fn limits_by_value() {
        everywhere(|dtype, _| {
            let params = store(dtype);
            clip_grad_value(&params, 3.5).unwrap();
            assert_eq!(grads(&params), [3.0, 0.0, -3.5, 3.5]);
        });
    }

    #[test]
    fn clipping_does_not_reach_into_tensors_that_others_hold() {
        let params = store(DType::F32);
        let held = params.all()[0].grad().unwrap();
        clip_grad_norm(&params, 1.0, Norm::Two).unwrap();
        clip_grad_value(&params, 0.0).unwrap();
        assert_eq!(held.to_vec1::<f32>().unwrap(), [3.0, 0.0, -4.0]);
        assert_eq!(grads(&params), [0.0; 4]);
    }

    #[test]
    fn frozen_and_absent_gradients_do_not_count() {
        let params = store(DType::F32);
        params.all()[1].set_trainable(false);
        assert_eq!(grad_norm(&params, Norm::Two).unwrap(), 5.0);
        params.zero_grad();
        assert_eq!(clip_grad_norm(&params, 1.0, Norm::Two).unwrap(), 0.0);
        let empty = Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap();
        for norm in [Norm::One, Norm::Two, Norm::Infinity] {
            assert_eq!(with_fallback(|| norm.part(&empty)).unwrap(), 0.0);
        }
    }

    #[test]
    fn what_cannot_be_clipped_is_refused_by_name() {
        let params = store(DType::F32);
        let nan = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
        params.all()[1].slot().set(Some(nan));
        let error = clip_grad_norm(&params, 1.0, Norm::Two).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the norm of the gradients is NaN, because of b: skip this step or lower the learning rate"
        );
        assert_eq!(grads(&params)[..3], [3.0, 0.0, -4.0]);
        // Finite elements whose squares are too large for the sum: the largest is named.
        let params = store(DType::F64);
        let huge = |x: f64| Some(Tensor::new(&[x], &Device::Cpu).unwrap());
        params.all()[1].slot().set(huge(1e200));
        let error = clip_grad_norm(&params, 1.0, Norm::Two).unwrap_err();
        assert!(error.to_string().contains("inf, because of b"), "{error}");
        for bad in [-1.0, f64::NAN] {
            assert!(clip_grad_norm(&params, bad, Norm::Two).is_err());
            assert!(clip_grad_value(&params, bad).is_err());
        }
    }
}
