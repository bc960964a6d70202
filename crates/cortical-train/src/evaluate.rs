//! How good a network is on data that it has not seen.

use candle_core::{Device, Tensor};
use cortical_data::{Dataset, Loader};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Layer, Pass};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::scores::{ClassCount, Classification, choice, rounded};

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// How many samples were looked at.
    pub samples: u64,
    /// Mean loss, in nats, with nine decimals.
    pub loss: f64,
    /// Share of the samples that was classified rightly, with nine decimals.
    pub accuracy: f64,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// `confusion[t][p]`: how many samples of class `t` were taken for class `p`. Empty with more than 256 classes.
    pub confusion: Vec<Vec<u64>>,
    /// How often each class was there and was chosen, where the matrix does not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<ClassCount>,
    /// Share of the samples whose class was among the first five choices, where there are more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_5: Option<f64>,
    /// The mean of the classes' F1.
    #[serde(default)]
    pub macro_f1: f64,
    /// The mean of the classes' areas under the ROC curve, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
}

/// How well one class is recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// How many samples it has.
    pub samples: u64,
    /// Share of its samples that was recognised; `None` without samples.
    pub recall: Option<f64>,
    /// Share of the samples taken for it that belong to it; `None` if none was.
    pub precision: Option<f64>,
}

impl Evaluation {
    /// What scores of these classes come to.
    pub(crate) fn new(scores: &Classification, classes: &[String]) -> Self {
        Self {
            samples: scores.samples(),
            loss: rounded(scores.loss()),
            accuracy: rounded(scores.accuracy()),
            classes: classes.to_vec(),
            confusion: scores.confusion().to_vec(),
            counts: match scores.confusion() {
                [] => scores.counts().to_vec(),
                _ => Vec::new(),
            },
            top_5: (classes.len() > 5).then(|| rounded(scores.top_k(5))),
            macro_f1: rounded(scores.macro_f1()),
            auroc: scores.macro_auroc(),
        }
    }

    /// The classes one by one.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassScore> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let score = |(name, count): (&String, ClassCount)| ClassScore {
            name: name.clone(),
            samples: count.samples,
            recall: share(count.right, count.samples),
            precision: share(count.right, count.taken),
        };
        self.classes
            .iter()
            .zip(self.class_counts())
            .map(score)
            .collect()
    }

    /// How many samples were classified rightly.
    #[must_use]
    pub fn right(&self) -> u64 {
        let counts = self.class_counts();
        let each = counts.iter().map(|count| count.right);
        each.fold(0, u64::saturating_add)
    }

    /// How often each class was there and was chosen.
    fn class_counts(&self) -> Vec<ClassCount> {
        if !self.counts.is_empty() {
            return self.counts.clone();
        }
        // A report's file may hold any numbers.
        let add = |sum: &mut u64, samples: u64| *sum = sum.saturating_add(samples);
        let mut counts = vec![ClassCount::default(); self.classes.len()];
        for (class, row) in self.confusion.iter().enumerate() {
            for (chosen, &samples) in row.iter().enumerate() {
                if class >= counts.len() || chosen >= counts.len() {
                    continue;
                }
                add(&mut counts[class].samples, samples);
                add(&mut counts[chosen].taken, samples);
                if class == chosen {
                    add(&mut counts[class].right, samples);
                }
            }
        }
        counts
    }
}

/// How many rows have their highest score at their label; the first of equals counts, and never one that is NaN.
///
/// # Shapes
/// `logits`: `[n, classes]`; `labels`: n.
pub(crate) fn right(logits: &Tensor, labels: &[u32]) -> Result<f64> {
    let rows = logits.detach().to_vec2::<f32>()?;
    let is_right = |(row, label): &(&Vec<f32>, &u32)| choice(row) == **label as usize;
    Ok(rows.iter().zip(labels).filter(is_right).count() as f64)
}

/// Looks at every sample of `dataset` once, without training.
///
/// # Errors
/// Samples that the network cannot take.
pub fn evaluate(
    network: &impl Layer,
    dataset: &Dataset,
    batch_size: usize,
    device: &Device,
) -> Result<Evaluation> {
    evaluate_batches(network, dataset, batch_size, 0, device)
}

/// As [`evaluate`], of the first `limit` batches; 0 for all.
pub(crate) fn evaluate_batches(
    network: &impl Layer,
    dataset: &Dataset,
    batch_size: usize,
    limit: u64,
    device: &Device,
) -> Result<Evaluation> {
    let classes = dataset.classes();
    let mut scores = Classification::new(classes.len());
    let mut config = Loader::config(batch_size).device(device);
    if limit > 0 {
        config = config.limit(limit);
    }
    let mut loader = config.build(dataset)?;
    for batch in loader.epoch() {
        let batch = batch?;
        let logits = network.forward(&batch.inputs, &mut Pass::eval())?;
        let loss = cross_entropy(&logits, &batch.labels)?.to_scalar::<f32>()?;
        let labels = batch.labels.to_vec1::<u32>()?;
        scores.add(&logits.to_vec2::<f32>()?, &labels, f64::from(loss));
    }
    Ok(Evaluation::new(&scores, classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_scored_from_the_confusion_matrix() {
        let evaluation = Evaluation {
            samples: 6,
            loss: 0.0,
            accuracy: 0.5,
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            confusion: vec![vec![2, 2, 0], vec![1, 1, 0], vec![0, 0, 0]],
            counts: Vec::new(),
            top_5: None,
            macro_f1: 0.0,
            auroc: None,
        };
        let scores = evaluation.per_class();
        assert_eq!(scores[0].recall, Some(0.5));
        assert_eq!(scores[0].precision, Some(2.0 / 3.0));
        assert_eq!((scores[2].recall, scores[2].precision), (None, None));
        assert_eq!(evaluation.right(), 3);
    }

    #[test]
    fn counts_of_a_damaged_report_do_not_overflow() {
        let evaluation = Evaluation {
            samples: 2,
            loss: 0.0,
            accuracy: 0.5,
            classes: ["a", "b"].map(str::to_owned).to_vec(),
            confusion: vec![vec![1, u64::MAX], vec![1, u64::MAX]],
            counts: Vec::new(),
            top_5: None,
            macro_f1: 0.0,
            auroc: None,
        };
        let scores = evaluation.per_class();
        assert_eq!(
            (scores[0].samples, scores[1].precision),
            (u64::MAX, Some(1.0))
        );
    }

    #[test]
    fn figures_survive_json() {
        for n in 1..2000_u32 {
            let figure = rounded(f64::from(n).sqrt() / 7.0);
            let json = serde_json::to_string(&figure).unwrap();
            let again: f64 = serde_json::from_str(&json).unwrap();
            assert_eq!(figure.to_bits(), again.to_bits(), "{figure}");
        }
    }

    #[test]
    fn the_first_of_equal_scores_wins_and_nan_never_does() {
        let logits = [[0.0_f32, 1.0, 1.0], [f32::NAN, -1.0, -2.0]];
        let logits = Tensor::new(&logits, &Device::Cpu).unwrap();
        for (labels, count) in [([1, 1], 2.0), ([2, 1], 1.0), ([2, 0], 0.0)] {
            assert_eq!(right(&logits, &labels).unwrap(), count, "{labels:?}");
        }
    }
}
