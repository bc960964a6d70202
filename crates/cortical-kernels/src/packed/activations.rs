//! Inputs of a packed product, rounded to 8 bits in blocks of 32.

use super::Format;

/// One row of inputs as a packed product reads it.
pub(super) struct Activations {
    /// As they came, for weights of 16 bits.
    pub(super) plain: Vec<f32>,
    /// Rounded, padded with zeros to whole blocks of 32.
    pub(super) numbers: Vec<i8>,
    /// The scale of each block.
    pub(super) scales: Vec<f32>,
    /// The sum of each half block's rounded numbers, for weights with a least value or an offset.
    pub(super) sums: Vec<i32>,
    /// The sum of each block's rounded numbers times its scale.
    pub(super) sums_scaled: Vec<f32>,
}

impl Activations {
    /// Rounds `x` to nearest: `x ≈ scale · number`.
    pub(super) fn new(format: Format, x: &[f32]) -> Self {
        if matches!(format, Format::F16 | Format::Bf16) {
            return Self {
                plain: x.to_vec(),
                numbers: Vec::new(),
                scales: Vec::new(),
                sums: Vec::new(),
                sums_scaled: Vec::new(),
            };
        }
        let blocks = x.len().div_ceil(32);
        let mut numbers = vec![0_i8; blocks * 32];
        let mut scales = vec![0.0; blocks];
        let mut sums = vec![0; 2 * blocks];
        for (b, x) in x.chunks(32).enumerate() {
            let largest = x.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            scales[b] = largest / 127.0;
            let numbers = &mut numbers[32 * b..32 * b + 32];
            for (q, x) in numbers.iter_mut().zip(x) {
                *q = (x * inverse).round_ties_even() as i8;
            }
            for (sum, part) in sums[2 * b..].iter_mut().zip(numbers.chunks_exact(16)) {
                *sum = part.iter().map(|q| i32::from(*q)).sum();
            }
        }
        let both = sums.as_chunks::<2>().0.iter().zip(&scales);
        let sums_scaled = both.map(|([a, b], scale)| scale * (a + b) as f32).collect();
        Self {
            plain: Vec::new(),
            numbers,
            scales,
            sums,
            sums_scaled,
        }
    }

    /// The sum of block `b`'s rounded numbers times its scale.
    pub(super) fn weighted(&self, b: usize) -> f32 {
        self.sums_scaled[b]
    }
}
