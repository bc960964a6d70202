//! Classes of pictures and of rows of numbers.

use std::path::Path;

use candle_core::{Device, Tensor};
use cortical_data::{
    About, Batch as Samples, Dataset, Loader, Position, Prefetch, Splits, Weights,
};
use cortical_io::Metadata;
use cortical_models::{Network, Plan};
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::ops::{CrossEntropy, cross_entropy};
use cortical_tensor::{Rng, Seed};

use super::mix::Mix;
use super::{Batch, Part, Task};
use crate::evaluate::{evaluate_batches, right};
use crate::measured::{Measure, Measured};
use crate::memory::MemoryNeed;
use crate::observe::{DataSize, Unit};
use crate::recipe::{DeviceRecipe, Recipe, SampleRecipe};
use crate::{Result, guard, model_file, start};

/// A network with the samples that it learns from.
pub(crate) struct Classification<'r> {
    recipe: &'r SampleRecipe,
    splits: Splits,
    loader: Prefetch,
    plan: Plan,
    network: Network,
    device: Device,
    metadata: Metadata,
}

impl Batch for Samples {
    fn position(&self) -> Position {
        self.position
    }

    fn samples(&self) -> usize {
        self.len()
    }
}

impl<'r> Task<'r> for Classification<'r> {
    type Batch = Samples;

    fn open(recipe: &'r Recipe) -> Result<(Self, Params)> {
        let DeviceRecipe::Cpu = recipe.device;
        let device = Device::Cpu;
        let samples = recipe.samples()?;
        let splits = recipe.open_samples(&start::columns(&recipe.start)?)?;
        start::check_classes(&recipe.start, &splits.train)?;
        let classes = splits.train.classes();
        let layers = samples.model.layers();
        let plan = Plan::new(&layers, splits.train.input_shape(), classes.len())?;
        let recompute = samples.train.recompute;
        MemoryNeed::of_network(recipe, &plan, recompute, splits.train.len()).check()?;
        let params = Params::new(&device, Seed(recipe.seed));
        let network = Network::build(&plan, &params)?.recompute(samples.train.recompute);
        let preprocess = splits.train.preprocess();
        let metadata = model_file::metadata(samples.model.kind(), &plan, preprocess, classes);
        let loader = loader(recipe, samples, &splits.train, &device)?;
        let task = Self {
            loader: Prefetch::new(loader, samples.train.prefetch),
            recipe: samples,
            splits,
            plan,
            network,
            device,
            metadata,
        };
        Ok((task, params))
    }

    fn measure(&self) -> Measure {
        Measure::Accuracy
    }

    fn data_size(&self) -> DataSize {
        DataSize {
            unit: Unit::Samples,
            train: self.splits.train.len(),
            valid: self.splits.valid.as_ref().map_or(0, Dataset::len),
            test: self.splits.test.len(),
            classes: Some(self.plan.classes()),
            shape: self.plan.input_shape().to_vec(),
            understood: understood(self.splits.about()),
        }
    }

    fn model(&self) -> String {
        self.recipe.model.kind().to_owned()
    }

    fn batches_per_epoch(&self) -> u64 {
        self.loader.loader().batches_per_epoch()
    }

    fn position(&self) -> Position {
        self.loader.position()
    }

    fn seek(&mut self, position: Position, _: Option<&Rng>) -> Result<()> {
        Ok(self.loader.seek(position)?)
    }

    fn next_batch(&mut self) -> Result<Samples> {
        Ok(self.loader.next_batch()?)
    }

    fn loss(&mut self, batch: &Samples, rng: &mut Rng) -> Result<(Tensor, Option<f64>)> {
        let labels = batch.labels.to_vec1::<u32>()?;
        let (inputs, targets) = self.mixed(batch, &labels, rng)?;
        let logits = self.network.forward(&inputs, &mut Pass::train(rng))?;
        let options = CrossEntropy {
            label_smoothing: self.recipe.train.label_smoothing,
            ..CrossEntropy::default()
        };
        let loss =
            cross_entropy(&logits, &targets, &options).map_err(cortical_neuron::Error::from)?;
        Ok((loss, Some(right(&logits, &labels)?)))
    }

    fn evaluate(&self, part: Part) -> Result<Option<Measured>> {
        let dataset = match part {
            Part::Valid => self.splits.valid.as_ref(),
            Part::Test => Some(&self.splits.test),
        };
        let train = &self.recipe.train;
        let evaluate = |dataset| {
            evaluate_batches(
                &self.network,
                dataset,
                train.eval_batch_size,
                train.limit_eval_batches,
                &self.device,
            )
            .map(Measured::Classes)
        };
        dataset.map(evaluate).transpose()
    }

    fn non_finite(&self, batch: &Samples, rng: Option<&Rng>) -> Result<Option<String>> {
        match guard::is_finite(&batch.inputs)? {
            false => Ok(Some(guard::INPUTS.to_owned())),
            true => {
                guard::broken_output(rng, |pass| Ok(self.network.forward(&batch.inputs, pass)?))
            }
        }
    }

    fn save_weights(&self, path: &Path, params: &Params) -> Result<()> {
        Ok(cortical_io::save_with(path, params, &self.metadata)?)
    }
}

impl Classification<'_> {
    /// A batch as the network is to see it, with its labels or, mixed with others, their shares.
    fn mixed(&self, batch: &Samples, labels: &[u32], rng: &mut Rng) -> Result<(Tensor, Tensor)> {
        let mix = Mix {
            mixup: self.recipe.train.mixup,
            cutmix: self.recipe.train.cutmix,
        };
        if mix.is_none() {
            return Ok((batch.inputs.clone(), batch.labels.clone()));
        }
        mix.apply(rng, &batch.inputs, labels, self.plan.classes())
    }
}

/// How the files were understood, a line each.
fn understood(about: &About) -> Vec<String> {
    let summary = std::iter::once(&about.summary).filter(|summary| !summary.is_empty());
    summary.chain(&about.notes).cloned().collect()
}

/// The batches to learn from.
fn loader(
    recipe: &Recipe,
    samples: &SampleRecipe,
    data: &Dataset,
    device: &Device,
) -> Result<Loader> {
    let seed = Seed(recipe.seed);
    let mut config = Loader::config(recipe.train.batch_size)
        .shuffle(seed)
        .augment(samples.augment, seed)
        .device(device);
    if recipe.train.overfit_batches > 0 {
        config = config.limit(recipe.train.overfit_batches);
    }
    if samples.train.balanced {
        config = config.weighted(Weights::balanced(data)?);
    }
    Ok(config.build(data)?)
}
