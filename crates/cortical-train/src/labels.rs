//! Labels of which a sample has any number: what the outputs of a network mean, and how good they are.

use candle_core::{Device, Tensor};
use cortical_data::{Dataset, Loader};
use cortical_neuron::{Layer, Pass, loss};
use serde::{Deserialize, Serialize};

use crate::label_scores::{LabelScores, Sums};
use crate::{Error, Result};

/// What the outputs of a network mean that says of each of several labels whether a sample has it: the logit of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct LabelOutputs {
    names: Vec<String>,
    thresholds: Vec<f64>,
}

/// The fields as a file holds them, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    names: Vec<String>,
    thresholds: Vec<f64>,
}

impl TryFrom<Fields> for LabelOutputs {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        Self::new(fields.names, &fields.thresholds)
    }
}

/// What a network says about the labels of a sample.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelPrediction {
    /// The probability of each label.
    pub probabilities: Vec<f64>,
    /// Whether each is taken to be there: its probability reaches its threshold.
    pub there: Vec<bool>,
}

impl LabelOutputs {
    /// Outputs for these labels, with the probability from which on each is taken to be there, or one for all.
    ///
    /// # Errors
    /// [`Error::Thresholds`] for another number of thresholds than one or of labels.
    pub fn new(names: Vec<String>, thresholds: &[f64]) -> Result<Self> {
        let thresholds = match thresholds {
            [one] => vec![*one; names.len()],
            all => all.to_vec(),
        };
        if thresholds.len() != names.len() || names.is_empty() {
            return Err(Error::Thresholds {
                expected: names.len(),
                found: thresholds.len(),
            });
        }
        Ok(Self { names, thresholds })
    }

    /// The names of the labels.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The probability from which on each is taken to be there.
    #[must_use]
    pub fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    /// The mean loss of logits `[n, labels]` against targets of 0 and 1.
    pub(crate) fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(loss::binary_cross_entropy_with_logits(logits, targets)?)
    }

    /// What the outputs for one sample say.
    pub(crate) fn read(&self, logits: &[f32]) -> LabelPrediction {
        let probabilities: Vec<f64> = logits.iter().map(|x| sigmoid(f64::from(*x))).collect();
        let pairs = probabilities.iter().zip(&self.thresholds);
        let there = pairs.map(|(p, threshold)| p >= threshold).collect();
        LabelPrediction {
            probabilities,
            there,
        }
    }

    /// How good these predictions are; a sample of which a label is not known (NaN) is left out.
    #[must_use]
    pub fn scores(&self, predictions: &[LabelPrediction], targets: &[f64]) -> LabelScores {
        let mut sums = Sums::new(&self.names, &self.thresholds);
        for (prediction, row) in predictions.iter().zip(targets.chunks(self.names.len())) {
            if row.iter().all(|y| y.is_finite()) {
                sums.add(&prediction.probabilities, row);
            }
        }
        sums.finish()
    }
}

/// `1 / (1 + e^−x)`.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Looks at every sample of `dataset` once, without training: how good the labels are that a network with these outputs
/// predicts. `limit` is how many batches are looked at; 0 for all.
///
/// # Errors
/// Samples that the network cannot take, or that have other labels.
pub fn evaluate_labels(
    network: &impl Layer,
    dataset: &Dataset,
    outputs: &LabelOutputs,
    (batch_size, limit): (usize, u64),
    device: &Device,
) -> Result<LabelScores> {
    let targets = dataset.targets().ok_or(Error::OtherLabels)?;
    if targets.names() != outputs.names {
        return Err(Error::OtherLabels);
    }
    let mut config = Loader::config(batch_size).device(device);
    if limit > 0 {
        config = config.limit(limit);
    }
    let mut loader = config.build(dataset)?;
    let (mut sums, mut at) = (Sums::new(&outputs.names, &outputs.thresholds), 0);
    for batch in loader.epoch() {
        let batch = batch?;
        let found = network.forward(&batch.inputs, &mut Pass::eval())?;
        let loss = outputs.loss(&found, &batch.labels)?.to_scalar::<f32>()?;
        sums.loss += f64::from(loss) * batch.len() as f64;
        for row in found.to_vec2::<f32>()? {
            sums.add(&outputs.read(&row).probabilities, targets.row(at));
            at += 1;
        }
    }
    Ok(sums.finish())
}
