//! Rotary position embedding.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::rope::{self as kernel, Pairs, Rotation, Turn};

const NAME: &str = "rotary";

/// Whether the heads of a `[batch, …, dim]` tensor stand outside or inside of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadOrder {
    /// `[batch, heads, rows, dim]`, as PyTorch's attention has it.
    #[default]
    Outside,
    /// `[batch, rows, heads, dim]`, as a projection leaves it.
    Inside,
}

/// The cosines and sines `[positions, frequencies]` of `position · frequency`, computed in double precision.
///
/// # Errors
/// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::DType`](crate::Error::DType) for integers; candle's, when the
/// tensors cannot be made.
pub fn rotary_angles(
    positions: std::ops::Range<usize>,
    frequencies: &[f64],
    dtype: DType,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let shape = (positions.len(), frequencies.len());
    if !dtype.is_float() {
        return Err(crate::Error::DType {
            op: "rotary_angles",
            argument: "dtype",
            expected: "a float",
            got: dtype,
        });
    }
    checked_count("rotary_angles", &[shape.0, shape.1])?;
    let (cos, sin) = kernel::angles::<f64>(positions, frequencies);
    let make = |x: Vec<f64>| Tensor::from_vec(x, shape, device)?.to_dtype(dtype);
    Ok((make(cos)?, make(sin)?))
}

/// Rotates pairs of elements of each head by its position's angles: `(a, b) → (a cos θ − b sin θ, a sin θ + b cos θ)`.
/// Elements beyond the angles' pairs pass unchanged. The angles are constants.
///
/// # Shapes
/// - `x`: `[batch, heads, rows, dim]` or `[batch, rows, heads, dim]`, as `order` says
/// - `cos`, `sin`: `[rows, pairs]` with `2 · pairs ≤ dim`
/// - result: that of `x`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device).
///
/// # Source
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
pub fn rotary<'a>(
    x: impl Into<Input<'a>>,
    cos: &Tensor,
    sin: &Tensor,
    pairs: Pairs,
    order: HeadOrder,
) -> Result<Tensor> {
    fn inner(
        x: Input<'_>,
        cos: &Tensor,
        sin: &Tensor,
        pairs: Pairs,
        order: HeadOrder,
    ) -> Result<Tensor> {
        let t = x.tensor();
        check_float(NAME, "x", t)?;
        check_alike(NAME, t, "cos", cos)?;
        check_alike(NAME, t, "sin", sin)?;
        let &[_, a, b, dim] = t.dims() else {
            let expected = match order {
                HeadOrder::Outside => "[batch, heads, rows, dim]",
                HeadOrder::Inside => "[batch, rows, heads, dim]",
            };
            return Err(wrong_shape(NAME, "x", expected, t));
        };
        checked_count(NAME, t.dims())?;
        let (rows, inner) = if order == HeadOrder::Outside {
            (b, 1)
        } else {
            (a, b)
        };
        let half = match cos.dims() {
            &[angles, half] if angles == rows && half <= dim / 2 => half,
            _ => {
                let expected = format!("[{rows}, pairs] with at most {} pairs", dim / 2);
                return Err(wrong_shape(NAME, "cos", expected, cos));
            }
        };
        if sin.dims() != cos.dims() {
            return Err(wrong_shape(
                NAME,
                "sin",
                format!("that of cos, {:?}", cos.dims()),
                sin,
            ));
        }
        if is_half(t.dtype()) {
            let [x, cos, sin] = [t, cos, sin].map(|t| t.to_dtype(DType::F32));
            return Ok(rotary(&x?, &cos?, &sin?, pairs, order)?.to_dtype(t.dtype())?);
        }
        if is_fallback(t.device()) {
            return Ok(fallback(t, &cos.detach(), &sin.detach(), pairs, order)?);
        }
        let (cos, sin) = (cos.detach().contiguous()?, sin.detach().contiguous()?);
        let op = Rotary {
            cos,
            sin,
            pairs,
            rows,
            inner,
            dim,
            rotary: 2 * half,
        };
        by_dtype!(NAME, "x", t, T => forward::<T>(x, op))
    }
    inner(x.into(), cos, sin, pairs, order)
}

struct Rotary {
    cos: Tensor,
    sin: Tensor,
    pairs: Pairs,
    rows: usize,
    inner: usize,
    dim: usize,
    rotary: usize,
}

