//! Products of `f32` on AMX's tiles of `bf16`.
//!
//! A tile instruction multiplies sixteen times as many pairs of `bf16` in a cycle as a vector instruction does of
//! `f32`. Every `f32` is the exact sum of three `bf16`, so six tile products give one of `f32` with errors as small as
//! those of fused multiply-adds and still more than twice the speed. Sums are made 32 steps at a time, so they round
//! less often than a chain of multiply-adds.
//!
//! The shorter side of the output is packed whole, the longer one task by task. Sums run over pieces whose length
//! depends on `k` alone, so neither the cut into tasks nor the number of threads shows in the bits.
//!
//! Operands that were `bf16` before they were widened have one part only, and take one product instead of six.
//!
//! Where an operand holds numbers whose parts could overflow, or numbers that are none, nothing is done and the caller
//! takes another kernel, which gives what IEEE arithmetic gives.
//!
//! Legend: as in [`super::packed`]; a *strip* is 32 rows (or columns) of an operand.

mod kernel;
mod pack;
#[cfg(test)]
mod tests;

use super::packed::Epilogue;
use super::{MatRef, Write};
use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::{parallel, scratch};
use kernel::{Block, Configured};
use pack::{BLOCK, STEPS, Seen, TILE, TOO_LARGE};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows or columns of a block of sums: two tiles.
const STRIP: usize = 2 * TILE;
/// The longest run of packed blocks: with both strips of it the second-level cache is not half full.
const MAX_DEPTH: usize = 32;
/// Multiply-adds that make a task worth handing to another thread.
const TASK: usize = 1 << 22;
/// The most strips of a task: while its part of the other operand is in the nearest cache, each of them reads it.
const MAX_STRIPS: usize = 4;
/// As many tasks as there should be at least: five leave each of two threads nearly half.
const FEW_TASKS: usize = 5;
/// Numbers of a shared operand that a second-level cache keeps between tasks; from a farther one as few tasks as
/// possible should read it.
const NEAR: usize = 1 << 18;
/// Strips of columns whose sums stay in the second-level cache from one piece to the next.
const NEAR_COLUMNS: usize = 8;

/// Whether a product gains from tiles: both sides fill most of a tile, and there is enough to do to pay for packing.
pub(super) fn is_worth([m, n, k]: [usize; 3]) -> bool {
    m.min(n) >= TILE && k >= TILE && m * n * k >= 1 << 18
}

/// An operand cut into parts: for every sixteen of its columns (rows, for a left one) the blocks of the whole sum.
#[derive(Clone, Copy)]
struct Operand<'a> {
    /// `[k, columns]`: a left operand is seen through its transpose.
    view: MatRef<'a, f32>,
    is_right: bool,
}

impl<'a> Operand<'a> {
    fn left(a: MatRef<'a, f32>) -> Self {
        Self {
            view: a.t(),
            is_right: false,
        }
    }

    fn right(b: MatRef<'a, f32>) -> Self {
        Self {
            view: b,
            is_right: true,
        }
    }

    /// Whether rows or columns lie in memory without gaps between their numbers.
    fn is_adjacent(&self) -> bool {
        self.view.row_stride == 1 || self.view.col_stride == 1
    }

    fn strips(&self) -> usize {
        self.view.cols.div_ceil(STRIP)
    }

    /// Numbers that a packed strip takes.
    fn strip_len(&self) -> usize {
        2 * self.view.rows.div_ceil(STEPS) * BLOCK
    }

    /// Packs a strip.
    fn pack(&self, strip: usize, to: &mut [f32]) -> Seen {
        let mut seen = Seen::default();
        for (tile, to) in to.chunks_exact_mut(self.strip_len() / 2).enumerate() {
            let first = strip * STRIP + tile * TILE;
            if first < self.view.cols {
                // SAFETY: tiles are used where AMX was detected, which no processor has without AVX-512.
                seen = seen.and(unsafe { pack::columns(self.view, first, self.is_right, to) });
            }
        }
        seen
    }

