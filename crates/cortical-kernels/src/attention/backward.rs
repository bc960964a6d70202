//! The backward pass: scores are computed again, block by block.
//!
//! One task owns a head of keys and values, with all query heads that share it, and makes all three gradients. Where
//! there are few such heads, tasks are cut finer: some own blocks of queries and make dQ, others blocks of keys and
//! make dK and dV, at the price of two more products. Which way is a function of the sizes alone.

use super::{Heads, HeadsMut, KEY_BLOCK, Options, OutputRows, QUERY_BLOCK, Sizes, row, transposes};
use crate::isa::{self, InstructionSet};
use crate::matmul::{MatRef, Write, matmul_task};
use crate::parallel;
use crate::real::Real;
use crate::scratch;
use crate::softmax::Shift;
use std::ops::Range;

/// From this many heads of keys on, a task owns a whole one.
const MANY_HEADS: usize = 8;

struct Job<'a, T> {
    isa: InstructionSet,
    sizes: Sizes,
    q: Heads<'a, T>,
    k: Heads<'a, T>,
    options: Options<'a, T>,
    output: Heads<'a, T>,
    shifts: &'a [Shift<T>],
    d_output: Heads<'a, T>,
    k_transposed: Vec<T>,
    v_transposed: Vec<T>,
    d_q: OutputRows<'a, T>,
    d_k: OutputRows<'a, T>,
    d_v: OutputRows<'a, T>,
}

/// The gradients of the queries, keys and values: every element is written.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// As Q.
    pub d_q: HeadsMut<'a, T>,
    /// As K.
    pub d_k: HeadsMut<'a, T>,
    /// As V.
    pub d_v: HeadsMut<'a, T>,
}

/// The gradients of [`super::forward`] from its inputs, its output, its shifts and the upstream gradient.
///
/// # Panics
/// If the slices do not hold what the sizes and strides say.
pub fn backward<T: Real>(
    sizes: Sizes,
    [q, k, v]: [Heads<'_, T>; 3],
    options: Options<'_, T>,
    output: Heads<'_, T>,
    shifts: &[Shift<T>],
    d_output: Heads<'_, T>,
    gradients: Gradients<'_, T>,
) {
    sizes.check(&q, &k, &v, &options);
    output.strides.check("output", output.data.len(), sizes.o());
    d_output
        .strides
        .check("upstream gradient", d_output.data.len(), sizes.o());
    assert_eq!(
        shifts.len(),
        sizes.batch * sizes.heads * sizes.queries,
        "attention: a shift a query"
    );
    let isa = isa::current();
    let job = Job {
        isa,
        sizes,
        q,
        k,
        options,
        output,
        shifts,
        d_output,
        k_transposed: transposes(isa, &k, sizes.k()),
        v_transposed: transposes(isa, &v, sizes.v()),
        d_q: OutputRows::new("d_q", gradients.d_q, sizes.q()),
        d_k: OutputRows::new("d_k", gradients.d_k, sizes.k()),
        d_v: OutputRows::new("d_v", gradients.d_v, sizes.v()),
    };
    let heads = sizes.batch * sizes.kv_heads;
    let (queries, keys) = (0..sizes.queries, 0..sizes.keys);
    if heads >= MANY_HEADS {
        parallel::for_each(heads, |head| {
            job.task(
                head,
                0..sizes.group(),
                queries.clone(),
                keys.clone(),
                true,
                true,
            );
        });
        return;
    }
    let query_tasks = sizes.queries.div_ceil(QUERY_BLOCK);
    let key_tasks = sizes.keys.div_ceil(KEY_BLOCK);
    let of_queries = heads * sizes.group() * query_tasks;
    parallel::for_each(of_queries + heads * key_tasks, |task| {
        if task < of_queries {
            let (first, member) = (
                task % query_tasks * QUERY_BLOCK,
                task / query_tasks % sizes.group(),
            );
            let part = first..(first + QUERY_BLOCK).min(sizes.queries);
            let head = task / query_tasks / sizes.group();
            job.task(head, member..member + 1, part, keys.clone(), true, false);
        } else {
            let task = task - of_queries;
            let first = task % key_tasks * KEY_BLOCK;
            let part = first..(first + KEY_BLOCK).min(sizes.keys);
            job.task(
                task / key_tasks,
                0..sizes.group(),
                queries.clone(),
                part,
                false,
                true,
            );
        }
    });
}

/// A task's working memory.
struct Buffers<'a, T> {
    /// Scores, then weights; rows [`KEY_BLOCK`] apart.
    p: &'a mut [T],
    /// Gradients of the weights, then of the scores.
    d_p: &'a mut [T],
    d_q: &'a mut [T],
    d_k: &'a mut [T],
    d_v: &'a mut [T],
}

