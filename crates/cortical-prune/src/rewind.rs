//! Lottery tickets: weights that a whole training found to matter, trained again from the beginning.

use std::path::{Path, PathBuf};

use candle_core::Device;
use cortical_io::TensorFile;
use cortical_settings::{Table, Value};
use cortical_train::{
    Observer, Outcome as Trained, Override, Recipe, RunFolder, RunPaths, Stop, prune_now, train,
};

use crate::request::{Request, Rewind};
use crate::{Error, Result};

/// The masks that a training begins again with, in its folder.
const TICKET: &str = "ticket.safetensors";

/// The folder of the trainings before the last one.
const ROUNDS: &str = "rounds";

/// The trainings of a request.
pub(crate) struct Tickets<'a> {
    request: &'a Request,
    recipe: &'a Recipe,
    rewind: &'a Rewind,
}

impl<'a> Tickets<'a> {
    pub(crate) fn new(request: &'a Request, recipe: &'a Recipe, rewind: &'a Rewind) -> Self {
        Self {
            request,
            recipe,
            rewind,
        }
    }

    /// Trains round after round; what an interrupted request has done already is not done again.
    pub(crate) fn run(&self, stop: &dyn Stop, observer: &mut dyn Observer) -> Result<Trained> {
        let rounds = self.rewind.rounds.max(1);
        let last = self.open(&self.request.out)?;
        let mut before = self.request.run.clone();
        for round in 1..rounds {
            let folder = self.request.out.join(ROUNDS).join(round.to_string());
            let (run, recipe) = self.open(&folder)?;
            self.ticket(&before, &folder, round)?;
            let trained = train(run, &recipe, stop, observer)?;
            if matches!(trained, Trained::Stopped { .. }) {
                return Ok(trained);
            }
            before = folder;
        }
        let (run, recipe) = last;
        self.ticket(&before, &self.request.out, rounds)?;
        Ok(train(run, &recipe, stop, observer)?)
    }

    /// The run in a folder, as it is there or new: the recipe of the first training, with masks.
    fn open(&self, folder: &Path) -> Result<(RunFolder, Recipe)> {
        let masks = folder.join(TICKET);
        let masks = std::path::absolute(&masks).unwrap_or(masks);
        let step = i64::try_from(self.rewind.step).unwrap_or(i64::MAX);
        let prune = Table::from_iter([
            ("method".to_owned(), Value::from("given")),
            (
                "masks".to_owned(),
                Value::from(masks.to_string_lossy().into_owned()),
            ),
            ("from_step".to_owned(), Value::from(step)),
        ]);
        let mut set = vec![Override::new("prune", Value::Table(prune))];
        if let Some(epochs) = self.request.epochs {
            let epochs = i64::try_from(epochs).unwrap_or(i64::MAX);
            set.push(Override::new("train.epochs", epochs));
        }
        set.extend(self.request.set.iter().cloned());
        let recipe = Recipe::from_toml(&self.recipe.to_toml(), None, &set)?;
        if !RunPaths::new(folder).is_run() {
            return Ok((RunFolder::create(folder, &recipe)?, recipe));
        }
        let (run, found) = RunFolder::open(folder)?;
        match found == recipe {
            true => Ok((run, recipe)),
            false => Err(Error::OtherRun {
                path: folder.to_owned(),
            }),
        }
    }

    /// Writes the masks of a round: of what the training in `before` has kept so far, the smallest weights go.
    fn ticket(&self, before: &Path, folder: &Path, round: u32) -> Result<()> {
        let path: PathBuf = folder.join(TICKET);
        if path.is_file() {
            return Ok(());
        }
        let paths = RunPaths::new(before);
        let model = paths.load_model(&Device::Cpu)?;
        if paths.masks().is_file() {
            for (name, mask) in TensorFile::open(paths.masks())?.load_all(&Device::Cpu)? {
                model.params().prune(&name, &mask)?;
            }
        }
        let mut weights = self.rewind.weights.clone();
        let share = f64::from(round) / f64::from(self.rewind.rounds.max(1));
        weights.sparsity = weights.sparsity.map(|all| 1.0 - (1.0 - all).powf(share));
        let recipe = self.recipe.to_toml();
        let recipe = Recipe::from_toml(&recipe, None, &[weights.to_override()])?;
        if let Some(prune) = &recipe.prune {
            prune_now(prune, model.params(), recipe.seed)?;
        }
        let masks = model.params().masks();
        Ok(cortical_io::save_tensors(
            path,
            &masks,
            &Default::default(),
        )?)
    }
}
