//! Matrix products over strided views.
//!
//! `C = A · B` or `C += A · B` with `A` of `[m, k]`, `B` of `[k, n]` and a row-major `C` of `[m, n]`. Transposes cost nothing:
//! a view says how far apart its rows and its columns are.

mod naive;

pub use naive::matmul as matmul_naive;

use crate::parallel;
use crate::real::Real;
use std::any::TypeId;

/// A matrix inside a slice: element `(i, j)` is `data[i · row_stride + j · col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> MatRef<'a, T> {
    /// A matrix whose rows follow one another without gaps.
    ///
    /// # Panics
    /// If `data` is shorter than `rows · cols`.
    #[must_use]
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// A matrix with any distances between rows and between columns.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    #[must_use]
    pub fn strided(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        if rows > 0 && cols > 0 {
            let last = (rows - 1)
                .checked_mul(row_stride)
                .zip((cols - 1).checked_mul(col_stride))
                .and_then(|(r, c)| r.checked_add(c));
            assert!(
                last.is_some_and(|last| last < data.len()),
                "a {rows}×{cols} matrix with strides {row_stride} and {col_stride} does not fit in {} elements",
                data.len()
            );
        }
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    /// The transpose, as a view.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a product replaces the output or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// `C = …`
    Replace,
    /// `C += …`
    Add,
}

/// `C = A · B` or `C += A · B`.
///
/// # Panics
/// If the inner dimensions differ or `c` has not `m · n` elements.
pub fn matmul<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut [T], write: Write) {
    let (m, n, k) = check(&a, &b, c);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if write == Write::Replace {
            c.fill(T::ZERO);
        }
        return;
    }
    // Below this many multiplications waking a thread costs more than it saves.
    const PARALLEL_FROM: usize = 64 * 64 * 32;
    let parallelism = if m * n * k >= PARALLEL_FROM && parallel::is_parallel() {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: `MatRef` holds only views whose every element lies inside its slice, `check` compared the shapes and the
    // length of `c`, which is exclusively borrowed, and T is f32 or f64, which `gemm` computes with.
    unsafe {
        gemm_any(m, n, k, a, b, c, n, write, parallelism);
    }
}

/// `C = A · B` or `C += A · B` on the calling thread, with the rows of `C` `row_stride` apart: for kernels that are
/// themselves a task of many.
///
/// # Panics
/// If the inner dimensions differ or `c` is too short.
pub(crate) fn matmul_serial<T: Real>(
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    row_stride: usize,
    write: Write,
) {
    assert_eq!(a.cols, b.rows, "inner dimensions of a matrix product");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        row_stride >= n && (m - 1) * row_stride + n <= c.len(),
        "length of a matrix product's output"
    );
    if k == 0 {
        if write == Write::Replace {
            c.chunks_mut(row_stride)
                .take(m)
                .for_each(|row| row[..n].fill(T::ZERO));
        }
        return;
    }
    // SAFETY: `MatRef` holds only views whose every element lies inside its slice, the last element of `c` was checked
    // to lie inside it, `c` is exclusively borrowed, and T is f32 or f64, which `gemm` computes with.
    unsafe {
        gemm_any(m, n, k, a, b, c, row_stride, write, gemm::Parallelism::None);
    }
}

fn check<T>(a: &MatRef<'_, T>, b: &MatRef<'_, T>, c: &[T]) -> (usize, usize, usize) {
    assert_eq!(a.cols, b.rows, "inner dimensions of a matrix product");
    assert_eq!(
        c.len(),
        a.rows * b.cols,
        "length of a matrix product's output"
    );
    (a.rows, b.cols, a.cols)
}

/// # Safety
/// The views lie inside their slices, `c` holds `m` rows of `n` elements `row_stride` apart, `k > 0`, and `T` is `f32` or `f64`.
unsafe fn gemm_any<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    row_stride: usize,
    write: Write,
    parallelism: gemm::Parallelism,
) {
    debug_assert!(
        TypeId::of::<T>() == TypeId::of::<f32>() || TypeId::of::<T>() == TypeId::of::<f64>()
    );
    // SAFETY: the caller's promises; the output's columns are adjacent.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            row_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(n: usize, seed: u32) -> Vec<f64> {
        (0..n as u32)
            .map(|i| {
                f64::from(crate::philox::unit_f32(
                    crate::philox::block([seed, 1], [i, 0, 0, 0])[0],
                )) - 0.5
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_fast_product_equals_the_naive_one(
            m in 0_usize..40, n in 0_usize..40, k in 0_usize..40,
            a_transposed: bool, b_transposed: bool, add: bool,
        ) {
            let (x, y) = (numbers(m * k, 1), numbers(k * n, 2));
            let view = |data, rows, cols, transposed: bool| if transposed {
                MatRef::row_major(data, cols, rows).t()
            } else {
                MatRef::row_major(data, rows, cols)
            };
            let write = if add { Write::Add } else { Write::Replace };
            let (a, b) = (view(&x[..], m, k, a_transposed), view(&y[..], k, n, b_transposed));
            let mut fast = numbers(m * n, 3);
            let mut naive = fast.clone();
            matmul(a, b, &mut fast, write);
            matmul_naive(a, b, &mut naive, write);
            for (f, n) in fast.iter().zip(&naive) {
                prop_assert!((f - n).abs() <= 1e-12, "{f} {n}");
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (m, n, k) = (97, 113, 301);
        let x: Vec<f32> = numbers(m * k, 1).iter().map(|v| *v as f32).collect();
        let y: Vec<f32> = numbers(n * k, 2).iter().map(|v| *v as f32).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| {
                let mut c = vec![0.0; m * n];
                matmul(
                    MatRef::row_major(&x, m, k),
                    MatRef::row_major(&y, n, k).t(),
                    &mut c,
                    Write::Replace,
                );
                c
            })
        };
        let one = run(1);
        for threads in [2, 4, 8] {
            assert!(run(threads) == one, "{threads} threads");
        }
    }
}