impl<T: Real> Job<'_, T> {
    /// The gradients that `members` of key head `head`'s group, `queries` and `keys` contribute to each other.
    fn task(
        &self,
        head: usize,
        members: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
        wants_q: bool,
        wants_kv: bool,
    ) {
        let Sizes {
            dim,
            value_dim,
            kv_heads,
            ..
        } = self.sizes;
        let (b, g) = (head / kv_heads, head % kv_heads);
        let scores = QUERY_BLOCK * KEY_BLOCK;
        let len = 2 * scores + QUERY_BLOCK * dim + keys.len() * (dim + value_dim);
        scratch::with(len, |buffer: &mut [T]| {
            let (p, buffer) = buffer.split_at_mut(scores);
            let (d_p, buffer) = buffer.split_at_mut(scores);
            let (d_q, buffer) = buffer.split_at_mut(QUERY_BLOCK * dim);
            let (d_k, d_v) = buffer.split_at_mut(keys.len() * dim);
            d_k.fill(T::ZERO);
            d_v.fill(T::ZERO);
            let mut buffers = Buffers {
                p,
                d_p,
                d_q,
                d_k,
                d_v,
            };
            for h in members.map(|member| g * self.sizes.group() + member) {
                for first in queries.clone().step_by(QUERY_BLOCK) {
                    let block = first..(first + QUERY_BLOCK).min(queries.end);
                    self.query_block(b, h, block, keys.clone(), &mut buffers, wants_q, wants_kv);
                }
            }
            if wants_kv {
                for (r, j) in keys.enumerate() {
                    let d_k = &buffers.d_k[r * dim..(r + 1) * dim];
                    let d_v = &buffers.d_v[r * value_dim..(r + 1) * value_dim];
                    // SAFETY: one task alone makes the gradients of these keys.
                    unsafe {
                        self.d_k
                            .with_row(b, g, j, dim, |out| out.copy_from_slice(d_k));
                        self.d_v
                            .with_row(b, g, j, value_dim, |out| out.copy_from_slice(d_v));
                    }
                }
            }
        });
    }

    /// One block of queries against all of a task's keys.
    fn query_block(
        &self,
        b: usize,
        h: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        buffers: &mut Buffers<'_, T>,
        wants_q: bool,
        wants_kv: bool,
    ) {
        let Sizes { dim, value_dim, .. } = self.sizes;
        let n = queries.len();
        let limit = self
            .options
            .limit(queries.end - 1, self.sizes.keys)
            .min(keys.end);
        if wants_q {
            buffers.d_q.fill(T::ZERO);
        }
        // δᵢ = Σ dO O, the mean of dP under P.
        let mut delta = [T::ZERO; QUERY_BLOCK];
        for (delta, i) in delta.iter_mut().zip(queries.clone()) {
            let (o, d_o) = (
                self.output.row(b, h, i, value_dim),
                self.d_output.row(b, h, i, value_dim),
            );
            *delta = row::dot(self.isa, o, d_o);
        }
        let (q, d_o) = (
            self.q.rows(b, h, queries.clone(), dim),
            self.d_output.rows(b, h, queries.clone(), value_dim),
        );
        let first_key = keys.start;
        for key in (keys.start..limit).step_by(KEY_BLOCK) {
            let keys = key..(key + KEY_BLOCK).min(limit);
            let Buffers {
                p,
                d_p,
                d_q,
                d_k,
                d_v,
            } = buffers;
            // 1. The scores and the gradients of the weights.
            let g = h / self.sizes.group();
            matmul_task(
                self.isa,
                q,
                self.transposed(&self.k_transposed, dim, b, g, &keys),
                p,
                KEY_BLOCK,
                Write::Replace,
            );
            let v = self.transposed(&self.v_transposed, value_dim, b, g, &keys);
            matmul_task(self.isa, d_o, v, d_p, KEY_BLOCK, Write::Replace);
            // 2. Each row's weights and gradients of scores.
            for (r, i) in queries.clone().enumerate() {
                let span = r * KEY_BLOCK..r * KEY_BLOCK + keys.len();
                self.row(
                    b,
                    h,
                    i,
                    &keys,
                    delta[r],
                    &mut p[span.clone()],
                    &mut d_p[span],
                );
            }
            // 3. The products with them.
            let d_s = MatRef::strided(d_p, n, keys.len(), KEY_BLOCK, 1);
            if wants_q {
                matmul_task(
                    self.isa,
                    d_s,
                    self.k.rows(b, g, keys.clone(), dim),
                    d_q,
                    dim,
                    Write::Add,
                );
            }
            if wants_kv {
                let p = MatRef::strided(p, n, keys.len(), KEY_BLOCK, 1);
                let at = keys.start - first_key;
                if dim > 0 {
                    matmul_task(self.isa, d_s.t(), q, &mut d_k[at * dim..], dim, Write::Add);
                }
                if value_dim > 0 {
                    matmul_task(
                        self.isa,
                        p.t(),
                        d_o,
                        &mut d_v[at * value_dim..],
                        value_dim,
                        Write::Add,
                    );
                }
            }
        }
        if wants_q {
            for (r, i) in queries.enumerate() {
                let d_q = &buffers.d_q[r * dim..(r + 1) * dim];
                // SAFETY: one task alone makes the gradients of these queries.
                unsafe {
                    self.d_q
                        .with_row(b, h, i, dim, |out| out.copy_from_slice(d_q));
                };
            }
        }
    }

    /// Columns `keys` of a head's transposed rows.
    fn transposed<'x>(
        &self,
        all: &'x [T],
        dim: usize,
        b: usize,
        g: usize,
        keys: &Range<usize>,
    ) -> MatRef<'x, T> {
        let rows = self.sizes.keys;
        let head = (b * self.sizes.kv_heads + g) * dim * rows;
        let part = if dim == 0 {
            all
        } else {
            &all[head + keys.start..head + dim * rows]
        };
        MatRef::strided(part, dim, keys.len(), rows, 1)
    }

    /// Turns scores into weights and gradients of weights into gradients of scores.
    fn row(
        &self,
        b: usize,
        h: usize,
        i: usize,
        keys: &Range<usize>,
        delta: T,
        p: &mut [T],
        d_p: &mut [T],
    ) {
        let shift = self.shifts[self.sizes.row(b, h, i) as usize];
        let seen = self
            .options
            .limit(i, self.sizes.keys)
            .clamp(keys.start, keys.end)
            - keys.start;
        let sees_nothing = shift.max == T::NEG_INFINITY && shift.log_sum == T::NEG_INFINITY;
        let seen = if sees_nothing { 0 } else { seen };
        p[seen..].fill(T::ZERO);
        d_p[seen..].fill(T::ZERO);
        let (p, d_p) = (&mut p[..seen], &mut d_p[..seen]);
        let mask = self
            .options
            .mask_row(b, h, i, keys.start..keys.start + seen);
        // What dropout took from a weight it takes from the weight's gradient; the softmax itself knew nothing of it.
        let number = self.sizes.row(b, h, i);
        if let Some(dropout) = self.options.dropout {
            row::drop(self.isa, d_p, dropout, number, keys.start);
        }
        let (scale, delta) = match self.options.softcap {
            None => (self.options.scale, delta),
            Some(cap) => {
                // Before the mask: behind it, scores are infinite.
                row::scale_and_cap(self.isa, p, self.options.scale, cap);
                row::cap_gradients(self.isa, p, d_p, delta, cap);
                (T::ONE, T::ZERO)
            }
        };
        row::scale_and_mask(self.isa, p, scale, mask);
        row::weights(self.isa, p, shift);
        row::score_gradients(self.isa, p, d_p, delta, self.options.scale);
        if let Some(dropout) = self.options.dropout {
            row::drop(self.isa, p, dropout, number, keys.start);
        }
    }
}