    /// Whether [`Self::pack`] will find all numbers small enough.
    fn is_small(&self) -> bool {
        let (inner, outer, apart) = if self.view.col_stride == 1 {
            (self.view.cols, self.view.rows, self.view.row_stride)
        } else {
            (self.view.rows, self.view.cols, self.view.col_stride)
        };
        let isa = crate::isa::current();
        let together = parallel::rows_per_task(inner);
        let largest = parallel::map(outer.div_ceil(together), |task| {
            let lines = task * together..((task + 1) * together).min(outer);
            lines
                .map(|i| largest_bits(isa, &self.view.data[i * apart..i * apart + inner]))
                .max()
        });
        largest
            .into_iter()
            .flatten()
            .max()
            .is_none_or(|bits| bits < TOO_LARGE)
    }
}

multiversion! {
    /// The largest bits of a magnitude.
    fn largest_bits(x: &[f32]) -> u32 {
        let mut largest = [0_u32; 16];
        let (lines, rest) = x.as_chunks::<16>();
        for line in lines {
            for (largest, x) in largest.iter_mut().zip(line) {
                *largest = (*largest).max(x.to_bits() & 0x7fff_ffff);
            }
        }
        for (largest, x) in largest.iter_mut().zip(rest) {
            *largest = (*largest).max(x.to_bits() & 0x7fff_ffff);
        }
        largest.into_iter().max().unwrap_or(0)
    }
}

/// `C = A · B` or `C += A · B` with an epilogue; returns whether it was done. `k` is not zero.
pub(super) fn matmul(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    c: &mut [f32],
    write: Write,
    epilogue: Epilogue<'_, f32>,
) -> bool {
    let (left, right) = (Operand::left(a), Operand::right(b));
    if isa < InstructionSet::Amx || !left.is_adjacent() || !right.is_adjacent() {
        return false;
    }
    debug_assert!(a.rows * b.cols == c.len() && a.cols > 0);
    // The shorter side is shared by all tasks.
    let rows_apart = a.rows >= b.cols;
    let (shared, cut) = if rows_apart {
        (&right, &left)
    } else {
        (&left, &right)
    };
    let output = Output {
        isa,
        n: b.cols,
        m: a.rows,
        row: b.cols,
        add: write == Write::Add,
        epilogue,
        c: Disjoint::new(c),
    };
    scratch::with(
        shared.strips() * shared.strip_len(),
        |packed: &mut [f32]| {
            // A product that replaces C can be made anew by another kernel; one that is added must not begin in vain.
            let is_fine = AtomicBool::new(!output.add || cut.is_small());
            let is_narrow = AtomicBool::new(true);
            parallel::chunks_mut(packed, shared.strip_len(), |at, to| {
                let seen = shared.pack(at / shared.strip_len(), to);
                is_fine.fetch_and(seen.is_small(), Ordering::Relaxed);
                is_narrow.fetch_and(seen.is_narrow(), Ordering::Relaxed);
            });
            let is_narrow = is_narrow.into_inner();
            if !is_fine.load(Ordering::Relaxed) {
                return false;
            }
            let work = STRIP * shared.view.cols * shared.view.rows;
            let together = if packed.len() > NEAR {
                MAX_STRIPS
            } else {
                TASK.div_ceil(work).clamp(1, MAX_STRIPS)
            };
            let together = together.min(cut.strips().div_ceil(FEW_TASKS));
            parallel::for_each(cut.strips().div_ceil(together), |task| {
                let strips = task * together..((task + 1) * together).min(cut.strips());
                scratch::with(strips.len() * cut.strip_len(), |own: &mut [f32]| {
                    let mut seen = Seen::default();
                    for (i, to) in own.chunks_exact_mut(cut.strip_len()).enumerate() {
                        seen = seen.and(cut.pack(strips.start + i, to));
                    }
                    is_fine.fetch_and(seen.is_small(), Ordering::Relaxed);
                    let narrow = is_narrow && seen.is_narrow();
                    let shared_strips = 0..shared.strips();
                    let (left, right) = if rows_apart {
                        ((&*own, strips.clone()), (&*packed, shared_strips))
                    } else {
                        ((&*packed, shared_strips), (&*own, strips.clone()))
                    };
                    // SAFETY: tasks have different strips of the longer side, so different elements of C.
                    unsafe { output.multiply(a.cols.div_ceil(STEPS), left, right, narrow) };
                });
            });
            is_fine.into_inner()
        },
    )
}

