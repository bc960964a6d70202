//! The innermost block of a product of `f32`: up to twelve rows times one panel, kept in registers over the whole sum.
//!
//! Every element is one chain of fused multiply-adds in ascending `k`, whatever the instruction set and the size of the
//! block, so neither the cut into blocks nor the number of threads shows in the bits.

/// The most rows of one block: with two vectors of 16 a row they fill 24 of AVX-512's 32 registers.
pub(super) const ROWS: usize = 12;
/// Columns of a packed panel.
pub(super) const PANEL: usize = 32;

/// Where the numbers of one block are: `c[r, j] (+)= Σ_p a[r, p] · b[p, j]`.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) k: usize,
    pub(super) a: *const f32,
    /// Distance between rows of `a`.
    pub(super) a_row: usize,
    /// Distance between columns of `a`.
    pub(super) a_k: usize,
    /// A panel: `k` rows of [`PANEL`] numbers.
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
    /// Distance between rows of `c`.
    pub(super) c_row: usize,
    /// How many columns of the panel are wanted, 1 to [`PANEL`].
    pub(super) columns: usize,
    /// Whether to add to what is in `c`.
    pub(super) add: bool,
}

/// Calls `$f::<rows, …>` with the number of rows as a constant.
#[cfg(target_arch = "x86_64")]
macro_rules! by_rows {
    ($rows:expr, $f:ident, $extra:tt, $args:tt) => {
        match $rows {
            1 => by_rows!(@ $f, 1, $extra, $args),
            2 => by_rows!(@ $f, 2, $extra, $args),
            3 => by_rows!(@ $f, 3, $extra, $args),
            4 => by_rows!(@ $f, 4, $extra, $args),
            5 => by_rows!(@ $f, 5, $extra, $args),
            6 => by_rows!(@ $f, 6, $extra, $args),
            7 => by_rows!(@ $f, 7, $extra, $args),
            8 => by_rows!(@ $f, 8, $extra, $args),
            9 => by_rows!(@ $f, 9, $extra, $args),
            10 => by_rows!(@ $f, 10, $extra, $args),
            11 => by_rows!(@ $f, 11, $extra, $args),
            _ => by_rows!(@ $f, 12, $extra, $args),
        }
    };
    (@ $f:ident, $rows:literal, { $($extra:tt)* }, ($($args:tt)*)) => { $f::<$rows, $($extra)*>($($args)*) };
}
#[cfg(target_arch = "x86_64")]
pub(super) use by_rows;

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    //! Two vectors of sixteen columns a row.
    use super::Block;
    use std::arch::x86_64::*;

    /// One block of `rows` rows.
    ///
    /// # Safety
    /// The processor has AVX-512 F; every number that `block` names lies in memory that may be read, and for `c`
    /// written.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(crate) unsafe fn run(rows: usize, block: &Block) {
        // SAFETY: the caller's promises.
        unsafe {
            if block.columns > 16 {
                by_rows!(rows, tile, { 2 }, (block));
            } else {
                by_rows!(rows, tile, { 1 }, (block));
            }
        }
    }

    /// # Safety
    /// As [`run`], with `R` rows and `V` vectors of columns.
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn tile<const R: usize, const V: usize>(block: &Block) {
        let Block {
            k, a_row, a_k, c, ..
        } = *block;
        let last = if block.columns == 16 * V {
            !0
        } else {
            (1_u16 << (block.columns % 16)) - 1
        };
        let mask = |v: usize| if v + 1 == V { last } else { !0 };
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        // Three rows share a base pointer: their offsets are then index registers and not twelve pointers.
        let mut bases = [block.a; 4];
        for (group, base) in bases.iter_mut().enumerate() {
            *base = base.wrapping_add(3 * group * a_row);
        }
        let mut b = block.b;
        // SAFETY: row r and column p of `a`, row p of the panel and the masked columns of `c` are the caller's.
        unsafe {
            for r in 0..R {
                // The output is written once, at the end: asking for it now hides the wait.
                _mm_prefetch::<_MM_HINT_ET0>(c.wrapping_add(r * block.c_row).cast());
                _mm_prefetch::<_MM_HINT_ET0>(c.wrapping_add(r * block.c_row + 16).cast());
            }
            for _ in 0..k {
                let mut columns = [_mm512_setzero_ps(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = _mm512_loadu_ps(b.add(16 * v));
                }
                for r in 0..R {
                    let x = _mm512_set1_ps(*bases[r / 3].wrapping_add((r % 3) * a_row));
                    for v in 0..V {
                        sums[r][v] = _mm512_fmadd_ps(x, columns[v], sums[r][v]);
                    }
                }
                for base in &mut bases {
                    *base = base.wrapping_add(a_k);
                }
                b = b.wrapping_add(super::PANEL);
            }
            for r in 0..R {
                for v in 0..V {
                    let out = c.add(r * block.c_row + 16 * v);
                    let mut sum = sums[r][v];
                    if block.add {
                        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask(v), out));
                    }
                    _mm512_mask_storeu_ps(out, mask(v), sum);
                }
            }
        }
    }

    /// `to[j, i] = from[i, j]` for up to 16 rows and 16 columns; rows of `from` are `from_row` bytes apart, and need no
    /// alignment.
    ///
    /// # Safety
    /// The processor has AVX-512 F; the named elements of `from` may be read and those of `to` written.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(crate) unsafe fn transpose16(
        [rows, columns]: [usize; 2],
        from: *const f32,
        from_row: usize,
        to: *mut f32,
        to_row: usize,
    ) {
        let mask = |n: usize| if n >= 16 { !0 } else { (1_u16 << n) - 1 };
        let mut x = [_mm512_setzero_ps(); 16];
        for (i, x) in x.iter_mut().enumerate().take(rows) {
            // SAFETY: row i is the caller's, and the mask leaves out what lies beyond its columns.
            *x = unsafe { _mm512_maskz_loadu_ps(mask(columns), from.byte_add(i * from_row)) };
        }
        // 1. Pairs of rows, then fours: lane L of `fours[4 g + c]` holds column 4 L + c of rows 4 g to 4 g + 3.
        let mut fours = [_mm512_setzero_ps(); 16];
        for g in (0..16).step_by(4) {
            let low = |a, b| _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
            let high = |a, b| _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            let (a, b) = (low(x[g], x[g + 1]), low(x[g + 2], x[g + 3]));
            let (c, d) = (high(x[g], x[g + 1]), high(x[g + 2], x[g + 3]));
            fours[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            fours[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            fours[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
            fours[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
        }
        // 2. Lanes of the four groups side by side.
        let mut y = [_mm512_setzero_ps(); 16];
        for c in 0..4 {
            let (a, b, d, e) = (fours[c], fours[c + 4], fours[c + 8], fours[c + 12]);
            let even = (
                _mm512_shuffle_f32x4::<0x88>(a, b),
                _mm512_shuffle_f32x4::<0x88>(d, e),
            );
            let odd = (
                _mm512_shuffle_f32x4::<0xdd>(a, b),
                _mm512_shuffle_f32x4::<0xdd>(d, e),
            );
            y[c] = _mm512_shuffle_f32x4::<0x88>(even.0, even.1);
            y[c + 8] = _mm512_shuffle_f32x4::<0xdd>(even.0, even.1);
            y[c + 4] = _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1);
            y[c + 12] = _mm512_shuffle_f32x4::<0xdd>(odd.0, odd.1);
        }
        for (j, y) in y.iter().enumerate().take(columns) {
            // SAFETY: row j of `to` is the caller's, and the mask leaves out what lies beyond its columns.
            unsafe { _mm512_mask_storeu_ps(to.add(j * to_row), mask(rows), *y) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    //! Half a block and half a panel at a time: six rows times two vectors of eight.
    use super::{Block, PANEL};
    use std::arch::x86_64::*;

    /// One block of `rows` rows.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA; every number that `block` names lies in memory that may be read, and for `c`
    /// written.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn run(rows: usize, block: &Block) {
        for first in (0..block.columns).step_by(16) {
            for row in (0..rows).step_by(6) {
                let part = Block {
                    a: block.a.wrapping_add(row * block.a_row),
                    b: block.b.wrapping_add(first),
                    c: block.c.wrapping_add(row * block.c_row + first),
                    columns: (block.columns - first).min(16),
                    ..*block
                };
                // SAFETY: a part of the caller's block.
                unsafe {
                    match rows - row {
                        1 => tile::<1>(&part),
                        2 => tile::<2>(&part),
                        3 => tile::<3>(&part),
                        4 => tile::<4>(&part),
                        5 => tile::<5>(&part),
                        _ => tile::<6>(&part),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`run`], with `R` rows and at most 16 columns.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const R: usize>(block: &Block) {
        let (mut a, mut b) = (block.a, block.b);
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for _ in 0..block.k {
            // SAFETY: row p of the panel has 16 numbers from here on, and column p of `a` has R.
            unsafe {
                let columns = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*a.add(r * block.a_row));
                    sums[0] = _mm256_fmadd_ps(x, columns[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(x, columns[1], sums[1]);
                }
            }
            a = a.wrapping_add(block.a_k);
            b = b.wrapping_add(PANEL);
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut row = [0.0_f32; 16];
            // SAFETY: a local array of 16 numbers, and the wanted columns of row r of `c`.
            let out = unsafe {
                _mm256_storeu_ps(row.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(row.as_mut_ptr().add(8), sums[1]);
                std::slice::from_raw_parts_mut(block.c.add(r * block.c_row), block.columns)
            };
            for (out, sum) in out.iter_mut().zip(row) {
                *out = if block.add { *out + sum } else { sum };
            }
        }
    }
}
