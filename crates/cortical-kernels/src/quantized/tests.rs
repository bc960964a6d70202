//! Quantized rows mean what their formats say, and every path computes the same products.

use super::dot;
use super::*;
use crate::half::f32_to_f16;
use crate::testing::{numbers, on_every_isa, same_bits_on_any_threads, singles};
use proptest::prelude::*;

/// Quantized rows of any format, those that are only read out of random bytes with sane scales.
fn matrix(format: Format, rows: usize, blocks: usize, seed: u32) -> QuantizedMatrix {
    let cols = blocks * format.block().max(1);
    let made = match format {
        Format::Q4K | Format::Q6K => false,
        format => !blocks::is_here(format),
    };
    if made {
        let weights = singles(&numbers(rows * cols, seed));
        return QuantizedMatrix::quantize(format, rows, cols, &weights).unwrap();
    }
    let mut bytes: Vec<u8> = numbers(rows * format.row_bytes(cols).unwrap(), seed)
        .iter()
        .map(|x| (x * 1e4) as i64 as u8)
        .collect();
    for (b, block) in bytes.chunks_exact_mut(format.block_bytes()).enumerate() {
        let d = f32_to_f16(0.001 + 0.0001 * b as f32).to_le_bytes();
        match format {
            Format::Q4K | Format::Q5K | Format::Q5_1 => {
                block[..4].copy_from_slice(&[d[0], d[1], d[0], d[1]]);
            }
            Format::Q2K => block[80..].copy_from_slice(&[d[0], d[1], d[0], d[1]]),
            Format::Q3K => block[108..].copy_from_slice(&d),
            Format::Q5_0 | Format::Iq4Nl | Format::Iq4Xs => block[..2].copy_from_slice(&d),
            _ => block[208..].copy_from_slice(&d),
        }
    }
    QuantizedMatrix::new(format, rows, cols, bytes).unwrap()
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |a, x| a.max(x.abs()))
}

/// Found by damaging files: one over the largest input was infinite, and sums of the numbers overflowed.
#[test]
fn inputs_that_are_almost_nothing_are_rounded_to_nothing() {
    for format in Format::ALL
        .into_iter()
        .filter(|format| format.block() >= 32)
    {
        let w = matrix(format, 3, 2, 7);
        for tiny in [f32::MIN_POSITIVE, 1e-45, -1e-40, 1e-37] {
            let x = vec![tiny; w.cols()];
            on_every_isa(|_| {
                let mut y = vec![f32::NAN; 3];
                w.product(1, &x, &mut y);
                assert!(
                    y.iter().all(|y| y.abs() < 1e-30),
                    "{format:?} {tiny}: {y:?}"
                );
            });
        }
    }
}

proptest! {
    #[test]
    fn every_path_is_the_naive_one(
        which in 0..Format::ALL.len(), rows in 1_usize..9, blocks in 1_usize..4, odd in 0_usize..40, n in 0_usize..40,
    ) {
        let format = Format::ALL[which];
        let blocks = if format.block() < 2 { 32 * blocks + odd } else { blocks };
        let w = matrix(format, rows, blocks, 7);
        let x = singles(&numbers(n * w.cols(), 8));
        let mut want = vec![0.0; n * rows];
        w.product_naive(n, &x, &mut want);
        // Inputs rounded to 8 bits: half a unit of each, summed as random errors are, with room.
        let unit = largest(&x) / 127.0;
        let weight = largest(&w.dequantize());
        let allowed = 1e-5 + 3.0 * unit * weight * (w.cols() as f32).sqrt();
        on_every_isa(|_| {
            let mut y = vec![f32::NAN; n * rows];
            w.product(n, &x, &mut y);
            for (y, want) in y.iter().zip(&want) {
                assert!((y - want).abs() <= allowed, "{format:?}: {y}, not {want}, allowed {allowed}");
            }
        });
    }

    #[test]
    fn vectors_and_loops_round_alike(which in 0..Format::ALL.len(), blocks in 1_usize..5, odd in 0_usize..33) {
        let format = Format::ALL[which];
        let blocks = if format.block() < 2 { 32 * blocks + odd } else { blocks };
        let w = matrix(format, 3, blocks, 3);
        let x = Activations::new(format, &singles(&numbers(w.cols(), 4)));
        let want: Vec<f32> = (0..3).map(|r| dot::portable(format, w.row(r), &x)).collect();
        let scale = largest(&w.dequantize()) * w.cols() as f32;
        on_every_isa(|isa| {
            let mut y = [0.0; 3];
            dot::rows(isa, format, w.bytes(), &x, &mut y);
            for (y, want) in y.iter().zip(&want) {
                assert!((y - want).abs() <= 2e-7 * scale, "{format:?}: {y}, not {want}");
            }
        });
    }
}

