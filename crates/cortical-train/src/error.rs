//! What can go wrong with a recipe, a run folder or a training.

use std::path::PathBuf;

use cortical_settings::FieldError;

use crate::parallel::CommunicationDefect;
use crate::search_defect::SearchDefect;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a recipe, a run or a model cannot be used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a recipe is wrong.
    #[error("recipe: {0}")]
    Field(#[from] FieldError),
    /// A search that cannot be made.
    #[error(transparent)]
    Search(#[from] SearchDefect),
    /// Ranks that cannot work together any more.
    #[error(transparent)]
    Communication(#[from] CommunicationDefect),
    /// A recipe is no TOML.
    #[error("recipe, line {line}: {why}")]
    RecipeSyntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// A recipe of another version.
    #[error(
        "recipe: expected version = {expected}, found {found}; `cortical train --print-recipe` shows a complete recipe"
    )]
    RecipeVersion {
        /// The version that this program knows.
        expected: u64,
        /// What the recipe says.
        found: String,
    },
    /// A recipe of the first version that chose by what was to be the measure in the end.
    #[error(
        "recipe: version 1 chose by the test part ({field}); say version = 2, and data.valid_fraction = 0.1 to choose by samples that are neither learned from nor tested on"
    )]
    OldRecipe {
        /// The field that chose.
        field: &'static str,
    },
    /// Something is to be chosen by validation samples, and there are none.
    #[error(
        "{field} chooses by validation samples, and none are held out; set data.valid_fraction, such as 0.1"
    )]
    NoValidation {
        /// The field that would choose.
        field: &'static str,
    },
    /// A figure is to be looked at that this task does not have.
    #[error(
        "train.monitor is valid_{monitored}, but what is measured of {task} is {measured}; set it to valid_loss"
    )]
    OtherMeasure {
        /// The figure that is to be looked at.
        monitored: &'static str,
        /// What is learned.
        task: &'static str,
        /// What is measured of it.
        measured: &'static str,
    },
    /// There are more or fewer weights than classes.
    #[error("train.class_weights has {found} numbers, but there are {expected} classes")]
    ClassWeights {
        /// The number of classes.
        expected: usize,
        /// The number of weights.
        found: usize,
    },
    /// There are more or fewer thresholds than labels.
    #[error(
        "train.thresholds has {found} numbers, but there are {expected} labels; one number is for all"
    )]
    Thresholds {
        /// The number of labels.
        expected: usize,
        /// The number of thresholds.
        found: usize,
    },
    /// A network predicts something else where classes are needed.
    #[error(
        "the network predicts numbers or several labels, and this is for networks that tell classes apart"
    )]
    NoClasses,
    /// A network predicts something else where numbers are needed.
    #[error("the network predicts no numbers, and this is for networks that do")]
    NoNumbers,
    /// A network predicts something else where several labels are needed.
    #[error(
        "the network or the data have other labels than these, or none of which a sample has several"
    )]
    OtherLabels,
    /// The data hold something else to predict than the recipe says.
    #[error(
        "data.target is {expected}, but the data have {found} to predict; say data.target={found}"
    )]
    OtherTarget {
        /// What the recipe says.
        expected: &'static str,
        /// What the data have.
        found: &'static str,
    },
    /// There is no weight that may be pruned.
    #[error("nothing is left to prune: prune.exclude names every weight of the network")]
    NothingToPrune,
    /// Pruning would begin behind the end.
    #[error("prune.from_step is {from_step}, but the run has {total_steps} steps")]
    LatePruning {
        /// Where pruning would begin.
        from_step: u64,
        /// Steps of the run.
        total_steps: u64,
    },
    /// A mask does not fit the network.
    #[error("{path}: the mask {name:?} does not fit: {why}", path = path.display())]
    Mask {
        /// Where it is.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A recipe learns something else than what it is used for.
    #[error("expected a recipe that learns {expected}, found one that learns {found}")]
    OtherTask {
        /// What was expected.
        expected: &'static str,
        /// What the recipe learns.
        found: &'static str,
    },
    /// A field that is to be set from outside is not written as one.
    #[error("cannot set {text:?}: expected FIELD=VALUE, such as optim.lr=3e-4")]
    Override {
        /// What was written.
        text: String,
    },
    /// A run would be longer than steps can be counted.
    #[error(
        "{epochs} epochs of {batches} batches are more steps than can be counted; lower train.epochs"
    )]
    TooManySteps {
        /// Epochs of the run.
        epochs: u64,
        /// Batches of an epoch.
        batches: u64,
    },

    /// The folder for a new run has a run in it already.
    #[error(
        "{} already holds a run; continue it with `cortical resume {}`, or choose another folder", path.display(), path.display()
    )]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder for a new run has other things in it.
    #[error("{} is not empty (it has {found:?}) and holds no run; choose another folder", path.display())]
    FolderNotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// A folder is no run.
    #[error(
        "{} holds no run: it has no recipe.toml; start one there with `cortical train --out {}`", path.display(), path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A run has no model yet.
    #[error("the run in {} is not finished; finish it with `cortical resume {}`", path.display(), path.display())]
    NotFinished {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the run cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        why: std::io::Error,
    },
    /// `report.json` is not what a finished run writes.
    #[error("{}: not a report of a run: {why}", path.display())]
    BadReport {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: serde_json::Error,
    },
    /// A run is finished, and its model is not there any more.
    #[error("the run in {} is finished, but its model.safetensors is gone; bring the file back, or train once more with `cortical train --recipe {}`", path.display(), path.join("recipe.toml").display())]
    ModelLost {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is to be made where something else is.
    #[error("{} cannot be made, as {} is no folder; choose another place", path.display(), file.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
        /// What is there.
        file: PathBuf,
    },
    /// A folder cannot be made.
    #[error("no folder can be made at {} ({}); choose another place", path.display(), why.kind())]
    CannotMake {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        why: std::io::Error,
    },
    /// What is wrong with a recipe that stands in a file.
    #[error("{}{}", path.display(), after_recipe(why))]
    RecipeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Box<Self>,
    },
    /// The newest checkpoint belongs to another recipe.
    #[error(
        "{} has changed since the checkpoint of step {step} was written, so the run cannot continue exactly; undo the change, or start a new run with it: `cortical train --recipe {}`",
        path.display(), path.display()
    )]
    RecipeChanged {
        /// The recipe.
        path: PathBuf,
        /// The step of the checkpoint.
        step: u64,
    },
    /// The files that a run learns from are not what they were.
    #[error(
        "the data of the run in {} have changed since it learned from them: {changes}; put the old data back, or go on with these by --changed-data", run.display()
    )]
    DataChanged {
        /// The folder of the run.
        run: PathBuf,
        /// What is different.
        changes: String,
    },
    /// `data.json` is not what a run writes.
    #[error("{}: not a record of a run's data: {why}", path.display())]
    BadData {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A recipe that could not be read again.
    #[error(
        "the recipe with all its defaults has {bytes} bytes, more than the {most} that a run can read again; describe the network with fewer layers"
    )]
    LongRecipe {
        /// Its bytes.
        bytes: u64,
        /// The most.
        most: u64,
    },
    /// A checkpoint lacks something that a training needs.
    #[error("the checkpoint of step {step} has no {what}; it was not written by a training")]
    CheckpointLacks {
        /// The step of the checkpoint.
        step: u64,
        /// What is missing.
        what: &'static str,
    },

    /// A model file does not say what a prediction needs to know.
    #[error("{} does not say what it needs for predictions: {key} is missing; was it written by `cortical train`?", path.display())]
    ModelLacks {
        /// The file.
        path: PathBuf,
        /// The key of the metadata.
        key: &'static str,
    },
    /// A model file says something that cannot be understood.
    #[error("{}: its {key} cannot be understood: {why}", path.display())]
    ModelMetadata {
        /// The file.
        path: PathBuf,
        /// The key of the metadata.
        key: &'static str,
        /// What the reader says.
        why: String,
    },
    /// A model file was written by a newer version.
    #[error("{} is a model of format {found:?}, this program knows {expected:?}; use a newer version of it", path.display())]
    ModelVersion {
        /// The file.
        path: PathBuf,
        /// The format that this program knows.
        expected: &'static str,
        /// The file's.
        found: String,
    },
    /// A model file describes a larger network than it has tensors for.
    #[error("{} describes a network of {described} parameters, but its tensors have only {stored} elements", path.display())]
    ModelSize {
        /// The file.
        path: PathBuf,
        /// Parameters of the described network.
        described: usize,
        /// Elements of all tensors.
        stored: usize,
    },
    /// Samples have another shape than the model was trained on.
    #[error("the model was trained on samples of shape {expected:?}, but the data has {found:?}")]
    SampleShape {
        /// The model's shape.
        expected: Vec<usize>,
        /// The data's.
        found: Vec<usize>,
    },

    /// The loss is non-finite.
    #[error(
        "training has diverged at step {step} (epoch {epoch}): {place} is non-finite (the figure is {loss}); lower optim.lr, limit gradients with optim.clip_norm, or leave such steps out with guard.on_nan = \"skip\""
    )]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// The loss or the norm of the gradients.
        loss: f64,
        /// Where something non-finite came up first: a layer, a gradient, a parameter.
        place: String,
    },
    /// A pattern of names fits none: a mistake in it.
    #[error("{field}: {pattern:?} fits no name; there are {known}")]
    NoMatch {
        /// The field of the recipe.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// Some names that there are.
        known: String,
    },
    /// A training is larger than the memory of this machine.
    #[error(
        "the training needs at least {need}; this machine has {memory}: take a smaller model, smaller batches, or train less of it (start.freeze, or lora.rank for a language model)"
    )]
    Memory {
        /// What it needs, with its parts, in words.
        need: String,
        /// What there is, in words.
        memory: String,
    },
    /// The learning rate finder has too few steps to see anything.
    #[error("a learning rate is found in 10 steps at least, not in {steps}")]
    TooFewSteps {
        /// The steps.
        steps: u64,
    },
    /// All parameters are frozen.
    #[error("start.freeze leaves nothing to train; name fewer parameters")]
    NothingToTrain,
    /// The file that a network begins from does not have its weights.
    #[error(
        "{} does not have the weights of this network: {differences}; name the parts that are to begin afresh in start.replace", path.display()
    )]
    StartLacks {
        /// The file.
        path: PathBuf,
        /// What is missing or of another shape.
        differences: String,
    },
    /// The network to begin from tells other classes apart.
    #[error(
        "{} tells the classes {found} apart, these data have {expected}: its last layer would call them by other names; let that one begin afresh with start.replace=[\"{head}\"], or name the classes alike", path.display()
    )]
    StartClasses {
        /// The file.
        path: PathBuf,
        /// The classes of the data.
        expected: String,
        /// The classes of the file.
        found: String,
        /// The pattern of the last layer's parameters.
        head: String,
    },
    /// A text is too short for one block and the token behind it.
    #[error(
        "the text has {tokens} tokens to learn from, too few for a block of {block}; take a longer one or a smaller train.block"
    )]
    ShortText {
        /// Tokens to learn from.
        tokens: usize,
        /// Tokens of a block.
        block: usize,
    },
    /// What a language model is to learn from is nowhere.
    #[error(
        "there is no text {name:?}; expected moby-dick, a text file, a folder of .txt files, or a table of labelled texts"
    )]
    NoText {
        /// What was named.
        name: String,
    },
    /// A block is longer than the model's table of positions.
    #[error("train.block is {block}, but the model knows {positions} positions")]
    LongBlock {
        /// Tokens of a block.
        block: usize,
        /// Positions.
        positions: usize,
    },
    /// The tokenizer has a token that the model does not have.
    #[error(
        "the text has token {token}, but the model knows {tokens}; choose its own tokenizer with data.tokenizer = \"model\""
    )]
    UnknownToken {
        /// The token.
        token: u32,
        /// How many the model has.
        tokens: usize,
    },
    /// A text that comes to nothing.
    #[error(
        "the tokenizer makes no token of the text {text:?}; leave it out, or choose another data.tokenizer"
    )]
    NoTokens {
        /// How it begins.
        text: String,
    },
    /// A table to test on has no labels.
    #[error("{} has no labels to test against; expected a label column", path.display())]
    NoLabels {
        /// The table.
        path: PathBuf,
    },
    /// A model without a tokenizer is to use its own.
    #[error(
        "data.tokenizer is \"model\", but the model brings no tokenizer; choose bytes, characters or bpe-N"
    )]
    NoOwnTokenizer,
    /// Text for or from a language model.
    #[error(transparent)]
    Text(Box<cortical_text::Error>),
    /// Threads cannot be started.
    #[error("cannot start {threads} threads: {why}")]
    Threads {
        /// How many; 0 for one a processor.
        threads: usize,
        /// What rayon says.
        why: rayon::ThreadPoolBuildError,
    },

    /// Data.
    #[error(transparent)]
    Data(Box<cortical_data::Error>),
    /// Model files and checkpoints.
    #[error(transparent)]
    Io(Box<cortical_io::Error>),
    /// The description of a network.
    #[error("model: {0}")]
    Model(Box<cortical_models::Error>),
    /// Parameters and layers.
    #[error(transparent)]
    Neuron(#[from] cortical_neuron::Error),
    /// The optimizer.
    #[error(transparent)]
    Optim(#[from] cortical_optim::Error),
    /// candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<cortical_data::Error> for Error {
    fn from(error: cortical_data::Error) -> Self {
        Self::Data(Box::new(error))
    }
}

impl From<cortical_io::Error> for Error {
    fn from(error: cortical_io::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

impl From<cortical_models::Error> for Error {
    fn from(error: cortical_models::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl Error {
    /// For `map_err`: text could not be used.
    pub(crate) fn text(error: cortical_text::Error) -> Self {
        Self::Text(Box::new(error))
    }

    /// For `map_err`: the file at `path` could not be used.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| Self::File { path, why }
    }

    /// The error for a recipe that stands in a file.
    pub(crate) fn of_recipe(self, path: &std::path::Path) -> Self {
        Self::RecipeFile {
            path: path.to_owned(),
            why: Box::new(self),
        }
    }

    /// Whether the caller asked for something that cannot be: a mistake in a recipe or an option, not a failure of the
    /// work.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        if let Self::RecipeFile { why, .. } = self {
            return why.is_usage();
        }
        matches!(
            self,
            Self::Field(_)
                | Self::RecipeSyntax { .. }
                | Self::RecipeVersion { .. }
                | Self::OldRecipe { .. }
                | Self::NoValidation { .. }
                | Self::OtherMeasure { .. }
                | Self::OtherTarget { .. }
                | Self::Search(_)
                | Self::ClassWeights { .. }
                | Self::Thresholds { .. }
                | Self::OtherTask { .. }
                | Self::NoText { .. }
                | Self::Override { .. }
                | Self::ShortText { .. }
                | Self::LongBlock { .. }
                | Self::UnknownToken { .. }
                | Self::NoOwnTokenizer
                | Self::NoTokens { .. }
                | Self::NoLabels { .. }
                | Self::TooManySteps { .. }
                | Self::LongRecipe { .. }
                | Self::Memory { .. }
                | Self::RunExists { .. }
                | Self::FolderNotEmpty { .. }
                | Self::NotARun { .. }
                | Self::NoFolder { .. }
                | Self::Model(_)
                | Self::NoMatch { .. }
                | Self::NothingToTrain
        ) || matches!(
            self,
            Self::Data(why) if matches!(**why, cortical_data::Error::UnknownDataset { .. })
        )
    }
}

/// What is wrong with a recipe, to stand after the name of its file.
fn after_recipe(why: &Error) -> String {
    let text = why.to_string();
    match text.strip_prefix("recipe") {
        Some(rest) => rest.to_owned(),
        None => format!(": {text}"),
    }
}
