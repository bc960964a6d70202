//! Products of `f32` with one packed operand and fused bias and activation.
//!
//! The general product of the `gemm` crate packs both operands at every call; for a small batch against `[out, in]`
//! weights that costs as much as the product. Here only one operand is packed, the cheaper one: `C = A · B` packs `B`,
//! and `Cᵀ = Bᵀ · Aᵀ` packs `A` and turns the result round while it is still in cache. So a forward pass packs the
//! batch and streams the weights once, where they lie.
//!
//! Legend: the product that is computed is `[m, k] · [k, n]`, its left operand streamed, its right one packed.

use super::tile::{Block, PANEL, ROWS};
use super::{MatRef, Write};
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::real::Real;
use crate::{parallel, scratch};

/// What happens to a finished sum.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a, T> {
    /// Added to every row of `C`.
    pub(crate) bias: Option<&'a [T]>,
    /// Whether negative numbers become zero.
    pub(crate) relu: bool,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self {
            bias: None,
            relu: false,
        }
    }
}

impl<'a, T: Real> Epilogue<'a, T> {
    /// The same, if its numbers are `f32`.
    pub(super) fn single(&self) -> Option<Epilogue<'a, f32>> {
        let bias = match self.bias {
            Some(bias) => Some(super::single(bias)?),
            None => None,
        };
        Some(Epilogue {
            bias,
            relu: self.relu,
        })
    }

    /// Whether there is anything to do.
    pub(super) fn is_some(&self) -> bool {
        self.bias.is_some() || self.relu
    }

    /// The epilogue of some columns.
    pub(super) fn part(&self, columns: std::ops::Range<usize>) -> Self {
        Self {
            bias: self.bias.map(|bias| &bias[columns]),
            relu: self.relu,
        }
    }

    /// Finishes whole rows, as many columns each as there are biases.
    pub(super) fn finish(&self, isa: InstructionSet, rows: &mut [T]) {
        if let Some(bias) = self.bias {
            add_bias(isa, rows, bias);
        }
        if self.relu {
            cut_off(isa, rows);
        }
    }
}

/// Multiply-adds that make a task worth handing to another thread.
const TASK: usize = 1 << 20;
/// The longest sum that is kept in registers; longer ones are added up in pieces of equal length.
const MAX_K: usize = 1024;
/// Rows this many numbers apart, or a multiple of it, fall on the same set of the first-level cache; a copy of them
/// pays from this many panels on, each of which reads them.
const CROWDED: usize = 1024;
const COPIED_FROM: usize = 4;

/// Which operand is packed, found by weighing the copies that each way makes, in units of one number copied.
fn turned([m, n, k]: [usize; 3], a: &MatRef<'_, f32>, b: &MatRef<'_, f32>, write: Write) -> bool {
    // A copy that transposes costs about four times a plain one.
    let pack = |adjacent: bool, count: usize| if adjacent { count } else { 4 * count };
    let stream = |adjacent: bool, count: usize| if adjacent { 0 } else { count };
    let plain = pack(b.col_stride == 1, k * n) + stream(a.col_stride == 1, m * k);
    let turned = pack(a.row_stride == 1, m * k) + stream(b.row_stride == 1, k * n) + 2 * m * n;
    write == Write::Replace && turned < plain
}

/// `C = A · B` or `C += A · B` with an epilogue, for an instruction set above the portable one. `k` is not zero.
pub(super) fn matmul(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    c: &mut [f32],
    write: Write,
    epilogue: Epilogue<'_, f32>,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    debug_assert!(m * n == c.len() && k > 0 && isa > InstructionSet::Portable);
    if turned([m, n, k], &a, &b, write) {
        Product {
            isa,
            left: b.t(),
            right: a.t(),
            write,
            epilogue,
            turned: true,
        }
        .run(c);
    } else {
        Product::of(isa, a, b, write, epilogue).run(c);
    }
}

pub(super) struct Product<'a> {
    isa: InstructionSet,
    left: MatRef<'a, f32>,
    right: MatRef<'a, f32>,
    write: Write,
    epilogue: Epilogue<'a, f32>,
    /// Whether the output is the transpose of the product.
    turned: bool,
}

impl<'a> Product<'a> {
    /// A product whose right operand is packed.
    pub(super) fn of(
        isa: InstructionSet,
        left: MatRef<'a, f32>,
        right: MatRef<'a, f32>,
        write: Write,
        epilogue: Epilogue<'a, f32>,
    ) -> Self {
        Self {
            isa,
            left,
            right,
            write,
            epilogue,
            turned: false,
        }
    }

    /// Numbers that the packed operand takes.
    pub(super) fn packed_len(&self) -> usize {
        self.right.cols.div_ceil(PANEL) * PANEL * self.right.rows
    }

