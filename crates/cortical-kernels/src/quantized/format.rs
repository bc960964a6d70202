//! How quantized weights lie, and what their numbers mean.

use super::{blocks, q4k};
use crate::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// A quantized form of a row of weights. The blocks are those of GGUF files, so that a file's bytes are used as they
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Blocks of 32: an f16 scale and 32 signed bytes, `w = d q`. 8.5 bits a weight.
    Q8_0,
    /// Blocks of 32: an f16 scale and 32 numbers of 4 bits, `w = d (q − 8)`. 4.5 bits a weight.
    Q4_0,
    /// Blocks of 32: an f16 scale, an f16 least value and 32 numbers of 4 bits, `w = d q + m`. 5 bits a weight.
    Q4_1,
    /// Blocks of 256 in eight parts, each with a scale and a least value of 6 bits: `w = d s q − e m`. 4.5 bits a
    /// weight.
    Q4K,
    /// Blocks of 256 in sixteen parts, each with a scale of 8 bits: `w = d s (q − 32)`, q of 6 bits. 6.56 bits a
    /// weight.
    Q6K,
    /// Blocks of 32: an f16 scale and 32 numbers of 5 bits, `w = d (q − 16)`. 5.5 bits a weight.
    Q5_0,
    /// Blocks of 32: an f16 scale, an f16 least value and 32 numbers of 5 bits, `w = d q + m`. 6 bits a weight.
    Q5_1,
    /// Blocks of 256 in sixteen parts, each with a scale and a least value of 4 bits: `w = d s q − e m`, q of 2 bits.
    /// 2.63 bits a weight.
    Q2K,
    /// Blocks of 256 in sixteen parts, each with a scale of 6 bits: `w = d (s − 32) (q − 4)`, q of 3 bits. 3.44 bits a
    /// weight.
    Q3K,
    /// As [`Format::Q4K`] with numbers of 5 bits. 5.5 bits a weight.
    Q5K,
    /// Blocks of 32: an f16 scale and 32 numbers of 4 bits that stand for sixteen uneven ones. 4.5 bits a weight.
    Iq4Nl,
    /// Blocks of 256 in eight parts, each with a scale of 6 bits, of the same uneven numbers. 4.25 bits a weight.
    Iq4Xs,
    /// A whole row (an output channel) with one f32 scale, then a signed byte a weight: `w = d q`.
    Int8,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q4K,
        Self::Q6K,
        Self::Int8,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2K,
        Self::Q3K,
        Self::Q5K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    /// The name in lower case, as the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
            Self::Q6K => "q6_k",
            Self::Int8 => "int8",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q5K => "q5_k",
            Self::Iq4Nl => "iq4_nl",
            Self::Iq4Xs => "iq4_xs",
        }
    }

    /// Weights of a block; 1 where each stands alone, 0 where a row is one block.
    #[must_use]
    pub fn block(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Iq4Nl => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K | Self::Iq4Xs => 256,
            Self::Int8 => 0,
        }
    }

    /// Bytes of a block; for [`Format::Int8`] those beside the weights' own.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
            Self::Int8 => 4,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q5K => 176,
            Self::Iq4Nl => 18,
            Self::Iq4Xs => 136,
        }
    }

    /// Bytes of a row of `cols` weights; `None` when they are no whole number of blocks or too many.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        match self.block() {
            0 => cols.checked_add(self.block_bytes()),
            block if cols.is_multiple_of(block) => (cols / block).checked_mul(self.block_bytes()),
            _ => None,
        }
    }
}

/// The two bytes at `at` as a number.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The scale and the least value of part `j` of a [`Format::Q4K`] block, out of its twelve bytes.
#[inline(always)]
pub(super) fn q4k_part(scales: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        let high = (scales[j - 4] >> 6, scales[j] >> 6);
        let both = scales[j + 4];
        (both & 15 | high.0 << 4, both >> 4 | high.1 << 4)
    }
}

/// The 6-bit numbers of a [`Format::Q6K`] block, each still 32 too large.
#[inline(always)]
pub(super) fn q6k_numbers(block: &[u8], out: &mut [u8; 256]) {
    let (low, high) = (&block[..128], &block[128..192]);
    for half in 0..2 {
        let (low, high) = (&low[64 * half..][..64], &high[32 * half..][..32]);
        let out = &mut out[128 * half..][..128];
        for l in 0..32 {
            out[l] = low[l] & 15 | (high[l] & 3) << 4;
            out[l + 32] = low[l + 32] & 15 | (high[l] >> 2 & 3) << 4;
            out[l + 64] = low[l] >> 4 | (high[l] >> 4 & 3) << 4;
            out[l + 96] = low[l + 32] >> 4 | (high[l] >> 6) << 4;
        }
    }
}

