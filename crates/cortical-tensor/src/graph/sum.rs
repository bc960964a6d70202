//! The sum of gradients that come for one tensor.

use crate::element::{Element, tensor};
use crate::{Result, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::residual as kernel;

/// The sum of two gradients of one shape.
pub(super) fn sum_of_gradients(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    fn sum<T: Element>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let mut sum = unspecified::<T>(a.elem_count());
        kernel::forward(
            &values::<T>(a)?,
            &values::<T>(b)?,
            Activation::Identity,
            &mut sum,
        );
        tensor(sum, a.shape())
    }
    let dense = a.device().is_cpu() && a.is_contiguous() && b.is_contiguous();
    match a.dtype() {
        DType::F32 if dense => sum::<f32>(a, b),
        DType::F64 if dense => sum::<f64>(a, b),
        _ => Ok(a.add(b)?),
    }
}
