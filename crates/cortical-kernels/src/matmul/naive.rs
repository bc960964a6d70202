//! The product as its definition says, kept as the reference of the fast one.

use super::{MatRef, Write, check};
use crate::real::Real;

/// `C = A · B` or `C += A · B`, one dot product an element.
///
/// # Panics
/// If the inner dimensions differ or `c` has not `m · n` elements.
pub fn matmul<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut [T], write: Write) {
    let (m, n, k) = check(&a, &b, c);
    for i in 0..m {
        for j in 0..n {
            let mut sum = T::ZERO;
            for l in 0..k {
                let x = a.data[i * a.row_stride + l * a.col_stride];
                let y = b.data[l * b.row_stride + j * b.col_stride];
                sum += x * y;
            }
            let out = &mut c[i * n + j];
            *out = if write == Write::Add { *out + sum } else { sum };
        }
    }
}
