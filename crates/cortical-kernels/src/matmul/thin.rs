//! Products of `f32` with few rows on one side, both operands' sums lying in rows: a small batch, or a few tokens,
//! through a layer whose weights are `[out, in]`.
//!
//! Such a product reads every weight for few multiply-adds, so packing the weights costs more than it saves. Each
//! result is a dot product of two rows; a block of them is computed together, so that each vector that is read serves
//! several.
//!
//! A sum runs in sixteen lanes that are folded as a tree, as in [`super::dots`] and on every instruction set: a row has
//! the same bits alone and in any company that comes here.

use super::{MatRef, Write};
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::parallel;
use crate::prefetch;
use crate::slice_sums::LANES;

/// The most rows of the thin side; from there on a packed product reads less.
pub(super) const MAX_ROWS: usize = 12;
/// Shorter sums would spend their time on folding.
const MIN_LENGTH: usize = 128;
/// Rows of either side in a block with AVX-512: their sums fill half of the registers.
const WIDE: usize = 4;
/// How many numbers of the other side make a task.
const TASK: usize = 1 << 16;

/// Rows whose numbers are neighbours.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [f32],
    count: usize,
    apart: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    /// The rows of a left operand; `None` where their numbers are apart.
    fn of(view: MatRef<'a, f32>) -> Option<Self> {
        (view.col_stride == 1).then_some(Self {
            data: view.data,
            count: view.rows,
            apart: view.row_stride,
            len: view.cols,
        })
    }

    /// Where a row begins.
    fn start(&self, row: usize) -> *const f32 {
        self.data[row * self.apart..][..self.len].as_ptr()
    }
}

/// `C = A · B` or `C += A · B` if one side is thin, sums are long enough to be folded, and both operands lie in rows
/// along them; returns whether it was done.
pub(super) fn matmul(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    c: &mut [f32],
    write: Write,
) -> bool {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let (Some(a), Some(b)) = (Rows::of(a), Rows::of(b.t())) else {
        return false;
    };
    if isa == InstructionSet::Portable || m.min(n) > MAX_ROWS || k < MIN_LENGTH {
        return false;
    }
    // The thin side's rows stay in the caches, the other one's are read once.
    let (thin, long, places) = match m <= n {
        true => (a, b, [n, 1]),
        false => (b, a, [1, n]),
    };
    let rows = parallel::even_rows(long.count, long.count * k, TASK, WIDE);
    let c = Disjoint::new(c);
    parallel::for_each(long.count.div_ceil(rows), |task| {
        let end = ((task + 1) * rows).min(long.count);
        // SAFETY: the rows' ends lie inside their slices, as each view does; tasks have different rows of the long side
        // and so different elements of C, whose last one is the last row's and column's.
        unsafe {
            some(
                isa,
                [thin, long],
                [task * rows, end],
                c.address(0..m * n),
                places,
                write == Write::Add,
            );
        }
    });
    true
}

