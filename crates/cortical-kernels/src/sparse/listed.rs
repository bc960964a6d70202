//! Up to four rows of inputs by neurons of which few connections are left: connection by connection, from a list of
//! their inputs. Below a quarter of the connections that is faster than passing over all of them in vectors.

use super::{Values, WORD};
use crate::half::bf16_to_f32;
use crate::isa::{InstructionSet, Isa};

/// Sums that run side by side, so that none waits for the one before it.
const SIDE_BY_SIDE: usize = 8;

/// The connections of some neurons.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    /// The input of each connection.
    pub(super) columns: &'a [u16],
    /// Where the connections of each neuron begin, and where the last ones end.
    pub(super) starts: &'a [usize],
    /// Numbers of a row of inputs.
    pub(super) pitch: usize,
}

/// `sums[j, i] = Σ_p x[i, p] · w[j, p]` for as many rows of `x` as there are sums for each neuron.
pub(super) fn rows(
    isa: InstructionSet,
    listed: Listed<'_>,
    values: &Values,
    x: &[f32],
    sums: &mut [f32],
) {
    debug_assert_eq!(listed.pitch % WORD, 0, "sparse: padded inputs");
    match values {
        Values::F32(values) => single(isa, listed, values, x, sums),
        Values::Bf16(values) => half(isa, listed, values, x, sums),
    }
}

multiversion! {
    fn single(listed: Listed<'_>, values: &[f32], x: &[f32], sums: &mut [f32]) {
        counted::<I, f32>(listed, values, |w| w, x, sums);
    }
}

multiversion! {
    fn half(listed: Listed<'_>, values: &[u16], x: &[f32], sums: &mut [f32]) {
        counted::<I, u16>(listed, values, bf16_to_f32, x, sums);
    }
}

#[inline(always)]
fn counted<I: Isa, W: Copy>(
    listed: Listed<'_>,
    values: &[W],
    to: impl Fn(W) -> f32 + Copy,
    x: &[f32],
    sums: &mut [f32],
) {
    let neurons = listed.starts.len() - 1;
    match sums.len() / neurons {
        1 => all::<I, W, 1>(listed, values, to, x, sums),
        2 => all::<I, W, 2>(listed, values, to, x, sums),
        3 => all::<I, W, 3>(listed, values, to, x, sums),
        _ => all::<I, W, 4>(listed, values, to, x, sums),
    }
}

#[inline(always)]
fn all<I: Isa, W: Copy, const N: usize>(
    listed: Listed<'_>,
    values: &[W],
    to: impl Fn(W) -> f32,
    x: &[f32],
    sums: &mut [f32],
) {
    let mut rows = [&[][..]; N];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(listed.pitch)) {
        *row = x;
    }
    let fma = |w: f32, x: f32, sum: f32| match I::SET {
        InstructionSet::Portable => w * x + sum,
        _ => w.mul_add(x, sum),
    };
    for (span, sums) in listed.starts.windows(2).zip(sums.chunks_exact_mut(N)) {
        let columns = &listed.columns[span[0]..span[1]];
        let values = &values[span[0]..span[1]];
        let mut acc = [[0.0_f32; SIDE_BY_SIDE]; N];
        let (columns, last) = columns.as_chunks::<SIDE_BY_SIDE>();
        let (values, last_values) = values.as_chunks::<SIDE_BY_SIDE>();
        for (columns, values) in columns.iter().zip(values) {
            for lane in 0..SIDE_BY_SIDE {
                let (p, w) = (usize::from(columns[lane]), to(values[lane]));
                for (acc, x) in acc.iter_mut().zip(rows) {
                    acc[lane] = fma(w, x[p], acc[lane]);
                }
            }
        }
        for (lane, (p, w)) in last.iter().zip(last_values).enumerate() {
            for (acc, x) in acc.iter_mut().zip(rows) {
                acc[lane] = fma(to(*w), x[usize::from(*p)], acc[lane]);
            }
        }
        for (sum, [a, b, c, d, e, f, g, h]) in sums.iter_mut().zip(acc) {
            *sum = ((a + e) + (c + g)) + ((b + f) + (d + h));
        }
    }
}
