//! Recipes that come with the command, and the ones that suit data or a model where nothing else is said.

use std::path::Path;

use cortical_data::{Augment, Target, catalog};
use cortical_models::ModelSpec;
use cortical_optim::{AdamWConfig, OptimizerConfig};

use super::{
    AverageRecipe, CheckpointRecipe, ClassifyRecipe, DataRecipe, DeviceRecipe, GuardRecipe,
    LogRecipe, LoraRecipe, OptimRecipe, Override, PruneRecipe, Recipe, SampleData, SampleRecipe,
    SampleTraining, ScheduleRecipe, StartRecipe, TaskKind, TaskRecipe, TextData, TextRecipe,
    TextTraining, TrainRecipe,
};
use crate::Result;

/// A recipe that comes with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it trains, in a line.
    pub summary: &'static str,
    /// The recipe as TOML.
    text: &'static str,
}

const PRESETS: [Preset; 8] = [
    Preset {
        name: "concrete",
        summary: "a small dense network that predicts a number, the strength of the embedded mixtures of concrete",
        text: "version = 2\n[data]\nname = \"concrete\"",
    },
    Preset {
        name: "digits",
        summary: "a small convolutional network on the embedded digits",
        text: "version = 2\n[data]\nname = \"digits\"",
    },
    Preset {
        name: "edges",
        summary: "eight filters on edges in four directions, to look at with `cortical neurons`",
        text: include_str!("edges.toml"),
    },
    Preset {
        name: "fashion-mnist",
        summary: "LeNet on Fashion-MNIST",
        text: "version = 2\n[data]\nname = \"fashion-mnist\"",
    },
    Preset {
        name: "fashion-mnist-cnn",
        summary: "five convolutions with batch norms on Fashion-MNIST, for accuracy",
        text: include_str!("fashion-mnist-cnn.toml"),
    },
    Preset {
        name: "iris",
        summary: "a small dense network on the embedded iris measurements",
        text: "version = 2\n[data]\nname = \"iris\"",
    },
    Preset {
        name: "moby-dick",
        summary: "a language model of a million parameters on the bytes of the embedded novel",
        text: include_str!("moby-dick.toml"),
    },
    Preset {
        name: "table",
        summary: "a dense network on any CSV file with a label column",
        text: "version = 2\n[data]\nname = \"table.csv\"",
    },
];

/// The recipes that come with the command.
#[must_use]
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

impl Preset {
    /// The recipe, with these fields changed.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn recipe(&self, overrides: &[Override]) -> Result<Recipe> {
        Recipe::from_toml(self.text, None, overrides)
    }
}

/// Steps of a language model's warm-up where neither the recipe nor a short run says otherwise.
const WARMUP: u64 = 50;

/// AdamW with PyTorch's numbers but this learning rate.
fn adamw(lr: f64) -> AdamWConfig {
    AdamWConfig {
        lr,
        ..AdamWConfig::default()
    }
}