/// Writes the weights of one quantized row as `f32`.
///
/// # Panics
/// If `row` has not the bytes of `out.len()` weights.
pub(super) fn dequantize_row(format: Format, row: &[u8], out: &mut [f32]) {
    assert_eq!(
        Some(row.len()),
        format.row_bytes(out.len()),
        "quantized: a row"
    );
    match format {
        Format::F16 | Format::Bf16 => {
            let to = if format == Format::F16 {
                f16_to_f32
            } else {
                bf16_to_f32
            };
            for (out, bits) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *out = to(u16::from_le_bytes(*bits));
            }
        }
        Format::Int8 => {
            let (scale, numbers) = row.split_at(4);
            let d = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
            for (out, q) in out.iter_mut().zip(numbers) {
                *out = d * f32::from(*q as i8);
            }
        }
        Format::Q8_0 | Format::Q4_0 | Format::Q4_1 => {
            let blocks = row.chunks_exact(format.block_bytes());
            for (block, out) in blocks.zip(out.chunks_exact_mut(32)) {
                dequantize_small(format, block, out);
            }
        }
        Format::Q5_0
        | Format::Q5_1
        | Format::Q2K
        | Format::Q3K
        | Format::Q5K
        | Format::Iq4Nl
        | Format::Iq4Xs => {
            let parts = row.chunks_exact(format.block_bytes());
            for (block, out) in parts.zip(out.chunks_exact_mut(format.block())) {
                blocks::dequantize(format, block, out);
            }
        }
        Format::Q4K => {
            for (block, out) in row.chunks_exact(144).zip(out.chunks_exact_mut(256)) {
                let (d, e) = (f16_to_f32(word(block, 0)), f16_to_f32(word(block, 2)));
                for (j, out) in out.chunks_exact_mut(32).enumerate() {
                    let (s, m) = q4k_part(&block[4..16], j);
                    let (s, m) = (d * f32::from(s), e * f32::from(m));
                    let nibbles = &block[16 + 32 * (j / 2)..][..32];
                    for (out, q) in out.iter_mut().zip(nibbles) {
                        let q = if j % 2 == 0 { q & 15 } else { q >> 4 };
                        *out = s * f32::from(q) - m;
                    }
                }
            }
        }
        Format::Q6K => {
            let mut numbers = [0; 256];
            for (block, out) in row.chunks_exact(210).zip(out.chunks_exact_mut(256)) {
                let d = f16_to_f32(word(block, 208));
                q6k_numbers(block, &mut numbers);
                for (j, (out, q)) in out
                    .chunks_exact_mut(16)
                    .zip(numbers.as_chunks::<16>().0)
                    .enumerate()
                {
                    let s = d * f32::from(block[192 + j] as i8);
                    for (out, q) in out.iter_mut().zip(q) {
                        *out = s * (f32::from(*q) - 32.0);
                    }
                }
            }
        }
    }
}

fn dequantize_small(format: Format, block: &[u8], out: &mut [f32]) {
    let d = f16_to_f32(word(block, 0));
    if format == Format::Q8_0 {
        for (out, q) in out.iter_mut().zip(&block[2..]) {
            *out = d * f32::from(*q as i8);
        }
        return;
    }
    let (low, high) = out.split_at_mut(16);
    if format == Format::Q4_0 {
        for ((low, high), q) in low.iter_mut().zip(high).zip(&block[2..]) {
            *low = d * (f32::from(q & 15) - 8.0);
            *high = d * (f32::from(q >> 4) - 8.0);
        }
        return;
    }
    let (nibbles, least) = (&block[4..], f16_to_f32(word(block, 2)));
    for ((low, high), q) in low.iter_mut().zip(high).zip(nibbles) {
        *low = d * f32::from(q & 15) + least;
        *high = d * f32::from(q >> 4) + least;
    }
}

/// Quantizes one row, rounding each weight to the nearest number of its block; `false` where the format is only read.
pub(super) fn quantize_row(format: Format, row: &[f32], out: &mut Vec<u8>) -> bool {
    match format {
        Format::F16 => out.extend(row.iter().flat_map(|x| f32_to_f16(*x).to_le_bytes())),
        Format::Bf16 => out.extend(row.iter().flat_map(|x| f32_to_bf16(*x).to_le_bytes())),
        Format::Int8 => {
            let d = largest(row) / 127.0;
            out.extend(d.to_le_bytes());
            out.extend(row.iter().map(|x| nearest(*x, d, 127.0) as i8 as u8));
        }
        Format::Q8_0 => {
            for block in row.chunks_exact(32) {
                let d = largest(block) / 127.0;
                out.extend(f32_to_f16(d).to_le_bytes());
                out.extend(block.iter().map(|x| nearest(*x, d, 127.0) as i8 as u8));
            }
        }
        Format::Q4_0 => {
            for block in row.chunks_exact(32) {
                // The number of largest size becomes −8 exactly.
                let far = block
                    .iter()
                    .copied()
                    .fold(0.0_f32, |a, x| if x.abs() > a.abs() { x } else { a });
                let d = far / -8.0;
                out.extend(f32_to_f16(d).to_le_bytes());
                nibbles(block, |x| (nearest(x, d, 8.0) + 8.0).clamp(0.0, 15.0), out);
            }
        }
        Format::Q4_1 => {
            for block in row.chunks_exact(32) {
                let least = block.iter().copied().fold(f32::INFINITY, f32::min);
                let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let d = (most - least) / 15.0;
                out.extend(f32_to_f16(d).to_le_bytes());
                out.extend(f32_to_f16(least).to_le_bytes());
                nibbles(block, |x| nearest(x - least, d, 15.0).max(0.0), out);
            }
        }
        Format::Q4K => {
            for block in row.chunks_exact(256) {
                q4k::quantize(block, out);
            }
        }
        Format::Q6K
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2K
        | Format::Q3K
        | Format::Q5K
        | Format::Iq4Nl
        | Format::Iq4Xs => return false,
    }
    true
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |a, x| x.abs().max(a))
}

fn nearest(x: f32, d: f32, limit: f32) -> f32 {
    if d == 0.0 {
        0.0
    } else {
        (x / d).round().clamp(-limit, limit)
    }
}

fn nibbles(block: &[f32], number: impl Fn(f32) -> f32, out: &mut Vec<u8>) {
    for j in 0..16 {
        out.push(number(block[j]) as u8 | (number(block[j + 16]) as u8) << 4);
    }
}
