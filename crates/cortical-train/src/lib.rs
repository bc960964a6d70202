//! Training as a run: a recipe in, a folder out.
//!
//! - [`Recipe`]: everything that decides how a training goes, as TOML with checked fields and built-in presets.
//! - [`RunFolder`]: `recipe.toml`, `model.safetensors`, `metrics.jsonl`, `checkpoints/`, `report.json` and `report.html`, locked while a process works in it.
//! - [`train`]: the one training loop, which also resumes: from the newest checkpoint to the same bytes as without a break.
//! - [`train_language`]: the same for language models, which learn from raw text or labelled texts, as a [`LanguageRecipe`] says; [`TextModel`] tells
//!   classes of texts apart.
//! - [`write_page`]: a finished run as a page with curves, mistakes and weights; [`find_lr`]: a learning rate to begin with.
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

mod best;
mod error;
mod evaluate;
mod folder;
mod guard;
mod language;
mod lr_finder;
mod metrics;
mod mix;
mod model_file;
mod observe;
mod page;
mod pool;
mod recipe;
mod report;
mod scores;
mod session;
mod start;
mod tensorboard;

pub use error::{Error, Result};
pub use evaluate::{ClassScore, Evaluation, evaluate};
pub use folder::{RunFolder, RunPaths, RunRecipe, read_recipe_file};
pub use language::{
    Foresight, LanguageEvent, LanguageOutcome, LanguageReport, Material, TextMistake, TextModel,
    evaluate_language, train_language,
};
pub use lr_finder::{LrFinding, find_lr};
pub use model_file::{Prediction, TrainedModel};
pub use observe::{
    EarlyEnd, EpochMetrics, Event, Observer, Setup, StepMetrics, Stop, TestMetrics, Warning,
};
pub use page::write_page;
pub use pool::in_pool;
pub use recipe::{
    AverageKind, AverageRecipe, CheckpointRecipe, ClassifyRecipe, DataRecipe, DeviceRecipe,
    GroupRecipe, GuardRecipe, LANGUAGE_VERSION, LanguageData, LanguageRecipe, LanguageTrain,
    LogRecipe, LoraRecipe, Monitor, OnNan, OptimRecipe, Override, Preset, RECIPE_VERSION, Recipe,
    ScheduleRecipe, StartRecipe, StorageType, TrainRecipe, language_presets, presets,
};
pub use report::Report;
pub use scores::{Classification, Regression};
pub use session::{Outcome, train};
