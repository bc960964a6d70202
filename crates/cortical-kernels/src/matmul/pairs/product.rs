//! A product of pairs: how it is cut into tasks, and its tasks into blocks.

use super::super::MatRef;
use super::super::packed::{Epilogue, transpose};
use super::kernel::{self, PANEL, ROWS};
use super::pack;
use crate::disjoint::Disjoint;
use crate::isa::{self, InstructionSet};
use crate::{parallel, scratch};
use std::ops::Range;

/// The longest sum that is kept in registers, in pairs: a block of rows as long stays in the nearest cache.
const MAX_PAIRS: usize = 512;
/// The most rows of a task: with a panel they stay in the second-level cache.
const TASK_ROWS: usize = 96;
/// Panels whose sums are finished together.
const NEAR_PANELS: usize = 2;
/// Below this many rows the columns are cut: the rows are too few to be tasks.
const MANY_ROWS: usize = 256;
/// Multiply-adds that make a task worth handing to another thread.
const TASK: usize = 1 << 20;

/// That the processor has AVX-512 BF16, and that the thread which asked may use it.
#[derive(Clone, Copy)]
pub(super) struct Able(());

impl Able {
    /// Whether kernels called from this thread multiply pairs.
    pub(super) fn now() -> Option<Self> {
        (isa::current() == InstructionSet::Avx512 && isa::has_pairs()).then_some(Self(()))
    }
}

/// Where sums go.
pub(super) enum Target<'a> {
    Sums(Disjoint<'a, f32>),
    Rounded(Disjoint<'a, u16>),
}

/// `C = A · B` with an epilogue; the caller has checked the dimensions, and that C has as many elements.
pub(super) fn run(
    _: Able,
    a: MatRef<'_, u16>,
    b: MatRef<'_, u16>,
    target: Target<'_>,
    epilogue: Epilogue<'_, f32>,
) {
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    // Few rows against the transpose of a row-major matrix, which is how weights lie: the columns of B, whose pairs are
    // neighbours, are streamed, and the rows of A are the panels.
    let turned = a.rows < MANY_ROWS && a.rows < b.cols && b.row_stride == 1 && a.col_stride == 1;
    let product = Product {
        a: if turned { b.t() } else { a },
        b: if turned { a.t() } else { b },
        turned,
        epilogue,
        target,
    };
    if turned || a.rows >= MANY_ROWS || a.rows > b.cols {
        product.by_rows();
    } else {
        product.by_columns();
    }
}

/// A product on a processor that has AVX-512 BF16.
struct Product<'a> {
    a: MatRef<'a, u16>,
    b: MatRef<'a, u16>,
    /// Whether C is the transpose of the product.
    turned: bool,
    epilogue: Epilogue<'a, f32>,
    target: Target<'a>,
}

/// Rows of the left operand, packed in blocks of `height`.
struct Left<'a> {
    rows: Range<usize>,
    height: usize,
    packed: &'a [f32],
    /// Distance between blocks, between rows of one, and between pairs of a row.
    strides: [usize; 3],
}

