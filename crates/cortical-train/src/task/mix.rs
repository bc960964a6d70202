//! Mixup and cutmix: samples of a batch mixed with each other, labels in proportion.

use candle_core::Tensor;
use cortical_tensor::Rng;

use crate::Result;

/// How much is mixed: the α of each way, 0 for not at all. With both, each batch draws one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) mixup: f64,
    pub(crate) cutmix: f64,
}

impl Mix {
    pub(crate) fn is_none(self) -> bool {
        self.mixup == 0.0 && self.cutmix == 0.0
    }

    /// Mixes each sample with one drawn from the same batch, `x ← λ x + (1 − λ) x'` or a rectangle of `x'`, with
    /// `λ ~ Beta(α, α)`.
    ///
    /// # Shapes
    /// - `inputs`: `[n, shape...]`; cutmix wants `[n, channels, height, width]`
    /// - returns inputs of the same shape, and labels as distributions `[n, classes]`
    ///
    /// # Source
    /// Zhang et al., "mixup: beyond empirical risk minimization" (2018), equation 1; Yun et al., "CutMix:
    /// regularization strategy to train strong classifiers with localizable features" (2019), equations 1 and 2.
    pub(crate) fn apply(
        self,
        rng: &mut Rng,
        inputs: &Tensor,
        labels: &[u32],
        classes: usize,
    ) -> Result<(Tensor, Tensor)> {
        let n = labels.len();
        let mut partners: Vec<usize> = (0..n).collect();
        rng.shuffle(&mut partners);
        let cut = self.cutmix > 0.0 && (self.mixup == 0.0 || rng.uniform() < 0.5);
        let lambda = beta(rng, if cut { self.cutmix } else { self.mixup });
        let mut values = inputs.flatten_all()?.to_vec1::<f32>()?;
        let features = values.len() / n.max(1);
        let before = values.clone();
        let mut kept = lambda;
        if !cut {
            let (own, other) = (lambda as f32, (1.0 - lambda) as f32);
            for (i, &partner) in partners.iter().enumerate() {
                let theirs = &before[partner * features..(partner + 1) * features];
                let mine = &mut values[i * features..(i + 1) * features];
                for (x, y) in mine.iter_mut().zip(theirs) {
                    *x = own * *x + other * y;
                }
            }
        } else {
            let (_, _, height, width) = inputs.dims4()?;
            let rectangle = rectangle(rng, lambda, (height, width));
            let area = rectangle.0.len() * rectangle.1.len();
            kept = 1.0 - area as f64 / (height * width) as f64;
            for (i, &partner) in partners.iter().enumerate() {
                for plane in 0..features / (height * width) {
                    for y in rectangle.0.clone() {
                        let row = plane * height * width + y * width;
                        let span = row + rectangle.1.start..row + rectangle.1.end;
                        let theirs = partner * features + span.start..partner * features + span.end;
                        values[i * features + span.start..i * features + span.end]
                            .copy_from_slice(&before[theirs]);
                    }
                }
            }
        }
        let mut soft = vec![0.0_f32; n * classes];
        for (i, &partner) in partners.iter().enumerate() {
            soft[i * classes + labels[i] as usize] += kept as f32;
            soft[i * classes + labels[partner] as usize] += (1.0 - kept) as f32;
        }
        let device = inputs.device();
        Ok((
            Tensor::from_vec(values, inputs.dims(), device)?,
            Tensor::from_vec(soft, (n, classes), device)?,
        ))
    }
}

/// Rows and columns of a rectangle with `1 − λ` of the area, around a random centre and cut at the edges.
fn rectangle(
    rng: &mut Rng,
    lambda: f64,
    (height, width): (usize, usize),
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let side = (1.0 - lambda).sqrt();
    let mut span = |whole: usize| {
        let length = (side * whole as f64).round() as usize;
        let centre = rng.below(whole as u64) as usize;
        let start = centre.saturating_sub(length / 2);
        start..whole.min(centre + length - length / 2)
    };
    (span(height), span(width))
}

/// A number of the distribution Beta(α, α).
fn beta(rng: &mut Rng, alpha: f64) -> f64 {
    let (a, b) = (gamma(rng, alpha), gamma(rng, alpha));
    // Both are zero only where a tiny α leaves nothing; then either end is as good.
    if a + b > 0.0 { a / (a + b) } else { 1.0 }
}

/// A number of the distribution Gamma(α, 1).
///
/// # Source
/// Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with the boost of section 6 below 1.
fn gamma(rng: &mut Rng, alpha: f64) -> f64 {
    if alpha < 1.0 {
        let u = 1.0 - rng.uniform();
        return gamma(rng, alpha + 1.0) * u.powf(1.0 / alpha);
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = rng.normal();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - rng.uniform();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use cortical_tensor::Seed;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2, 1.0, 3.0] {
            let mut rng = Rng::new(Seed(1), "beta");
            let draws: Vec<f64> = (0..20_000).map(|_| beta(&mut rng, alpha)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            let want = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(
                (variance - want).abs() < 0.05 * want,
                "{alpha}: {variance} {want}"
            );
        }
    }

    #[test]
    fn labels_say_how_much_of_each_sample_is_there() {
        let inputs: Vec<f32> = (0..3).flat_map(|i| [i as f32; 2 * 16]).collect();
        let inputs = Tensor::from_vec(inputs, (3, 2, 4, 4), &Device::Cpu).unwrap();
        for mix in [
            Mix {
                mixup: 1.0,
                cutmix: 0.0,
            },
            Mix {
                mixup: 0.0,
                cutmix: 1.0,
            },
        ] {
            for seed in 0..20 {
                let mut rng = Rng::new(Seed(seed), "mix");
                let (mixed, soft) = mix.apply(&mut rng, &inputs, &[0, 1, 2], 3).unwrap();
                let (mixed, soft) = (
                    mixed.reshape((3, 32)).unwrap().to_vec2::<f32>().unwrap(),
                    soft.to_vec2::<f32>().unwrap(),
                );
                for (values, label) in mixed.iter().zip(&soft) {
                    assert!((label.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                    // Sample i is filled with i, so its mean is what the labels say.
                    let mean = values.iter().sum::<f32>() / 32.0;
                    let want = label[1] + 2.0 * label[2];
                    assert!((mean - want).abs() < 1e-5, "{mix:?} {mean} {want}");
                }
            }
        }
    }
}
