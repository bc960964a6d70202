//! Training as a run: a recipe in, a folder out.
//!
//! - [`Recipe`]: everything that decides how a training goes, as TOML with checked fields and built-in presets.
//! - [`RunFolder`]: `recipe.toml`, `model.safetensors`, `metrics.jsonl`, `checkpoints/` and `report.json`, locked while a process works in it.
//! - [`train`]: the one training loop, which also resumes: from the newest checkpoint to the same bytes as without a break.
//! - [`train_language`]: the same for language models, which learn from raw text: [`LanguageRecipe`], [`LanguageRun`].
//! - [`TrainedModel`] and [`evaluate`]: what a trained network knows and how good it is.
//!
//! The central choice: a run is a function of its recipe. Whoever watches ([`Observer`]) or stops it ([`Stop`]) is
//! handed in, nothing is printed, and neither threads nor interruptions change what it computes. This crate does not know
//! the command line.
//!
//! ```
//! use cortical_train::{train, Outcome, Recipe, RunFolder};
//! # let temporary = tempfile::tempdir()?;
//! # let root = temporary.path().join("iris");
//! let recipe = Recipe::from_toml("version = 1\n[data]\nname = \"iris\"\n[train]\nepochs = 20", None, &[])?;
//! let folder = RunFolder::create(&root, &recipe)?;
//! let Outcome::Finished(report) = train(folder, &recipe, &(), &mut ())? else {
//!     panic!("nobody asked it to stop");
//! };
//! assert!(report.test.accuracy > 0.8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod evaluate;
mod folder;
mod language;
mod metrics;
mod model_file;
mod observe;
mod pool;
mod recipe;
mod report;
mod session;

pub use error::{Error, Result};
pub use evaluate::{ClassScore, Evaluation, evaluate};
pub use folder::{RunFolder, RunPaths, read_recipe_file};
pub use language::{
    LANGUAGE_VERSION, LanguageData, LanguageEvent, LanguageOptim, LanguageOutcome, LanguageRecipe,
    LanguageReport, LanguageRun, LanguageTrain, LoraRecipe, train_language,
};
pub use model_file::{Prediction, TrainedModel};
pub use observe::{EpochMetrics, Event, Observer, Setup, StepMetrics, Stop, Warning};
pub use pool::in_pool;
pub use recipe::{
    CheckpointRecipe, DataRecipe, DeviceRecipe, LogRecipe, OptimRecipe, Override, Preset,
    RECIPE_VERSION, Recipe, ScheduleRecipe, TrainRecipe, presets,
};
pub use report::Report;
pub use session::{Outcome, train};
