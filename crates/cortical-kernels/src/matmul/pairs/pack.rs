//! Operands as pairs: the steps `2 p` and `2 p + 1` of a row, or of a column, beside each other.

use super::super::MatRef;
use super::super::tile::avx512::transpose16;
use std::arch::x86_64::*;

/// Rows between one that is read and one that is asked for.
const AHEAD: usize = 8;

/// Copies the columns of `[k, columns]` as pairs in blocks of `step` columns, one block behind the other:
/// `block[p · width + j]` holds `x[2 p, j]` and `x[2 p + 1, j]` of the block's columns, with zeros where the matrix has
/// no column or no step.
///
/// # Safety
/// The processor has AVX-512 BF16.
pub(super) unsafe fn columns(x: MatRef<'_, u16>, step: usize, width: usize, to: &mut [f32]) {
    let len = x.rows.div_ceil(2) * width;
    assert!(step <= width && width <= 32 && to.len() == x.cols.div_ceil(step) * len);
    if x.col_stride == 1 && x.row_stride != 1 {
        // SAFETY: the caller's promise.
        unsafe { interleaved(x, step, width, to) };
        return;
    }
    for (i, to) in to.chunks_exact_mut(len.max(1)).enumerate() {
        let x = x.block(0..x.rows, i * step..((i + 1) * step).min(x.cols));
        if x.row_stride == 1 {
            // SAFETY: the caller's promise.
            unsafe { turned(x, width, to) };
        } else {
            for (p, to) in to.chunks_exact_mut(width).enumerate() {
                one_by_one(x, p, to);
            }
        }
    }
}

/// Copies rows whose steps are neighbours, as they are, to rows that are `apart`.
///
/// # Safety
/// As [`columns`].
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
pub(super) unsafe fn rows(x: MatRef<'_, u16>, to: &mut [f32], apart: usize) {
    assert!(x.col_stride == 1 && apart >= x.cols.div_ceil(2) && to.len() >= x.rows * apart);
    for (i, to) in to.chunks_exact_mut(apart).take(x.rows).enumerate() {
        let row = &x.data[(i * x.row_stride).min(x.data.len())..][..x.cols];
        let (whole, last) = row.as_chunks::<2>();
        for (to, [first, second]) in to.iter_mut().zip(whole) {
            *to = f32::from_bits(u32::from(*first) | u32::from(*second) << 16);
        }
        if let [last] = last {
            to[whole.len()] = f32::from_bits(u32::from(*last));
        }
    }
}

/// One step of pairs, whatever the layout.
fn one_by_one(x: MatRef<'_, u16>, p: usize, to: &mut [f32]) {
    let at = |i: usize, j: usize| match i < x.rows && j < x.cols {
        true => u32::from(x.data[i * x.row_stride + j * x.col_stride]),
        false => 0,
    };
    for (j, to) in to.iter_mut().enumerate() {
        *to = f32::from_bits(at(2 * p, j) | at(2 * p + 1, j) << 16);
    }
}

/// Columns whose steps are neighbours: pairs lie there as they are, and only change places.
///
/// # Safety
/// As [`columns`]; `x.row_stride` is 1.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn turned(x: MatRef<'_, u16>, width: usize, to: &mut [f32]) {
    let whole = x.rows / 2;
    if x.cols < width {
        to.fill(0.0);
    }
    for j in (0..x.cols).step_by(16) {
        let count = (x.cols - j).min(16);
        for p in (0..whole).step_by(16) {
            let steps = (whole - p).min(16);
            let from = &x.data[j * x.col_stride + 2 * p..];
            assert!((count - 1) * x.col_stride + 2 * steps <= from.len());
            let to = &mut to[p * width + j..];
            assert!((steps - 1) * width + count <= to.len());
            // SAFETY: the assertions have seen the last element of both.
            unsafe {
                transpose16(
                    [count, steps],
                    from.as_ptr().cast(),
                    2 * x.col_stride,
                    to.as_mut_ptr(),
                    width,
                );
            }
        }
    }
    if whole * 2 < x.rows {
        one_by_one(x, whole, &mut to[whole * width..]);
    }
}

/// Columns that are neighbours: two rows become one of pairs, in all blocks.
///
/// # Safety
/// As [`columns`], which has seen that the blocks fill `to`; `x.col_stride` is 1.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn interleaved(x: MatRef<'_, u16>, step: usize, width: usize, to: &mut [f32]) {
    let mask = |n: usize| if n >= 32 { !0 } else { (1_u32 << n) - 1 };
    let half = |n: usize| if n >= 16 { !0 } else { (1_u16 << n) - 1 };
    let mut low = [0_u16; 32];
    for (i, low) in low.iter_mut().enumerate() {
        *low = (i / 2 + 32 * (i % 2)) as u16;
    }
    // SAFETY: a local array of 64 bytes.
    let low = unsafe { _mm512_loadu_epi16(low.as_ptr().cast()) };
    let high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    let pairs = x.rows.div_ceil(2);
    for p in 0..pairs {
        let row = |i: usize| match i < x.rows {
            true => &x.data[i * x.row_stride..][..x.cols],
            false => &[],
        };
        let (first, second) = (row(2 * p), row(2 * p + 1));
        for (block, j) in (0..x.cols).step_by(step).enumerate() {
            // Rows are apart: nobody else asks for the next ones in time.
            for ahead in [2 * p + AHEAD, 2 * p + AHEAD + 1] {
                let ahead = x.data.as_ptr().wrapping_add(ahead * x.row_stride + j);
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            }
            let to = &mut to[(block * pairs + p) * width..][..width];
            let part = |row: &[u16]| row.get(j..).map_or(0, |rest| rest.len().min(step));
            // SAFETY: the masks leave out what lies beyond the rows and beyond the place; a block has at most 32
            // columns.
            unsafe {
                let load = |row: &[u16]| {
                    _mm512_maskz_loadu_epi16(mask(part(row)), row.as_ptr().wrapping_add(j).cast())
                };
                let (first, second) = (load(first), load(second));
                let pairs = _mm512_permutex2var_epi16(first, low, second);
                _mm512_mask_storeu_ps(to.as_mut_ptr(), half(width), _mm512_castsi512_ps(pairs));
                if width > 16 {
                    let pairs = _mm512_permutex2var_epi16(first, high, second);
                    let to = to.as_mut_ptr().add(16);
                    _mm512_mask_storeu_ps(to, half(width - 16), _mm512_castsi512_ps(pairs));
                }
            }
        }
    }
}
