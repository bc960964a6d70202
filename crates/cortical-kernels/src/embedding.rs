//! Embedding: each index picks a row of a table.
//!
//! `y[i] = table[index[i]]`; backward, a row's gradient is the sum of the upstream gradients of its uses, added in the
//! order of their positions, whatever the number of threads.

use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::real::Real;
use crate::slice_sums::add_assign;

/// Writes row `indices[i]` of `table` to row `i` of `y`; rows have `dim` elements.
///
/// # Panics
/// If the lengths do not fit or an index is not below the number of rows.
pub fn forward<T: Real>(table: &[T], dim: usize, indices: &[u32], y: &mut [T]) {
    assert_eq!(y.len(), indices.len() * dim, "embedding: a row an index");
    if y.is_empty() {
        return;
    }
    let rows = rows_per_task(dim);
    parallel::chunks_mut(y, rows * dim, |at, y| {
        for (i, y) in y.chunks_exact_mut(dim).enumerate() {
            let row = indices[at / dim + i] as usize;
            y.copy_from_slice(&table[row * dim..(row + 1) * dim]);
        }
    });
}

/// Adds each row of `d_y` to the row of `d_table` that it was read from; uses of `padding` are left out, so that this
/// row stays as it is.
///
/// # Panics
/// If the lengths do not fit or an index is not below the number of rows.
pub fn backward<T: Real>(
    d_y: &[T],
    dim: usize,
    indices: &[u32],
    padding: Option<u32>,
    d_table: &mut [T],
) {
    assert_eq!(d_y.len(), indices.len() * dim, "embedding: a row an index");
    if d_y.is_empty() {
        return;
    }
    assert_eq!(d_table.len() % dim, 0, "embedding: whole rows of a table");
    let isa = isa::current();
    let add = |position: usize, row: &mut [T]| {
        add_assign(isa, row, &d_y[position * dim..(position + 1) * dim]);
    };
    let rows = rows_per_task(dim);
    if !parallel::is_parallel() || d_table.len() <= rows * dim {
        for (position, index) in indices.iter().enumerate() {
            if Some(*index) != padding {
                let row = *index as usize * dim;
                add(position, &mut d_table[row..row + dim]);
            }
        }
        return;
    }
    // Sorted by row and then by position, the uses of a range of rows are neighbours: tasks own ranges of the table.
    let mut uses: Vec<(u32, usize)> = indices.iter().copied().zip(0..).collect();
    uses.sort_unstable();
    let table_rows = d_table.len() / dim;
    assert!(
        uses.last()
            .is_none_or(|last| (last.0 as usize) < table_rows),
        "embedding: an index lies inside the table"
    );
    parallel::chunks_mut(d_table, rows * dim, |at, part| {
        let (first, last) = (at / dim, at / dim + part.len() / dim);
        let begin = uses.partition_point(|u| (u.0 as usize) < first);
        let of_task = uses[begin..].iter().take_while(|u| (u.0 as usize) < last);
        for (index, position) in of_task.filter(|u| Some(u.0) != padding) {
            let row = (*index as usize - first) * dim;
            add(*position, &mut part[row..row + dim]);
        }
    });
}

/// The two kernels as their definitions say.
pub mod naive {
    use crate::real::Real;

    /// `y[i, j] = table[indices[i], j]`
    pub fn forward<T: Real>(table: &[T], dim: usize, indices: &[u32], y: &mut [T]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = table[indices[i / dim] as usize * dim + i % dim];
        }
    }

    /// `d_table[indices[i], j] += d_y[i, j]`
    pub fn backward<T: Real>(
        d_y: &[T],
        dim: usize,
        indices: &[u32],
        padding: Option<u32>,
        d_table: &mut [T],
    ) {
        for (i, d) in d_y.iter().enumerate() {
            let index = indices[i / dim];
            if Some(index) != padding {
                d_table[index as usize * dim + i % dim] += *d;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{numbers, on_every_isa, same_bits_on_any_threads, singles};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fast_equals_naive(
            rows in 1_u32..20, dim in 0_usize..40, picks in prop::collection::vec(0_u32..1000, 0..50), padded: bool,
        ) {
            let indices: Vec<u32> = picks.iter().map(|p| p % rows).collect();
            let table = numbers(rows as usize * dim, 1);
            let d_y = numbers(indices.len() * dim, 2);
            let padding = padded.then_some(0);
            let (mut y, mut d_table) = (vec![0.0; d_y.len()], table.clone());
            let (mut want, mut d_want) = (y.clone(), table.clone());
            naive::forward(&table, dim, &indices, &mut want);
            naive::backward(&d_y, dim, &indices, padding, &mut d_want);
            forward(&table, dim, &indices, &mut y);
            backward(&d_y, dim, &indices, padding, &mut d_table);
            prop_assert_eq!(y, want);
            prop_assert_eq!(d_table, d_want);
        }
    }

    #[test]
    fn many_uses_of_many_rows_sum_in_order_on_any_threads() {
        let (rows, dim) = (300_usize, 130);
        let indices: Vec<u32> = (0..2000_u32).map(|i| i * i % rows as u32).collect();
        let d_y = singles(&numbers(indices.len() * dim, 2));
        let mut want = vec![0.0; rows * dim];
        naive::backward(&d_y, dim, &indices, Some(4), &mut want);
        let run = || {
            let mut d_table = vec![0.0; rows * dim];
            backward(&d_y, dim, &indices, Some(4), &mut d_table);
            d_table
        };
        on_every_isa(|_| assert_eq!(run(), want));
        same_bits_on_any_threads(run);
    }
}
