//! A run as data: everything needed to repeat it.

mod augment;
mod language;
mod optim;
mod overrides;
mod parts;
mod presets;
mod read;
mod schedule;
mod section;
mod write;

use std::path::{Path, PathBuf};

use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{Augment, Normalize, OpenOptions, Splits};
use cortical_models::ModelSpec;
use cortical_tensor::Seed;

pub use language::{
    ClassifyRecipe, LANGUAGE_VERSION, LanguageData, LanguageRecipe, LanguageTrain, LoraRecipe,
    StorageType,
};
pub use optim::{GroupRecipe, OptimRecipe};
pub use overrides::Override;
pub use parts::{
    AverageKind, AverageRecipe, CheckpointRecipe, GuardRecipe, LogRecipe, Monitor, OnNan,
    StartRecipe, TrainRecipe,
};
pub use presets::{Preset, language_presets, presets};
pub use schedule::ScheduleRecipe;

/// Version of the format of recipes. A reader refuses newer ones.
pub const RECIPE_VERSION: u64 = 1;

/// Everything that decides how a training runs. The same recipe gives the same model, bit by bit, on the same processor
/// and build.
///
/// ```
/// use cortical_train::{Override, Recipe};
/// let lr: Override = "optim.lr=3e-4".parse()?;
/// let recipe = Recipe::from_toml("version = 1\n[data]\nname = \"iris\"", None, &[lr])?;
/// assert_eq!(recipe.optim.lr(), 3e-4);
/// let again = Recipe::from_toml(&recipe.to_toml(), None, &[])?;
/// assert_eq!(recipe, again);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recipe {
    /// Draws initial weights, the order of samples and dropout.
    pub seed: u64,
    /// Where the arithmetic happens.
    pub device: DeviceRecipe,
    /// What is learned from.
    pub data: DataRecipe,
    /// The network.
    pub model: ModelSpec,
    /// How a gradient changes the weights.
    pub optim: OptimRecipe,
    /// How the learning rate changes over the run.
    pub schedule: ScheduleRecipe,
    /// How long, and how many samples at a time.
    pub train: TrainRecipe,
    /// What is changed in pictures at random.
    pub augment: Augment,
    /// A second set of weights that follows the trained ones.
    pub average: AverageRecipe,
    /// Where weights come from, and what of them is trained.
    pub start: StartRecipe,
    /// What happens when something is no number.
    pub guard: GuardRecipe,
    /// When the state is saved.
    pub checkpoint: CheckpointRecipe,
    /// How often metrics are written.
    pub log: LogRecipe,
}

/// Where the arithmetic happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceRecipe {
    /// The processor.
    #[default]
    Cpu,
}

/// The table `[data]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DataRecipe {
    /// A name of the catalog, a CSV file, a safetensors table, a folder of pictures or of IDX files.
    pub name: String,
    /// What is held out where the data set has no test part of its own.
    pub test_fraction: f64,
    /// Draws what is held out; apart from the run's seed, so that runs with different seeds are tested on the same samples.
    pub split_seed: u64,
    /// What happens to raw values.
    pub normalize: Normalize,
    /// The shape that samples take; as they come when absent.
    pub input_shape: Option<Vec<usize>>,
    /// The label column of a CSV file; the last one when absent.
    pub label: Option<LabelColumn>,
    /// Columns of a CSV file that hold categories: each becomes a number of its own, 0 or 1.
    pub one_hot: Vec<LabelColumn>,
    /// Columns of a CSV file that are not read.
    pub ignore: Vec<LabelColumn>,
    /// In how many parts a cross-validation divides the samples.
    pub folds: Option<usize>,
    /// Which of them this run tests on, from 0.
    pub fold: usize,
    /// A folder to look into first.
    pub dir: Option<PathBuf>,
}

impl DataRecipe {
    /// Opens the data, preprocessed as the recipe says.
    ///
    /// # Errors
    /// Those of [`cortical_data::open`].
    pub fn open(&self) -> cortical_data::Result<Splits> {
        cortical_data::open(&self.name, &self.options())
    }

    /// The recipe as `cortical-data` takes it.
    #[must_use]
    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            seed: Seed(self.split_seed),
            test_fraction: self.test_fraction,
            valid_fraction: 0.0,
            fold: self.folds.map(|folds| (folds, self.fold)),
            normalize: self.normalize,
            input_shape: self.input_shape.clone(),
            data_dir: self.dir.clone(),
            csv: CsvOptions {
                label: self.label.clone(),
                one_hot: self.one_hot.clone(),
                ignore: self.ignore.clone(),
                ..CsvOptions::default()
            },
        }
    }

    /// A short name for run folders: the catalog's name, or the file's without its endings.
    #[must_use]
    pub fn short_name(&self) -> String {
        short_name(&self.name)
    }
}

