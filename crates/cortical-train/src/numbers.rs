//! Numbers that a network predicts: what its outputs mean, and how good they are.

use candle_core::{Device, Tensor};
use cortical_data::{Dataset, Loader, TargetScale};
use cortical_kernels::activation::Activation;
use cortical_neuron::{Layer, Pass, loss};
use cortical_tensor::ops::activate;
use serde::{Deserialize, Serialize};

use crate::number_scores::{NumberScores, Sums};
use crate::recipe::NumberLoss;
use crate::{Error, Result};

/// The smallest variance that is reckoned with, on the scale that is learned.
const LEAST_VARIANCE: f64 = 1e-6;

/// What the outputs of a network mean that predicts numbers, and how it learns them: one output for each target on the
/// scale that is learned; with [`NumberLoss::Gaussian`] behind them one for the variance of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberOutputs {
    scale: TargetScale,
    loss: NumberLoss,
    huber_delta: f64,
}

/// What a network says about the numbers of a sample, in the unit of the data.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NumberPrediction {
    /// The number of each target.
    pub values: Vec<f64>,
    /// The standard deviation of each, where the network has learned to say it.
    pub deviations: Option<Vec<f64>>,
}

impl NumberOutputs {
    /// Outputs for the targets of this scale.
    #[must_use]
    pub fn new(scale: TargetScale, loss: NumberLoss, huber_delta: f64) -> Self {
        Self {
            scale,
            loss,
            huber_delta,
        }
    }

    /// The scale on which the numbers are learned.
    #[must_use]
    pub fn scale(&self) -> &TargetScale {
        &self.scale
    }

    /// How many outputs the network has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.loss.outputs(self.scale.count())
    }

    /// The loss of outputs `[n, outputs]` against targets `[n, targets]` on the scale that is learned.
    pub(crate) fn loss(&self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(match self.loss {
            NumberLoss::Mse => loss::mse_loss(outputs, targets)?,
            NumberLoss::Mae => loss::l1_loss(outputs, targets)?,
            NumberLoss::Huber => loss::huber_loss(outputs, targets, self.huber_delta)?,
            NumberLoss::Gaussian => {
                let count = self.scale.count();
                let mean = outputs.narrow(1, 0, count)?.contiguous()?;
                let raw = outputs.narrow(1, count, count)?.contiguous()?;
                let var =
                    activate(&raw, Activation::SOFTPLUS).map_err(cortical_neuron::Error::from)?;
                loss::gaussian_nll_loss(&mean, targets, &var)?
            }
        })
    }

    /// What the outputs for one sample say.
    pub(crate) fn read(&self, outputs: &[f32]) -> NumberPrediction {
        let (means, raw) = outputs.split_at(self.scale.count().min(outputs.len()));
        let means = means.iter().enumerate();
        let deviation = |(at, raw): (usize, &f32)| {
            let variance = softplus(f64::from(*raw)).max(LEAST_VARIANCE);
            variance.sqrt() * self.scale.std()[at]
        };
        NumberPrediction {
            values: means
                .map(|(at, z)| self.scale.original(at, f64::from(*z)))
                .collect(),
            deviations: (self.loss == NumberLoss::Gaussian)
                .then(|| raw.iter().enumerate().map(deviation).collect()),
        }
    }

    /// How good these predictions are, in the unit of the data; a sample of which a target is NaN is left out.
    #[must_use]
    pub fn scores(&self, predictions: &[NumberPrediction], targets: &[f64]) -> NumberScores {
        let mut sums = Sums::new(&self.scale);
        let rows = targets.chunks(self.scale.count());
        for (prediction, row) in predictions.iter().zip(rows) {
            if row.iter().all(|y| y.is_finite()) {
                let z = |at: usize| self.scale.standardized(at, prediction.values[at]);
                let z: Vec<f64> = (0..row.len()).map(z).collect();
                sums.add(z.into_iter(), row);
            }
        }
        sums.finish()
    }
}

