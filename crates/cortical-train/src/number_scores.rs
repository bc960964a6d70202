//! How good predicted numbers are.

use cortical_data::TargetScale;
use serde::{Deserialize, Serialize};

use crate::scores::{Regression, rounded};

/// How good predicted numbers are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NumberScores {
    /// How many samples were looked at.
    pub samples: u64,
    /// Mean loss on the scale that is learned, with nine decimals.
    pub loss: f64,
    /// The share of the variance that is explained, with nine decimals: the mean of all targets'. `None` where a target
    /// has one value in all samples.
    pub r2: Option<f64>,
    /// The mean distance of prediction and target in the unit of the data, with nine digits: the mean of all targets'.
    pub mae: f64,
    /// The root of the mean squared distance, likewise.
    pub rmse: f64,
    /// Each target by itself.
    pub targets: Vec<TargetScore>,
}

/// How well one number is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetScore {
    /// Its name.
    pub name: String,
    /// The share of its variance that is explained; `None` where it has one value in all samples.
    pub r2: Option<f64>,
    /// The mean distance of prediction and target.
    pub mae: f64,
    /// The root of the mean squared distance.
    pub rmse: f64,
}

/// A figure with nine digits: a parser of JSON reads as many back exactly.
fn digits(figure: f64) -> f64 {
    format!("{figure:.8e}").parse().unwrap_or(figure)
}

/// What becomes scores, target by target. It is reckoned on the scale that is learned, where nothing is too large or
/// too small to be squared.
pub(crate) struct Sums<'a> {
    scale: &'a TargetScale,
    targets: Vec<Regression>,
    samples: u64,
    /// The sum of the samples' losses.
    pub(crate) loss: f64,
}

impl<'a> Sums<'a> {
    pub(crate) fn new(scale: &'a TargetScale) -> Self {
        Self {
            scale,
            targets: vec![Regression::default(); scale.count()],
            samples: 0,
            loss: 0.0,
        }
    }

    /// Adds a sample: predictions on the scale that is learned, targets in the unit of the data.
    pub(crate) fn add(&mut self, predictions: impl Iterator<Item = f64>, row: &[f64]) {
        self.samples += 1;
        let pairs = predictions.zip(row).enumerate();
        for ((at, (z, y)), scores) in pairs.zip(&mut self.targets) {
            scores.add(&[z], &[self.scale.standardized(at, *y)]);
        }
    }

    pub(crate) fn finish(self) -> NumberScores {
        let all = self.targets.iter().zip(self.scale.std());
        let each = all.zip(self.scale.names()).map(|((scores, std), name)| {
            let r2 = scores.r2();
            TargetScore {
                name: name.clone(),
                r2: r2.is_finite().then(|| rounded(r2)),
                mae: digits(scores.mae() * std),
                rmse: digits(scores.rmse() * std),
            }
        });
        let targets: Vec<TargetScore> = each.collect();
        let count = targets.len().max(1) as f64;
        let mean = |of: fn(&TargetScore) -> f64| targets.iter().map(|t| of(t) / count).sum::<f64>();
        let r2: Option<Vec<f64>> = targets.iter().map(|target| target.r2).collect();
        NumberScores {
            samples: self.samples,
            loss: rounded(self.loss / self.samples.max(1) as f64),
            r2: r2.map(|all| rounded(all.iter().sum::<f64>() / count)),
            mae: digits(mean(|target| target.mae)),
            rmse: digits(mean(|target| target.rmse)),
            targets,
        }
    }
}
