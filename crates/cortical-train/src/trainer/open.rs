//! The beginning of a training: data, model, optimizer, and where the newest checkpoint stands.

use std::collections::{BTreeMap, BTreeSet};

use cortical_optim::{ModelEma, Plateau, Schedule};
use cortical_tensor::{Rng, Seed};

use super::{Sums, Trainer};
use crate::best::Best;
use crate::folder::RunFolder;
use crate::metrics::MetricsLog;
use crate::observe::{DataSize, Event, Observer, Setup, Warning};
use crate::pruner::Pruner;
use crate::recipe::Recipe;
use crate::task::{STREAM, Task};
use crate::{Error, Result, pruner, sources, start};

impl<'f, 'r, T: Task<'r>> Trainer<'f, 'r, T> {
    /// Opens the data and the model, and goes to where the newest checkpoint was written.
    pub(super) fn open(
        folder: &'f RunFolder,
        recipe: &'r Recipe,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let sources = sources::open(folder, recipe, observer)?;
        let (task, params) = T::open(recipe, None)?;
        refuse_blind_choices(recipe, &task.data_size())?;
        let latest = folder.paths().checkpoints().latest_valid(params.device())?;
        // What a checkpoint holds has begun from the other network already.
        if latest.checkpoint.is_none() {
            start::take_weights(&recipe.start, &params)?;
            pruner::inherit(recipe, &params)?;
        }
        start::freeze(&recipe.start, &params)?;
        let total_steps = total_steps(recipe, task.batches_per_epoch())?;
        // A run without steps asks for no learning rate.
        let schedule = match total_steps {
            0 => Schedule::None,
            steps => recipe.schedule.over(steps, recipe.optim.lr())?,
        };
        schedule.validate()?;
        for skipped in &latest.skipped {
            let why = skipped.to_string();
            observer.event(Event::Warning(&Warning::CheckpointSkipped { why }));
        }
        let pruner = match &recipe.prune {
            Some(prune) => Some(Pruner::new(prune, &params, recipe.seed, total_steps)?),
            None => None,
        };
        if let (Some(pruner), None) = (&pruner, &latest.checkpoint) {
            pruner.check_masks()?;
        }
        let step = latest.checkpoint.as_ref().map_or(0, |c| c.state.step);
        let average = recipe.average.averaging();
        let metrics = MetricsLog::open(folder.paths(), &recipe.log, recipe.kind(), step)?;
        let mut trainer = Self {
            optimizer: recipe.optim.config.build(&params, recipe.optim.groups())?,
            plateau: match recipe.schedule.plateau() {
                Some(config) => Some(Plateau::new(config, recipe.optim.lr())?),
                None => None,
            },
            average: average.map(|a| ModelEma::new(&params, a)).transpose()?,
            pruner,
            rng: Rng::new(Seed(recipe.seed), STREAM),
            sums: Sums::default(),
            best: Best::default(),
            kept: BTreeMap::new(),
            left_out: BTreeSet::new(),
            skips: 0,
            taken: Vec::new(),
            newest: None,
            roll_backs: 0,
            validated: None,
            metrics,
            sources,
            folder,
            recipe,
            task,
            params,
            schedule,
            step,
            total_steps,
        };
        if let Some(checkpoint) = latest.checkpoint {
            trainer.restore(&checkpoint, observer)?;
        }
        trainer.task.describe(folder.paths())?;
        folder.paths().write_sources(&trainer.sources)?;
        Ok(trainer)
    }

    /// What is about to be trained.
    pub(super) fn setup(&self) -> Result<Setup<'_>> {
        let (mut bytes, mut trainable) = (0, 0);
        for param in self.params.all() {
            let of_it = (param.count() * param.dtype().size_in_bytes()) as u64;
            bytes += of_it;
            if param.is_trainable() {
                // Its gradient is as large as itself, and so is each of the optimizer's states.
                let states = self.recipe.optim.config.state_count(param.dims());
                bytes += of_it * (1 + states as u64);
                trainable += param.count();
            }
        }
        Ok(Setup {
            run: self.folder.paths().root(),
            recipe: self.recipe,
            model: self.task.model(),
            parameters: self.params.count(),
            trainable,
            bytes,
            data: self.task.data_size(),
            measure: self.recipe.kind().measure(),
            start_step: self.step,
            total_steps: self.total_steps,
        })
    }
}

/// Refuses choices for which there is nothing to look at: the test part is none of them.
fn refuse_blind_choices(recipe: &Recipe, data: &DataSize) -> Result<()> {
    let monitored = recipe.train.monitor.measure();
    let measured = recipe.kind().measure();
    if let Some(monitored) = monitored.filter(|monitored| *monitored != measured) {
        return Err(Error::OtherMeasure {
            monitored: monitored.name(),
            task: recipe.kind().words(),
            measured: measured.name(),
        });
    }
    if data.valid > 0 {
        return Ok(());
    }
    let field = match () {
        () if recipe.train.patience > 0 => "train.patience",
        () if recipe.checkpoint.keep_best > 0 => "checkpoint.keep_best",
        () if recipe.schedule.plateau().is_some() => "schedule.kind = \"plateau\"",
        () => return Ok(()),
    };
    Err(Error::NoValidation { field })
}

/// How many steps a run has: those of its epochs, or fewer if they are limited.
pub(crate) fn total_steps(recipe: &Recipe, batches: u64) -> Result<u64> {
    let train = &recipe.train;
    let steps = batches.div_ceil(train.accumulate).max(1);
    let epochs = train.epochs;
    let all = epochs
        .checked_mul(steps)
        .ok_or(Error::TooManySteps { epochs, batches })?;
    Ok(match (all, train.max_steps) {
        (0, most) => most,
        (steps, 0) => steps,
        (steps, most) => steps.min(most),
    })
}
