//! How good the model of a run is that is not finished.

use candle_core::Device;
use cortical_optim::ModelEma;

use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::recipe::{Recipe, TaskKind};
use crate::task::{Classification, NextToken, Part, Task, TextClasses};
use crate::{Error, Result};

/// Tests the newest checkpoint of a run on the samples that it holds out, with averaged weights where it averages them:
/// the step of the checkpoint, and what was found; `None` where nothing is held out.
///
/// # Errors
/// [`Error::NotARun`]; [`Error::NotFinished`] for a run without a checkpoint; data that cannot be opened.
pub fn evaluate_stopped(paths: &RunPaths) -> Result<(u64, Option<Measured>)> {
    let recipe = paths.read_recipe()?;
    match recipe.kind() {
        TaskKind::Classification => of::<Classification<'_>>(paths, &recipe),
        TaskKind::NextToken => of::<NextToken<'_>>(paths, &recipe),
        TaskKind::TextClassification => of::<TextClasses<'_>>(paths, &recipe),
    }
}

fn of<'r, T: Task<'r>>(paths: &RunPaths, recipe: &'r Recipe) -> Result<(u64, Option<Measured>)> {
    let latest = paths.checkpoints().latest_valid(&Device::Cpu)?;
    let checkpoint = latest.checkpoint.ok_or_else(|| Error::NotFinished {
        path: paths.root().to_owned(),
    })?;
    let (task, params) = T::open(recipe)?;
    checkpoint.restore_model(&params)?;
    let average = recipe.average.averaging();
    let found = match average.map(|a| ModelEma::new(&params, a)).transpose()? {
        Some(mut average) => {
            average.load_state(&checkpoint.average)?;
            match average.updates() > 0 {
                true => average.during(|| task.evaluate(Part::Test))?,
                false => task.evaluate(Part::Test),
            }
        }
        None => task.evaluate(Part::Test),
    };
    Ok((checkpoint.state.step, found?))
}
