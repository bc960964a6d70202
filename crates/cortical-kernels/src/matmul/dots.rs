//! Products of very few rows with the transpose of a row-major matrix: one sample through a layer.
//!
//! Such a product reads every weight once and does little with it, so memory sets its pace and packing anything would
//! double the work. Each result is a dot product; four of them run at a time, which keeps four rows of weights on their
//! way.

use crate::isa::{self, Isa};
use crate::parallel;
use crate::prefetch;
use crate::real::Real;
use crate::slice_sums::{LANES, fold};

/// Up to so many rows, each row of a product with the transpose of a row-major matrix has the bits that it has alone:
/// they are dot products. From there on a packed product reads the weights less often.
pub const MAX_ROWS: usize = 3;
/// Neurons whose dot products run together.
const TOGETHER: usize = 4;
/// How many weights make a task.
const TASK: usize = 1 << 16;

/// `y[r, j] = Σ_p x[r, p] · w[j, p]` with row-major `x` of `[m, k]`, `w` of `[n, k]`, `y` of `[m, n]`.
pub(super) fn product<T: Real>([m, n, k]: [usize; 3], x: &[T], w: &[T], y: &mut [T]) {
    let isa = isa::current();
    let neurons = parallel::even_rows(n, n * k, TASK, TOGETHER);
    for r in 0..m {
        let x = &x[r * k..(r + 1) * k];
        let y = &mut y[r * n..(r + 1) * n];
        parallel::chunks_mut(y, neurons, |first, y| {
            some(isa, x, &w[first * k..(first + y.len()) * k], y);
        });
    }
}

multiversion! {
    fn some<T: Real>(x: &[T], w: &[T], y: &mut [T]) {
        let k = x.len();
        let mut groups = y.chunks_exact_mut(TOGETHER);
        let mut rows = w.chunks_exact(TOGETHER * k);
        for (y, w) in (&mut groups).zip(&mut rows) {
            y.copy_from_slice(&together::<I, T>(x, w));
        }
        for (y, w) in groups.into_remainder().iter_mut().zip(rows.remainder().chunks_exact(k)) {
            *y = crate::slice_sums::dot_body::<I, T>(x, w);
        }
    }
}

/// Four dot products, each with the bits of [`crate::slice_sums::dot_body`].
#[inline(always)]
fn together<I: Isa, T: Real>(x: &[T], w: &[T]) -> [T; TOGETHER] {
    let k = x.len();
    let (blocks, rest) = x.as_chunks::<LANES>();
    let rows: [&[T]; TOGETHER] = std::array::from_fn(|j| &w[j * k..(j + 1) * k]);
    let cut = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [[T::ZERO; LANES]; TOGETHER];
    let count = blocks.len();
    let wide: [&[[T; LANES]]; TOGETHER] = cut.map(|(wide, _)| &wide[..count]);
    for b in 0..count {
        let x = blocks[b];
        for row in &wide {
            prefetch::ahead(&row[b]);
        }
        for j in 0..TOGETHER {
            for i in 0..LANES {
                sums[j][i] = x[i].mul_add::<I>(wide[j][b][i], sums[j][i]);
            }
        }
    }
    // A loop and no closure: one that is not inlined has not the instruction set.
    let mut dots = [T::ZERO; TOGETHER];
    for j in 0..TOGETHER {
        for ((sum, x), w) in sums[j].iter_mut().zip(rest).zip(cut[j].1) {
            *sum = x.mul_add::<I>(*w, *sum);
        }
        dots[j] = fold(sums[j], |a, b| a + b);
    }
    dots
}
