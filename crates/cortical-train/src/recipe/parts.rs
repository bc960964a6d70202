//! The tables of a recipe that are plain settings.

use cortical_optim::Averaging;
use serde::{Deserialize, Serialize};

use super::section::Section;

/// The table `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrainRecipe {
    /// How often every sample is seen.
    pub epochs: u64,
    /// Samples of a batch.
    pub batch_size: usize,
    /// Samples in a batch of an evaluation.
    pub eval_batch_size: usize,
    /// Batches whose gradients make one step.
    pub accumulate: u64,
    /// The share of each label that is spread over all classes.
    pub label_smoothing: f64,
    /// α of mixup: how much two samples of a batch are mixed; 0 for not at all (Zhang et al. 2018).
    pub mixup: f64,
    /// α of cutmix: how large a piece of a picture comes from another; 0 for none (Yun et al. 2019).
    pub cutmix: f64,
    /// Steps after which the run ends; 0 for after its epochs.
    pub max_steps: u64,
    /// Seconds of training after which the run ends; 0 for no limit. What such a run computes depends on the machine's speed.
    pub time_budget_s: f64,
    /// Steps between two tests; 0 for one an epoch.
    pub validate_every: u64,
    /// How many tests in a row may fail to improve before the run ends; 0 for any number.
    pub patience: u64,
    /// What tells tests apart.
    pub monitor: Monitor,
    /// Only the first so many batches are learned from, again and again; 0 for all. A network that cannot learn them by heart has a mistake.
    pub overfit_batches: u64,
    /// Only the first so many batches are tested on; 0 for all.
    pub limit_eval_batches: u64,
    /// Batches that are prepared ahead, in a thread of their own; 0 for none.
    pub prefetch: usize,
    /// Draws samples so that every class comes up as often as the others.
    pub balanced: bool,
    /// In how many stretches of layers activations are thrown away and computed once more for the gradients, which takes less memory and more
    /// time; 0 to keep all.
    pub recompute: usize,
}

/// What early stopping and the choice of the best checkpoints look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// The mean loss over the test samples; smaller is better.
    #[default]
    TestLoss,
    /// The share of the test samples classified rightly; larger is better.
    TestAccuracy,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 64,
            eval_batch_size: 256,
            accumulate: 1,
            label_smoothing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            max_steps: 0,
            time_budget_s: 0.0,
            validate_every: 0,
            patience: 0,
            monitor: Monitor::TestLoss,
            overfit_batches: 0,
            limit_eval_batches: 0,
            prefetch: 0,
            balanced: false,
            recompute: 0,
        }
    }
}

impl Section for TrainRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("epochs", "how often every sample is seen"),
        ("batch_size", "samples of a batch"),
        ("eval_batch_size", "samples at a time in an evaluation"),
        ("accumulate", "batches whose gradients make one step"),
        (
            "label_smoothing",
            "share of a label spread over all classes",
        ),
        ("mixup", "α of mixup; 0: none"),
        ("cutmix", "α of cutmix; 0: none"),
        (
            "max_steps",
            "the run ends after so many; 0: after its epochs",
        ),
        ("time_budget_s", "seconds of training; 0: no limit"),
        ("validate_every", "steps between tests; 0: one an epoch"),
        (
            "patience",
            "tests without improvement before the end; 0: any number",
        ),
        ("monitor", "test_loss or test_accuracy"),
        (
            "overfit_batches",
            "learn the first so many by heart; 0: all",
        ),
        ("limit_eval_batches", "test on the first so many; 0: all"),
        ("prefetch", "batches prepared ahead in a thread"),
        ("balanced", "every class as often as the others"),
        (
            "recompute",
            "stretches of layers that run twice, for less memory",
        ),
    ];
    const FIRST: &'static [&'static str] = &["epochs", "batch_size", "eval_batch_size"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let at_least_1 = |name, n: u64| (n == 0).then(|| (name, "at least 1", n.to_string()));
        let share = |name, x: f64| {
            let holds = (0.0..1.0).contains(&x);
            (!holds).then(|| (name, "a share from 0 to below 1", x.to_string()))
        };
        let not_negative = |name, x: f64| {
            let holds = x >= 0.0 && x.is_finite();
            (!holds).then(|| (name, "a number of at least 0", x.to_string()))
        };
        let most = 1_000_000_000;
        at_least_1("epochs", self.epochs)
            .or_else(|| {
                let too_many = self.epochs > most;
                too_many.then(|| ("epochs", "at most 1000000000", self.epochs.to_string()))
            })
            .or_else(|| at_least_1("batch_size", self.batch_size as u64))
            .or_else(|| at_least_1("eval_batch_size", self.eval_batch_size as u64))
            .or_else(|| at_least_1("accumulate", self.accumulate))
            .or_else(|| share("label_smoothing", self.label_smoothing))
            .or_else(|| not_negative("mixup", self.mixup))
            .or_else(|| not_negative("cutmix", self.cutmix))
            .or_else(|| not_negative("time_budget_s", self.time_budget_s))
            .or_else(|| {
                let too_many = self.prefetch > 1024;
                too_many.then(|| ("prefetch", "at most 1024", self.prefetch.to_string()))
            })
    }
}