/// `ln(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Looks at every sample of `dataset` once, without training: how good the numbers are that a network with these
/// outputs predicts. `limit` is how many batches are looked at; 0 for all.
///
/// # Errors
/// Samples that the network cannot take, or that have other targets.
pub fn evaluate_numbers(
    network: &impl Layer,
    dataset: &Dataset,
    outputs: &NumberOutputs,
    (batch_size, limit): (usize, u64),
    device: &Device,
) -> Result<NumberScores> {
    let dataset = dataset.scaled(&outputs.scale)?;
    let targets = dataset.targets().ok_or(Error::NoNumbers)?;
    let mut config = Loader::config(batch_size).device(device);
    if limit > 0 {
        config = config.limit(limit);
    }
    let mut loader = config.build(&dataset)?;
    let (mut sums, mut at) = (Sums::new(&outputs.scale), 0);
    for batch in loader.epoch() {
        let batch = batch?;
        let found = network.forward(&batch.inputs, &mut Pass::eval())?;
        let loss = outputs.loss(&found, &batch.labels)?.to_scalar::<f32>()?;
        sums.loss += f64::from(loss) * batch.len() as f64;
        for row in found.to_vec2::<f32>()? {
            sums.add(row.into_iter().map(f64::from), targets.row(at));
            at += 1;
        }
    }
    Ok(sums.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_data::Targets;

    fn outputs(values: &[f64], loss: NumberLoss) -> NumberOutputs {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let targets = Targets::new(values.to_vec(), names).unwrap();
        NumberOutputs::new(TargetScale::fit(&targets).unwrap(), loss, 1.0)
    }

    #[test]
    fn outputs_are_read_in_the_unit_of_the_data() {
        let values = [1.0, 10.0, 3.0, 30.0];
        let plain = outputs(&values, NumberLoss::Mse);
        assert_eq!(plain.count(), 2);
        let found = plain.read(&[1.0, -1.0]);
        assert_eq!((found.values, found.deviations), (vec![3.0, 10.0], None));
        let gaussian = outputs(&values, NumberLoss::Gaussian);
        assert_eq!(gaussian.count(), 4);
        // softplus(ln(e − 1)) = 1; far below 0 the variance ends at its least.
        let one = (1.0_f64.exp() - 1.0).ln() as f32;
        let found = gaussian.read(&[1.0, -1.0, one, -1e9]);
        let deviations = found.deviations.unwrap();
        assert!((deviations[0] - 1.0).abs() < 1e-6 && (deviations[1] - 0.01).abs() < 1e-9);
        // An output that is missing, as of a damaged file, is no panic.
        assert_eq!(plain.read(&[1.0]).values, [3.0]);
    }

    #[test]
    fn scores_are_those_of_each_target_and_their_mean() {
        let outputs = outputs(&[1.0, 10.0, 3.0, 30.0], NumberLoss::Mae);
        let prediction = |a: f64, b: f64| NumberPrediction {
            values: vec![a, b],
            deviations: None,
        };
        let found = [
            prediction(1.5, 20.0),
            prediction(3.0, 20.0),
            prediction(9.0, 9.0),
        ];
        let scores = outputs.scores(&found, &[1.0, 10.0, 3.0, 30.0, f64::NAN, 1.0]);
        assert_eq!(scores.samples, 2);
        let [a, b] = &scores.targets[..] else {
            panic!("two targets");
        };
        assert_eq!((a.mae, a.r2), (0.25, Some(0.875)));
        assert_eq!((b.rmse, b.r2), (10.0, Some(0.0)));
        assert_eq!((scores.r2, scores.mae), (Some(0.4375), 5.125));
        let one = outputs.scores(&found[..1], &[1.0, 10.0]);
        assert_eq!((one.r2, one.mae), (None, 5.25));
    }

    #[test]
    fn scores_of_extreme_units_are_finite() {
        for unit in [1e-300, 1e298] {
            let outputs = outputs(
                &[1.0 * unit, 10.0 * unit, 3.0 * unit, 30.0 * unit],
                NumberLoss::Mse,
            );
            let found = [outputs.read(&[-1.0, -0.5]), outputs.read(&[1.0, 1.0])];
            let scores = outputs.scores(&found, &[unit, 10.0 * unit, 3.0 * unit, 30.0 * unit]);
            assert_eq!(scores.r2, Some(0.9375), "{scores:?}");
            assert!((scores.mae / unit - 1.25).abs() < 1e-6, "{scores:?}");
        }
    }

    #[test]
    fn every_loss_is_that_of_its_name() {
        let x = Tensor::new(&[[0.5_f32, 3.0]], &Device::Cpu).unwrap();
        let t = Tensor::new(&[[0.0_f32, 0.0]], &Device::Cpu).unwrap();
        let check = |kind, x: &Tensor, want: f64| {
            let outputs = NumberOutputs {
                huber_delta: 2.0,
                ..outputs(&[1.0, 10.0, 3.0, 30.0], kind)
            };
            let loss = outputs.loss(x, &t).unwrap().to_scalar::<f32>().unwrap();
            assert!((f64::from(loss) - want).abs() < 1e-6, "{kind:?}: {loss}");
        };
        check(NumberLoss::Mse, &x, (0.25 + 9.0) / 2.0);
        check(NumberLoss::Mae, &x, 1.75);
        check(NumberLoss::Huber, &x, (0.125 + 2.0 * (3.0 - 1.0)) / 2.0);
        let both = Tensor::new(&[[0.5_f32, 3.0, 0.0, 1.0]], &Device::Cpu).unwrap();
        let (v, w) = (softplus(0.0), softplus(1.0));
        let want = (v.ln() + 0.25 / v + w.ln() + 9.0 / w) / 4.0;
        check(NumberLoss::Gaussian, &both, want);
    }
}
