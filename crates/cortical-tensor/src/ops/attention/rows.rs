//! Attention of single queries, each over keys of its own.

use super::{Attention, NAME, attention, checked_scale, count_products};
use crate::ops::prepare::{check_alike, check_float, wrong_shape};
use crate::ops::rotary::HeadOrder;
use crate::shape::checked_count;
use crate::{Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::attention::{self as kernel, QueryRow, Sizes};
use std::ops::Range;

/// The keys and values that one query of [`attention_rows`] sees.
#[derive(Clone, Debug)]
pub struct SeenKeys<'a> {
    /// `[1, positions, kv_heads, dim]`.
    pub k: &'a Tensor,
    /// `[1, positions, kv_heads, value_dim]`.
    pub v: &'a Tensor,
    /// The positions that the query sees.
    pub range: Range<usize>,
}

/// [`attention`] of queries that each see keys and values of their own, such as the last tokens of texts of different
/// lengths: every query has the bits that it has alone. It is for evaluation: where a gradient is wanted, or numbers
/// lie apart, the rows run one after the other.
///
/// # Shapes
/// - `q`: `[1, rows, heads, dim]`
/// - `seen`: one for each row
/// - result: `[1, rows, heads, value_dim]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together.
pub fn attention_rows(
    q: &Tensor,
    seen: &[SeenKeys<'_>],
    scale: Option<f64>,
    softcap: Option<f64>,
) -> Result<Tensor> {
    let options = Attention {
        scale,
        softcap,
        order: HeadOrder::Inside,
        ..Default::default()
    };
    let &[1, rows, heads, dim] = q.dims() else {
        return Err(wrong_shape(NAME, "q", "[1, rows, heads, dim]", q));
    };
    if rows != seen.len() {
        let expected = format!("[1, {}, heads, dim], a row for each of seen", seen.len());
        return Err(wrong_shape(NAME, "q", expected, q));
    }
    check_float(NAME, "q", q)?;
    let mut all = Vec::with_capacity(rows);
    for row in seen {
        all.push(sizes([heads, dim], q, row)?);
    }
    let is_plain = |t: &Tensor| t.is_contiguous() && !t.track_op();
    let are_plain = is_plain(q) && seen.iter().all(|row| is_plain(row.k) && is_plain(row.v));
    if q.dtype() != DType::F32 || is_fallback(q.device()) || all.is_empty() || !are_plain {
        let rows = seen.iter().enumerate().map(|(at, row)| {
            let (first, count) = (row.range.start, row.range.len());
            let part = |t: &Tensor| t.narrow(1, first, count);
            attention(&q.narrow(1, at, 1)?, &part(row.k)?, &part(row.v)?, options)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        return match rows.is_empty() {
            true => Ok(q.clone()),
            false => Ok(Tensor::cat(&rows, 1)?),
        };
    }
    let scale = checked_scale(&options, dim)?;
    let value_dim = all[0].value_dim;
    for (row, sizes) in seen.iter().zip(&all) {
        if (sizes.value_dim, sizes.kv_heads) != (value_dim, all[0].kv_heads) {
            return Err(wrong_shape(NAME, "v", "the same heads in every row", row.v));
        }
        count_products(*sizes, None, None);
    }
    let q = values::<f32>(q)?;
    let held: Vec<_> = seen
        .iter()
        .map(|row| Ok((values::<f32>(row.k)?, values::<f32>(row.v)?)))
        .collect::<Result<_>>()?;
    let rows: Vec<QueryRow<'_, f32>> = held
        .iter()
        .zip(seen)
        .zip(&all)
        .enumerate()
        .map(|(at, (((k, v), row), sizes))| {
            let part = |width: usize| row.range.start * width..row.range.end * width;
            QueryRow {
                q: &q[at * heads * dim..(at + 1) * heads * dim],
                k: &k[part(sizes.kv_heads * dim)],
                v: &v[part(sizes.kv_heads * value_dim)],
                keys: row.range.len(),
            }
        })
        .collect();
    let mut y = vec![0.0_f32; checked_count(NAME, &[rows.len(), heads, value_dim])?];
    let softcap = softcap.map(|cap| cap as f32);
    kernel::forward_rows(all[0], &rows, scale as f32, softcap, &mut y);
    let shape = (1, rows.len(), heads, value_dim);
    let device = seen[0].k.device();
    Ok(Tensor::from_vec(y, shape, device)?)
}

/// The sizes of one query's attention.
fn sizes([heads, dim]: [usize; 2], q: &Tensor, row: &SeenKeys<'_>) -> Result<Sizes> {
    check_alike(NAME, q, "k", row.k)?;
    check_alike(NAME, q, "v", row.v)?;
    let (end, keys) = (row.range.end, row.range.len());
    let (kv_heads, value_dim) = match (row.k.dims(), row.v.dims()) {
        (&[1, positions, kv, d], &[1, others, v_heads, value])
            if d == dim
                && kv > 0
                && heads.is_multiple_of(kv)
                && v_heads == kv
                && positions == others
                && end <= positions
                && row.range.start <= end =>
        {
            (kv, value)
        }
        _ => {
            let expected = format!(
                "[1, at least {end}, a divisor of {heads}, {dim}], with as many positions and heads as v"
            );
            return Err(wrong_shape(NAME, "k", expected, row.k));
        }
    };
    Ok(Sizes {
        batch: 1,
        heads,
        kv_heads,
        queries: 1,
        keys,
        dim,
        value_dim,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::random;

    #[test]
    fn each_query_has_the_bits_that_it_has_alone() {
        let single =
            |shape: &[usize], name: &str| random(shape, name).to_dtype(DType::F32).unwrap();
        let lengths = [1, 7, 300, 64];
        let q = single(&[1, 4, 6, 8], "q");
        let keys: Vec<[Tensor; 2]> = lengths
            .iter()
            .map(|n| {
                let shape = [1, n + 3, 2, 8];
                [
                    single(&shape, &format!("k{n}")),
                    single(&shape, &format!("v{n}")),
                ]
            })
            .collect();
        let seen: Vec<SeenKeys<'_>> = keys
            .iter()
            .zip(lengths)
            .map(|([k, v], n)| SeenKeys {
                k,
                v,
                range: n / 3..n,
            })
            .collect();
        for softcap in [None, Some(2.0)] {
            let run = || attention_rows(&q, &seen, Some(0.3), softcap).unwrap();
            let (got, fallback) = (run(), crate::with_fallback(run));
            for (at, row) in seen.iter().enumerate() {
                let options = Attention {
                    scale: Some(0.3),
                    softcap,
                    order: HeadOrder::Inside,
                    ..Default::default()
                };
                let part = |t: &Tensor| t.narrow(1, row.range.start, row.range.len()).unwrap();
                let alone = attention(
                    &q.narrow(1, at, 1).unwrap(),
                    &part(row.k),
                    &part(row.v),
                    options,
                );
                let bits = |t: &Tensor| {
                    let all = t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                };
                assert_eq!(bits(&got.narrow(1, at, 1).unwrap()), bits(&alone.unwrap()));
            }
            crate::ops::testing::same(&got, &fallback, 1e-5);
        }
        let error = attention_rows(&q.narrow(1, 0, 3).unwrap(), &seen, None, None).unwrap_err();
        assert!(error.to_string().contains("[1, 4, heads, dim]"), "{error}");
        let wrong = [SeenKeys {
            range: 0..99,
            ..seen[0].clone()
        }];
        let error = attention_rows(&q.narrow(1, 0, 1).unwrap(), &wrong, None, None).unwrap_err();
        assert!(error.to_string().contains("at least 99"), "{error}");
    }
}
