//! Randomised leaky ReLU.

use crate::ops::prepare::{check_float, is_half};
use crate::{Error, Input, Result, Rng};
use candle_core::{DType, Device, Tensor};

const NAME: &str = "rrelu";

/// `y = x` for `x > 0`, else `a x` with a slope `a` drawn for each element uniformly from
/// `[lower, upper)`. It is for training; evaluation takes a leaky ReLU with the mean slope `(lower + upper) / 2`.
///
/// # Shapes
/// - `x`: any
/// - result: that of `x`
///
/// # Errors
/// [`Error::Option`] unless `lower ≤ upper` are finite, [`Error::DType`] when `x` holds no real numbers.
///
/// # Source
/// Xu et al., "Empirical evaluation of rectified activations in convolutional network" (2015).
pub fn rrelu<'a>(x: impl Into<Input<'a>>, lower: f64, upper: f64, rng: &mut Rng) -> Result<Tensor> {
    let x = x.into().tensor();
    check_float(NAME, "x", x)?;
    if !(lower.is_finite() && upper.is_finite() && lower <= upper) {
        return Err(Error::Option {
            op: NAME,
            option: "lower and upper",
            expected: "finite, the first not above the second".into(),
            got: format!("{lower} and {upper}"),
        });
    }
    let dtype = x.dtype();
    let x = if is_half(dtype) {
        x.to_dtype(DType::F32)?
    } else {
        x.clone()
    };
    let mut slopes = vec![0.0_f32; x.elem_count()];
    rng.fill_uniform(&mut slopes, lower, upper);
    let slopes = Tensor::from_vec(slopes, x.shape(), &Device::Cpu)?;
    let slopes = slopes.to_dtype(x.dtype())?.to_device(x.device())?;
    let y = x.gt(0.0)?.where_cond(&x, &(&x * slopes)?)?;
    Ok(y.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::ops::testing::{check, random};

    fn stream() -> Rng {
        Rng::new(Seed(4), "rrelu")
    }

    #[test]
    fn slopes_lie_between_and_gradients_follow_them() {
        let x = random(&[3, 40], "x");
        let y = rrelu(&x, 0.1, 0.3, &mut stream()).unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (x, y) in numbers(&x).into_iter().zip(numbers(&y)) {
            assert!(
                x > 0.0 && y == x || (0.1..0.301).contains(&(y / x)),
                "{x} {y}"
            );
        }
        for x in [
            x.clone(),
            x.t().unwrap(),
            random(&[0, 2], "x"),
            random(&[1], "x"),
        ] {
            check(&[x], |t| rrelu(&t[0], 0.1, 0.3, &mut stream()));
        }
    }

    #[test]
    fn limits_in_the_wrong_order_are_refused() {
        let error = rrelu(&random(&[2], "x"), 0.3, 0.1, &mut stream()).unwrap_err();
        assert!(
            error.to_string().contains("the first not above the second"),
            "{error}"
        );
    }
}
