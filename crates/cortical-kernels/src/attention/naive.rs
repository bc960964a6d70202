//! Attention as its definition says, one score at a time: the reference of the fast kernels.

use super::{Heads, MaskValues, Options, Sizes};
use crate::philox;

/// What the scores of a query are made of.
struct Row {
    /// The weights over all keys before dropout.
    p: Vec<f64>,
    /// The factor that dropout gives each.
    factors: Vec<f64>,
    /// How much each score changes with what a soft cap was put over.
    slopes: Vec<f64>,
    lse: f64,
}

/// That of query `i`.
fn weights(
    sizes: Sizes,
    q: &Heads<'_, f64>,
    k: &Heads<'_, f64>,
    options: &Options<'_, f64>,
    [b, h, i]: [usize; 3],
) -> Row {
    let g = h / (sizes.heads / sizes.kv_heads);
    let row = ((b * sizes.heads + h) * sizes.queries + i) as u64;
    let (mut scores, mut factors, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
    for j in 0..sizes.keys {
        let (qi, kj) = (q.row(b, h, i, sizes.dim), k.row(b, g, j, sizes.dim));
        let mut s = options.scale * qi.iter().zip(kj).map(|(q, k)| q * k).sum::<f64>();
        slopes.push(options.softcap.map_or(1.0, |cap| {
            let share = (s / cap).tanh();
            s = cap * share;
            1.0 - share * share
        }));
        if let Some(mask) = &options.mask {
            let at = mask.strides.at(b, h, i) + j;
            match mask.values {
                MaskValues::Keep(keep) if keep[at] == 0 => s = f64::NEG_INFINITY,
                MaskValues::Keep(_) => {}
                MaskValues::Add(add) => s += add[at],
            }
        }
        if options.causal.is_some_and(|offset| j > i + offset) {
            s = f64::NEG_INFINITY;
        }
        scores.push(s);
        factors.push(options.dropout.map_or(1.0, |dropout| {
            let counter = [(j / 4) as u32, 0, row as u32, (row >> 32) as u32];
            let word = philox::block(dropout.key, counter)[j % 4];
            let kept = word >= (dropout.p * 4_294_967_296.0) as u32;
            f64::from(u8::from(kept)) / (1.0 - dropout.p)
        }));
    }
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return Row {
            p: vec![0.0; sizes.keys],
            factors,
            slopes,
            lse: max,
        };
    }
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    let lse = max + sum.ln();
    Row {
        p: scores.iter().map(|s| (s - lse).exp()).collect(),
        factors,
        slopes,
        lse,
    }
}

/// The output in `[batch, heads, queries, value_dim]` and the log-sum-exp.
#[must_use]
pub fn forward(
    sizes: Sizes,
    [q, k, v]: [Heads<'_, f64>; 3],
    options: Options<'_, f64>,
) -> (Vec<f64>, Vec<f64>) {
    let (mut output, mut all_lse) = (Vec::new(), Vec::new());
    for row in 0..sizes.batch * sizes.heads * sizes.queries {
        let (i, h) = (row % sizes.queries, row / sizes.queries % sizes.heads);
        let b = row / sizes.queries / sizes.heads;
        let Row {
            p, factors, lse, ..
        } = weights(sizes, &q, &k, &options, [b, h, i]);
        all_lse.push(lse);
        for d in 0..sizes.value_dim {
            let g = h / (sizes.heads / sizes.kv_heads);
            let mean =
                (0..sizes.keys).map(|j| p[j] * factors[j] * v.row(b, g, j, sizes.value_dim)[d]);
            output.push(mean.sum());
        }
    }
    (output, all_lse)
}

/// The gradients of Q, K and V, each contiguous with heads outside.
#[must_use]
pub fn backward(
    sizes: Sizes,
    [q, k, v]: [Heads<'_, f64>; 3],
    options: Options<'_, f64>,
    d_output: Heads<'_, f64>,
) -> [Vec<f64>; 3] {
    let Sizes {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        dim,
        value_dim,
    } = sizes;
    let mut d_q = vec![0.0; batch * heads * queries * dim];
    let mut d_k = vec![0.0; batch * kv_heads * keys * dim];
    let mut d_v = vec![0.0; batch * kv_heads * keys * value_dim];
    for row in 0..batch * heads * queries {
        let (i, h, b) = (row % queries, row / queries % heads, row / queries / heads);
        let g = h / (heads / kv_heads);
        let Row {
            p, factors, slopes, ..
        } = weights(sizes, &q, &k, &options, [b, h, i]);
        let d_o = d_output.row(b, h, i, value_dim);
        let d_p: Vec<f64> = (0..keys)
            .map(|j| {
                factors[j]
                    * d_o
                        .iter()
                        .zip(v.row(b, g, j, value_dim))
                        .map(|(d, v)| d * v)
                        .sum::<f64>()
            })
            .collect();
        let mean: f64 = p.iter().zip(&d_p).map(|(p, d)| p * d).sum();
        for j in 0..keys {
            let d_s = options.scale * slopes[j] * p[j] * (d_p[j] - mean);
            let key = (b * kv_heads + g) * keys + j;
            for d in 0..dim {
                d_q[row * dim + d] += d_s * k.row(b, g, j, dim)[d];
                d_k[key * dim + d] += d_s * q.row(b, h, i, dim)[d];
            }
            for d in 0..value_dim {
                d_v[key * value_dim + d] += p[j] * factors[j] * d_o[d];
            }
        }
    }
    [d_q, d_k, d_v]
}