/// The table `[average]`: a second set of weights that follows the trained ones, which is tested and saved in their place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AverageRecipe {
    /// How weights are averaged.
    pub kind: AverageKind,
    /// The share of the exponential average that a step keeps.
    pub decay: f64,
    /// Whether early steps count more.
    pub warmup: bool,
    /// The first step that is averaged.
    pub from_step: u64,
}

/// How weights are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AverageKind {
    /// Not at all.
    #[default]
    None,
    /// Exponentially (EMA).
    Ema,
    /// All alike (SWA).
    Mean,
}

impl Default for AverageRecipe {
    fn default() -> Self {
        Self {
            kind: AverageKind::None,
            decay: 0.999,
            warmup: true,
            from_step: 0,
        }
    }
}

impl AverageRecipe {
    /// The average as `cortical-optim` makes it.
    pub(crate) fn averaging(&self) -> Option<Averaging> {
        match self.kind {
            AverageKind::None => None,
            AverageKind::Ema => Some(Averaging::Exponential {
                decay: self.decay,
                warmup: self.warmup,
            }),
            AverageKind::Mean => Some(Averaging::Mean),
        }
    }
}

impl Section for AverageRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        (
            "kind",
            "none, ema or mean: weights that are tested and saved",
        ),
        ("decay", "share of the average that a step keeps"),
        ("warmup", "early steps count more"),
        ("from_step", "the first step that is averaged"),
    ];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let holds = (0.0..1.0).contains(&self.decay);
        (!holds).then(|| ("decay", "a share from 0 to below 1", self.decay.to_string()))
    }
}

/// The table `[start]`: weights from another network, and what of it is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StartRecipe {
    /// A safetensors file, or the folder of a run; nothing for a fresh network.
    pub from: String,
    /// Patterns of the names that stay as they begin, such as `conv*`.
    pub freeze: Vec<String>,
    /// Patterns of the names that are not taken from the file, such as `fc2.*`: the new head.
    pub replace: Vec<String>,
}

impl Section for StartRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("from", "a safetensors file or a run to take weights from"),
        ("freeze", "names that are not trained, such as [\"conv*\"]"),
        ("replace", "names that begin afresh, such as [\"fc2.*\"]"),
    ];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let replaces = self.from.is_empty() && !self.replace.is_empty();
        replaces.then(|| {
            let found = format!("{:?} without start.from", self.replace);
            ("replace", "names of a file that is given", found)
        })
    }
}

/// The table `[guard]`: what happens when a loss or a gradient is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GuardRecipe {
    /// Whether the batch is left out, or the run ends.
    pub on_nan: OnNan,
    /// How many steps in a row may be left out; 0 for any number.
    pub max_skips: u64,
}

impl Default for GuardRecipe {
    fn default() -> Self {
        Self {
            on_nan: OnNan::default(),
            max_skips: 10,
        }
    }
}

/// What happens when a loss or a gradient is no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// The run ends, and says in which layer and at which step.
    #[default]
    Stop,
    /// The step is undone and its batches are left out. A step after which every loss is no number is taken back: the run returns to its newest
    /// checkpoint and leaves out the newest step; if that does not help the newest two, then four …
    Skip,
}

impl Section for GuardRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("on_nan", "stop, or skip the batches of the step"),
        (
            "max_skips",
            "steps in a row that may be skipped; 0: any number",
        ),
    ];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        None
    }
}

/// The table `[checkpoint]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CheckpointRecipe {
    /// Steps between two checkpoints; 0 for one at a stop only.
    pub every_steps: u64,
    /// How many checkpoints are kept.
    pub keep: usize,
    /// How many models of the best tests are kept, in `best/`.
    pub keep_best: usize,
}

impl Default for CheckpointRecipe {
    fn default() -> Self {
        Self {
            every_steps: 500,
            keep: 2,
            keep_best: 0,
        }
    }
}

impl Section for CheckpointRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("every_steps", "0: only when the run is stopped"),
        ("keep", "the newest so many stay"),
        ("keep_best", "models of the best so many tests, in best/"),
    ];
    const FIRST: &'static [&'static str] = &["every_steps", "keep"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        (self.keep == 0).then(|| ("keep", "at least 1", "0".to_owned()))
    }
}

/// The table `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LogRecipe {
    /// Steps between two lines of `metrics.jsonl`; 0 for one line an epoch only.
    pub every_steps: u64,
    /// Whether a TensorBoard event file is written as well.
    pub tensorboard: bool,
    /// Whether `metrics.csv` is written as well.
    pub csv: bool,
}

impl Default for LogRecipe {
    fn default() -> Self {
        Self {
            every_steps: 20,
            tensorboard: false,
            csv: false,
        }
    }
}

impl Section for LogRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("every_steps", "lines in metrics.jsonl; 0: one an epoch"),
        ("tensorboard", "an event file for TensorBoard as well"),
        ("csv", "metrics.csv as well"),
    ];
    const FIRST: &'static [&'static str] = &["every_steps"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        None
    }
}
