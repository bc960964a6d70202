//! The forms that are dequantized row by row for every product: those of GGUF files that are met less often.

// circle: a row's form says where it is dequantized
use super::Format;
use super::format::{q4k_part, word};
use crate::half::f16_to_f32;

/// The sixteen numbers that 4 bits stand for in the IQ4 forms: close together near zero.
const UNEVEN: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Whether a form is one of these.
pub(super) fn is_here(format: Format) -> bool {
    matches!(
        format,
        Format::Q5_0
            | Format::Q5_1
            | Format::Q2K
            | Format::Q3K
            | Format::Q5K
            | Format::Iq4Nl
            | Format::Iq4Xs
    )
}

/// Writes the weights of one block.
///
/// # Panics
/// If the form is none of these, or a length does not fit.
pub(super) fn dequantize(format: Format, block: &[u8], out: &mut [f32]) {
    match format {
        Format::Q5_0 => five_bits(block, 2, f16_to_f32(word(block, 0)), None, out),
        Format::Q5_1 => {
            let least = f16_to_f32(word(block, 2));
            five_bits(block, 4, f16_to_f32(word(block, 0)), Some(least), out);
        }
        Format::Q2K => q2k(block, out),
        Format::Q3K => q3k(block, out),
        Format::Q5K => q5k(block, out),
        Format::Iq4Nl => uneven(f16_to_f32(word(block, 0)), &block[2..], out),
        Format::Iq4Xs => iq4xs(block, out),
        _ => unreachable!("only the forms of `is_here` come here"),
    }
}

/// 32 numbers of 4 bits, with the fifth bits of all of them before: the low halves of the bytes first.
fn five_bits(block: &[u8], at: usize, d: f32, least: Option<f32>, out: &mut [f32]) {
    let high = u32::from(word(block, at)) | u32::from(word(block, at + 2)) << 16;
    let nibbles = &block[at + 4..];
    for (j, out) in out.iter_mut().enumerate() {
        let low = if j < 16 {
            nibbles[j] & 15
        } else {
            nibbles[j - 16] >> 4
        };
        let q = low | ((high >> j & 1) as u8) << 4;
        *out = match least {
            Some(least) => d * f32::from(q) + least,
            None => d * (f32::from(q) - 16.0),
        };
    }
}

/// Sixteen parts of 16, each with a scale and a least value of 4 bits; numbers of 2 bits, four parts of 32 in the same
/// bytes.
fn q2k(block: &[u8], out: &mut [f32]) {
    let (scales, numbers) = (&block[..16], &block[16..80]);
    let (d, e) = (f16_to_f32(word(block, 80)), f16_to_f32(word(block, 82)));
    for (j, out) in out.chunks_exact_mut(16).enumerate() {
        let (s, m) = (d * f32::from(scales[j] & 15), e * f32::from(scales[j] >> 4));
        let (half, shift) = (j / 8, 2 * (j % 8 / 2));
        let numbers = &numbers[32 * half + 16 * (j % 2)..][..16];
        for (out, q) in out.iter_mut().zip(numbers) {
            *out = s * f32::from(q >> shift & 3) - m;
        }
    }
}

/// Sixteen parts of 16, each with a scale of 6 bits; numbers of 2 bits, and a third bit that takes 4 away where it is
/// not set.
fn q3k(block: &[u8], out: &mut [f32]) {
    let (high, numbers, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let d = f16_to_f32(word(block, 108));
    for (j, out) in out.chunks_exact_mut(16).enumerate() {
        let low = packed[j % 8] >> (4 * (j / 8)) & 15;
        let top = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        let s = d * (f32::from(low | top << 4) - 32.0);
        let (half, shift) = (j / 8, 2 * (j % 8 / 2));
        let numbers = &numbers[32 * half + 16 * (j % 2)..][..16];
        let high = &high[16 * (j % 2)..][..16];
        for ((out, q), high) in out.iter_mut().zip(numbers).zip(high) {
            let missing = if high >> (j / 2) & 1 == 0 { 4.0 } else { 0.0 };
            *out = s * (f32::from(q >> shift & 3) - missing);
        }
    }
}

/// Eight parts of 32 as in [`Format::Q4K`], and a fifth bit of every number before them.
fn q5k(block: &[u8], out: &mut [f32]) {
    let (d, e) = (f16_to_f32(word(block, 0)), f16_to_f32(word(block, 2)));
    let (high, numbers) = (&block[16..48], &block[48..176]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, m) = q4k_part(&block[4..16], j);
        let (s, m) = (d * f32::from(s), e * f32::from(m));
        let numbers = &numbers[32 * (j / 2)..][..32];
        for ((out, q), high) in out.iter_mut().zip(numbers).zip(high) {
            let q = q >> (4 * (j % 2)) & 15 | (high >> j & 1) << 4;
            *out = s * f32::from(q) - m;
        }
    }
}

/// 32 numbers of 4 bits that stand for uneven ones, the low halves of the bytes first.
fn uneven(d: f32, nibbles: &[u8], out: &mut [f32]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), q) in low.iter_mut().zip(high).zip(nibbles) {
        *low = d * f32::from(UNEVEN[usize::from(q & 15)]);
        *high = d * f32::from(UNEVEN[usize::from(q >> 4)]);
    }
}

/// Eight parts of 32 uneven numbers, each with a scale of 6 bits: the upper two of all of them first.
fn iq4xs(block: &[u8], out: &mut [f32]) {
    let (d, high) = (f16_to_f32(word(block, 0)), word(block, 2));
    let (low, numbers) = (&block[4..8], &block[8..]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let low = low[j / 2] >> (4 * (j % 2)) & 15;
        let top = (high >> (2 * j) & 3) as u8;
        let s = d * (f32::from(low | top << 4) - 32.0);
        uneven(s, &numbers[16 * j..][..16], out);
    }
}
