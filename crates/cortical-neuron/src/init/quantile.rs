//! The normal distribution between two bounds, drawn by inverting its distribution function.

use crate::{Error, Result};
use cortical_tensor::Rng;

/// Fills `values` from N(mean, std²) cut to `[low, high]`.
pub(super) fn truncated_normal(
    values: &mut [f32],
    rng: &mut Rng,
    (mean, std): (f64, f64),
    (low, high): (f64, f64),
) -> Result<()> {
    let holds = low < high && std > 0.0 && mean.is_finite() && std.is_finite();
    if !holds {
        return Err(Error::Option {
            option: "truncated normal",
            expected: "a positive std and a low bound below the high one",
            got: format!("std {std} in [{low}, {high}]"),
        });
    }
    let (from, to) = (
        distribution((low - mean) / std),
        distribution((high - mean) / std),
    );
    for value in values {
        let p = from + (to - from) * rng.uniform();
        *value = (mean + std * quantile(p)).clamp(low, high) as f32;
    }
    Ok(())
}

/// Φ(z), by the series of its odd moments near the middle and by its continued fraction in the tails.
fn distribution(z: f64) -> f64 {
    if z.is_infinite() {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z.abs() > 3.0 {
        let fraction = (1..60)
            .rev()
            .fold(z.abs(), |tail, k| z.abs() + k as f64 / tail);
        let tail = density / fraction;
        return if z > 0.0 { 1.0 - tail } else { tail };
    }
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > 1e-17 {
        k += 2.0;
        term *= z * z / k;
        sum += term;
    }
    0.5 + density * sum
}

/// Φ⁻¹(p): a start in the right order of magnitude, then Newton's steps, which double the digits.
fn quantile(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p <= 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    // The logistic distribution with the normal one's slope in the middle lies close enough; far in the tails the
    // normal density's own leading term does.
    let tail = p.min(1.0 - p);
    let start = if tail > 1e-3 {
        (p / (1.0 - p)).ln() / 1.702
    } else {
        let far = (-2.0 * tail.ln()).sqrt();
        let far = (-2.0 * (tail * far * (2.0 * std::f64::consts::PI).sqrt()).ln())
            .max(1.0)
            .sqrt();
        if p < 0.5 { -far } else { far }
    };
    let mut z = start;
    for _ in 0..8 {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if density == 0.0 {
            break;
        }
        let step = (distribution(z) - p) / density;
        // Halley's correction keeps the step from overshooting where the density bends.
        let step = step / (1.0 + 0.5 * step * z).max(0.5);
        z -= step;
        if step.abs() < 1e-14 * (1.0 + z.abs()) {
            break;
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_and_quantile_are_each_others_inverse() {
        // Φ(1.959964) = 0.975, Φ(−3) = 0.0013498980316301, Φ(−6) = 9.865876450e−10.
        for (z, p) in [
            (0.0, 0.5),
            (1.959_963_984_540_054, 0.975),
            (-3.0, 0.001_349_898_031_630_09),
            (-6.0, 9.865_876_450_376_98e-10),
        ] {
            assert!(
                (distribution(z) / p - 1.0).abs() < 1e-10,
                "{z}: {}",
                distribution(z)
            );
        }
        for i in 1..200 {
            let p = f64::from(i) / 200.0;
            assert!((distribution(quantile(p)) - p).abs() < 1e-12, "{p}");
        }
        for p in [1e-12, 1e-7, 1e-4, 1.0 - 1e-7] {
            let again = distribution(quantile(p));
            assert!((again / p - 1.0).abs() < 1e-6, "{p}: {again}");
        }
    }
}