impl Product<'_> {
    fn pairs(&self) -> usize {
        self.a.cols.div_ceil(2)
    }

    /// Packs the right operand, and cuts the left one.
    fn by_rows(&self) {
        let (m, panels) = (self.a.rows, self.b.cols.div_ceil(PANEL));
        let panel = PANEL * self.pairs();
        // As many tasks as a multiple of four, so that two threads, or four, have as many rows each.
        let most = m.div_ceil(TASK_ROWS).next_multiple_of(4).min(m);
        let tasks = self.worth().clamp(1, most);
        scratch::with(panels * panel, |packed: &mut [f32]| {
            let together = (1_usize << 16).div_ceil(panel.max(1));
            parallel::chunks_mut(packed, (together * panel).max(1), |first, chunk| {
                let first = first / panel;
                self.pack_panels(first..first + chunk.len() / panel, chunk);
            });
            let packed = &*packed;
            parallel::for_each(tasks, |task| {
                let rows = m * task / tasks..m * (task + 1) / tasks;
                self.with_left(rows, |left| {
                    for first in (0..panels).step_by(NEAR_PANELS) {
                        let near = first..(first + NEAR_PANELS).min(panels);
                        let right = &packed[near.start * panel..near.end * panel];
                        // SAFETY: tasks have different rows, of C or of its transpose.
                        unsafe { self.multiply(left, near, right) };
                    }
                });
            });
        });
    }

    /// Packs the left operand, and cuts the right one.
    fn by_columns(&self) {
        let panels = self.b.cols.div_ceil(PANEL);
        let tasks = self.worth().clamp(1, panels);
        self.with_left(0..self.a.rows, |left| {
            parallel::for_each(tasks, |task| {
                let own = panels * task / tasks..panels * (task + 1) / tasks;
                for first in own.clone().step_by(NEAR_PANELS) {
                    let near = first..(first + NEAR_PANELS).min(own.end);
                    scratch::with(near.len() * PANEL * self.pairs(), |right: &mut [f32]| {
                        self.pack_panels(near.clone(), right);
                        // SAFETY: tasks have different panels.
                        unsafe { self.multiply(left, near, right) };
                    });
                }
            });
        });
    }

    /// Tasks that the product is worth.
    fn worth(&self) -> usize {
        self.a.rows * self.b.cols * self.a.cols / TASK
    }

    fn pack_panels(&self, panels: Range<usize>, to: &mut [f32]) {
        let columns = panels.start * PANEL..(panels.end * PANEL).min(self.b.cols);
        let columns = self.b.block(0..self.b.rows, columns);
        // SAFETY: a product runs where AVX-512 BF16 was detected.
        unsafe { pack::columns(columns, PANEL, PANEL, to) };
    }

    /// Calls `f` with some rows packed, in blocks of even height: a low one would wait for its own sums.
    fn with_left(&self, rows: Range<usize>, f: impl FnOnce(&Left<'_>)) {
        let blocks = rows.len().div_ceil(ROWS);
        let height = rows.len().div_ceil(blocks);
        let is_plain = self.a.col_stride == 1;
        let strides = if is_plain {
            // A line more, or rows as long as a power of two would fight for one set of the cache.
            let row = self.pairs() + 16;
            [height * row, row, 1]
        } else {
            [ROWS * self.pairs(), 1, ROWS]
        };
        scratch::with(blocks * strides[0], |packed: &mut [f32]| {
            let own = self.a.block(rows.clone(), 0..self.a.cols);
            // SAFETY: a product runs where AVX-512 BF16 was detected.
            unsafe {
                if is_plain {
                    pack::rows(own, packed, strides[1]);
                } else {
                    pack::columns(own.t(), height, ROWS, packed);
                }
            }
            f(&Left {
                rows,
                height,
                packed,
                strides,
            });
        });
    }

    /// The product of packed rows and packed panels, finished.
    ///
    /// # Safety
    /// Nobody else uses these elements of C.
    unsafe fn multiply(&self, left: &Left<'_>, panels: Range<usize>, right: &[f32]) {
        let (count, pairs) = (left.rows.len(), self.pairs());
        let columns = panels.start * PANEL..(panels.end * PANEL).min(self.b.cols);
        let rows = left.rows.clone();
        let row = panels.len() * PANEL;
        scratch::with(count * row, |sums: &mut [f32]| {
            if pairs == 0 {
                sums.fill(0.0);
            }
            let piece = pairs.div_ceil(pairs.div_ceil(MAX_PAIRS).max(1)).max(1);
            for first in (0..pairs).step_by(piece) {
                let depth = piece.min(pairs - first);
                for (j, b) in right.chunks_exact(PANEL * pairs).enumerate() {
                    let b = &b[first * PANEL..(first + depth) * PANEL];
                    for r in (0..count).step_by(left.height) {
                        let height = left.height.min(count - r);
                        let [block, a_row, a_pair] = left.strides;
                        let a = &left.packed[r / left.height * block + first * a_pair..];
                        assert!((height - 1) * a_row + (depth - 1) * a_pair < a.len());
                        let c = &mut sums[r * row + j * PANEL..];
                        assert!((height - 1) * row + PANEL <= c.len() && height <= ROWS);
                        let block = kernel::Block {
                            pairs: depth,
                            a: a.as_ptr(),
                            a_row,
                            a_pair,
                            b: b.as_ptr(),
                            c: c.as_mut_ptr(),
                            c_row: row,
                            is_wide: columns.len() - j * PANEL > PANEL / 2,
                            add: first > 0,
                        };
                        // SAFETY: the slices hold `depth` steps, and the assertion has seen the last element of `c`; a
                        // product runs where AVX-512 BF16 was detected.
                        unsafe { kernel::run(height, &block) };
                    }
                }
            }
            // SAFETY: the caller's promise.
            unsafe {
                if !self.turned {
                    self.finish(rows, columns, sums, row);
                    return;
                }
                let width = count.next_multiple_of(16);
                scratch::with(columns.len() * width, |turned: &mut [f32]| {
                    let sums = MatRef::strided(sums, count, columns.len(), row, 1);
                    transpose(InstructionSet::Avx512, sums, turned, width);
                    self.finish(columns, rows, turned, width);
                });
            }
        });
    }

    /// Sums, whose rows are `apart`, on their way to C.
    ///
    /// # Safety
    /// Nobody else uses these elements of C.
    unsafe fn finish(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &mut [f32],
        apart: usize,
    ) {
        let n = if self.turned {
            self.a.rows
        } else {
            self.b.cols
        };
        if self.epilogue.is_some() {
            let epilogue = self.epilogue.part(columns.clone());
            for sums in sums.chunks_exact_mut(apart).take(rows.len()) {
                epilogue.finish(InstructionSet::Avx512, &mut sums[..columns.len()]);
            }
        }
        assert!((rows.len() - 1) * apart + columns.len() <= sums.len());
        let place = |i: usize| i * n + columns.start..i * n + columns.end;
        match &self.target {
            Target::Sums(c) => {
                for (i, sums) in rows.zip(sums.chunks_exact(apart)) {
                    // SAFETY: the caller's promise.
                    let row = unsafe { c.part(place(i)) };
                    row.copy_from_slice(&sums[..columns.len()]);
                }
            }
            Target::Rounded(c) => {
                let all = place(rows.start).start..place(rows.end - 1).end;
                let shape = [rows.len(), columns.len()];
                // SAFETY: the assertion has seen the last sum, `address` the last number of C; the others are the
                // caller's promise, and a product runs where AVX-512 BF16 was detected.
                unsafe { kernel::round(shape, sums.as_ptr(), apart, c.address(all), n) };
            }
        }
    }
}