simd! {
    /// The products of all thin rows with the long ones from `first` to `end`: that of `i` and `j` at
    /// `c + i · places[0] + j · places[1]`.
    ///
    /// # Safety
    /// These places may be written and are nobody else's.
    unsafe fn some(
        sides: [Rows<'_>; 2],
        range: [usize; 2],
        c: *mut f32,
        places: [usize; 2],
        add: bool,
    ) {
        let [thin, long] = sides;
        let [first, end] = range;
        // Half as many with half of the lanes.
        let wide = if S::LANES == LANES { WIDE } else { WIDE / 2 };
        let mut j = first;
        while j < end {
            let columns = if end - j >= wide { wide } else { 1 };
            let mut i = 0;
            while i < thin.count {
                let rows = (thin.count - i).min(wide);
                // SAFETY: the caller's promise; `start` has checked each row.
                unsafe {
                    let c = c.add(i * places[0] + j * places[1]);
                    macro_rules! block {
                        ($($r:literal $j:literal),*) => {
                            match (rows, columns) {
                                $(($r, $j) => block::<S, $r, $j>(
                                    [thin.start(i), long.start(j)],
                                    [thin.apart, long.apart],
                                    thin.len,
                                    i == 0,
                                    c,
                                    places,
                                    add,
                                ),)*
                                _ => unreachable!("blocks have up to four rows and one, two or four columns"),
                            }
                        };
                    }
                    block!(1 1, 2 1, 3 1, 4 1, 1 2, 2 2, 1 4, 2 4, 3 4, 4 4);
                }
                i += rows;
            }
            j += columns;
        }
    }
}

/// `R` rows times `J` rows.
///
/// # Safety
/// The processor has the instruction set; the rows may be read and the places written.
#[inline(always)]
unsafe fn block<S: crate::simd::Simd, const R: usize, const J: usize>(
    starts: [*const f32; 2],
    apart: [usize; 2],
    len: usize,
    is_first: bool,
    c: *mut f32,
    places: [usize; 2],
    add: bool,
) {
    // SAFETY: every vector lies inside its row, or in the padded copies of the rows' ends.
    unsafe {
        let [x, w] = starts;
        let zero = S::splat(0.0);
        // Two halves of the sixteen lanes where a vector has eight.
        let mut low = [[zero; J]; R];
        let mut high = [[zero; J]; R];
        let whole = len / LANES * LANES;
        let mut p = 0;
        while p < whole {
            let mut ws = [zero; J];
            for (j, v) in ws.iter_mut().enumerate() {
                let at = w.add(j * apart[1] + p);
                if is_first {
                    prefetch::ahead(&*at);
                }
                *v = S::load(at);
            }
            for r in 0..R {
                let v = S::load(x.add(r * apart[0] + p));
                for j in 0..J {
                    low[r][j] = S::fma(v, ws[j], low[r][j]);
                }
            }
            if S::LANES < LANES {
                for (j, v) in ws.iter_mut().enumerate() {
                    *v = S::load(w.add(j * apart[1] + p + S::LANES));
                }
                for r in 0..R {
                    let v = S::load(x.add(r * apart[0] + p + S::LANES));
                    for j in 0..J {
                        high[r][j] = S::fma(v, ws[j], high[r][j]);
                    }
                }
            }
            p += LANES;
        }
        if whole < len {
            let ends = |start: *const f32, apart: usize, rows: usize| {
                let mut ends = [[0.0_f32; LANES]; 4];
                for (r, end) in ends.iter_mut().enumerate().take(rows) {
                    let from =
                        std::slice::from_raw_parts(start.add(r * apart + whole), len - whole);
                    end[..len - whole].copy_from_slice(from);
                }
                ends
            };
            let (xs, ws) = (ends(x, apart[0], R), ends(w, apart[1], J));
            for r in 0..R {
                for j in 0..J {
                    let at = |ends: &[[f32; LANES]; 4], row: usize, lane: usize| {
                        ends[row].as_ptr().add(lane)
                    };
                    low[r][j] = S::fma(S::load(at(&xs, r, 0)), S::load(at(&ws, j, 0)), low[r][j]);
                    if S::LANES < LANES {
                        let lane = S::LANES;
                        let (x, w) = (S::load(at(&xs, r, lane)), S::load(at(&ws, j, lane)));
                        high[r][j] = S::fma(x, w, high[r][j]);
                    }
                }
            }
        }
        for r in 0..R {
            for j in 0..J {
                let lanes = match S::LANES < LANES {
                    true => S::add(low[r][j], high[r][j]),
                    false => low[r][j],
                };
                let sum = S::sum(lanes);
                let to = c.add(r * places[0] + j * places[1]);
                *to = if add { *to + sum } else { sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_naive;
    use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_thin_product_equals_the_naive_one(
            thin in 1_usize..12, long in 1_usize..40, k in MIN_LENGTH..200, gap in 0_usize..3, is_left: bool, add: bool,
        ) {
            let (m, n) = if is_left { (thin, long) } else { (long, thin) };
            let write = if add { Write::Add } else { Write::Replace };
            let (x, y) = (numbers(m * (k + gap), 1), numbers(n * (k + gap), 2));
            let before = numbers(m * n, 3);
            let mut want = before.clone();
            matmul_naive(
                MatRef::strided(&x, m, k, k + gap, 1),
                MatRef::strided(&y, n, k, k + gap, 1).t(),
                &mut want,
                write,
            );
            let (x, y) = (singles(&x), singles(&y));
            on_every_isa(|isa| {
                let mut got = singles(&before);
                let (a, b) = (MatRef::strided(&x, m, k, k + gap, 1), MatRef::strided(&y, n, k, k + gap, 1).t());
                let done = matmul(isa, a, b, &mut got, write);
                assert_eq!(done, isa > InstructionSet::Portable);
                if done {
                    assert_close(isa.name(), &got, &want, 1e-4);
                }
            });
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_on_every_instruction_set() {
        let (m, n, k) = (MAX_ROWS, 37, 203);
        let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(n * k, 2)));
        let mut first: Option<Vec<f32>> = None;
        on_every_isa(|isa| {
            for rows in [1, 2, 3, 4, 7, m] {
                if isa == InstructionSet::Portable {
                    continue;
                }
                let mut got = vec![0.0; m * n];
                for (c, x) in got.chunks_mut(rows * n).zip(x.chunks(rows * k)) {
                    let (a, b) = (
                        MatRef::row_major(x, c.len() / n, k),
                        MatRef::row_major(&y, n, k).t(),
                    );
                    crate::matmul::matmul(a, b, c, Write::Replace);
                }
                let want = first.get_or_insert_with(|| got.clone());
                assert!(got == *want, "{} {rows} rows at a time", isa.name());
            }
        });
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let (m, n, k) = (9, 700, 300);
        let (x, y) = (singles(&numbers(m * k, 1)), singles(&numbers(n * k, 2)));
        same_bits_on_any_threads(|| {
            let mut c = vec![0.0; m * n];
            crate::matmul::matmul(
                MatRef::row_major(&x, m, k),
                MatRef::row_major(&y, n, k).t(),
                &mut c,
                Write::Replace,
            );
            c
        });
    }
}
