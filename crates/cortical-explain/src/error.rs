//! What can be wrong with what is looked into.

use std::path::PathBuf;

/// What a function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is there.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is neither a file nor a preset of this name.
    #[error("{found} does not exist, and there is no model of that name{hint}; {known}", hint = nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean {near:?}?)")))]
    UnknownName {
        /// What was asked for.
        found: String,
        /// A name that is near.
        nearest: Option<String>,
        /// All names.
        known: String,
    },
    /// A folder has nothing that can be looked into.
    #[error("{} holds no model: it has {holds}; expected model.safetensors or other safetensors files, a GGUF file, a config.json of a language model, or the recipe.toml and checkpoints of a run{advice}", path.display())]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// What it has.
        holds: String,
        /// What to do about it, after a semicolon.
        advice: String,
    },
    /// A folder has several models.
    #[error("{} holds several models: {}; name one of them", path.display(), names.join(", "))]
    SeveralModels {
        /// The folder.
        path: PathBuf,
        /// Their files.
        names: Vec<String>,
    },
    /// A run that has kept no weights yet.
    #[error("the run in {} has neither a model nor a checkpoint yet; continue it with `cortical resume {}`", path.display(), path.display())]
    NoWeightsYet {
        /// The folder.
        path: PathBuf,
    },
    /// A file that PyTorch wrote.
    #[error("{} is a file of PyTorch's, where safetensors are wanted; `cortical convert` makes them of it", path.display())]
    PyTorch {
        /// The file.
        path: PathBuf,
    },
    /// A file of JSON that is neither a configuration nor an index.
    #[error("{} is neither a config.json (it has no \"model_type\") nor an index of safetensors files (no \"weight_map\")", path.display())]
    OtherJson {
        /// The file.
        path: PathBuf,
    },
    /// Only a description is there, and numbers are asked for.
    #[error("{} has no weights, only a description: there are no numbers to look at", path.display())]
    NoNumbers {
        /// What was asked for.
        path: PathBuf,
    },
    /// Tensors are there, but nothing says what is computed with them.
    #[error("{} has tensors, but nothing says which model they make: a plan needs a config.json beside them, a run's recipe, or a model file that a training wrote", path.display())]
    NotDescribed {
        /// What was asked for.
        path: PathBuf,
    },
    /// A folder or file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A language model is to be looked at over a text that has no token.
    #[error(
        "there is no text to look at the model with: give it a prompt or a text (--prompt, --data)"
    )]
    NoText,
    /// A file that is no reference to compare a model with.
    #[error("{} is no reference: it needs `input` and `output.NAME` or `grad.NAME`, as docs/dump.py writes them, and has {holds}", path.display())]
    NoReference {
        /// The file.
        path: PathBuf,
        /// Some of what it has.
        holds: String,
    },
    /// A reference whose input cannot be used.
    #[error("{}: `input` must be samples of floating-point numbers or tokens from 0, but is {got}", path.display())]
    ReferenceInput {
        /// The file.
        path: PathBuf,
        /// What it is.
        got: String,
    },
    /// A reference of another kind of model.
    #[error(
        "the model reads {expected}, but the reference's `input` has {dtype} of shape {shape:?}: was it made with another model?"
    )]
    ReferenceKind {
        /// What the model reads.
        expected: &'static str,
        /// The element type of the input.
        dtype: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A reference with no token or too many.
    #[error("the reference's `input` has {got} tokens; expected 1 to {most}")]
    ReferenceTokens {
        /// The most.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// A tensor cannot be made or read.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
    /// A layer refuses what it is given.
    #[error(transparent)]
    Neuron(Box<cortical_neuron::Error>),
    /// Samples.
    #[error(transparent)]
    Data(Box<cortical_data::Error>),
    /// Tokens.
    #[error(transparent)]
    Text(Box<cortical_text::Error>),
    /// Configurations of language models.
    #[error(transparent)]
    Model(Box<cortical_models::Error>),
    /// Runs.
    #[error(transparent)]
    Train(Box<cortical_train::Error>),
    /// Model files.
    #[error(transparent)]
    Io(#[from] cortical_io::Error),
}

impl Error {
    /// Whether the caller named something that is not there, or is not a model, rather than one that is damaged.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::UnknownName { .. }
            | Self::NoModel { .. }
            | Self::SeveralModels { .. }
            | Self::NoWeightsYet { .. }
            | Self::OtherJson { .. }
            | Self::NoText
            | Self::NoReference { .. }
            | Self::ReferenceKind { .. }
            | Self::NoNumbers { .. }
            | Self::NotDescribed { .. } => true,
            Self::Train(error) => error.is_usage(),
            _ => false,
        }
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

impl From<cortical_neuron::Error> for Error {
    fn from(error: cortical_neuron::Error) -> Self {
        Self::Neuron(Box::new(error))
    }
}

impl From<cortical_data::Error> for Error {
    fn from(error: cortical_data::Error) -> Self {
        Self::Data(Box::new(error))
    }
}

impl From<cortical_text::Error> for Error {
    fn from(error: cortical_text::Error) -> Self {
        Self::Text(Box::new(error))
    }
}

impl From<cortical_train::Error> for Error {
    fn from(error: cortical_train::Error) -> Self {
        Self::Train(Box::new(error))
    }
}
