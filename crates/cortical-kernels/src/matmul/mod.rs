//! Matrix products over strided views.
//!
//! `C = A · B` or `C += A · B` with `A` of `[m, k]`, `B` of `[k, n]` and a row-major `C` of `[m, n]`. Transposes cost
//! nothing: a view says how far apart its rows and its columns are.

mod batched;
mod dots;
mod naive;
mod packed;
pub mod pairs;
mod prepacked;
#[cfg(target_arch = "x86_64")]
mod thin;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use batched::{Transposes, batched};
pub use dots::MAX_ROWS as ROWS_ALIKE;
pub use naive::matmul as matmul_naive;

use crate::isa::{self, InstructionSet};
use crate::parallel;
use crate::real::Real;
pub(crate) use packed::Epilogue;
pub(crate) use prepacked::{Prepacked, prepack};
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

impl<'a, T: 'static> MatRef<'a, T> {
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

    /// The same view, if its numbers are `f32`.
    fn single(&self) -> Option<MatRef<'a, f32>> {
        Some(MatRef {
            data: single(self.data)?,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        })
    }

    /// Some rows and columns, as a view.
    fn block(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Self {
        assert!(
            rows.end <= self.rows && cols.end <= self.cols,
            "a block lies inside"
        );
        let start = rows.start * self.row_stride + cols.start * self.col_stride;
        Self::strided(
            &self.data[start..],
            rows.len(),
            cols.len(),
            self.row_stride,
            self.col_stride,
        )
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
    if !special(a, b, c, write, Epilogue::default()) {
        general(a, b, c, write);
    }
}

/// `C = A · B`, each row plus `bias`, negative numbers zero if `relu`; returns whether it was done, which it is only
/// where a kernel of this crate computes the product anyway. `C` is then still warm.
pub(crate) fn matmul_fused<T: Real>(
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
) -> bool {
    let (m, n, k) = check(&a, &b, c);
    m > 0 && n > 0 && k > 0 && special(a, b, c, Write::Replace, epilogue)
}

/// The products that kernels of this crate compute faster than the general one: all large ones where there are tiles,
/// and those with the transpose of a row-major matrix, which is how weights lie. Returns whether it was one.
fn special<T: Real>(
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    write: Write,
    epilogue: Epilogue<'_, T>,
) -> bool {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let isa = isa::current();
    if on_tiles(isa, a, b, c, write, epilogue) {
        return true;
    }
    if b.row_stride != 1 || a.col_stride != 1 {
        return false;
    }
    let whole = (m == 1 || a.row_stride == k) && b.col_stride == k;
    if m <= dots::MAX_ROWS && write == Write::Replace && whole {
        dots::product([m, n, k], &a.data[..m * k], &b.data[..n * k], c);
        epilogue.finish(isa, c);
        return true;
    }
    if isa == InstructionSet::Portable {
        return false;
    }
    match (a.single(), b.single(), single_mut(c), epilogue.single()) {
        (Some(a), Some(b), Some(c), Some(epilogue)) => {
            if on_dots(isa, a, b, c, write) {
                epilogue.finish(isa, c);
            } else if n > 1 {
                packed::matmul(isa, a, b, c, write, epilogue);
            } else {
                return false;
            }
            true
        }
        _ => false,
    }
}

/// A product whose one side is thin; returns whether it was done.
fn on_dots(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    c: &mut [f32],
    write: Write,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    return thin::matmul(isa, a, b, c, write);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, a, b, c, write);
        false
    }
}

/// A product on the processor's tiles, where it has them and the product is large enough; returns whether it was done.
fn on_tiles<T: Real>(
    isa: InstructionSet,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    write: Write,
    epilogue: Epilogue<'_, T>,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if isa >= InstructionSet::Amx
        && tiles::is_worth([a.rows, b.cols, a.cols])
        && let (Some(a), Some(b), Some(c), Some(epilogue)) =
            (a.single(), b.single(), single_mut(c), epilogue.single())
    {
        return tiles::matmul(isa, a, b, c, write, epilogue);
    }
    let _ = (isa, a, b, c, write, epilogue);
    false
}

/// The same numbers, if they are `f32`.
fn single<T: 'static>(x: &[T]) -> Option<&[f32]> {
    if TypeId::of::<T>() != TypeId::of::<f32>() {
        return None;
    }
    // SAFETY: T is f32, as its identity has just shown.
    Some(unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<f32>(), x.len()) })
}

/// As [`single`], to be written.
fn single_mut<T: 'static>(x: &mut [T]) -> Option<&mut [f32]> {
    if TypeId::of::<T>() != TypeId::of::<f32>() {
        return None;
    }
    // SAFETY: T is f32, as its identity has just shown, and the slice is exclusively borrowed.
    Some(unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast::<f32>(), x.len()) })
}

/// A product by the `gemm` crate.
fn general<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut [T], write: Write) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
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

/// As [`matmul_serial`], on tiles where the instruction set, which the caller has found out before it made tasks, has
/// them.
pub(crate) fn matmul_task<T: Real>(
    isa: InstructionSet,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    row_stride: usize,
    write: Write,
) {
    assert_eq!(a.cols, b.rows, "inner dimensions of a matrix product");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    #[cfg(target_arch = "x86_64")]
    if isa >= InstructionSet::Amx
        && tiles::is_worth([m, n, k])
        && let (Some(a), Some(b), Some(c)) = (a.single(), b.single(), single_mut(c))
    {
        let last = (m - 1) * row_stride + n;
        assert!(
            row_stride >= n && last <= c.len(),
            "length of a matrix product's output"
        );
        if tiles::serial(isa, a, b, &mut c[..last], row_stride, write) {
            return;
        }
    }
    let _ = (isa, m, n, k);
    matmul_serial(a, b, c, row_stride, write);
}

fn check<T, C>(a: &MatRef<'_, T>, b: &MatRef<'_, T>, c: &[C]) -> (usize, usize, usize) {
    assert_eq!(a.cols, b.rows, "inner dimensions of a matrix product");
    assert_eq!(
        c.len(),
        a.rows * b.cols,
        "length of a matrix product's output"
    );
    (a.rows, b.cols, a.cols)
}

/// # Safety
/// The views lie inside their slices, `c` holds `m` rows of `n` elements `row_stride` apart, `k > 0`, and `T` is `f32`
/// or `f64`.
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
mod tests;