#[test]
fn rows_together_have_the_bits_of_rows_alone() {
    for format in Format::ALL {
        for (rows, blocks) in [(1, 1), (5, 2), (70, 5)] {
            let blocks = if format.block() < 2 {
                33 * blocks
            } else {
                blocks
            };
            let w = matrix(format, rows, blocks, 11);
            for n in [2, 3, 7, 8, 9, 16, 19, FEW_ROWS] {
                let x = singles(&numbers(n * w.cols(), 12));
                on_every_isa(|isa| {
                    let (mut y, mut alone) = (vec![0.0; n * rows], vec![0.0; n * rows]);
                    w.product(n, &x, &mut y);
                    let x = x.chunks_exact(w.cols()).zip(alone.chunks_exact_mut(rows));
                    x.for_each(|(x, y)| w.product(1, x, y));
                    let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&y), bits(&alone), "{format:?} {isa:?} {n} {rows}");
                });
            }
        }
    }
}

#[test]
fn quantizing_and_dequantizing_lose_no_more_than_the_format_says() {
    let weights = singles(&numbers(4 * 64, 1));
    let bits = [
        (Format::F16, 1.0 / 2048.0),
        (Format::Bf16, 1.0 / 256.0),
        (Format::Q8_0, 1.0 / 250.0),
        (Format::Int8, 1.0 / 250.0),
        (Format::Q4_0, 1.0 / 7.5),
        (Format::Q4_1, 1.0 / 14.0),
        (Format::Q4K, 1.0 / 12.0),
    ];
    for (format, step) in bits {
        let (rows, cols) = if format == Format::Q4K {
            (1, 256)
        } else {
            (4, 64)
        };
        let w = QuantizedMatrix::quantize(format, rows, cols, &weights).unwrap();
        assert_eq!(w.bytes().len(), rows * format.row_bytes(cols).unwrap());
        for (got, want) in w.dequantize().iter().zip(&weights) {
            assert!(
                (got - want).abs() <= step * largest(&weights),
                "{format:?}: {got}, not {want}"
            );
        }
    }
}

