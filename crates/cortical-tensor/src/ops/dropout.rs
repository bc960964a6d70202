//! Dropout.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half};
use crate::{Error, Input, Result, Rng, is_fallback, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::dropout as kernel;

const NAME: &str = "dropout";

/// `y = x ⊙ m / (1 − p)`, where each element of the mask `m` is 1 with probability `1 − p`, else 0.
///
/// The mask is a function of the stream's key and position, is made again in the backward pass, and does not depend on
/// threads. `rng` moves on by one word an element (rounded up to a block of four).
///
/// # Shapes
/// - `x`: any
/// - result: that of `x`
///
/// # Errors
/// [`Error::Option`] when `p` is not in `[0, 1]`, [`Error::DType`] when `x` holds no real numbers.
///
/// # Source
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
pub fn dropout<'a>(x: impl Into<Input<'a>>, p: f64, rng: &mut Rng) -> Result<Tensor> {
    fn inner(x: Input<'_>, p: f64, rng: &mut Rng) -> Result<Tensor> {
        check_float(NAME, "x", x.tensor())?;
        if !(0.0..=1.0).contains(&p) {
            let expected = "a probability from 0 to 1".to_string();
            return Err(Error::Option {
                op: NAME,
                option: "p",
                expected,
                got: p.to_string(),
            });
        }
        let dtype = x.tensor().dtype();
        if is_half(dtype) {
            let wide = x.tensor().to_dtype(DType::F32)?;
            return Ok(dropout(&wide, p, rng)?.to_dtype(dtype)?);
        }
        let (key, first_block) = rng.reserve(x.tensor().elem_count() as u64);
        if is_fallback(x.tensor().device()) {
            let ones = vec![1.0_f32; x.tensor().elem_count()];
            let mut mask = vec![0.0; ones.len()];
            kernel::apply(key, first_block, p, &ones, &mut mask);
            let mask = Tensor::from_vec(mask, x.tensor().shape(), &Device::Cpu)?;
            let mask = mask.to_device(x.tensor().device())?.to_dtype(dtype)?;
            return Ok(x.tensor().mul(&mask)?);
        }
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(x, Dropout { key, first_block, p, dtype: std::marker::PhantomData::<T> }))
    }
    inner(x.into(), p, rng)
}

struct Dropout<T> {
    key: [u32; 2],
    first_block: u64,
    p: f64,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Dropout<T> {
    fn apply(&self, x: &[T]) -> Vec<T> {
        let mut y = zeros(x.len());
        kernel::apply(self.key, self.first_block, self.p, x, &mut y);
        y
    }
}

fn forward<T: Element>(x: Input<'_>, op: Dropout<T>) -> Result<Tensor> {
    let operand = x.operand()?;
    let y = op.apply(&values(operand.tensor())?);
    let output = Output::new(y, operand.tensor().shape());
    apply_one(op, vec![operand], output)
}

impl<T: Element> Op for Dropout<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let d_x = self.apply(&values(pass.d_output(0))?);
        Ok(vec![Some(tensor(d_x, pass.input(0).shape())?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::{Seed, with_fallback};

    #[test]
    fn the_backward_pass_drops_what_the_forward_pass_dropped() {
        let x = Tensor::arange(1.0, 31.0, &Device::Cpu)
            .unwrap()
            .reshape((5, 6))
            .unwrap();
        let run = |t: &[Tensor]| dropout(&t[0], 0.4, &mut Rng::new(Seed(1), "mask"));
        for x in [x.clone(), x.t().unwrap(), x.narrow(0, 0, 0).unwrap()] {
            gradcheck(std::slice::from_ref(&x), run).unwrap();
            with_fallback(|| gradcheck(std::slice::from_ref(&x), run)).unwrap();
        }
    }

    #[test]
    fn an_impossible_probability_is_refused() {
        let x = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
        let error = dropout(&x, 1.5, &mut Rng::new(Seed(1), "mask")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "dropout: p must be a probability from 0 to 1, but is 1.5"
        );
    }
}