    /// Packs the right operand.
    pub(super) fn pack_all(&self, packed: &mut [f32]) {
        let panel = PANEL * self.right.rows;
        let together = (1_usize << 16).div_ceil(panel);
        parallel::chunks_mut(packed, together * panel, |first, chunk| {
            for (i, to) in chunk.chunks_exact_mut(panel).enumerate() {
                self.pack(first / panel + i, to);
            }
        });
    }

    fn run(&self, c: &mut [f32]) {
        let (m, n, k) = (self.left.rows, self.right.cols, self.left.cols);
        // Tasks are whole blocks of rows, and few enough rows that they stay in the second-level cache.
        let blocks = TASK.div_ceil(ROWS * n * k).clamp(1, 8);
        let tasks = m.div_ceil(blocks * ROWS);
        scratch::with(self.packed_len(), |packed: &mut [f32]| {
            self.pack_all(packed);
            let c = Disjoint::new(c);
            let packed = &*packed;
            parallel::for_each(tasks, |task| {
                let first = task * blocks * ROWS;
                self.rows(first..(first + blocks * ROWS).min(m), packed, &c);
            });
        });
    }

    /// Copies the columns of one panel, row after row, and zeros where the matrix has no column.
    fn pack(&self, panel: usize, to: &mut [f32]) {
        let right = &self.right;
        let first = panel * PANEL;
        let width = (right.cols - first).min(PANEL);
        if width < PANEL {
            to.fill(0.0);
        }
        if right.col_stride == 1 {
            for (p, row) in to.chunks_exact_mut(PANEL).enumerate() {
                let start = p * right.row_stride + first;
                row[..width].copy_from_slice(&right.data[start..start + width]);
            }
        } else {
            let columns = right.block(0..right.rows, first..first + width).t();
            transpose(self.isa, columns, to, PANEL);
        }
    }

    /// The rows `range` of the product, written to where they belong.
    fn rows(&self, range: std::ops::Range<usize>, packed: &[f32], c: &Disjoint<'_, f32>) {
        let (n, m) = (self.right.cols, self.left.rows);
        if !self.turned {
            // SAFETY: tasks have different rows of C.
            let rows = unsafe { c.part(range.start * n..range.end * n) };
            self.multiply(&range, packed, rows, n, self.write == Write::Add);
            self.epilogue.finish(self.isa, rows);
            return;
        }
        let width = n.div_ceil(PANEL) * PANEL;
        scratch::with(range.len() * width, |sums: &mut [f32]| {
            self.multiply(&range, packed, sums, width, false);
            for (i, row) in sums.chunks_exact_mut(width).enumerate() {
                let row = &mut row[..n];
                if let Some(bias) = self.epilogue.bias {
                    add_number(self.isa, row, bias[range.start + i]);
                }
                if self.epilogue.relu {
                    cut_off(self.isa, row);
                }
            }
            let sums = MatRef::strided(sums, range.len(), n, width, 1);
            // SAFETY: tasks have different columns of C, and the last column of the last row is its last element.
            unsafe { transpose_into(self.isa, sums, c, range.start, m) };
        });
    }

    /// `rows (+)= left[range] · right`, with `row` numbers from one row to the next.
    pub(super) fn multiply(
        &self,
        range: &std::ops::Range<usize>,
        packed: &[f32],
        rows: &mut [f32],
        row: usize,
        add: bool,
    ) {
        let (left, k) = (&self.left, self.left.cols);
        let piece = k.div_ceil(k.div_ceil(MAX_K));
        for first in (0..k).step_by(piece) {
            let depth = first..(first + piece).min(k);
            let add = add || first > 0;
            let source = left.block(range.clone(), depth.clone());
            // Rows whose numbers are apart, or lie so that they fight for one set of the cache, are copied together.
            let is_crowded = left.row_stride.is_multiple_of(CROWDED)
                && self.right.cols > (COPIED_FROM - 1) * PANEL;
            if left.col_stride == 1 && !is_crowded {
                let from = |r: usize| &source.data[r * source.row_stride..];
                // Blocks of even height: a low one would wait for its own sums.
                let height = range.len().div_ceil(range.len().div_ceil(ROWS));
                let from = (from, source.row_stride, 1);
                self.blocks(depth, height, from, packed, rows, row, add);
                continue;
            }
            let block = ROWS * depth.len();
            scratch::with(range.len().div_ceil(ROWS) * block, |copy: &mut [f32]| {
                for (i, copy) in copy.chunks_exact_mut(block).enumerate() {
                    let height = (i * ROWS)..((i + 1) * ROWS).min(range.len());
                    copy_rows(self.isa, source.block(height, 0..depth.len()), copy);
                }
                let from = |r: usize| &copy[r / ROWS * block..];
                let from = (from, 1, ROWS);
                self.blocks(depth.clone(), ROWS, from, packed, rows, row, add);
            });
        }
    }