impl Rotary {
    fn apply<T: Element>(&self, turn: Turn, x: &[T]) -> Result<Vec<T>> {
        let mut y = unspecified::<T>(x.len());
        if !y.is_empty() {
            let (cos, sin) = (values::<T>(&self.cos)?, values::<T>(&self.sin)?);
            let rotation = Rotation {
                pairs: self.pairs,
                cos: &cos,
                sin: &sin,
                positions: self.rows,
                inner: self.inner,
                head: self.dim,
                rotary: self.rotary,
            };
            rotation.apply(turn, x, &mut y);
        }
        Ok(y)
    }
}

fn forward<T: Element>(x: Input<'_>, op: Rotary) -> Result<Tensor> {
    let operand = x.operand()?;
    let y = op.apply::<T>(Turn::Forward, &values(operand.tensor())?)?;
    let output = Output::new(y, operand.tensor().shape());
    apply_one(op, vec![operand], output)
}

impl Op for Rotary {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let d_y = pass.d_output(0);
        let d_x = by_dtype!(NAME, "upstream gradient", d_y, T => {
            tensor(self.apply::<T>(Turn::Backward, &values(d_y)?)?, d_y.shape())
        })?;
        Ok(vec![Some(d_x)])
    }
}

fn fallback(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    pairs: Pairs,
    order: HeadOrder,
) -> candle_core::Result<Tensor> {
    let (rows, half) = cos.dims2()?;
    let dim = x.dim(3)?;
    if x.elem_count() == 0 || half == 0 {
        return Ok(x.clone());
    }
    let shape = match order {
        HeadOrder::Outside => (1, 1, rows, half),
        HeadOrder::Inside => (1, rows, 1, half),
    };
    let (cos, sin) = (cos.reshape(shape)?, sin.reshape(shape)?);
    let turned = x.narrow(3, 0, 2 * half)?;
    let (d0, d1, d2, _) = x.dims4()?;
    let (a, b) = match pairs {
        Pairs::Halves => (turned.narrow(3, 0, half)?, turned.narrow(3, half, half)?),
        Pairs::Neighbours => {
            let split = turned.contiguous()?.reshape((d0, d1, d2, half, 2))?;
            (
                split.narrow(4, 0, 1)?.squeeze(4)?,
                split.narrow(4, 1, 1)?.squeeze(4)?,
            )
        }
    };
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
    let turned = match pairs {
        Pairs::Halves => Tensor::cat(&[first, second], 3)?,
        Pairs::Neighbours => Tensor::stack(&[first, second], 4)?.reshape((d0, d1, d2, 2 * half))?,
    };
    if dim == 2 * half {
        return Ok(turned);
    }
    Tensor::cat(
        &[turned, x.narrow(3, 2 * half, dim - 2 * half)?.contiguous()?],
        3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    #[test]
    fn gradients_of_both_layouts_and_orders() {
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            for (order, rows) in [(HeadOrder::Outside, 4), (HeadOrder::Inside, 3)] {
                for half in [0, 1, 2] {
                    let frequencies = &[1.0, 0.3][..half];
                    let (cos, sin) =
                        rotary_angles(5..5 + rows, frequencies, DType::F64, &Device::Cpu).unwrap();
                    let run = |t: &[Tensor]| rotary(&t[0], &cos, &sin, pairs, order);
                    check(&[random(&[2, 3, 4, 5], "x")], run);
                    check(&[random(&[2, 4, 3, 5], "x").transpose(1, 2).unwrap()], run);
                    check(&[random(&[0, 3, 4, 5], "x")], run);
                }
            }
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let x = random(&[2, 3, 4, 6], "x");
        let (cos, sin) = rotary_angles(0..3, &[1.0], DType::F64, &Device::Cpu).unwrap();
        let error = rotary(&x, &cos, &sin, Pairs::Halves, HeadOrder::Outside).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rotary: cos must have shape [4, pairs] with at most 3 pairs, but has [3, 1]"
        );
        let flat = random(&[3, 6], "x");
        let error = rotary(&flat, &cos, &sin, Pairs::Halves, HeadOrder::Inside).unwrap_err();
        assert!(
            error.to_string().contains("[batch, rows, heads, dim]"),
            "{error}"
        );
    }
}
