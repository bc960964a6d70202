//! Convolution in single precision straight from the padded input, without unrolling windows into a matrix.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | strides and padding turned into offsets |
//! | [`gather`] | the padded input laid out for them |
//! | [`tile`] | the kernel of forward pass and input gradient |
//! | [`weight`] | the kernel of the weight gradient |
//! | [`forward`], [`backward`] | the passes over images, groups and channels |
//! | [`sparse`] | the backward pass under a max pool, over the pixels that have a gradient |
//! | [`lists`] | its kernel |
//! | [`channels`] | the padded input laid out for it, channels-last |

mod backward;
mod channels;
mod forward;
mod gather;
mod lists;
mod plan;
mod sparse;
mod tile;
mod weight;

pub(super) use forward::forward;

use super::{Geometry, Gradients, Upstream, driver};
use crate::isa::InstructionSet;
use crate::real::Real;
use std::ops::Range;

/// Whether this way serves a shape.
pub(super) fn serves<T: Real>(isa: InstructionSet, g: &Geometry) -> bool {
    T::as_f32(&[]).is_some()
        && isa > InstructionSet::Portable
        && g.fan_in() > 0
        && g.input_len() > 0
        && g.output_len() > 0
        && plan::fits(g)
}

/// The gradients, each in the way that its shape is worth.
pub(super) fn backward<T: Real>(
    isa: InstructionSet,
    g: &Geometry,
    x: &[T],
    weight: &[T],
    upstream: &Upstream<'_, T>,
    gradients: Gradients<'_, T>,
) {
    let Gradients {
        input,
        weight: d_weight,
        bias,
    } = gradients;
    let pool = upstream.pool();
    let serves = pool.map_or_else(Default::default, |pool| sparse::serves(isa, g, pool));
    let (few_input, all_input) = apart(serves.input, input);
    let (few_weight, all_weight) = apart(serves.weight, d_weight);
    let few = sparse::Serves {
        input: few_input.is_some(),
        weight: few_weight.is_some(),
    };
    let has_few = few != sparse::Serves::default();
    let (few_bias, all_bias) = apart(has_few, bias);
    if let (Some(pool), true) = (pool, has_few) {
        let gradients = Gradients {
            input: few_input,
            weight: few_weight,
            bias: few_bias,
        };
        let method = sparse::Sparse::new(isa, g, pool, single(weight), few);
        driver::backward(g, &method, x, upstream, gradients);
    }
    let all = (all_input.is_some(), all_weight.is_some());
    if all.0 || all.1 || all_bias.is_some() {
        let gradients = Gradients {
            input: all_input,
            weight: all_weight,
            bias: all_bias,
        };
        let method = backward::Direct::new(isa, g, weight, all);
        driver::backward(g, &method, x, upstream, gradients);
    }
}

/// What is wanted on the side that takes it.
fn apart<W>(is_few: bool, wanted: Option<W>) -> (Option<W>, Option<W>) {
    match is_few {
        true => (wanted, None),
        false => (None, wanted),
    }
}

/// The numbers of a caller who has asked [`serves`].
fn single<T: Real>(x: &[T]) -> &[f32] {
    T::as_f32(x).expect("only single precision comes here")
}

/// As [`single`], to be written.
fn single_mut<T: Real>(x: &mut [T]) -> &mut [f32] {
    T::as_f32_mut(x).expect("only single precision comes here")
}

fn lanes(isa: InstructionSet) -> usize {
    if isa >= InstructionSet::Avx512 { 16 } else { 8 }
}

/// Output channels of a tile.
fn most_channels(isa: InstructionSet) -> usize {
    if isa >= InstructionSet::Avx512 { 8 } else { 4 }
}

/// Multiplications that make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 19;
/// Fewer tasks than this leave threads without work.
const TASKS: usize = 8;

/// `channels` channels in ranges for up to `tasks` tasks: whole blocks of eight, none of them too little work where a
/// channel takes `products` multiplications.
fn ranges(channels: usize, tasks: usize, products: usize) -> impl Iterator<Item = Range<usize>> {
    let worth = channels.saturating_mul(products) / TASK_PRODUCTS + 1;
    let parts = tasks.min(worth).min(channels.div_ceil(8)).max(1);
    let part = channels.div_ceil(parts).next_multiple_of(8);
    (0..channels)
        .step_by(part)
        .map(move |first| first..(first + part).min(channels))
}