/// As [`matmul`] on the calling thread, with the rows of `C` `row` apart.
pub(super) fn serial(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    c: &mut [f32],
    row: usize,
    write: Write,
) -> bool {
    let Some(len) = packed_len(isa, b) else {
        return false;
    };
    scratch::with(len, |packed: &mut [f32]| {
        pack_serial(Operand::right(b), packed) && prepacked(isa, a, (b, packed), c, row, write)
    })
}

/// Numbers that a packed right operand takes; `None` where it cannot or should not be packed.
pub(super) fn packed_len(isa: InstructionSet, b: MatRef<'_, f32>) -> Option<usize> {
    let right = Operand::right(b);
    let fits =
        isa >= InstructionSet::Amx && right.is_adjacent() && b.rows >= TILE && b.cols >= TILE;
    fits.then(|| right.strips() * right.strip_len())
}

/// Packs a right operand; returns whether all its numbers are small enough.
pub(super) fn pack(b: MatRef<'_, f32>, packed: &mut [f32]) -> bool {
    let right = Operand::right(b);
    let is_fine = AtomicBool::new(true);
    parallel::chunks_mut(packed, right.strip_len(), |at, to| {
        let seen = right.pack(at / right.strip_len(), to);
        is_fine.fetch_and(seen.is_small(), Ordering::Relaxed);
    });
    is_fine.into_inner()
}

fn pack_serial(operand: Operand<'_>, packed: &mut [f32]) -> bool {
    let strips = packed.chunks_exact_mut(operand.strip_len());
    strips
        .enumerate()
        .fold(true, |fine, (i, to)| operand.pack(i, to).is_small() && fine)
}

/// As [`serial`] with a right operand that [`pack`] has packed.
pub(super) fn prepacked(
    isa: InstructionSet,
    a: MatRef<'_, f32>,
    (b, packed): (MatRef<'_, f32>, &[f32]),
    c: &mut [f32],
    row: usize,
    write: Write,
) -> bool {
    let left = Operand::left(a);
    if !left.is_adjacent() {
        return false;
    }
    let (rows, columns) = (0..left.strips(), 0..b.cols.div_ceil(STRIP));
    scratch::with(left.strips() * left.strip_len(), |own: &mut [f32]| {
        if !pack_serial(left, own) {
            return false;
        }
        let output = Output {
            isa,
            m: a.rows,
            n: b.cols,
            row,
            add: write == Write::Add,
            epilogue: Epilogue::default(),
            c: Disjoint::new(c),
        };
        // SAFETY: the output is exclusively borrowed; only a processor with AMX packs operands for tiles.
        unsafe {
            output.multiply(
                a.cols.div_ceil(STEPS),
                (own, rows),
                (packed, columns),
                false,
            );
        };
        true
    })
}

struct Output<'a> {
    isa: InstructionSet,
    m: usize,
    n: usize,
    /// Distance between rows of C.
    row: usize,
    add: bool,
    epilogue: Epilogue<'a, f32>,
    c: Disjoint<'a, f32>,
}