    /// Runs the blocks of some rows over a piece of the sum: `from` says where the numbers of a block's first row
    /// begin, with the distances between rows and between columns.
    fn blocks<'b>(
        &self,
        depth: std::ops::Range<usize>,
        step: usize,
        (from, a_row, a_k): (impl Fn(usize) -> &'b [f32], usize, usize),
        packed: &[f32],
        rows: &mut [f32],
        c_row: usize,
        add: bool,
    ) {
        let (n, k) = (self.right.cols, self.left.cols);
        let count = rows.len().div_ceil(c_row);
        for (panel, b) in packed.chunks_exact(PANEL * k).enumerate() {
            let first = panel * PANEL;
            let columns = PANEL.min(n - first);
            for r in (0..count).step_by(step) {
                let height = step.min(count - r);
                let a = from(r);
                assert!((height - 1) * a_row + (depth.len() - 1) * a_k < a.len());
                let c = &mut rows[r * c_row + first..];
                assert!((height - 1) * c_row + columns <= c.len());
                let block = Block {
                    k: depth.len(),
                    a: a.as_ptr(),
                    a_row,
                    a_k,
                    b: b[depth.start * PANEL..depth.end * PANEL].as_ptr(),
                    c: c.as_mut_ptr(),
                    c_row,
                    columns,
                    add,
                };
                // SAFETY: the panel's slice holds as many rows as the sum is long, and the assertions have seen the
                // last element of `a` and of `c`.
                unsafe { run_block(self.isa, height, &block) };
            }
        }
    }
}

/// Copies up to [`ROWS`] rows so that the numbers of one column are neighbours.
fn copy_rows(isa: InstructionSet, from: MatRef<'_, f32>, to: &mut [f32]) {
    if from.row_stride != 1 {
        transpose(isa, from, to, ROWS);
        return;
    }
    for (p, to) in to.chunks_exact_mut(ROWS).enumerate() {
        let start = p * from.col_stride;
        to[..from.rows].copy_from_slice(&from.data[start..start + from.rows]);
    }
}

/// # Safety
/// What the block names lies in memory that may be read, and for `c` written.
#[cfg(target_arch = "x86_64")]
unsafe fn run_block(isa: InstructionSet, rows: usize, block: &Block) {
    // SAFETY: the caller's promise; `isa` is no higher than what was detected.
    unsafe {
        if isa >= InstructionSet::Avx512 {
            super::tile::avx512::run(rows, block);
        } else {
            super::tile::avx2::run(rows, block);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn run_block(_: InstructionSet, _: usize, _: &Block) {
    unreachable!("only x86-64 has an instruction set above the portable one")
}

/// `to[j, i] = from[i, j]` with the rows of `to` `to_row` apart.
pub(super) fn transpose(isa: InstructionSet, from: MatRef<'_, f32>, to: &mut [f32], to_row: usize) {
    // SAFETY: `to` is exclusively borrowed.
    unsafe { transpose_into(isa, from, &Disjoint::new(to), 0, to_row) };
}

/// `to[j · to_row + first + i] = from[i, j]`.
///
/// # Safety
/// Nobody else uses these elements of `to`.
unsafe fn transpose_into(
    isa: InstructionSet,
    from: MatRef<'_, f32>,
    to: &Disjoint<'_, f32>,
    first: usize,
    to_row: usize,
) {
    for i in (0..from.rows).step_by(16) {
        let rows = (from.rows - i).min(16);
        for j in (0..from.cols).step_by(16) {
            let columns = (from.cols - j).min(16);
            #[cfg(target_arch = "x86_64")]
            if isa >= InstructionSet::Avx512 && from.col_stride == 1 {
                let start = j * to_row + first + i;
                let end = start + (columns - 1) * to_row + rows;
                let source = from.block(i..i + rows, j..j + columns);
                // SAFETY: `block` and `address` have checked that the elements lie inside; the caller promises that
                // nobody else uses those that are written; the instruction set was detected.
                unsafe {
                    let to = to.address(start..end);
                    super::tile::avx512::transpose16(
                        [rows, columns],
                        source.data.as_ptr(),
                        from.row_stride * size_of::<f32>(),
                        to,
                        to_row,
                    );
                }
                continue;
            }
            for j in j..j + columns {
                let start = j * to_row + first + i;
                // SAFETY: the caller's promise.
                let to = unsafe { to.part(start..start + rows) };
                for (r, to) in to.iter_mut().enumerate() {
                    *to = from.data[(i + r) * from.row_stride + j * from.col_stride];
                }
            }
        }
    }
}

multiversion! {
    fn add_bias<T: Real>(rows: &mut [T], bias: &[T]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += *b;
            }
        }
    }
}

multiversion! {
    fn add_number<T: Real>(x: &mut [T], number: T) {
        for x in x {
            *x += number;
        }
    }
}

multiversion! {
    fn cut_off<T: Real>(x: &mut [T]) {
        for x in x {
            *x = x.maximum(T::ZERO);
        }
    }
}
