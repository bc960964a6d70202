//! A layer of `bf16` where the processor multiplies pairs of them.

use super::NAME;
use crate::element::{tensor, values};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::pairs::product;
use crate::{Input, Result};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::{self, Activation, Saves};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::linear as kernel;
use cortical_kernels::matmul::{MatRef, Transposes, pairs};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;

/// As [`super::forward`]; a parameter's gradient goes to candle, as that of a widened one does.
pub(super) fn forward(
    x: Input<'_>,
    weight: Input<'_>,
    bias: Option<Input<'_>>,
    activation: Activation,
    dims: [usize; 3],
) -> Result<Tensor> {
    let [n, i, o] = dims;
    let mut shape = x.tensor().dims().to_vec();
    *shape.last_mut().expect("`check` saw the last dimension") = o;
    let has_bias = bias.is_some();
    let operands = [Some(x), Some(weight), bias]
        .into_iter()
        .flatten()
        .map(|input| Input::from(input.tensor()).operand())
        .collect::<candle_core::Result<Vec<_>>>()?;
    let wide_bias = operands
        .get(2)
        .map(|bias| bias.tensor().to_dtype(DType::F32)?.to_vec1::<f32>())
        .transpose()?;
    let (y, sum) = {
        let (x, w) = (
            values::<bf16>(operands[0].tensor())?,
            values::<bf16>(operands[1].tensor())?,
        );
        let (x, w) = (
            MatRef::row_major(x.reinterpret_cast(), n, i),
            MatRef::row_major(w.reinterpret_cast(), o, i).t(),
        );
        let bias = wide_bias.as_deref();
        let relu = activation == Activation::Relu;
        if relu || activation == Activation::Identity {
            let mut y = vec![0_u16; n * o];
            pairs::matmul(x, w, &mut y, bias, relu);
            (y.reinterpret_into(), None)
        } else {
            let mut z = unspecified::<f32>(n * o);
            pairs::sums(x, w, &mut z, bias);
            let mut y = unspecified::<f32>(n * o);
            activation::forward(activation, &z, &mut y);
            let sum = (activation.saves() == Saves::Input).then_some(z);
            (y.into_iter().map(bf16::from_f32).collect(), sum)
        }
    };
    let op = OfPairs {
        dims,
        activation,
        has_bias,
        sum: sum.map(|z| tensor(z, (n, o))).transpose()?,
    };
    apply_one(op, operands, Output::new::<bf16>(y, shape))
}

struct OfPairs {
    dims: [usize; 3],
    activation: Activation,
    has_bias: bool,
    /// x Wᵀ + b in `f32`, where the activation's derivative needs it.
    sum: Option<Tensor>,
}

impl Op for OfPairs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let [n, i, o] = self.dims;
        let wide = |t: &Tensor| t.to_dtype(DType::F32);
        let (rounded, d_z) = if self.activation == Activation::Identity {
            (pass.d_output(0).clone(), wide(pass.d_output(0))?)
        } else {
            let saved = match &self.sum {
                Some(sum) => sum.clone(),
                None => wide(pass.output())?,
            };
            let mut d_z = unspecified(n * o);
            let d_y = wide(pass.d_output(0))?;
            activation::backward(self.activation, &values(&saved)?, &values(&d_y)?, &mut d_z);
            let d_z = tensor::<f32>(d_z, (n, o))?;
            (d_z.to_dtype(DType::BF16)?, d_z)
        };
        let turned = |a| Transposes { a, b: false };
        let d_x = pass.wants(0).then(|| {
            let d_x = product(1, [n, i, o], &rounded, pass.input(1), turned(false))?;
            tensor(d_x, pass.input(0).shape())
        });
        let d_w = pass.wants(1).then(|| {
            let d_w = product(1, [o, i, n], &rounded, pass.input(0), turned(true))?;
            tensor(d_w, (o, i))
        });
        let mut grads = vec![d_x.transpose()?, d_w.transpose()?];
        if self.has_bias {
            let d_b = pass.wants(2).then(|| {
                let mut d_b = unspecified::<f32>(o);
                kernel::bias_gradient(&values(&d_z)?, &mut d_b);
                Ok::<_, crate::Error>(tensor(d_b, o)?.to_dtype(DType::BF16)?)
            });
            grads.push(d_b.transpose()?);
        }
        Ok(grads)
    }

    fn reads_output(&self) -> bool {
        self.sum.is_none() && self.activation != Activation::Identity
    }
}
