//! The forward pass: one task a block of queries of one head.

use super::{
    FEW_QUERIES, Heads, HeadsMut, KEY_BLOCK, Options, OutputRows, QUERY_BLOCK, Sizes, Strides, row,
    transposes,
};
use crate::isa::{self, InstructionSet};
use crate::matmul::{MatRef, Write, matmul_task};
use crate::parallel;
use crate::real::Real;
use crate::scratch;
use crate::softmax::Shift;
use std::ops::Range;

/// What every task reads.
struct Job<'a, T> {
    isa: InstructionSet,
    sizes: Sizes,
    q: Heads<'a, T>,
    k: Heads<'a, T>,
    v: Heads<'a, T>,
    options: Options<'a, T>,
    /// `[batch, kv_heads, dim, keys]`, empty for few queries.
    k_transposed: Vec<T>,
}

/// The running state of one query.
#[derive(Clone, Copy)]
struct Running<T> {
    max: T,
    sum: T,
}

/// Writes the output and, for each query of `[batch, heads, queries]`, what its scores become weights by (a maximum
/// of −∞ for a query that sees nothing).
///
/// # Panics
/// If the slices do not hold what the sizes and strides say.
pub fn forward<T: Real>(
    sizes: Sizes,
    q: Heads<'_, T>,
    k: Heads<'_, T>,
    v: Heads<'_, T>,
    options: Options<'_, T>,
    output: HeadsMut<'_, T>,
    shifts: &mut [Shift<T>],
) {
    sizes.check(&q, &k, &v, &options);
    assert_eq!(
        shifts.len(),
        sizes.batch * sizes.heads * sizes.queries,
        "attention: a shift a query"
    );
    let output = OutputRows::new("output", output, sizes.o());
    if shifts.is_empty() {
        return;
    }
    let isa = isa::current();
    let k_transposed = if sizes.queries > FEW_QUERIES {
        transposes(isa, &k, sizes.k())
    } else {
        Vec::new()
    };
    let job = Job {
        isa,
        sizes,
        q,
        k,
        v,
        options,
        k_transposed,
    };
    let blocks = sizes.queries.div_ceil(QUERY_BLOCK);
    // Heads are cut apart first, so that every task has its own part of `shifts`.
    let mut parts: Vec<&mut [Shift<T>]> = shifts
        .chunks_mut(sizes.queries)
        .flat_map(|head| head.chunks_mut(QUERY_BLOCK))
        .collect();
    parallel::chunks_mut(&mut parts, 1, |task, shifts| {
        let (head, first) = (task / blocks, task % blocks * QUERY_BLOCK);
        let (b, h) = (head / sizes.heads, head % sizes.heads);
        job.block(b, h, first, &output, &mut *shifts[0]);
    });
}

/// One query of its own sequence.
#[derive(Clone, Copy, Debug)]
pub struct QueryRow<'a, T> {
    /// `[heads, dim]`.
    pub q: &'a [T],
    /// `[keys, kv_heads, dim]`.
    pub k: &'a [T],
    /// `[keys, kv_heads, value_dim]`.
    pub v: &'a [T],
    /// How many keys it sees.
    pub keys: usize,
}