impl Output<'_> {
    /// The sums of some strips of rows with some strips of columns, each packed one behind the other over `blocks`
    /// blocks.
    ///
    /// # Safety
    /// Nobody else uses these elements of C; tiles may be used.
    unsafe fn multiply(
        &self,
        blocks: usize,
        (left, rows): (&[f32], Range<usize>),
        (right, columns): (&[f32], Range<usize>),
        narrow: bool,
    ) {
        // SAFETY: the caller's promise.
        let tiles = unsafe { Configured::new() };
        let tile_len = blocks * BLOCK;
        let piece = blocks.div_ceil(blocks.div_ceil(MAX_DEPTH));
        for near in columns.clone().step_by(NEAR_COLUMNS) {
            let near = near..(near + NEAR_COLUMNS).min(columns.end);
            for first in (0..blocks).step_by(piece) {
                let depth = piece.min(blocks - first);
                let at = |x: &[f32], strip: usize, tile: usize| {
                    let start = (2 * strip + tile) * tile_len + first * BLOCK;
                    x[start..start + depth * BLOCK].as_ptr().cast::<u8>()
                };
                for j in near.clone() {
                    for i in rows.clone() {
                        let (of_a, of_b) = (i - rows.start, j - columns.start);
                        let block = Block {
                            depth,
                            a: [at(left, of_a, 0), at(left, of_a, 1)],
                            b: [at(right, of_b, 0), at(right, of_b, 1)],
                            c: std::ptr::null_mut(),
                            c_row: self.row,
                            add: self.add || first > 0,
                            narrow,
                        };
                        // SAFETY: `at` has seen that the operands hold `depth` blocks; the caller owns these elements
                        // of C.
                        unsafe { self.block(&tiles, i * STRIP, j * STRIP, block) };
                    }
                }
            }
        }
        drop(tiles);
        let rows = rows.start * STRIP..(rows.end * STRIP).min(self.m);
        let columns = columns.start * STRIP..(columns.end * STRIP).min(self.n);
        if self.epilogue.is_some() {
            for i in rows {
                // SAFETY: the caller owns these elements.
                let row = unsafe {
                    self.c
                        .part(i * self.row + columns.start..i * self.row + columns.end)
                };
                self.epilogue
                    .part(columns.start..columns.end)
                    .finish(self.isa, row);
            }
        }
    }

    /// One block of sums at row `i` and column `j`.
    ///
    /// # Safety
    /// The packed blocks can be read; nobody else uses these elements of C.
    unsafe fn block(&self, tiles: &Configured, i: usize, j: usize, block: Block) {
        let (height, width) = ((self.m - i).min(STRIP), (self.n - j).min(STRIP));
        let (rows, columns) = (height.div_ceil(TILE), width.div_ceil(TILE));
        let end = (i + height - 1) * self.row + j + width;
        let c = self.c.address(i * self.row + j..end);
        if height.is_multiple_of(TILE) && width.is_multiple_of(TILE) {
            // SAFETY: whole tiles of C, which the caller owns.
            unsafe { tiles.run(rows, columns, &Block { c, ..block }) };
            return;
        }
        // What is added to is loaded into the tiles here as well: a row has the same bits in a whole strip and in a
        // part of one.
        let mut sums = [0.0_f32; STRIP * STRIP];
        let whole = Block {
            c: sums.as_mut_ptr(),
            c_row: STRIP,
            ..block
        };
        // SAFETY: the rows of C are the caller's.
        let rows_of_c = |r| unsafe { std::slice::from_raw_parts_mut(c.add(r * self.row), width) };
        if block.add {
            for (r, sums) in sums.chunks_exact_mut(STRIP).enumerate().take(height) {
                sums[..width].copy_from_slice(rows_of_c(r));
            }
        }
        // SAFETY: two by two tiles fit into `sums`.
        unsafe { tiles.run(rows, columns, &whole) };
        for (r, sums) in sums.chunks_exact(STRIP).enumerate().take(height) {
            rows_of_c(r).copy_from_slice(&sums[..width]);
        }
    }
}