/// The last part of a path without its endings, in letters that every file system takes.
fn short_name(name: &str) -> String {
    let file = Path::new(name).file_name();
    let stem = file.and_then(|name| name.to_str()?.split('.').find(|part| !part.is_empty()));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let chars = stem.unwrap_or("run").chars();
    chars
        .map(|c| if plain(c) { c } else { '-' })
        .take(40)
        .collect()
}

impl Recipe {
    /// A number that tells recipes apart, for checkpoints: FNV-1a of the fields and their values, without fields that are newer than the
    /// first recipes and say what they did not have to say.
    #[must_use]
    pub fn hash(&self) -> String {
        fnv(self.values().as_bytes())
    }
}

/// The hash FNV-1a, as 16 hexadecimal digits.
pub(crate) fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, set: &[&str]) -> crate::Result<Recipe> {
        let set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
        Recipe::from_toml(text, None, &set)
    }

    #[test]
    fn one_field_of_a_network_can_be_changed_without_naming_its_kind() {
        let read = |set: &[&str]| {
            let sets: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
            Recipe::from_toml("version = 1", None, &sets).map(|recipe| recipe.to_toml())
        };
        let changed = read(&["data.name=iris", "model.hidden=[8]"]).unwrap();
        assert!(changed.contains("kind = \"mlp\"") && changed.contains("hidden = [8]"));
        let other = read(&["data.name=iris", "model.kind=softmax"]).unwrap();
        assert!(!other.contains("hidden = "), "{other}");
        let error = read(&["data.name=digits", "model.hidden=[8]"]).unwrap_err();
        assert!(error.to_string().contains("hidden"), "{error}");
    }

    #[test]
    fn what_is_written_reads_back_and_hashes_alike() {
        let check = |recipe: &Recipe| {
            let text = recipe.to_toml();
            let again = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(*recipe, again, "{text}");
            assert_eq!(recipe.hash(), again.hash());
        };
        for preset in presets() {
            check(&Recipe::preset(preset.name).unwrap());
        }
        for set in [
            "model.layers=[{ conv2d = { out_channels = 2, kernel_size = 3 } }, \"flatten\", { linear = \"classes\" }]",
            "data.label=species",
            "data.label=3",
            "data.input_shape=[1, 8, 8]",
            "data.dir=some/where",
            "data={ one_hot = [\"colour\", 3], ignore = [1], folds = 5, fold = 4 }",
            "data.name=a \"quoted\" name.csv",
            "optim.clip_norm=1",
            "optim.kind=sgd",
            "optim.lr=1e-300",
            "schedule.kind=constant",
            "schedule.kind=one-cycle",
            "schedule={ kind = \"step\", step_size = 5 }",
            "schedule={ kind = \"cyclic\", base_lr = 0.1, max_lr = 1 }",
            "schedule={ kind = \"warmup_stable_decay\", warmup_steps = 2, stable_steps = 3, decay_steps = 4 }",
            "schedule={ kind = \"sequential\", milestones = [3], schedules = [{ name = \"linear\" }, { name = \"none\" }] }",
            "schedule={ kind = \"plateau\", patience = 3 }",
            "optim={ kind = \"muon\", others = { weight_decay = 0.1 } }",
            "optim={ kind = \"rmsprop\", centered = true, clip_norm = 1, clip_norm_type = inf }",
            "optim={ groups = [{ match = \"conv*\", lr_scale = 0.1 }], decay_norms_and_biases = false }",
            "train={ accumulate = 4, mixup = 0.2, monitor = \"test_accuracy\", balanced = true }",
            "average={ kind = \"ema\", decay = 0.9 }",
            "start={ from = \"a.safetensors\", freeze = [\"conv*\"], replace = [\"fc2.*\"] }",
            "guard.on_nan=skip",
            "augment={ flip = 0.5, crop_padding = 2 }",
            "seed=9223372036854775807",
        ] {
            check(&read("version = 1", &[set]).unwrap());
        }
        let (a, b) = (Recipe::for_data("digits"), Recipe::for_data("iris"));
        assert_ne!(a.hash(), b.hash());
    }

    #[test]
    fn what_a_recipe_does_not_say_suits_its_data() {
        let iris = read("version = 1\n[data]\nname = \"iris\"", &[]).unwrap();
        assert_eq!(iris, Recipe::for_data("iris"));
        assert_eq!(iris.model.kind(), "mlp");
        let table = read("version = 1\n[data]\nname = \"none.csv\"", &[]).unwrap();
        assert_eq!(table.model.kind(), "mlp");
        let picture = read(
            "version = 1\n[data]\nname = \"none.csv\"\ninput_shape = [1, 28, 28]",
            &[],
        )
        .unwrap();
        assert_eq!(picture.model.kind(), "lenet");
        let sgd = read("version = 1\n[optim]\nkind = \"sgd\"", &[]).unwrap();
        assert_eq!(sgd.optim.lr(), 0.05, "AdamW's learning rate would not do");
    }

    #[test]
    fn mistakes_are_named_with_their_full_path() {
        let check = |set: &str, want: &str| {
            let error = read("version = 1", &[set]).unwrap_err().to_string();
            assert_eq!(error, format!("recipe: {want}"), "{set}");
        };
        check(
            "optim.lrr=1",
            "there is no field optim.lrr; did you mean optim.lr?",
        );
        check(
            "optimizer.lr=1",
            "there is no field optimizer; did you mean optim?",
        );
        check("lr=1", "there is no field lr; did you mean optim.lr?");
        check(
            "train.batch=1",
            "there is no field train.batch; did you mean train.batch_size?",
        );
        check(
            "zebra=1",
            "there is no field zebra; known: version, data, model, schedule, optim, train, augment, average, start, guard, checkpoint, log, device, seed",
        );
        check(
            "optim.lr=fast",
            "optim.lr: expected a finite number, found the text \"fast\"",
        );
        check(
            "optim.lr=-1",
            "optim.lr: expected a learning rate above 0, found -1",
        );
        check(
            "optim.lr=0",
            "optim.lr: expected a learning rate above 0, found 0",
        );
        check(
            "optim.betas=[0.9]",
            "optim.betas: expected two shares from 0 to below 1, found [0.9]",
        );
        check(
            "optim.betas=[0.9, 1.0]",
            "optim.betas: expected two shares from 0 to below 1, found [0.9, 1.0]",
        );
        check(
            "optim.kind=adan",
            "optim.kind: there is no optimizer \"adan\"; did you mean \"adam\"?",
        );
        check(
            "optim.clip_norm=0",
            "optim.clip_norm: expected a norm above 0, found 0",
        );
        check(
            "train.epochs=0",
            "train.epochs: expected at least 1, found 0",
        );
        check(
            "train.epochs=2.5",
            "train.epochs: expected a whole number, not negative, found the number 2.5",
        );
        check(
            "train.batch_size=0",
            "train.batch_size: expected at least 1, found 0",
        );
        check(
            "train=5",
            "train: expected a table, [train], found the number 5",
        );
        check(
            "checkpoint.keep=0",
            "checkpoint.keep: expected at least 1, found 0",
        );
        check(
            "data.test_fraction=1",
            "data.test_fraction: expected a share above 0 and below 1, found 1",
        );
        check(
            "data.normalize=unti",
            "data.normalize: there is no kind of normalisation \"unti\"; did you mean \"unit\"?",
        );
        check("data.folds=1", "data.folds: expected at least 2, found 1");
        check(
            "data={ folds = 3, fold = 3 }",
            "data.fold: expected a number below data.folds, found 3",
        );
        check(
            "data.one_hot=[1.5]",
            "data.one_hot: expected a list of names or numbers of columns, found the list [1.5]",
        );
        check(
            "data.input_shape=[]",
            "data.input_shape: expected sizes of at least 1, such as [1, 8, 8], found []",
        );
        check(
            "device=cuda",
            "device: there is no device \"cuda\"; known: cpu",
        );
        check(
            "seed=-1",
            "seed: expected a whole number, not negative, found the number -1",
        );
        check(
            "schedule.kind=cosin",
            "schedule.kind: there is no schedule \"cosin\"; did you mean \"cosine\"?",
        );
        check(
            "schedule.min_factor=2",
            "schedule.min_factor: expected a share from 0 to 1, found 2",
        );
        check(
            "schedule.kind=step",
            "schedule.step_size is missing; expected a whole number, not negative",
        );
        check(
            "model.kind=lennet",
            "model.kind: there is no kind of network \"lennet\"; did you mean \"lenet\"?",
        );
    }

    #[test]
    fn other_versions_and_other_text_are_refused() {
        let check = |text: &str, want: &str| {
            assert_eq!(read(text, &[]).unwrap_err().to_string(), want);
        };
        let hint = "`cortical train --print-recipe` shows a complete recipe";
        check(
            "",
            &format!("recipe: expected version = 1, found none; {hint}"),
        );
        check(
            "version = 2",
            &format!("recipe: expected version = 1, found 2; {hint}"),
        );
        let error = read("version = 1\n[data\n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("recipe, line 2: "), "{error}");
        let error = read("version = 1\nseed = 1\nseed = 2", &[])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("recipe, line 3: "), "{error}");
    }

    #[test]
    fn run_folders_are_named_after_the_data() {
        let check = |name: &str, want: &str| {
            let recipe = Recipe::for_data(name);
            assert_eq!(recipe.data.short_name(), want);
        };
        check("digits", "digits");
        check("/some/where/My Table.csv.gz", "My-Table");
        check("..", "run");
        check("/data/mnist/", "mnist");
    }
}
