//! Any number of labels for each row of numbers.

use candle_core::{Device, Tensor};
use cortical_data::{Batch as Samples, Dataset};
use cortical_models::Network;
use cortical_neuron::{Layer, Pass};
use cortical_tensor::Rng;

use super::samples::Goal;
use crate::Result;
use crate::labels::{LabelOutputs, evaluate_labels};
use crate::measured::Measured;
use crate::outputs::Outputs;
use crate::recipe::{SampleRecipe, SampleTraining, TaskKind};

/// Whether a sample has each of several labels.
pub(crate) struct Labels<'r> {
    train: &'r SampleTraining,
    outputs: LabelOutputs,
}

impl<'r> Goal<'r> for Labels<'r> {
    const KIND: TaskKind = TaskKind::MultiLabel;

    fn new(recipe: &'r SampleRecipe, outputs: &Outputs, _: &Dataset) -> Result<Self> {
        Ok(Self {
            train: &recipe.train,
            outputs: outputs.labels()?.clone(),
        })
    }

    fn loss(
        &self,
        network: &Network,
        batch: &Samples,
        rng: &mut Rng,
    ) -> Result<(Tensor, Option<f64>)> {
        let found = network.forward(&batch.inputs, &mut Pass::train(rng))?;
        Ok((self.outputs.loss(&found, &batch.labels)?, None))
    }

    fn evaluate(&self, network: &Network, dataset: &Dataset, device: &Device) -> Result<Measured> {
        let some = (self.train.eval_batch_size, self.train.limit_eval_batches);
        let found = evaluate_labels(network, dataset, &self.outputs, some, device)?;
        Ok(found.into())
    }
}
