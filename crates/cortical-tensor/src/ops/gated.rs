//! Gated units: GLU, SwiGLU, GEGLU and their relatives.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::activation::activate_fallback;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::gated::{self as kernel, Packed};

const NAME: &str = "gated";

/// `y = f(gate) ⊙ value`, where `f` is SiLU for SwiGLU, GELU for GEGLU, the sigmoid for GLU.
///
/// # Shapes
/// - `gate`, `value`: any, the same
/// - result: the same
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device).
///
/// # Source
/// Dauphin et al., "Language modeling with gated convolutional networks" (2016); Shazeer, "GLU variants improve
/// transformer" (2020).
pub fn gated<'a>(
    gate: impl Into<Input<'a>>,
    value: impl Into<Input<'a>>,
    kind: Activation,
) -> Result<Tensor> {
    fn inner(gate: Input<'_>, value: Input<'_>, kind: Activation) -> Result<Tensor> {
        let (g, v) = (gate.tensor(), value.tensor());
        check_float(NAME, "gate", g)?;
        check_alike(NAME, g, "value", v)?;
        if g.dims() != v.dims() {
            return Err(wrong_shape(
                NAME,
                "value",
                format!("that of the gate, {:?}", g.dims()),
                v,
            ));
        }
        checked_count(NAME, g.dims())?;
        if is_half(g.dtype()) {
            let (wide_g, wide_v) = (g.to_dtype(DType::F32)?, v.to_dtype(DType::F32)?);
            return Ok(gated(&wide_g, &wide_v, kind)?.to_dtype(g.dtype())?);
        }
        if is_fallback(g.device()) {
            return Ok((activate_fallback(kind, g)? * v)?);
        }
        by_dtype!(NAME, "gate", g, T => forward::<T>(gate, value, kind))
    }
    inner(gate.into(), value.into(), kind)
}

/// The same from one tensor whose last dimension holds both halves: PyTorch's `glu` is
/// `gated_packed(x, Activation::Sigmoid, Packed::GateLast)`.
///
/// # Shapes
/// - `x`: `[…, 2 · features]`
/// - result: `[…, features]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when the last dimension is odd or missing,
/// [`Error::DType`](crate::Error::DType).
pub fn gated_packed<'a>(
    x: impl Into<Input<'a>>,
    kind: Activation,
    packed: Packed,
) -> Result<Tensor> {
    fn inner(x: Input<'_>, kind: Activation, packed: Packed) -> Result<Tensor> {
        let t = x.tensor();
        check_float(NAME, "x", t)?;
        let features = match t.dims().last() {
            Some(last) if last.is_multiple_of(2) => last / 2,
            _ => return Err(wrong_shape(NAME, "x", "[…, 2 · features]", t)),
        };
        checked_count(NAME, t.dims())?;
        if is_half(t.dtype()) {
            let wide = t.to_dtype(DType::F32)?;
            return Ok(gated_packed(&wide, kind, packed)?.to_dtype(t.dtype())?);
        }
        if is_fallback(t.device()) {
            let last = t.rank() - 1;
            if t.elem_count() == 0 {
                // candle reads beyond the end of an empty view that starts inside a row.
                let mut shape = t.dims().to_vec();
                shape[last] = features;
                return Ok(Tensor::zeros(shape, t.dtype(), t.device())?);
            }
            let (a, b) = (
                t.narrow(last, 0, features)?,
                t.narrow(last, features, features)?,
            );
            let (g, v) = if packed == Packed::GateFirst {
                (a, b)
            } else {
                (b, a)
            };
            return Ok((activate_fallback(kind, &g)? * v)?);
        }
        by_dtype!(NAME, "x", t, T => forward_packed::<T>(x, kind, packed, features))
    }
    inner(x.into(), kind, packed)
}

struct Gated<T>(Activation, std::marker::PhantomData<T>);

fn forward<T: Element>(gate: Input<'_>, value: Input<'_>, kind: Activation) -> Result<Tensor> {
    let operands = vec![gate.operand()?, value.operand()?];
    let mut y = unspecified::<T>(gate.tensor().elem_count());
    kernel::forward(
        kind,
        &values(operands[0].tensor())?,
        &values(operands[1].tensor())?,
        &mut y,
    );
    let output = Output::new(y, gate.tensor().shape());
    apply_one(Gated::<T>(kind, std::marker::PhantomData), operands, output)
}

impl<T: Element> Op for Gated<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (g, v) = (values::<T>(pass.input(0))?, values::<T>(pass.input(1))?);
        let (mut d_g, mut d_v) = (unspecified::<T>(g.len()), unspecified::<T>(g.len()));
        kernel::backward(
            self.0,
            &g,
            &v,
            &values(pass.d_output(0))?,
            &mut d_g,
            &mut d_v,
        );
        let shape = pass.input(0).shape();
        Ok(vec![Some(tensor(d_g, shape)?), Some(tensor(d_v, shape)?)])
    }
}

struct GatedPacked<T> {
    kind: Activation,
    packed: Packed,
    features: usize,
    dtype: std::marker::PhantomData<T>,
}

fn forward_packed<T: Element>(
    x: Input<'_>,
    kind: Activation,
    packed: Packed,
    features: usize,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut shape = operand.tensor().dims().to_vec();
    *shape.last_mut().expect("the last dimension was checked") = features;
    let mut y = unspecified::<T>(operand.tensor().elem_count() / 2);
    kernel::packed_forward(kind, packed, &values(operand.tensor())?, features, &mut y);
    let op = GatedPacked::<T> {
        kind,
        packed,
        features,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

impl<T: Element> Op for GatedPacked<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = values::<T>(pass.input(0))?;
        let mut d_x = unspecified::<T>(x.len());
        let d_y = values(pass.d_output(0))?;
        kernel::packed_backward(self.kind, self.packed, &x, self.features, &d_y, &mut d_x);
        Ok(vec![Some(tensor(d_x, pass.input(0).shape())?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    const GATES: [Activation; 6] = [
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Identity,
    ];

    #[test]
    fn gradients_of_plain_strided_empty_and_single_inputs() {
        for kind in GATES {
            for shape in [&[3, 4][..], &[1, 2], &[0, 4], &[2, 3, 2]] {
                check(&[random(shape, "g"), random(shape, "v")], |t| {
                    gated(&t[0], &t[1], kind)
                });
                for packed in [Packed::GateFirst, Packed::GateLast] {
                    check(&[random(shape, "x")], |t| gated_packed(&t[0], kind, packed));
                    let strided = random(&[4, 3], "x").t().unwrap();
                    check(&[strided], |t| gated_packed(&t[0], kind, packed));
                }
            }
            check(&[random(&[3, 3], "x")], |t| gated(&t[0], &t[0].t()?, kind));
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let (x, y) = (random(&[2, 3], "x"), random(&[3, 2], "y"));
        let error = gated(&x, &y, Activation::Silu).unwrap_err().to_string();
        assert_eq!(
            error,
            "gated: value must have shape that of the gate, [2, 3], but has [3, 2]"
        );
        let error = gated_packed(&x, Activation::Silu, Packed::GateLast)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "gated: x must have shape […, 2 · features], but has [2, 3]"
        );
    }
}
