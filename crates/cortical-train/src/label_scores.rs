//! How good predicted labels are, where a sample has any number of them.

use serde::{Deserialize, Serialize};

use crate::scores::rounded;

/// How good predicted labels are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelScores {
    /// How many samples were looked at.
    pub samples: u64,
    /// Mean loss of a label, in nats, with nine decimals.
    pub loss: f64,
    /// The mean of the labels' average precisions, with nine decimals; `None` where no sample has any label.
    pub average_precision: Option<f64>,
    /// The share of the samples all of whose labels are right.
    pub exact: f64,
    /// Each label by itself.
    pub labels: Vec<LabelScore>,
}

/// How well one label is recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelScore {
    /// Its name.
    pub name: String,
    /// How many samples have it.
    pub samples: u64,
    /// The probability from which on it is taken to be there.
    pub threshold: f64,
    /// `Σ (Rₙ − Rₙ₋₁) Pₙ` over all thresholds, with recall `R` and precision `P`: the area under the curve of precision
    /// against recall, without interpolation. `None` where no sample has the label.
    pub average_precision: Option<f64>,
    /// Of the samples that were taken to have it, the share that has it; `None` if none was.
    pub precision: Option<f64>,
    /// Of the samples that have it, the share that was taken to; `None` without such samples.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
}

/// What becomes scores.
pub(crate) struct Sums<'a> {
    names: &'a [String],
    thresholds: &'a [f64],
    /// The probability of each label in each sample, and whether it is there.
    found: Vec<Vec<(f64, bool)>>,
    exact: u64,
    samples: u64,
    /// The sum of the samples' mean losses.
    pub(crate) loss: f64,
}

impl<'a> Sums<'a> {
    pub(crate) fn new(names: &'a [String], thresholds: &'a [f64]) -> Self {
        Self {
            names,
            thresholds,
            found: vec![Vec::new(); names.len()],
            exact: 0,
            samples: 0,
            loss: 0.0,
        }
    }

    /// Adds a sample: the probability of each label, and 1 or 0 for each.
    pub(crate) fn add(&mut self, probabilities: &[f64], targets: &[f64]) {
        self.samples += 1;
        let mut all = true;
        let each = self.found.iter_mut().zip(self.thresholds);
        for ((found, threshold), (p, y)) in each.zip(probabilities.iter().zip(targets)) {
            let is_there = *y > 0.5;
            all &= (p >= threshold) == is_there;
            found.push((*p, is_there));
        }
        self.exact += u64::from(all);
    }

    pub(crate) fn finish(self) -> LabelScores {
        let share =
            |part: u64, whole: u64| (whole > 0).then(|| rounded(part as f64 / whole as f64));
        let pairs = self.names.iter().zip(self.thresholds).zip(&self.found);
        let labels: Vec<LabelScore> = pairs
            .map(|((name, threshold), found)| {
                let count = |wanted: &dyn Fn(bool, bool) -> bool| {
                    let fits = found.iter().filter(|(p, y)| wanted(p >= threshold, *y));
                    fits.count() as u64
                };
                let (there, taken) = (count(&|_, y| y), count(&|p, _| p));
                let right = count(&|p, y| p && y);
                let (precision, recall) = (share(right, taken), share(right, there));
                LabelScore {
                    name: name.clone(),
                    samples: there,
                    threshold: *threshold,
                    average_precision: average_precision(found).map(rounded),
                    precision,
                    recall,
                    f1: share(2 * right, there + taken),
                }
            })
            .collect();
        let precisions: Vec<f64> = labels.iter().filter_map(|l| l.average_precision).collect();
        let mean = precisions.iter().sum::<f64>() / precisions.len() as f64;
        LabelScores {
            samples: self.samples,
            loss: rounded(self.loss / self.samples.max(1) as f64),
            average_precision: (!precisions.is_empty()).then(|| rounded(mean)),
            exact: rounded(self.exact as f64 / self.samples.max(1) as f64),
            labels,
        }
    }
}

/// The average precision of probabilities, with whether the label is there; those that are equal count together.
fn average_precision(found: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = found.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all = sorted.iter().filter(|(_, there)| *there).count();
    let (mut area, mut right, mut taken) = (0.0, 0, 0);
    for group in sorted.chunk_by(|a, b| a.0 == b.0) {
        let more = group.iter().filter(|(_, there)| *there).count();
        right += more;
        taken += group.len();
        area += more as f64 * (right as f64 / taken as f64);
    }
    (all > 0).then(|| area / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_is_that_of_scikit_learn() {
        // sklearn.metrics.average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        let found = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let area = average_precision(&found).unwrap();
        assert!((area - 0.833_333_333_333_333_3).abs() < 1e-12, "{area}");
        // Ties: [0, 1, 1, 0], [0.5, 0.5, 0.2, 0.1].
        let ties = [(0.5, false), (0.5, true), (0.2, true), (0.1, false)];
        let area = average_precision(&ties).unwrap();
        assert!((area - 0.583_333_333_333_333_3).abs() < 1e-12, "{area}");
        assert_eq!(average_precision(&[(0.5, false)]), None);
    }

    #[test]
    fn each_label_has_its_own_threshold() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut sums = Sums::new(&names, &[0.5, 0.9]);
        sums.add(&[0.7, 0.8], &[1.0, 0.0]);
        sums.add(&[0.6, 0.95], &[0.0, 1.0]);
        sums.add(&[0.1, 0.7], &[1.0, 1.0]);
        let scores = sums.finish();
        let [a, b] = &scores.labels[..] else {
            panic!("two labels");
        };
        assert_eq!(
            (a.precision, a.recall, a.f1),
            (Some(0.5), Some(0.5), Some(0.5))
        );
        assert_eq!(
            (b.precision, b.recall, b.samples),
            (Some(1.0), Some(0.5), 2)
        );
        assert_eq!(scores.exact, rounded(1.0 / 3.0));
        assert_eq!(
            Sums::new(&names, &[0.5, 0.5]).finish().average_precision,
            None
        );
    }
}
