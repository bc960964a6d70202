//! Inputs of a quantized product, rounded to 8 bits in blocks of 32.

use super::{Format, blocks};
use crate::isa;

/// One row of inputs as a quantized product reads it.
pub(super) struct Activations {
    /// As they came, for weights of 16 bits and those that are dequantized.
    pub(super) plain: Vec<f32>,
    /// Rounded, padded with zeros to whole blocks of 32.
    pub(super) numbers: Vec<i8>,
    /// The scale of each block.
    pub(super) scales: Vec<f32>,
    /// The sum of each half block's rounded numbers, for weights with a least value or an offset.
    pub(super) sums: Vec<i32>,
    /// The scale of each block, and the sum of its rounded numbers times that.
    pub(super) scales_and_sums: Vec<[f32; 2]>,
}

impl Activations {
    /// Rounds `x` to nearest: `x ≈ scale · number`.
    pub(super) fn new(format: Format, x: &[f32]) -> Self {
        if matches!(format, Format::F16 | Format::Bf16) || blocks::is_here(format) {
            return Self {
                plain: x.to_vec(),
                numbers: Vec::new(),
                scales: Vec::new(),
                sums: Vec::new(),
                scales_and_sums: Vec::new(),
            };
        }
        let blocks = x.len().div_ceil(32);
        let mut numbers = vec![0_i8; blocks * 32];
        let mut scales = vec![0.0; blocks];
        let mut sums = vec![0; 2 * blocks];
        round(isa::current(), x, &mut numbers, &mut scales, &mut sums);
        let both = sums.as_chunks::<2>().0.iter().zip(&scales);
        let scales_and_sums = both
            .map(|([a, b], scale)| [*scale, scale * (a + b) as f32])
            .collect();
        Self {
            plain: Vec::new(),
            numbers,
            scales,
            sums,
            scales_and_sums,
        }
    }

    /// The sum of block `b`'s rounded numbers times its scale.
    pub(super) fn weighted(&self, b: usize) -> f32 {
        self.scales_and_sums[b][1]
    }
}

multiversion! {
    /// Numbers, the scale and the sums of both halves of every block of `x`.
    fn round(x: &[f32], numbers: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        let outputs = numbers.as_chunks_mut::<32>().0.iter_mut().zip(scales).zip(sums.as_chunks_mut::<2>().0);
        for (x, ((numbers, scale), sums)) in x.chunks(32).zip(outputs) {
            let mut block = [0.0_f32; 32];
            block[..x.len()].copy_from_slice(x);
            // Sixteen maxima at a time, so that vectors can take them.
            let mut largest = [0.0_f32; 16];
            for half in block.as_chunks::<16>().0 {
                for (largest, x) in largest.iter_mut().zip(half) {
                    *largest = if x.abs() > *largest { x.abs() } else { *largest };
                }
            }
            let largest = largest.into_iter().fold(0.0, f32::max);
            // Of nothing, and of numbers so small that no number says how often they go into 127, all are rounded to 0.
            let inverse = 127.0 / largest;
            let inverse = if inverse.is_finite() { inverse } else { 0.0 };
            *scale = largest / 127.0;
            let mut rounded = [0_i32; 32];
            for (q, x) in rounded.iter_mut().zip(&block) {
                *q = (x * inverse).round_ties_even() as i32;
            }
            for (number, q) in numbers.iter_mut().zip(&rounded) {
                *number = *q as i8;
            }
            for (sum, half) in sums.iter_mut().zip(rounded.as_chunks::<16>().0) {
                *sum = half.iter().sum();
            }
        }
    }
}
