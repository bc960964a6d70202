//! Products of `bf16` where the processor multiplies pairs of them: nothing is widened but sums.
//!
//! What such an operation gives is what widening to `f32` and rounding once gives, but for the order of additions and
//! for numbers below the normal ones ([`cortical_kernels::matmul::pairs`]).

use crate::Result;
use crate::element::values;
use crate::path::is_fallback;
use candle_core::{DType, Tensor};
use cortical_kernels::matmul::{Transposes, batched, pairs};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;

/// Whether products of this tensor run on pairs.
pub(super) fn are_for(x: &Tensor) -> bool {
    x.dtype() == DType::BF16 && !is_fallback(x.device()) && pairs::is_available()
}

/// `C = A · B` for each of a batch, for tensors that lie without gaps.
pub(super) fn product(
    batch: usize,
    [m, n, k]: [usize; 3],
    a: &Tensor,
    b: &Tensor,
    transposes: Transposes,
) -> Result<Vec<bf16>> {
    let (a, b) = (values::<bf16>(a)?, values::<bf16>(b)?);
    let mut c = vec![0_u16; batch * m * n];
    {
        let (a, b) = (a.reinterpret_cast(), b.reinterpret_cast());
        if pairs::batched(batch, [m, n, k], a, b, transposes, &mut c) {
            return Ok(c.reinterpret_into());
        }
    }
    // A backward pass may be limited where the forward pass was not.
    let wide = |x: &[bf16]| x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
    let mut sums = vec![0.0; batch * m * n];
    batched(
        batch,
        [m, n, k],
        &wide(&a),
        &wide(&b),
        transposes,
        &mut sums,
    );
    Ok(sums.into_iter().map(bf16::from_f32).collect())
}
