//! Pictures and rows of numbers: what is shared by every goal that they are learned for.

use std::path::Path;

use candle_core::{Device, Tensor};
use cortical_data::{
    About, Batch as Samples, Dataset, Loader, Missing, Position, Prefetch, Splits, Targets,
    Weights, catalog,
};
use cortical_io::Metadata;
use cortical_models::{Network, Plan};
use cortical_neuron::{Layer, Params};
use cortical_settings::FieldError;
use cortical_tensor::{Rng, Seed};

use super::{Batch, Part, Task};
use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::memory::MemoryNeed;
use crate::observe::DataSize;
use crate::outputs::Outputs;
use crate::recipe::{DeviceRecipe, Recipe, SampleRecipe, TaskKind};
use crate::{Result, guard, model_file, start};

/// What a network learns of samples: how its outputs become a loss, and what is measured.
pub(crate) trait Goal<'r>: Sized {
    /// The task in the recipe.
    const KIND: TaskKind;

    /// What is learned of these samples by a network with these outputs.
    ///
    /// # Errors
    /// Outputs of another kind; settings that do not fit to the samples.
    fn new(recipe: &'r SampleRecipe, outputs: &Outputs, train: &Dataset) -> Result<Self>;

    /// The mean loss of a batch in training, and what is summed over its samples.
    fn loss(
        &self,
        network: &Network,
        batch: &Samples,
        rng: &mut Rng,
    ) -> Result<(Tensor, Option<f64>)>;

    /// What is measured of samples, so many batches of them.
    fn evaluate(&self, network: &Network, dataset: &Dataset, device: &Device) -> Result<Measured>;
}

/// A network with the samples that it learns from.
pub(crate) struct SampleTask<'r, G> {
    recipe: &'r SampleRecipe,
    goal: G,
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

impl<'r, G: Goal<'r>> Task<'r> for SampleTask<'r, G> {
    type Batch = Samples;

    fn open(recipe: &'r Recipe, finished: Option<&RunPaths>) -> Result<(Self, Params)> {
        let DeviceRecipe::Cpu = recipe.device;
        let device = Device::Cpu;
        let samples = recipe.samples()?;
        let trained = finished.map(|run| run.load_model(&device)).transpose()?;
        let columns = match &trained {
            Some(model) => model.preprocess().columns().to_vec(),
            None => start::columns(&recipe.start)?,
        };
        let mut splits = recipe.open_samples(&columns)?;
        match &trained {
            Some(model) => splits.test = model.prepared(&splits.test)?,
            None => {
                refuse_idle(recipe, samples, splits.train.input_shape())?;
                start::check_outputs(&recipe.start, &splits.train)?;
            }
        }
        let outputs = samples.outputs(&splits.train)?;
        let layers = samples.model.layers();
        let plan = Plan::new(&layers, splits.train.input_shape(), outputs.count())?;
        let recompute = samples.train.recompute;
        let (network, params) = match trained {
            Some(model) => model.into_network(),
            None => {
                MemoryNeed::of_network(recipe, &plan, recompute, splits.train.len()).check()?;
                let params = Params::new(&device, Seed(recipe.seed));
                let network = Network::build(&plan, &params)?.recompute(recompute);
                (network, params)
            }
        };
        let preprocess = splits.train.preprocess();
        let metadata = model_file::metadata(samples.model.kind(), &plan, preprocess, &outputs);
        let loader = loader(recipe, samples, &splits.train, &device)?;
        let task = Self {
            loader: Prefetch::new(loader, samples.train.prefetch),
            goal: G::new(samples, &outputs, &splits.train)?,
            recipe: samples,
            splits,
            plan,
            network,
            device,
            metadata,
        };
        Ok((task, params))
    }

    fn data_size(&self) -> DataSize {
        DataSize {
            unit: G::KIND.unit(),
            train: self.splits.train.len(),
            valid: self.splits.valid.as_ref().map_or(0, Dataset::len),
            test: self.splits.test.len(),
            classes: Some(self.splits.train.classes().len()).filter(|classes| *classes > 0),
            targets: self.splits.train.targets().map_or(0, Targets::count),
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
        self.goal.loss(&self.network, batch, rng)
    }

    fn evaluate(&self, part: Part) -> Result<Option<Measured>> {
        let dataset = match part {
            Part::Valid => self.splits.valid.as_ref(),
            Part::Test => Some(&self.splits.test),
        };
        let evaluate = |dataset| self.goal.evaluate(&self.network, dataset, &self.device);
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

/// Refuses fields that mean nothing to these samples.
fn refuse_idle(recipe: &Recipe, samples: &SampleRecipe, shape: &[usize]) -> Result<()> {
    let (name, own) = (&recipe.data.name, &samples.data);
    let refuse = |path: &str, owner, here| -> Result<()> {
        let path = path.to_owned();
        Err(FieldError::Elsewhere { path, owner, here }.into())
    };
    if samples.train.cutmix > 0.0 && shape.len() != 3 {
        return refuse("train.cutmix", "pictures", "rows of numbers");
    }
    let entry = catalog().iter().find(|entry| entry.name == name);
    if own.dir.is_some() && entry.is_none_or(|entry| entry.install.is_none()) {
        let owner = "data sets that are installed by name, such as fashion-mnist";
        return refuse("data.dir", owner, "one that is embedded or has a path");
    }
    if entry.is_none() && Path::new(name).is_file() {
        return Ok(());
    }
    let set = [
        ("data.label", own.label.is_some()),
        ("data.one_hot", !own.one_hot.is_empty()),
        ("data.ignore", !own.ignore.is_empty()),
        ("data.header", own.header.is_some()),
        ("data.targets", !own.targets.is_empty()),
        ("data.dates", !own.dates.is_empty()),
        ("data.date_parts", !own.date_parts.is_empty()),
        ("data.missing", own.missing != Missing::Refuse),
    ];
    match set.iter().find(|(_, is_set)| *is_set) {
        Some((path, _)) => refuse(path, "CSV files", "data without columns"),
        None => Ok(()),
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
