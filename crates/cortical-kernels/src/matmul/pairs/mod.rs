//! Products of `bf16` by instructions that multiply pairs of them (AVX-512 BF16).
//!
//! One instruction adds to each of sixteen `f32` sums the products of two pairs: twice the multiply-adds of a fused
//! one of `f32`, from half the memory. Operands are packed in *pairs*: two steps of `k` beside each other take the
//! place of one `f32`, and an odd last step gets a zero beside it. Columns of `B` go into panels of 32, rows of `A`
//! into blocks of up to 12. One operand is packed whole and shared by all tasks; the other is cut, and each task packs
//! its part while it is near.
//!
//! What is computed. Every element is one chain of these instructions in ascending `k`, so neither the cut into blocks
//! nor the number of threads shows in the bits. An instruction adds the two products of a pair to a sum in an order of
//! its own, with at most two roundings to nearest, so an element differs from the exact sum by no more than
//! `k · 2⁻²⁴ · Σ |a| |b|` to first order, the bound of a chain of fused multiply-adds: products of two `bf16` are exact
//! in `f32`. The bits are not those of that chain. And the instruction takes what is too small for a normal number
//! (below 2⁻¹²⁶ in magnitude) as zero, in operands and in results, which adds at most 2⁻¹²⁶ a rounding, and for an
//! operand its product. Infinities and `NaN` are those of IEEE arithmetic.

#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(test)]
mod tests;

use super::{MatRef, Transposes, check};
use crate::half::bf16_to_f32;
#[cfg(target_arch = "x86_64")]
use {super::packed::Epilogue, crate::disjoint::Disjoint, crate::parallel};

/// Whether kernels called from this thread multiply pairs of `bf16`: the processor can, has no tiles, which widened
/// products run on, and is not limited below AVX-512.
#[must_use]
pub fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return product::Able::now().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `C = A · B` of `bf16`, given by their bits and rounded to `bf16`, with `bias` added to each row and then negative
/// numbers zero if `relu`; returns whether it was done, which it is where [`is_available`].
///
/// # Panics
/// If the inner dimensions differ, `c` has not `m · n` elements or `bias` not `n`.
pub fn matmul(
    a: MatRef<'_, u16>,
    b: MatRef<'_, u16>,
    c: &mut [u16],
    bias: Option<&[f32]>,
    relu: bool,
) -> bool {
    check(&a, &b, c);
    check_bias(&b, bias);
    #[cfg(target_arch = "x86_64")]
    if let Some(able) = product::Able::now() {
        let target = product::Target::Rounded(Disjoint::new(c));
        product::run(able, a, b, target, Epilogue { bias, relu });
        return true;
    }
    let _ = relu;
    false
}

/// As [`matmul`] with the sums as they are, in `f32`.
///
/// # Panics
/// As [`matmul`].
pub fn sums(a: MatRef<'_, u16>, b: MatRef<'_, u16>, c: &mut [f32], bias: Option<&[f32]>) -> bool {
    check(&a, &b, c);
    check_bias(&b, bias);
    #[cfg(target_arch = "x86_64")]
    if let Some(able) = product::Able::now() {
        let target = product::Target::Sums(Disjoint::new(c));
        product::run(able, a, b, target, Epilogue { bias, relu: false });
        return true;
    }
    false
}

fn check_bias(b: &MatRef<'_, u16>, bias: Option<&[f32]>) {
    assert!(
        bias.is_none_or(|bias| bias.len() == b.cols),
        "a bias a column"
    );
}

/// As [`matmul`] for each of `batch` matrices `[m, k]` and `[k, n]` (transposed where `transposes` says so), one behind
/// the other.
///
/// # Panics
/// If the lengths do not fit the dimensions.
pub fn batched(
    batch: usize,
    [m, n, k]: [usize; 3],
    a: &[u16],
    b: &[u16],
    transposes: Transposes,
    c: &mut [u16],
) -> bool {
    let lengths = (batch * m * k, batch * k * n, batch * m * n);
    assert_eq!((a.len(), b.len(), c.len()), lengths, "batched matmul");
    #[cfg(target_arch = "x86_64")]
    if let Some(able) = product::Able::now() {
        // Where there are no elements there are no chunks, but a chunk is never empty.
        parallel::chunks_mut(c, (m * n).max(1), |at, c| {
            let (a, b) = transposes.views(at / (m * n), [m, n, k], a, b);
            let target = product::Target::Rounded(Disjoint::new(c));
            product::run(able, a, b, target, Epilogue::default());
        });
        return true;
    }
    let _ = transposes;
    false
}

/// `C = A · B` of `bf16` in `f64`, where products are exact, one dot product an element: the reference of [`matmul`].
///
/// # Panics
/// If the inner dimensions differ or `c` has not `m · n` elements.
pub fn naive(a: MatRef<'_, u16>, b: MatRef<'_, u16>, c: &mut [f64]) {
    let (m, n, k) = check(&a, &b, c);
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k)
                .map(|l| {
                    let x = a.data[i * a.row_stride + l * a.col_stride];
                    let y = b.data[l * b.row_stride + j * b.col_stride];
                    f64::from(bf16_to_f32(x)) * f64::from(bf16_to_f32(y))
                })
                .sum();
        }
    }
}
