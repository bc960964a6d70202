//! A run as data: everything needed to repeat it.

mod data;
mod optim;
mod overrides;
mod parts;
mod presets;
mod prune;
mod read;
mod schedule;
mod task;
mod train;
mod upgrade;
mod write;

use cortical_data::Splits;
use cortical_data::csv::Column;
use cortical_settings::choice;

pub use data::{DataRecipe, SampleData, TextData};
pub use optim::{GradientRecipe, GroupRecipe, NormType, OptimRecipe};
pub use overrides::Override;
pub use parts::{
    AverageKind, AverageRecipe, CheckpointRecipe, ClassifyRecipe, GuardRecipe, LogRecipe,
    LoraRecipe, OnNan, StartRecipe,
};
pub use presets::{Preset, presets};
pub use prune::{PruneMethod, PruneRecipe, PruneScope};
pub use schedule::{
    ConstantRun, CosineRun, LinearRun, OneCycleRun, RunSchedule, ScheduleRecipe, StepRun,
};
pub use task::{SampleRecipe, TaskKind, TaskRecipe, TextRecipe};
pub use train::{
    ClassWeights, Monitor, NumberLoss, SampleTraining, StorageType, TextTraining, Thresholds,
    TrainRecipe,
};

/// Version of the format of recipes. A reader refuses newer ones, and understands the first.
pub const RECIPE_VERSION: u64 = 2;

/// Everything that decides how a training runs. The same recipe gives the same model, bit by bit, on the same processor
/// and build.
///
/// ```
/// use cortical_train::{Override, Recipe};
/// let lr: Override = "optim.lr=3e-4".parse()?;
/// let recipe = Recipe::from_toml("version = 2\n[data]\nname = \"iris\"", None, &[lr])?;
/// assert_eq!(recipe.optim.lr(), 3e-4);
/// let again = Recipe::from_toml(&recipe.to_toml(), None, &[])?;
/// assert_eq!(recipe, again);
/// # Ok::<(), cortical_train::Error>(())
/// ```
///
/// What is learned decides which fields there are beside those that every recipe has ([`TaskRecipe`]): a network for
/// pictures and tables has a table `[model]`, a language model is named by `model = "llama-tiny"`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recipe {
    /// Draws initial weights, the order of samples and dropout.
    pub seed: u64,
    /// Where the arithmetic happens.
    pub device: DeviceRecipe,
    /// What is learned from, and what is held out.
    pub data: DataRecipe,
    /// What is learned, and by which model.
    pub task: TaskRecipe,
    /// How a gradient changes the weights.
    pub optim: OptimRecipe,
    /// How the learning rate changes over the run.
    pub schedule: ScheduleRecipe,
    /// How long, and how much at a time.
    pub train: TrainRecipe,
    /// A second set of weights that follows the trained ones.
    pub average: AverageRecipe,
    /// Where weights come from, and what of them is trained.
    pub start: StartRecipe,
    /// Which weights are disconnected, if any are.
    pub prune: Option<PruneRecipe>,
    /// What happens when something is non-finite.
    pub guard: GuardRecipe,
    /// When the state is saved.
    pub checkpoint: CheckpointRecipe,
    /// How often metrics are written.
    pub log: LogRecipe,
}

choice! {
    /// Where the arithmetic happens.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum DeviceRecipe: "device" {
        /// The processor.
        #[default]
        Cpu = "cpu",
    }
}

impl Recipe {
    /// What is learned.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        self.task.kind()
    }

    /// The recipe of pictures and tables.
    ///
    /// # Errors
    /// [`Error::OtherTask`](crate::Error::OtherTask) for a language model's.
    pub fn samples(&self) -> crate::Result<&SampleRecipe> {
        match &self.task {
            TaskRecipe::Samples(samples) => Ok(samples),
            TaskRecipe::Text(_) => Err(self.other_task(TaskKind::Classification)),
        }
    }

    /// The recipe of a language model.
    ///
    /// # Errors
    /// [`Error::OtherTask`](crate::Error::OtherTask) for one of pictures and tables.
    pub fn text(&self) -> crate::Result<&TextRecipe> {
        match &self.task {
            TaskRecipe::Text(text) => Ok(text),
            TaskRecipe::Samples(_) => Err(self.other_task(TaskKind::NextToken)),
        }
    }

    /// The recipe does not learn what is expected.
    fn other_task(&self, expected: TaskKind) -> crate::Error {
        crate::Error::OtherTask {
            expected: expected.words(),
            found: self.kind().words(),
        }
    }

    /// Opens the pictures or the table that the recipe is about, preprocessed as it says. A table is read by the
    /// columns of a model, where there are any: those of the one that the recipe's network begins from, or its own.
    ///
    /// # Errors
    /// Those of [`cortical_data::open`]; a recipe for a language model.
    pub fn open_samples(&self, columns: &[Column]) -> crate::Result<Splits> {
        let mut options = self.samples()?.options(&self.data);
        options.csv.columns = columns.to_vec();
        Ok(cortical_data::open(&self.data.name, &options)?)
    }

    /// The network's kind, or the language model's name.
    #[must_use]
    pub fn model_name(&self) -> &str {
        match &self.task {
            TaskRecipe::Samples(samples) => samples.model.kind(),
            TaskRecipe::Text(text) => &text.model,
        }
    }

    /// A short name for run folders: the data set's or the model's, or a file's without its endings.
    #[must_use]
    pub fn short_name(&self) -> String {
        let name = match &self.task {
            TaskRecipe::Samples(_) => self.data.name.clone(),
            TaskRecipe::Text(text) => text.model.trim_end_matches(".gguf").replace('.', "-"),
        };
        short_name(&name)
    }
}

/// The last part of a path without its endings, in letters that every file system takes.
fn short_name(name: &str) -> String {
    let file = std::path::Path::new(name).file_name();
    let stem = file.and_then(|name| name.to_str()?.split('.').find(|part| !part.is_empty()));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let chars = stem.unwrap_or("run").chars();
    chars
        .map(|c| if plain(c) { c } else { '-' })
        .take(40)
        .collect()
}

#[cfg(test)]
mod tests;
