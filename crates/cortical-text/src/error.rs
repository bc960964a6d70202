//! What can go wrong between text and models.

use std::path::{Path, PathBuf};

/// The fewest tokens that can be trained: one for each byte, and one that ends a text.
pub(crate) const MIN_VOCABULARY: usize = 257;

/// The most tokens that can be trained.
pub(crate) const MAX_VOCABULARY: usize = 1 << 20;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tokenizer, a template or a generation is refused.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder or file has no tokenizer.
    #[error("{} has no tokenizer: expected tokenizer.json, or vocab.json with merges.txt, or a GGUF file with one", path.display())]
    NoTokenizer {
        /// The path.
        path: PathBuf,
    },
    /// A description of a tokenizer makes none.
    #[error("{origin} is no usable tokenizer: {why}")]
    Tokenizer {
        /// The file.
        origin: String,
        /// What the reader says.
        why: String,
    },
    /// A file beside a tokenizer is no JSON.
    #[error("{} is no JSON: {why}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        why: serde_json::Error,
    },
    /// A kind of tokenizer or of splitting that is not there.
    #[error("{origin}: {key} is {got:?}; supported are {supported}")]
    Kind {
        /// The file.
        origin: String,
        /// Which setting.
        key: &'static str,
        /// Its value.
        got: String,
        /// The values that are supported.
        supported: &'static str,
    },
    /// Text that cannot be turned into tokens.
    #[error("this text cannot be turned into tokens: {why}")]
    Encode {
        /// Why.
        why: String,
    },
    /// Tokens that cannot be turned into text.
    #[error("these tokens cannot be turned into text: {why}")]
    Decode {
        /// Why.
        why: String,
    },
    /// A vocabulary of a size that cannot be trained.
    #[error(
        "a vocabulary of {got} tokens cannot be trained on bytes; expected {} to {}",
        MIN_VOCABULARY,
        MAX_VOCABULARY
    )]
    VocabularySize {
        /// The size asked for.
        got: usize,
    },
    /// A setting of sampling that makes no sense.
    #[error("{setting} must be {expected}, but is {got}")]
    Sampling {
        /// Which setting.
        setting: &'static str,
        /// What would make sense.
        expected: &'static str,
        /// The value.
        got: String,
    },
    /// A model's scores have no largest one.
    #[error("the model's scores are not numbers, so no token can be chosen")]
    Scores,
    /// There is nothing to go on from.
    #[error("there is nothing to go on from: give a prompt of at least one token")]
    EmptyPrompt,
    /// A text is longer than what the model was made for.
    #[error(
        "the text has {got} tokens, and the model was made for {positions}; shorten it{}",
        if *computed { ", or go on all the same with --beyond-context" } else { "" }
    )]
    LongText {
        /// Its tokens.
        got: usize,
        /// The positions that the model was made for.
        positions: usize,
        /// Whether there are more positions, which are computed.
        computed: bool,
    },
    /// A text is too short to be predicted.
    #[error("the text has {got} tokens; at least {needed} are needed{}", match skip {
        0 | 1 => String::new(),
        skip => format!(", as the first {skip} of a window are context only"),
    })]
    ShortText {
        /// Its tokens.
        got: usize,
        /// The tokens at the start of a window that do not count.
        skip: usize,
        /// How many tokens are needed.
        needed: usize,
    },
    /// A model has no template for conversations.
    #[error("{} has no chat template; use `cortical generate`, or a model that was made for conversations", path.display())]
    NoTemplate {
        /// The model.
        path: PathBuf,
    },
    /// A file is no prompt that was read.
    #[error("{} is no prompt that `generate --prompt-cache` has saved; choose another file", path.display())]
    NoPrompt {
        /// The file.
        path: PathBuf,
    },
    /// A template for conversations fails.
    #[error("{}the chat template fails: {why}", before(path.as_deref()))]
    Template {
        /// The file that it is in.
        path: Option<PathBuf>,
        /// What it says.
        why: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(Box<cortical_io::Error>),
    /// The model refuses.
    #[error(transparent)]
    Model(Box<cortical_models::Error>),
    /// A tensor cannot be made or read.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
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

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}

/// A file's name to stand before what is wrong with it.
fn before(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}