#[test]
fn odd_weights_are_quantized_to_numbers() {
    for weight in [0.0, -0.0, 1.0, -1.0, 1e-30, -1e30, f32::NAN, f32::INFINITY] {
        for other in [0.0, 3.0, -2.0, f32::NEG_INFINITY] {
            let mut weights = [other; 256];
            weights[7] = weight;
            let w = QuantizedMatrix::quantize(Format::Q4K, 1, 256, &weights).unwrap();
            if weight.is_finite() && other.is_finite() && weight.abs() < 1e4 {
                for (got, want) in w.dequantize().iter().zip(&weights) {
                    assert!(
                        (got - want).abs() <= 1e-6 + 0.1 * largest(&weights),
                        "{got}, not {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn blocks_mean_what_the_format_says() {
    // d = 2, m = −1, numbers 0..16 low and 15..0 high.
    let mut block = vec![0, 0x40, 0, 0xbc];
    block.extend((0..16).map(|j: u8| j | (15 - j) << 4));
    let mut out = [0.0; 32];
    QuantizedMatrix::new(Format::Q4_1, 1, 32, block.clone())
        .unwrap()
        .dequantize_row(0, &mut out);
    assert_eq!((out[0], out[5], out[16], out[31]), (-1.0, 9.0, 29.0, -1.0));
    block.drain(2..4);
    QuantizedMatrix::new(Format::Q4_0, 1, 32, block)
        .unwrap()
        .dequantize_row(0, &mut out);
    assert_eq!(
        (out[0], out[5], out[16], out[31]),
        (-16.0, -6.0, 14.0, -16.0)
    );
    let mut out = [0.0; 256];
    // Q4_K: part 0 has scale 1 and least 2, part 4 scale 17 = 1 + 16 and least 32.
    let mut block = vec![0, 0x3c, 0, 0x3c];
    block.extend([0x41, 0, 0, 0, 0x82, 0, 0, 0, 0x01, 0, 0, 0]);
    block.extend([0x35; 128]);
    QuantizedMatrix::new(Format::Q4K, 1, 256, block)
        .unwrap()
        .dequantize_row(0, &mut out);
    assert_eq!((out[0], out[32], out[128]), (3.0, 0.0, 17.0 * 5.0 - 32.0));
    // Q6_K: low nibble 5 and high bits 1 give 21 − 32, times scale −3.
    let mut block = vec![0x65; 128];
    block.extend([0b0001_1101_u8; 64]);
    block.extend([0xfd; 16]);
    block.extend([0, 0x3c]);
    QuantizedMatrix::new(Format::Q6K, 1, 256, block)
        .unwrap()
        .dequantize_row(0, &mut out);
    assert_eq!(
        (out[0], out[32], out[64], out[96]),
        (33.0, -63.0, 30.0, 78.0)
    );
}

#[test]
fn gradients_of_inputs_are_those_of_the_dequantized_weights() {
    let w = matrix(Format::Q8_0, 5, 2, 1);
    let d_y = singles(&numbers(3 * 5, 2));
    let mut d_x = vec![f32::NAN; 3 * 64];
    w.input_gradient(3, &d_y, &mut d_x);
    let all = w.dequantize();
    for i in 0..3 {
        for p in 0..64 {
            let want: f32 = (0..5).map(|j| d_y[i * 5 + j] * all[j * 64 + p]).sum();
            assert!((d_x[i * 64 + p] - want).abs() < 1e-5);
        }
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let columns = QuantizedMatrix::new(Format::Q4_1, 1, 33, vec![]).unwrap_err();
    assert_eq!(
        columns.to_string(),
        "rows of 33 weights cannot be quantized as q4_1, whose blocks have 32"
    );
    let bytes = QuantizedMatrix::new(Format::Q4_1, 2, 32, vec![0; 39]).unwrap_err();
    assert_eq!(
        bytes.to_string(),
        "the quantized rows need 40 bytes, 39 are there"
    );
    let many = QuantizedMatrix::new(Format::Q8_0, usize::MAX, 64, vec![]).unwrap_err();
    assert_eq!(
        many.to_string(),
        "the quantized rows have more bytes than can be counted"
    );
    let made = QuantizedMatrix::quantize(Format::Q6K, 1, 256, &[0.0; 256]).unwrap_err();
    assert!(matches!(made, QuantizedError::ReadOnly { .. }));
}

#[test]
fn bits_do_not_depend_on_threads() {
    for format in [Format::Q4_1, Format::Q6K] {
        let w = matrix(format, 700, 8, 1);
        for n in [1, 9, FEW_ROWS + 1] {
            let x = singles(&numbers(n * w.cols(), 2));
            same_bits_on_any_threads(|| {
                let mut y = vec![0.0; n * 700];
                w.product(n, &x, &mut y);
                y
            });
        }
    }
}
