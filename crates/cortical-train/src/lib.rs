//! Training as a run: a recipe in, a folder out.
//!
//! - [`Recipe`]: everything that decides how a training goes, as TOML with checked fields and built-in presets.
//! - [`RunFolder`]: `recipe.toml`, `model.safetensors`, `metrics.jsonl`, `checkpoints/`, `report.json` and
//!   `report.html`, locked while a process works in it.
//! - [`train`]: the one training loop, which also resumes: from the newest checkpoint to the same bytes as without a
//!   break. What is learned is a task to it: classes of pictures or tables, numbers of tables, the next
//!   token of a text, classes of texts.
//! - [`search`]: many runs of one recipe with other settings each, and which is the best.
//! - [`write_page`]: a finished run as a page with curves, mistakes and weights; [`find_lr`]: a learning rate to begin
//!   with.
//! - [`TrainedModel`], [`TextModel`], [`evaluate_run`], [`evaluate`] and [`evaluate_text`]: what a trained model knows
//!   and how good it is.
//! - [`Communicator`]: what several ranks say to each other; [`tree_sum`]: a sum whose bits do not depend on their
//!   number. The training loop uses neither yet.
//!
//! The central choice: a run is a function of its recipe. Whoever watches ([`Observer`]) or stops it ([`Stop`]) is
//! handed in, nothing is printed, and neither threads nor interruptions change what it computes. This crate does not
//! know the command line.
//!
//! ```
//! use cortical_train::{train, Outcome, Recipe, RunFolder};
//! # let temporary = tempfile::tempdir()?;
//! # let root = temporary.path().join("iris");
//! let recipe = Recipe::from_toml("version = 2\n[data]\nname = \"iris\"\n[train]\nepochs = 20", None, &[])?;
//! let folder = RunFolder::create(&root, &recipe)?;
//! let Outcome::Finished(report) = train(folder, &recipe, &(), &mut ())? else {
//!     panic!("nobody asked it to stop");
//! };
//! assert!(report.test.is_some_and(|test| test.accuracy > 0.8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod best;
mod error;
mod evaluate;
mod evaluate_run;
mod evaluate_text;
mod folder;
mod guard;
mod label_scores;
mod labels;
mod lr_finder;
mod measured;
mod memory;
mod metrics;
mod model_file;
mod number_scores;
mod numbers;
mod observe;
mod outputs;
mod page;
mod parallel;
mod pool;
mod pruner;
mod recipe;
mod rehearsal;
mod report;
mod scores;
mod search;
mod search_defect;
mod sources;
mod start;
mod subject;
mod task;
mod tensorboard;
mod text_model;
mod trainer;

pub use error::{Error, Result};
pub use evaluate::{ClassScore, Evaluation, evaluate};
pub use evaluate_run::evaluate_run;
pub use evaluate_text::{evaluate_text, test_tokens};
pub use folder::{Made, RunFolder, RunPaths, read_recipe_file};
pub use label_scores::{LabelScore, LabelScores};
pub use labels::{LabelOutputs, LabelPrediction, evaluate_labels};
pub use lr_finder::{LrFinding, find_lr};
pub use measured::{Measure, Measured, TextMistake, Unit};
pub use memory::{Activations, MemoryNeed, ParameterShape};
pub use model_file::{Prediction, TrainedModel, plan_of};
pub use number_scores::{NumberScores, TargetScore};
pub use numbers::{NumberOutputs, NumberPrediction, evaluate_numbers};
pub use observe::{
    DataSize, EarlyEnd, Event, Observer, PhaseMetrics, Setup, StepMetrics, Stop, Validation,
    Warning,
};
pub use outputs::Outputs;
pub use page::write_page;
pub use parallel::{
    CommunicationDefect, Communicator, Shares, SingleProcess, ThreadCommunicator,
    thread_communicators, tree_sum,
};
pub use pool::in_pool;
pub use pruner::prune_now;
pub use recipe::{
    AverageKind, AverageRecipe, CheckpointRecipe, ClassWeights, ClassifyRecipe, ConstantRun,
    CosineRun, DataRecipe, DeviceRecipe, GradientRecipe, GroupRecipe, GuardRecipe, LinearRun,
    LogRecipe, LoraRecipe, Monitor, NormType, NumberLoss, OnNan, OneCycleRun, OptimRecipe,
    Override, Preset, PruneMethod, PruneRecipe, PruneScope, RECIPE_VERSION, Recipe, RunSchedule,
    SampleData, SampleRecipe, SampleTraining, ScheduleRecipe, StartRecipe, StepRun, StorageType,
    TaskKind, TaskRecipe, TextData, TextRecipe, TextTraining, Thresholds, TrainRecipe, presets,
};
pub use rehearsal::{rehearse, rehearse_forward};
pub use report::Report;
pub use scores::{ClassCount, Classification, Regression};
pub use search::{Axis, Found, SearchMethod, SearchRequest, Trial, search};
pub use search_defect::SearchDefect;
pub use subject::{Subject, SubjectModel};
pub use text_model::TextModel;
pub use trainer::{Outcome, train};
