//! What the command itself can find wrong.

use std::path::PathBuf;

/// What a verb returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// There is no such preset.
    #[error("there is no preset {found:?}{hint}; presets: {known}", hint = nearest.map_or(String::new(), |near| format!(" (did you mean {near:?}?)")))]
    UnknownPreset {
        found: String,
        nearest: Option<&'static str>,
        known: String,
    },
    /// A run keeps its seed.
    #[error("the run in {} has seed {expected}, not {found}; a run keeps its seed: leave --seed out, or start another run", run.display())]
    OtherSeed {
        run: PathBuf,
        expected: u64,
        found: u64,
    },
    /// A model file alone does not say which data to test on.
    #[error("{} is a model file, not a run, and does not say which data to test on; name it with --data", path.display())]
    NoData { path: PathBuf },
    /// A label column is named for data that have no columns.
    #[error(
        "--label: expected a table with such a column, found {data:?}, which has no columns; leave --label out"
    )]
    NoTable { data: String },
    /// Two data sets are named.
    #[error(
        "the data set to describe is {expected:?}, but --set names {found:?}; leave one of them out"
    )]
    OtherData { expected: String, found: String },
    /// A language model is to predict classes.
    #[error("the run in {} has learned to continue texts and predicts no classes; use `cortical generate {} --prompt TEXT`", run.display(), run.display())]
    ContinuesTexts { run: PathBuf },
    /// There is no such verb to print the manual page of.
    #[error("there is no verb {found:?}; `cortical --help` lists them")]
    NoVerb { found: String },
    /// Nothing is there.
    #[error("{} does not exist", path.display())]
    NotFound { path: PathBuf },
    /// Something is there already.
    #[error("{} exists already; choose another folder", path.display())]
    Occupied { path: PathBuf },
    /// What is to be written is what is read.
    #[error("{} is what this command reads; choose another file", path.display())]
    OutIsInput { path: PathBuf },
    /// Something else than what would be written is there.
    #[error("{} exists already and is not {kind}; choose another file, or replace it with --force", path.display())]
    WouldReplace { path: PathBuf, kind: &'static str },
    /// Something is there already that would be replaced.
    #[error("{} exists already; choose another name, or replace it with --force", path.display())]
    Exists { path: PathBuf },
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: std::io::Error },
    /// A text cannot be read by a model.
    #[error("{}: {why}", path.display())]
    OfText {
        path: PathBuf,
        why: cortical_text::Error,
    },
    /// A line of prompts is none.
    #[error("{}, line {line}: {why}", path.display())]
    Prompt {
        path: PathBuf,
        line: usize,
        why: String,
    },
    /// A prompt cannot be read by a model.
    #[error("{}, line {line}: {why}", path.display())]
    PromptText {
        path: PathBuf,
        line: usize,
        why: cortical_text::Error,
    },
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {why}; choose another --port or --host")]
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "for `serve`"))]
    Listen {
        address: std::net::SocketAddr,
        why: std::io::Error,
    },
    /// More positions are asked for than a model has.
    #[error("--context {got}: the model was made for {positions} tokens")]
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "for `serve`"))]
    LongContext { got: usize, positions: usize },
    /// The server.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] cortical_serve::Error),
    /// Texts take more memory than there is.
    #[error(
        "keys and values would take {needed}, and this machine has {available} left; choose {mend}"
    )]
    ShortMemory {
        needed: String,
        available: String,
        mend: &'static str,
    },
    /// A number is no token of a model.
    #[error("--ids has {found}, but the tokens of this model are the numbers from 0 to {last}")]
    NoToken { found: u32, last: usize },
    /// A folder cannot be made.
    #[error("no folder can be made at {} ({}); choose another place", path.display(), why.kind())]
    Folder { path: PathBuf, why: std::io::Error },
    /// A model cannot be described as Hugging Face does.
    #[error("{}: transformers has no name for what this model computes, so there is no config.json for it", path.display())]
    NoConfig { path: PathBuf },
    /// A model of classes is to continue a text or to predict its tokens.
    #[error("{} predicts classes of texts, not their next tokens; use `cortical predict {} texts.csv`", path.display(), path.display())]
    PredictsClasses { path: PathBuf },
    /// Data to test on has no labels.
    #[error("{} has no label column, so there is nothing to compare predictions with; use `cortical predict`", path.display())]
    NoLabels { path: PathBuf },
    /// Columns are to be looked at, and the data have none.
    #[error("--auto-columns looks at the columns of a CSV file, and {data} is none")]
    NoColumns { data: String },
    /// What predictions are to be written as is not known.
    #[error("{} is called neither .csv nor .jsonl, the two forms in which predictions are written", path.display())]
    UnknownForm { path: PathBuf },
    /// Data to test on lacks the numbers that a model predicts.
    #[error("{} lacks what is predicted ({targets}), so there is nothing to compare predictions with; use `cortical predict`", path.display())]
    NoTargets { path: PathBuf, targets: String },
    /// The column of labels that a person names is not there.
    #[error("{} has no column {label:?} for the label; leave --label out to predict without labels", path.display())]
    NoSuchLabel { path: PathBuf, label: String },
    /// What a verb found out cannot be written.
    #[error("cannot write the results to stdout: {why}")]
    Stdout { why: std::io::Error },
    /// A new training was interrupted before its first step.
    #[error("interrupted before the first step of {run}; nothing was kept")]
    NotBegun { run: String },
    /// A training was interrupted before its first step after resuming.
    #[error("interrupted before {run} went on; it is as it was")]
    NotResumed { run: String },
    /// A trial of everything was interrupted.
    #[error(
        "interrupted after step {step} of {total}; not everything was tried, and nothing was kept"
    )]
    TrialStopped { step: u64, total: u64 },
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {why}")]
    Signals { why: std::io::Error },
    /// What is to be read cannot be.
    #[error("cannot read the input: {why}")]
    Input { why: std::io::Error },
    /// Arguments of `prune` that do not go together.
    #[error("{why}")]
    PruneArguments { why: &'static str },
    /// What is pruned.
    #[error(transparent)]
    Prune(Box<cortical_prune::Error>),
    /// What is looked into.
    #[error(transparent)]
    Explain(#[from] cortical_explain::Error),
    /// Language models.
    #[error(transparent)]
    Model(Box<cortical_models::Error>),
    /// Text for and from language models.
    #[error(transparent)]
    Text(#[from] cortical_text::Error),
    /// A tensor cannot be made.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
    /// Recipes, runs and training; boxed, for it is large.
    #[error(transparent)]
    Train(Box<cortical_train::Error>),
    /// Data.
    #[error(transparent)]
    Data(#[from] cortical_data::Error),
    /// Files.
    #[error(transparent)]
    Io(#[from] cortical_io::Error),
}

impl From<cortical_train::Error> for Error {
    fn from(error: cortical_train::Error) -> Self {
        Self::Train(Box::new(error))
    }
}

impl From<cortical_prune::Error> for Error {
    fn from(error: cortical_prune::Error) -> Self {
        Self::Prune(Box::new(error))
    }
}

impl From<cortical_models::Error> for Error {
    fn from(error: cortical_models::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}

impl Error {
    /// Whether the command was used wrongly: exit code 2.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::UnknownPreset { .. }
            | Self::OtherSeed { .. }
            | Self::NoData { .. }
            | Self::NoTable { .. }
            | Self::NoColumns { .. }
            | Self::UnknownForm { .. }
            | Self::NotFound { .. }
            | Self::NoVerb { .. }
            | Self::LongContext { .. }
            | Self::Occupied { .. }
            | Self::OtherData { .. }
            | Self::NoSuchLabel { .. }
            | Self::NoToken { .. }
            | Self::ContinuesTexts { .. }
            | Self::OutIsInput { .. }
            | Self::WouldReplace { .. }
            | Self::Exists { .. }
            | Self::PruneArguments { .. }
            | Self::PredictsClasses { .. } => true,
            Self::Prune(error) => error.is_usage(),
            Self::Explain(error) => error.is_usage(),
            Self::Io(error) => matches!(error, cortical_io::Error::Ending { .. }),
            Self::Text(error) => matches!(error, cortical_text::Error::Sampling { .. }),
            Self::Train(error) => error.is_usage(),
            Self::Data(error) => matches!(error, cortical_data::Error::UnknownDataset { .. }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_main_returns_is_shown_as_its_message() {
        fn check<T, E: std::error::Error>(result: std::result::Result<T, E>) {
            let error = result.err().unwrap();
            assert_eq!(format!("{error:?}"), error.to_string());
        }
        check(cortical_data::open("nix", &Default::default()));
        check(cortical_io::read_text("nowhere", 1));
        check("lenett".parse::<cortical_models::ModelSpec>());
        check(cortical_text::Tokenizer::open("nowhere"));
        check(cortical_train::Recipe::from_toml("x", None, &[]));
    }
}
