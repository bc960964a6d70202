//! Convolution in single precision straight from the padded input, without unrolling windows into a matrix.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | strides and padding turned into offsets |
//! | [`gather`] | the padded input laid out for them |
//! | [`tile`] | the kernel of forward pass and input gradient |
//! | [`weight`] | the kernel of the weight gradient |
//! | [`forward`], [`backward`] | the passes over images, groups and channels |

mod backward;
mod forward;
mod gather;
mod plan;
mod tile;
mod weight;

pub(super) use backward::Direct;
pub(super) use forward::forward;

use super::Geometry;
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
