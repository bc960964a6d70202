//! A right operand that many products share, packed once: the weights of a recurrence, which every step multiplies.

use super::packed::{Epilogue, Product};
use super::{MatRef, Write, matmul_serial};
use crate::isa::{self, InstructionSet};
use crate::real::Real;
use crate::scratch;

/// A right operand `[k, n]` and its packed form.
pub(crate) struct Prepacked<'a, T> {
    isa: InstructionSet,
    right: MatRef<'a, T>,
    form: Form<'a>,
}

enum Form<'a> {
    /// As it lies: for `f64`, for portable code, and without elements.
    Plain,
    /// For the vector kernel of [`super::packed`].
    Panels(&'a [f32]),
    /// For [`super::tiles`].
    #[cfg(target_arch = "x86_64")]
    Tiles(&'a [f32]),
}

/// Calls `f` with a packed right operand.
pub(crate) fn prepack<T: Real, R>(
    right: MatRef<'_, T>,
    f: impl FnOnce(&Prepacked<'_, T>) -> R,
) -> R {
    let isa = isa::current();
    let plain = |right| Prepacked {
        isa,
        right,
        form: Form::Plain,
    };
    let Some(single) = right.single() else {
        return f(&plain(right));
    };
    if isa == InstructionSet::Portable || right.rows == 0 || right.cols == 0 {
        return f(&plain(right));
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(len) = super::tiles::packed_len(isa, single) {
        let mut f = Some(f);
        let result = scratch::with(len, |packed: &mut [f32]| {
            if !super::tiles::pack(single, packed) {
                return None;
            }
            let form = Form::Tiles(packed);
            let f = f.take()?;
            Some(f(&Prepacked { isa, right, form }))
        });
        return match (result, f) {
            (Some(result), _) => result,
            (None, Some(f)) => panels(isa, right, single, f),
            (None, None) => unreachable!("a closure that was called has a result"),
        };
    }
    panels(isa, right, single, f)
}

fn panels<T: Real, R>(
    isa: InstructionSet,
    right: MatRef<'_, T>,
    single: MatRef<'_, f32>,
    f: impl FnOnce(&Prepacked<'_, T>) -> R,
) -> R {
    let product = Product::of(
        isa,
        single.block(0..0, 0..0),
        single,
        Write::Replace,
        Epilogue::default(),
    );
    scratch::with(product.packed_len(), |packed: &mut [f32]| {
        product.pack_all(packed);
        let form = Form::Panels(packed);
        f(&Prepacked { isa, right, form })
    })
}

impl<T: Real> Prepacked<'_, T> {
    /// Whether a row of a product has the same bits whatever other rows are multiplied with it.
    pub(crate) fn rows_stand_alone(&self) -> bool {
        self.right.cols == 0 || !matches!(self.form, Form::Plain)
    }

    /// `C = A · B` or `C += A · B` on the calling thread, with the rows of `C` `row_stride` apart.
    ///
    /// # Panics
    /// If the inner dimensions differ or `c` is too short.
    pub(crate) fn multiply(
        &self,
        left: MatRef<'_, T>,
        c: &mut [T],
        row_stride: usize,
        write: Write,
    ) {
        assert_eq!(
            left.cols, self.right.rows,
            "inner dimensions of a matrix product"
        );
        let (m, n) = (left.rows, self.right.cols);
        if let (Some(left), Some(c), Some(right)) =
            (left.single(), super::single_mut(c), self.right.single())
            && m > 0
            && n > 0
        {
            let last = (m - 1) * row_stride + n;
            assert!(
                row_stride >= n && last <= c.len(),
                "length of a matrix product's output"
            );
            let c = &mut c[..last];
            match self.form {
                Form::Plain => {}
                Form::Panels(packed) => {
                    let product = Product::of(self.isa, left, right, write, Epilogue::default());
                    product.multiply(&(0..m), packed, c, row_stride, write == Write::Add);
                    return;
                }
                #[cfg(target_arch = "x86_64")]
                Form::Tiles(packed) => {
                    let tiles = |left, c: &mut [f32]| {
                        super::tiles::prepacked(
                            self.isa,
                            left,
                            (right, packed),
                            c,
                            row_stride,
                            write,
                        )
                    };
                    if !tiles(left, c) {
                        // Numbers too large for tiles: row by row, so that they change no other row.
                        for (r, c) in c.chunks_mut(row_stride).enumerate() {
                            let left = left.block(r..r + 1, 0..left.cols);
                            if !tiles(left, c) {
                                matmul_serial(left, right, c, row_stride, write);
                            }
                        }
                    }
                    return;
                }
            }
        }
        matmul_serial(left, self.right, c, row_stride, write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_naive;
    use crate::testing::{assert_close, numbers, on_every_isa, singles};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_with_it_equal_the_naive_one(
            m in 0_usize..40, n in 0_usize..70, k in 1_usize..70, gap in 0_usize..3, add: bool, transposed: bool, large: bool,
        ) {
            let write = if add { Write::Add } else { Write::Replace };
            let (x, mut y) = (numbers(m * k, 1), numbers(k * n, 2));
            if let (true, Some(y)) = (large, y.first_mut()) {
                *y = 1e20;
            }
            let right = |y| if transposed { MatRef::row_major(y, n, k).t() } else { MatRef::row_major(y, k, n) };
            let mut want = numbers(m * n, 3);
            let before = want.clone();
            let y = singles(&y);
            let wide: Vec<f64> = y.iter().map(|y| f64::from(*y)).collect();
            let wide = if transposed { MatRef::row_major(&wide, n, k).t() } else { MatRef::row_major(&wide, k, n) };
            matmul_naive(MatRef::row_major(&x, m, k), wide, &mut want, write);
            let (x, row) = (singles(&x), n + gap);
            on_every_isa(|isa| {
                let mut c = vec![7.0_f32; m * row];
                for (c, before) in c.chunks_mut(row.max(1)).zip(before.chunks(n.max(1))) {
                    c[..n].copy_from_slice(&singles(before));
                }
                prepack(right(&y), |right| right.multiply(MatRef::row_major(&x, m, k), &mut c, row, write));
                for (c, want) in c.chunks(row.max(1)).zip(want.chunks(n.max(1))) {
                    assert_close(isa.name(), &c[..n], want, 1e-4);
                    assert!(c[n..].iter().all(|c| *c == 7.0));
                }
            });
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (m, n, k) = (40, 50, 1100);
        let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(k * n, 2)));
        let before = singles(&numbers(m * n, 3));
        on_every_isa(|isa| {
            prepack(MatRef::row_major(&y, k, n), |right| {
                for write in [Write::Replace, Write::Add] {
                    if !right.rows_stand_alone() {
                        continue;
                    }
                    let together = |rows: usize| {
                        let mut c = before.clone();
                        for (c, x) in c.chunks_mut(rows * n).zip(x.chunks(rows * k)) {
                            right.multiply(MatRef::row_major(x, c.len() / n, k), c, n, write);
                        }
                        c
                    };
                    let all = together(m);
                    for rows in [1, 4, 16, 20, 32] {
                        let same = all == together(rows);
                        assert!(same, "{} {write:?}: {rows} rows at a time", isa.name());
                    }
                }
            });
        });
    }
}
