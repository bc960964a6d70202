//! Recipes that come with the command: one for each data set, one for any table, and one that is as good as we know how.

use std::path::Path;

use cortical_data::{Augment, Normalize, catalog};
use cortical_models::ModelSpec;

use cortical_optim::{AdamWConfig, OptimizerConfig};

use super::{
    AverageRecipe, CheckpointRecipe, DataRecipe, DeviceRecipe, GuardRecipe, LanguageRecipe,
    LogRecipe, OptimRecipe, Recipe, ScheduleRecipe, StartRecipe, TrainRecipe,
};

/// A recipe that comes with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it trains, in a line.
    pub summary: &'static str,
}

const PRESETS: [Preset; 5] = [
    Preset {
        name: "digits",
        summary: "a small convolutional network on the embedded digits",
    },
    Preset {
        name: "fashion-mnist",
        summary: "LeNet on Fashion-MNIST",
    },
    Preset {
        name: "fashion-mnist-cnn",
        summary: "five convolutions with batch norms on Fashion-MNIST, for accuracy",
    },
    Preset {
        name: "iris",
        summary: "a small dense network on the embedded iris measurements",
    },
    Preset {
        name: "table",
        summary: "a dense network on any CSV file with a label column",
    },
];

const FASHION_MNIST_CNN: &str = include_str!("fashion-mnist-cnn.toml");

/// Recipes for language models by their names.
const LANGUAGE: [(Preset, &str); 1] = [(
    Preset {
        name: "moby-dick",
        summary: "a language model of a million parameters on the bytes of the embedded novel",
    },
    include_str!("moby-dick.toml"),
)];

/// The recipes for language models that come with the command.
pub fn language_presets() -> impl Iterator<Item = Preset> {
    LANGUAGE.into_iter().map(|(preset, _)| preset)
}

impl LanguageRecipe {
    /// The text of the preset of this name, for [`LanguageRecipe::from_toml`].
    ///
    /// ```
    /// use cortical_train::LanguageRecipe;
    /// let text = LanguageRecipe::preset("moby-dick").expect("it comes with the command");
    /// assert_eq!(LanguageRecipe::from_toml(text, &[])?.model, "llama-tiny");
    /// # Ok::<(), cortical_train::Error>(())
    /// ```
    #[must_use]
    pub fn preset(name: &str) -> Option<&'static str> {
        let mut all = LANGUAGE.iter();
        all.find(|(preset, _)| preset.name == name)
            .map(|(_, text)| *text)
    }
}

/// The recipes that come with the command.
#[must_use]
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

/// AdamW with PyTorch's numbers but this learning rate.
fn adamw(lr: f64) -> OptimRecipe {
    OptimRecipe::new(OptimizerConfig::AdamW(AdamWConfig {
        lr,
        ..AdamWConfig::default()
    }))
}

impl Recipe {
    /// The preset of this name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let data = match name {
            "fashion-mnist-cnn" => return Self::from_toml(FASHION_MNIST_CNN, None, &[]).ok(),
            "table" => "table.csv",
            name if PRESETS.iter().any(|preset| preset.name == name) => name,
            _ => return None,
        };
        Some(Self::for_data(data))
    }

    /// The recipe that a data set starts with: its own preset, or one that suits its kind.
    #[must_use]
    pub fn for_data(name: &str) -> Self {
        let recipe = |epochs, batch_size, lr, every_steps| Self {
            seed: 1,
            device: DeviceRecipe::Cpu,
            data: DataRecipe {
                name: name.to_owned(),
                test_fraction: 0.2,
                split_seed: 0,
                normalize: Normalize::Auto,
                input_shape: None,
                label: None,
                one_hot: Vec::new(),
                ignore: Vec::new(),
                folds: None,
                fold: 0,
                dir: None,
            },
            model: suggested_model(name),
            optim: adamw(lr),
            schedule: ScheduleRecipe::Cosine {
                warmup_steps: 0,
                min_factor: 0.0,
            },
            train: TrainRecipe {
                epochs,
                batch_size,
                ..TrainRecipe::default()
            },
            augment: Augment::default(),
            average: AverageRecipe::default(),
            start: StartRecipe::default(),
            guard: GuardRecipe::default(),
            checkpoint: CheckpointRecipe {
                every_steps,
                ..CheckpointRecipe::default()
            },
            log: LogRecipe::default(),
        };
        match name {
            "digits" => recipe(30, 64, 2e-3, 100),
            "fashion-mnist" => recipe(5, 64, 1e-3, 500),
            "iris" => recipe(40, 16, 1e-2, 100),
            _ if Path::new(name).is_dir() => recipe(5, 64, 1e-3, 500),
            _ => recipe(50, 32, 3e-3, 500),
        }
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
