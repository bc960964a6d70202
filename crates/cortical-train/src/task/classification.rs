//! Classes of pictures and of rows of numbers.

use candle_core::{Device, Tensor};
use cortical_data::{Batch as Samples, Dataset};
use cortical_models::Network;
use cortical_neuron::{Layer, Pass};
use cortical_tensor::Rng;

use super::mix::Mix;
use super::samples::Goal;
use super::smoothed;
use crate::Result;
use crate::evaluate::{evaluate_batches, right};
use crate::measured::Measured;
use crate::outputs::Outputs;
use crate::recipe::{SampleRecipe, SampleTraining, TaskKind};

/// One class of several for each sample.
pub(crate) struct Classes<'r> {
    train: &'r SampleTraining,
    classes: usize,
    /// How much each counts in the loss.
    weight: Option<Tensor>,
}

impl<'r> Goal<'r> for Classes<'r> {
    const KIND: TaskKind = TaskKind::Classification;

    fn new(recipe: &'r SampleRecipe, outputs: &Outputs, train: &Dataset) -> Result<Self> {
        let weight = recipe.train.class_weights.of(&train.class_counts())?;
        let weight = weight.map(|all| Tensor::new(all, &Device::Cpu));
        Ok(Self {
            weight: weight.transpose()?,
            train: &recipe.train,
            classes: outputs.classes()?.len(),
        })
    }

    fn loss(
        &self,
        network: &Network,
        batch: &Samples,
        rng: &mut Rng,
    ) -> Result<(Tensor, Option<f64>)> {
        let labels = batch.labels.to_vec1::<u32>()?;
        let (inputs, targets) = self.mixed(batch, &labels, rng)?;
        let logits = network.forward(&inputs, &mut Pass::train(rng))?;
        let smoothing = self.train.label_smoothing;
        let loss = smoothed(&logits, &targets, smoothing, self.weight.as_ref())?;
        Ok((loss, Some(right(&logits, &labels)?)))
    }

    fn evaluate(&self, network: &Network, dataset: &Dataset, device: &Device) -> Result<Measured> {
        let (batch_size, limit) = (self.train.eval_batch_size, self.train.limit_eval_batches);
        let found = evaluate_batches(network, dataset, batch_size, limit, device)?;
        Ok(found.into())
    }
}

impl Classes<'_> {
    /// A batch as the network is to see it, with its labels or, mixed with others, their shares.
    fn mixed(&self, batch: &Samples, labels: &[u32], rng: &mut Rng) -> Result<(Tensor, Tensor)> {
        let mix = Mix {
            mixup: self.train.mixup,
            cutmix: self.train.cutmix,
        };
        if mix.is_none() {
            return Ok((batch.inputs.clone(), batch.labels.clone()));
        }
        mix.apply(rng, &batch.inputs, labels, self.classes)
    }
}
