//! How good the model of a run is on the samples that the run holds out.

use candle_core::Device;
use cortical_neuron::Params;
use cortical_optim::ModelEma;

use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::recipe::Recipe;
use crate::task::{Part, Task, Visitor};
use crate::{Error, Result};

/// Tests the model of a run as the training itself does at its end, within the limits of the recipe: that of a finished
/// run, or the newest checkpoint of another, with averaged weights where it averages them. The step of the checkpoint,
/// if it is one, and what was found; `None` where nothing is held out.
///
/// # Errors
/// [`Error::NotARun`]; [`Error::NotFinished`] for a run that has neither; data that cannot be opened, or that have
/// other classes than the model.
pub fn evaluate_run(paths: &RunPaths) -> Result<(Option<u64>, Option<Measured>)> {
    let recipe = paths.read_recipe()?;
    recipe.kind().visit(Test {
        paths,
        recipe: &recipe,
    })
}

/// A run that is to be tested.
struct Test<'r> {
    paths: &'r RunPaths,
    recipe: &'r Recipe,
}

impl<'r> Visitor<'r> for Test<'r> {
    type Output = (Option<u64>, Option<Measured>);

    fn visit<T: Task<'r>>(self) -> Result<Self::Output> {
        if self.paths.read_report()?.is_some() {
            let (task, _) = T::open(self.recipe, Some(self.paths))?;
            return Ok((None, task.evaluate(Part::Test)?));
        }
        let latest = self.paths.checkpoints().latest_valid(&Device::Cpu)?;
        let checkpoint = latest.checkpoint.ok_or_else(|| Error::NotFinished {
            path: self.paths.root().to_owned(),
        })?;
        let (task, params): (T, Params) = T::open(self.recipe, None)?;
        checkpoint.restore_model(&params)?;
        let average = self.recipe.average.averaging();
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
        Ok((Some(checkpoint.state.step), found?))
    }
}