/// [`forward`] of rows that are a query each, over keys of their own: the output is `[rows, heads, value_dim]`, and
/// each row has the bits that it has alone. Of `sizes` the heads and their elements count.
///
/// # Panics
/// If a length does not fit.
pub fn forward_rows<T: Real>(
    sizes: Sizes,
    rows: &[QueryRow<'_, T>],
    scale: T,
    softcap: Option<T>,
    output: &mut [T],
) {
    let (heads, kv_heads, dim, value_dim) =
        (sizes.heads, sizes.kv_heads, sizes.dim, sizes.value_dim);
    let width = heads * value_dim;
    assert_eq!(output.len(), rows.len() * width, "attention: output rows");
    if output.is_empty() {
        return;
    }
    let options = Options {
        scale,
        softcap,
        causal: None,
        mask: None,
        dropout: None,
    };
    parallel::chunks_mut(output, width, |at, output| {
        let row = &rows[at / width];
        let sizes = Sizes {
            batch: 1,
            queries: 1,
            keys: row.keys,
            ..sizes
        };
        let view = |data, heads, rows, dim| Heads {
            data,
            strides: Strides::heads_inside(heads, rows, dim),
        };
        let output = HeadsMut {
            data: output,
            strides: Strides::heads_inside(heads, 1, value_dim),
        };
        let mut shifts = vec![Shift::default(); heads];
        forward(
            sizes,
            view(row.q, heads, 1, dim),
            view(row.k, kv_heads, row.keys, dim),
            view(row.v, kv_heads, row.keys, value_dim),
            options,
            output,
            &mut shifts,
        );
    });
}

impl<T: Real> Job<'_, T> {
    /// The queries `first..first + shifts.len()` of one head.
    fn block(
        &self,
        b: usize,
        h: usize,
        first: usize,
        output: &OutputRows<'_, T>,
        shifts: &mut [Shift<T>],
    ) {
        let (n, dv) = (shifts.len(), self.sizes.value_dim);
        let queries = first..first + n;
        let limit = self.options.limit(queries.end - 1, self.sizes.keys);
        scratch::with(n * (KEY_BLOCK + dv + 2), |buffer: &mut [T]| {
            let (scores, buffer) = buffer.split_at_mut(n * KEY_BLOCK);
            let (sums, state) = buffer.split_at_mut(n * dv);
            sums.fill(T::ZERO);
            let (max, sum) = state.split_at_mut(n);
            max.fill(T::NEG_INFINITY);
            sum.fill(T::ZERO);
            for key in (0..limit).step_by(KEY_BLOCK) {
                let keys = key..(key + KEY_BLOCK).min(limit);
                // 1. The block's scores.
                self.scores(b, h, queries.clone(), keys.clone(), scores);
                // 2. Each row: exponentials relative to the largest score so far; what was summed before is scaled to
                //    it.
                for r in 0..n {
                    let scores = &mut scores[r * KEY_BLOCK..r * KEY_BLOCK + keys.len()];
                    let running = Running {
                        max: max[r],
                        sum: sum[r],
                    };
                    let (now, factor) = self.row(b, h, first + r, &keys, scores, running);
                    (max[r], sum[r]) = (now.max, now.sum);
                    if key > 0 && factor != T::ONE {
                        row::scale(self.isa, &mut sums[r * dv..(r + 1) * dv], factor);
                    }
                }
                // 3. The values, weighted.
                self.weigh(b, h, keys, scores, sums);
            }
            // 4. The means.
            for r in 0..n {
                // A sum that is not a number stays one.
                let factor = if sum[r] == T::ZERO {
                    T::ZERO
                } else {
                    T::ONE / sum[r]
                };
                shifts[r] = Shift {
                    max: max[r],
                    log_sum: T::from_f64(sum[r].to_f64().ln()),
                    inverse_sum: factor,
                };
                // SAFETY: a task owns the rows of its queries.
                unsafe {
                    output.with_row(b, h, first + r, dv, |out| {
                        for (out, s) in out.iter_mut().zip(&sums[r * dv..(r + 1) * dv]) {
                            *out = *s * factor;
                        }
                    });
                }
            }
        });
    }

    /// Adds the values of a block of keys, weighted by rows of `scores` [`KEY_BLOCK`] apart.
    fn weigh(&self, b: usize, h: usize, keys: Range<usize>, scores: &[T], sums: &mut [T]) {
        let (dv, g) = (self.sizes.value_dim, h / self.sizes.group());
        if dv == 0 {
            return;
        }
        if self.k_transposed.is_empty() {
            let v = &self.v.data[self.v.strides.at(b, g, keys.start)..];
            for (scores, sums) in scores.chunks(KEY_BLOCK).zip(sums.chunks_exact_mut(dv)) {
                let weights = &scores[..keys.len()];
                row::add_weighted(self.isa, weights, v, self.v.strides.row, sums);
            }
            return;
        }
        let n = sums.len() / dv;
        let weights = MatRef::strided(scores, n, keys.len(), KEY_BLOCK, 1);
        let v = self.v.rows(b, g, keys, dv);
        matmul_task(self.isa, weights, v, sums, dv, Write::Add);
    }

    /// Unscaled scores of a block, rows [`KEY_BLOCK`] apart.
    fn scores(&self, b: usize, h: usize, queries: Range<usize>, keys: Range<usize>, out: &mut [T]) {
        let (d, g) = (self.sizes.dim, h / self.sizes.group());
        if self.k_transposed.is_empty() {
            let k = match d {
                0 => &[][..],
                _ => &self.k.data[self.k.strides.at(b, g, keys.start)..],
            };
            for (i, out) in queries.zip(out.chunks_mut(KEY_BLOCK)) {
                let q = self.q.row(b, h, i, d);
                row::dots(self.isa, q, k, self.k.strides.row, &mut out[..keys.len()]);
            }
            return;
        }
        let (all, n) = (self.sizes.keys, keys.len());
        let head = (b * self.sizes.kv_heads + g) * d * all;
        let k = MatRef::strided(
            &self.k_transposed[head + keys.start..head + d * all],
            d,
            n,
            all,
            1,
        );
        matmul_task(
            self.isa,
            self.q.rows(b, h, queries, d),
            k,
            out,
            KEY_BLOCK,
            Write::Replace,
        );
    }

    /// Turns a row of scores into weights; returns the state and the factor of what was summed before.
    fn row(
        &self,
        b: usize,
        h: usize,
        i: usize,
        keys: &Range<usize>,
        scores: &mut [T],
        before: Running<T>,
    ) -> (Running<T>, T) {
        let seen = self
            .options
            .limit(i, self.sizes.keys)
            .clamp(keys.start, keys.end)
            - keys.start;
        let (scores, hidden) = scores.split_at_mut(seen);
        hidden.fill(T::ZERO);
        let mask = self
            .options
            .mask_row(b, h, i, keys.start..keys.start + seen);
        self.options.finish_scores(self.isa, scores, mask);
        let max = before.max.maximum(row::largest(self.isa, scores));
        if max == T::NEG_INFINITY {
            // No number seen so far: a difference of infinities would be NaN, but what is NaN already stays it.
            let sum = row::exponentials(self.isa, scores, T::ZERO);
            let now = Running {
                max,
                sum: before.sum + sum,
            };
            return (now, T::ONE);
        }
        let sum = row::exponentials(self.isa, scores, max);
        if let Some(dropout) = self.options.dropout {
            row::drop(
                self.isa,
                scores,
                dropout,
                self.sizes.row(b, h, i),
                keys.start,
            );
        }
        let factor = if before.max == max {
            T::ONE
        } else {
            T::from_f64((before.max - max).to_f64().exp())
        };
        (
            Running {
                max,
                sum: before.sum * factor + sum,
            },
            factor,
        )
    }
}

impl Sizes {
    /// The number of a query among all of `[batch, heads, queries]`.
    pub(super) fn row(self, b: usize, h: usize, i: usize) -> u64 {
        ((b * self.heads + h) * self.queries + i) as u64
    }
}
