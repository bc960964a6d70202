//! Quantizing to [`Format::Q4K`](super::Format::Q4K): scales and least values of 6 bits for parts of 32.

use crate::half::{f16_to_f32, f32_to_f16};

/// Grids that are tried for a part, besides the one from its least to its largest weight.
const GRIDS: usize = 20;

/// A scale and what is taken away: `w = scale q − least`, with neither below zero.
#[derive(Clone, Copy, Default)]
struct Part {
    scale: f32,
    least: f32,
}

/// Appends the 144 bytes of 256 weights.
pub(super) fn quantize(weights: &[f32], out: &mut Vec<u8>) {
    let mut parts = [Part::default(); 8];
    for (part, weights) in parts.iter_mut().zip(weights.chunks_exact(32)) {
        *part = fit(weights);
    }
    let largest = |of: fn(&Part) -> f32| parts.iter().map(of).fold(0.0, f32::max);
    let d = f32_to_f16(largest(|part| part.scale) / 63.0);
    let e = f32_to_f16(largest(|part| part.least) / 63.0);
    out.extend([d, e].map(u16::to_le_bytes).concat());
    let (d, e) = (f16_to_f32(d), f16_to_f32(e));
    let step = |x: f32, unit: f32| {
        if unit > 0.0 {
            (x / unit).round().clamp(0.0, 63.0) as u8
        } else {
            0
        }
    };
    let steps = parts.map(|part| (step(part.scale, d), step(part.least, e)));
    let mut packed = [0_u8; 12];
    for (j, (s, m)) in steps.into_iter().enumerate() {
        if j < 4 {
            packed[j] |= s;
            packed[j + 4] |= m;
        } else {
            packed[j + 4] = s & 15 | m << 4;
            packed[j - 4] |= s >> 4 << 6;
            packed[j] |= m >> 4 << 6;
        }
    }
    out.extend(packed);
    let number = |j: usize, i: usize| {
        let (s, m) = steps[j];
        let (scale, least) = (d * f32::from(s), e * f32::from(m));
        match scale > 0.0 {
            true => ((weights[32 * j + i] + least) / scale)
                .round()
                .clamp(0.0, 15.0) as u8,
            false => 0,
        }
    };
    for pair in 0..4 {
        out.extend((0..32).map(|i| number(2 * pair, i) | number(2 * pair + 1, i) << 4));
    }
}

/// The scale and least value that lose little of 32 weights: for several grids, the best line through the numbers that
/// the grid gives; large weights count more.
fn fit(weights: &[f32]) -> Part {
    let least = weights.iter().copied().fold(0.0, f32::min);
    let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = most - least;
    if !(range > 0.0 && range.is_finite()) {
        // All are the same number that is not above zero, or none is a number.
        let least = if least.is_finite() { -least } else { 0.0 };
        return Part { scale: 0.0, least };
    }
    let mean_square = weights.iter().map(|x| x * x).sum::<f32>() / 32.0;
    let spread = mean_square.sqrt();
    let mut best = (f32::INFINITY, Part::default());
    for grid in 0..=GRIDS {
        let steps = 14.0 + 0.1 * grid as f32;
        let number = |x: f32| ((x - least) * steps / range).round().clamp(0.0, 15.0);
        let (mut w, mut wx, mut wq, mut wqq, mut wqx) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &x in weights {
            let (q, weight) = (number(x), spread + x.abs());
            w += weight;
            wx += weight * x;
            wq += weight * q;
            wqq += weight * q * q;
            wqx += weight * q * x;
        }
        let determinant = w * wqq - wq * wq;
        let mut scale = (w * wqx - wx * wq) / determinant;
        let mut offset = (wqq * wx - wq * wqx) / determinant;
        if determinant <= 0.0 || offset > 0.0 {
            // Through zero.
            (scale, offset) = (wqx / wqq, 0.0);
        }
        if !(scale > 0.0 && scale.is_finite() && offset.is_finite()) {
            continue;
        }
        let error = |x: &f32| (spread + x.abs()) * (scale * number(*x) + offset - x).powi(2);
        let loss = weights.iter().map(error).sum::<f32>();
        if loss < best.0 {
            best = (
                loss,
                Part {
                    scale,
                    least: -offset,
                },
            );
        }
    }
    best.1
}
