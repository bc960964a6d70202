//! The beginning of a training: data, network, optimizer, and where the newest checkpoint stands.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use cortical_data::{Loader, Prefetch, Weights};
use cortical_models::{Network, Plan};
use cortical_neuron::Params;
use cortical_optim::{ModelEma, Plateau};
use cortical_tensor::Seed;

use super::{STREAM, Session, Sums};
use crate::best::Best;
use crate::folder::RunFolder;
use crate::metrics::{COLUMNS, MetricsLog};
use crate::observe::{Event, Observer, Warning};
use crate::recipe::{DeviceRecipe, Recipe, ScheduleRecipe};
use crate::{Error, Result, model_file, start};

impl<'a> Session<'a> {
    /// Opens the data, builds the network, and goes to where the newest checkpoint was written.
    pub(super) fn new(
        folder: &'a RunFolder,
        recipe: &'a Recipe,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let DeviceRecipe::Cpu = recipe.device;
        let device = Device::Cpu;
        let splits = recipe.data.open()?;
        let classes = splits.train.classes();
        let layers = recipe.model.layers();
        let plan = Plan::new(&layers, splits.train.input_shape(), classes.len())?;
        let params = Params::new(&device, Seed(recipe.seed));
        let network = Network::build(&plan, &params)?.recompute(recipe.train.recompute);
        let latest = folder.paths().checkpoints().latest_valid(&device)?;
        // What a checkpoint holds has begun from the other network already.
        if latest.checkpoint.is_none() {
            start::take_weights(&recipe.start, &params)?;
        }
        start::freeze(&recipe.start, &params)?;
        let loader = loader(recipe, &splits.train, &device)?;
        let total_steps = total_steps(recipe, &loader)?;
        let schedule = recipe.schedule.over(total_steps, recipe.optim.lr())?;
        schedule.validate()?;
        let preprocess = splits.train.preprocess();
        let metadata = model_file::metadata(recipe.model.kind(), &plan, preprocess, classes);
        for skipped in &latest.skipped {
            let why = skipped.to_string();
            observer.event(Event::Warning(&Warning::CheckpointSkipped { why }));
        }
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let average = recipe.average.averaging();
        let mut session = Self {
            metrics: MetricsLog::open(folder.paths(), &recipe.log, COLUMNS, step)?,
            optimizer: recipe.optim.config.build(&params, recipe.optim.groups())?,
            plateau: match &recipe.schedule {
                ScheduleRecipe::Plateau(config) => Some(Plateau::new(*config, recipe.optim.lr())?),
                _ => None,
            },
            average: average.map(|a| ModelEma::new(&params, a)).transpose()?,
            rng: params.rng(STREAM),
            sums: Sums::default(),
            best: Best::default(),
            kept: BTreeMap::new(),
            left_out: BTreeSet::new(),
            skips: 0,
            taken: Vec::new(),
            inputs: None,
            roll_backs: 0,
            tested: None,
            loader: Prefetch::new(loader, recipe.train.prefetch),
            folder,
            recipe,
            splits,
            plan,
            params,
            network,
            schedule,
            metadata,
            step,
            total_steps,
        };
        if let Some(checkpoint) = latest.checkpoint {
            session.restore(&checkpoint, observer)?;
        }
        Ok(session)
    }
}

/// The batches to learn from.
fn loader(recipe: &Recipe, data: &cortical_data::Dataset, device: &Device) -> Result<Loader> {
    let train = &recipe.train;
    let seed = Seed(recipe.seed);
    let mut config = Loader::config(train.batch_size)
        .shuffle(seed)
        .augment(recipe.augment, seed)
        .device(device);
    if train.overfit_batches > 0 {
        config = config.limit(train.overfit_batches);
    }
    if train.balanced {
        config = config.weighted(Weights::balanced(data)?);
    }
    Ok(config.build(data)?)
}

/// How many steps a run has: those of its epochs, or fewer if they are limited.
fn total_steps(recipe: &Recipe, loader: &Loader) -> Result<u64> {
    let (epochs, batches) = (recipe.train.epochs, loader.batches_per_epoch());
    let in_epoch = batches.div_ceil(recipe.train.accumulate.max(1));
    let steps = epochs
        .checked_mul(in_epoch)
        .ok_or(Error::TooManySteps { epochs, batches })?;
    let most = recipe.train.max_steps;
    Ok(if most > 0 { steps.min(most) } else { steps })
}