impl Recipe {
    /// The preset of this name.
    ///
    /// ```
    /// use cortical_train::{Recipe, TaskKind};
    /// let recipe = Recipe::preset("moby-dick").expect("it comes with the command");
    /// assert_eq!((recipe.kind(), recipe.train.max_steps), (TaskKind::NextToken, 4000));
    /// ```
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let preset = PRESETS.iter().find(|preset| preset.name == name)?;
        Some(preset.recipe(&[]).expect("our own recipes can be read"))
    }

    /// What all recipes have in common until they say otherwise.
    fn plain(task: TaskRecipe, data: DataRecipe, optim: OptimRecipe) -> Self {
        Self {
            seed: 1,
            device: DeviceRecipe::Cpu,
            data,
            task,
            optim,
            schedule: ScheduleRecipe::cosine(0, 0.0),
            train: TrainRecipe::default(),
            average: AverageRecipe::default(),
            start: StartRecipe::default(),
            prune: None,
            guard: GuardRecipe::default(),
            checkpoint: CheckpointRecipe::default(),
            log: LogRecipe::default(),
        }
    }

    /// The recipe that a data set starts with: its own preset, or one that suits its kind.
    #[must_use]
    pub fn for_data(name: &str) -> Self {
        let recipe = |epochs, batch_size, lr, every_steps| {
            let task = TaskRecipe::Samples(Box::new(SampleRecipe {
                model: suggested_model(name),
                data: SampleData {
                    target: suggested_target(name),
                    ..SampleData::default()
                },
                train: SampleTraining::default(),
                augment: Augment::default(),
            }));
            let data = DataRecipe {
                name: name.to_owned(),
                ..DataRecipe::default()
            };
            let optim = OptimRecipe::new(OptimizerConfig::AdamW(adamw(lr)));
            let mut recipe = Self::plain(task, data, optim);
            (recipe.train.epochs, recipe.train.batch_size) = (epochs, batch_size);
            recipe.checkpoint.every_steps = every_steps;
            recipe
        };
        match name {
            "concrete" => recipe(200, 32, 5e-3, 500),
            "digits" => recipe(30, 64, 2e-3, 100),
            "fashion-mnist" => recipe(5, 64, 1e-3, 500),
            "iris" => recipe(40, 16, 1e-2, 100),
            _ if Path::new(name).is_dir() => recipe(5, 64, 1e-3, 500),
            _ => recipe(50, 32, 3e-3, 500),
        }
    }

    /// The recipe that a language model starts with: the next token of a text, AdamW without decay of norms and biases,
    /// and a warm-up with half a cosine behind it.
    #[must_use]
    pub fn for_text(model: &str) -> Self {
        let task = TaskRecipe::Text(TextRecipe {
            model: model.to_owned(),
            data: TextData::default(),
            train: TextTraining::default(),
            classify: None,
            lora: None,
        });
        let data = DataRecipe {
            name: "moby-dick".to_owned(),
            test_fraction: 0.1,
            valid_fraction: 0.05,
        };
        let mut optim = OptimRecipe::new(text_adamw(3e-3));
        optim.gradients.clip_norm = Some(1.0);
        optim.gradients.decay_norms_and_biases = false;
        let mut recipe = Self::plain(task, data, optim);
        recipe.seed = 0;
        recipe.schedule = ScheduleRecipe::cosine(WARMUP, 0.1);
        recipe.train = TrainRecipe {
            epochs: 0,
            max_steps: 1000,
            batch_size: 8,
            validate_every: 100,
            ..TrainRecipe::default()
        };
        recipe.checkpoint.every_steps = 100;
        recipe.log.every_steps = 10;
        recipe
    }

    /// As [`for_text`](Self::for_text) for classes of texts: three epochs of small steps, without a warm-up that might
    /// be longer than the run, and all held-out texts at each validation.
    #[must_use]
    pub fn for_text_classes(model: &str) -> Self {
        let mut recipe = Self::for_text(model);
        recipe.optim.config = text_adamw(1e-4);
        recipe.schedule = ScheduleRecipe::cosine(0, 0.1);
        recipe.data.valid_fraction = 0.1;
        (recipe.train.epochs, recipe.train.max_steps) = (3, 0);
        if let TaskRecipe::Text(text) = &mut recipe.task {
            (text.train.eval_blocks, text.train.sample_tokens) = (0, 0);
            text.classify = Some(ClassifyRecipe::default());
        }
        recipe
    }
}

impl Recipe {
    /// A recipe of this kind with every table that it may have.
    pub(super) fn with_every_table(kind: TaskKind) -> Self {
        let mut recipe = match kind {
            TaskKind::Classification | TaskKind::Regression | TaskKind::MultiLabel => {
                Self::for_data("digits")
            }
            TaskKind::NextToken | TaskKind::TextClassification => Self::for_text("llama-tiny"),
        };
        recipe.prune = Some(PruneRecipe::default());
        if let TaskRecipe::Text(text) = &mut recipe.task {
            text.classify = Some(ClassifyRecipe::default());
            text.lora = Some(LoraRecipe::default());
        }
        recipe
    }
}

/// The optimizer of language models.
fn text_adamw(lr: f64) -> OptimizerConfig {
    OptimizerConfig::AdamW(AdamWConfig {
        betas: (0.9, 0.95),
        weight_decay: 0.1,
        ..adamw(lr)
    })
}

/// What is predicted of a data set of the catalog; of all others classes, unless they are said to have numbers.
fn suggested_target(name: &str) -> Target {
    let entry = catalog().iter().find(|entry| entry.name == name);
    match entry.is_some_and(|entry| !entry.targets.is_empty()) {
        true => Target::Numbers,
        false => Target::Classes,
    }
}

/// The network for a data set of the catalog, or for what lies at a path.
fn suggested_model(name: &str) -> ModelSpec {
    let entry = catalog().iter().find(|entry| entry.name == name);
    match entry {
        Some(entry) => ModelSpec::suggested_for(entry.input_shape),
        None if Path::new(name).is_dir() => ModelSpec::suggested_for(&[1, 28, 28]),
        None => ModelSpec::suggested_for(&[1]),
    }
}
