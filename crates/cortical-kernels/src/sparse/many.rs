//! Many rows of inputs: each connection is a multiply-add of one weight with a vector of samples.

use super::{Values, WORD, for_each_bit};
use crate::half::bf16_to_f32;
use crate::isa::{InstructionSet, Isa};
use crate::parallel;

/// Words of the mask whose inputs stay in the nearest cache while all rows pass: 32 kilobytes of 64 samples.
const TOGETHER: usize = 2;

/// How many samples the next vectors hold when so many are left.
pub(super) fn lanes(left: usize) -> usize {
    match left {
        0..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}

/// `to[p, i] = x[i, p]`, `lanes` apart; samples that are not there keep whatever `to` holds.
pub(super) fn transpose(x: &[f32], cols: usize, lanes: usize, to: &mut [f32]) {
    const SQUARE: usize = 16;
    let chunk = (parallel::TASK_ELEMENTS / lanes).next_multiple_of(SQUARE) * lanes;
    parallel::chunks_mut(to, chunk, |at, to| {
        let first = at / lanes;
        for (block, to) in to.chunks_mut(SQUARE * lanes).enumerate() {
            let from = first + block * SQUARE;
            let count = to.len() / lanes;
            for (i, x) in x.chunks_exact(cols).enumerate() {
                for (p, x) in x[from..from + count].iter().enumerate() {
                    to[p * lanes + i] = *x;
                }
            }
        }
    });
}

/// `y[i, j] = sums[j, i]`
pub(super) fn transpose_back(sums: &[f32], rows: usize, lanes: usize, y: &mut [f32]) {
    const SQUARE: usize = 16;
    for first in (0..rows).step_by(SQUARE) {
        let count = SQUARE.min(rows - first);
        for (i, y) in y.chunks_exact_mut(rows).enumerate() {
            for (j, y) in y[first..first + count].iter_mut().enumerate() {
                *y = sums[(first + j) * lanes + i];
            }
        }
    }
}

/// `sums[j, i] += Σ_p xt[p, i] · w[j, p]` for the neurons of `mask`, whose values begin at `starts`.
pub(super) fn rows(
    isa: InstructionSet,
    lanes: usize,
    mask: &[u64],
    starts: &[usize],
    values: &Values,
    xt: &[f32],
    sums: &mut [f32],
) {
    match (lanes, values) {
        (16, Values::F32(values)) => single_16(isa, mask, starts, values, xt, sums),
        (32, Values::F32(values)) => single_32(isa, mask, starts, values, xt, sums),
        (_, Values::F32(values)) => single_64(isa, mask, starts, values, xt, sums),
        (16, Values::Bf16(values)) => half_16(isa, mask, starts, values, xt, sums),
        (32, Values::Bf16(values)) => half_32(isa, mask, starts, values, xt, sums),
        (_, Values::Bf16(values)) => half_64(isa, mask, starts, values, xt, sums),
    }
}

/// One function for each number of lanes and each form of the values.
macro_rules! widths {
    ($($name:ident: $lanes:literal of $stored:ty, $to:expr;)*) => {
        $(multiversion! {
            fn $name(mask: &[u64], starts: &[usize], values: &[$stored], xt: &[f32], sums: &mut [f32]) {
                neurons::<I, $stored, $lanes>(mask, starts, values, $to, xt, sums);
            }
        })*
    };
}

widths! {
    single_16: 16 of f32, |w: f32| w;
    single_32: 32 of f32, |w: f32| w;
    single_64: 64 of f32, |w: f32| w;
    half_16: 16 of u16, bf16_to_f32;
    half_32: 32 of u16, bf16_to_f32;
    half_64: 64 of u16, bf16_to_f32;
}

#[inline(always)]
fn neurons<I: Isa, W: Copy, const L: usize>(
    mask: &[u64],
    starts: &[usize],
    values: &[W],
    to: impl Fn(W) -> f32,
    xt: &[f32],
    sums: &mut [f32],
) {
    let words = mask.len() / starts.len();
    let xt = xt.as_chunks::<L>().0;
    let sums = sums.as_chunks_mut::<L>().0;
    let mut next = starts.to_vec();
    for first in (0..words).step_by(TOGETHER) {
        let together = first..words.min(first + TOGETHER);
        for ((mask, next), sums) in mask.chunks_exact(words).zip(&mut next).zip(sums.iter_mut()) {
            let mut acc = *sums;
            for i in together.clone() {
                for_each_bit(mask[i], |bit| {
                    let w = to(values[*next]);
                    *next += 1;
                    let x = &xt[i * WORD + bit];
                    for (acc, x) in acc.iter_mut().zip(x) {
                        *acc = match I::SET {
                            InstructionSet::Portable => *acc + w * x,
                            _ => w.mul_add(*x, *acc),
                        };
                    }
                });
            }
            *sums = acc;
        }
    }
}
