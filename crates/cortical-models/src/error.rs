//! What can be wrong with a network's description.

use cortical_settings::FieldError;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A description that gives no network, and why.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer cannot be built.
    #[error(transparent)]
    Build(#[from] cortical_neuron::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A description kept in a model file is no JSON of a list of layers.
    #[error("the description of the network is damaged: {why}")]
    Description {
        /// What the reader says.
        why: serde_json::Error,
    },
    /// A layer gets an input that it cannot take.
    #[error("layer {index} ({layer}) expects {expected}, but gets {got:?}; {advice}")]
    LayerInput {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
        /// The shape in words.
        expected: String,
        /// The shape of a sample that came.
        got: Vec<usize>,
        /// What to do.
        advice: &'static str,
    },
    /// Two layers have one name, so that their parameters would be the same.
    #[error("layers {first} and {second} are both called {name:?}; give one of them another name")]
    DuplicateName {
        /// The name.
        name: String,
        /// The place of the first, from 1.
        first: usize,
        /// The place of the second, from 1.
        second: usize,
    },
    /// What leaves the last layer is no score for each class.
    #[error(
        "the network ends with shape {got:?}, but must end with one score for each of the {classes} classes; {}", end(*classes, got)
    )]
    Output {
        /// The number of classes.
        classes: usize,
        /// The shape of a sample after the last layer.
        got: Vec<usize>,
    },
    /// A layer would have more parameters or outputs than can be addressed.
    #[error("layer {index} ({layer}) is too large to address")]
    TooLarge {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
    },
    /// A layer would need more memory than this machine has.
    #[error(
        "with the {elements} {what} of layer {index} ({layer}) the network does not fit into this machine's {} MB of memory; choose smaller sizes", memory / 1_000_000
    )]
    Memory {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
        /// How many numbers there would be.
        elements: usize,
        /// What they are: `parameters`, or `outputs` of one sample.
        what: &'static str,
        /// The machine's memory in bytes.
        memory: usize,
    },
    /// A layer cannot be built with its settings.
    #[error("layer {index} ({layer}): {source}")]
    Layer {
        /// The layer's place, from 1.
        index: usize,
        /// The layer's kind and name.
        layer: String,
        /// What it says.
        source: Box<cortical_neuron::Error>,
    },
    /// A sample needs at least one value.
    #[error("the input shape {got:?} has no value; expected sizes of at least 1")]
    InputShape {
        /// The shape.
        got: Vec<usize>,
    },
    /// What is wrong in a file that describes a model.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        source: Box<Error>,
    },
    /// A description of a model is no JSON.
    #[error("this is no JSON: {why}")]
    Json {
        /// What the reader says.
        why: serde_json::Error,
    },
    /// A `config.json` names an architecture that is not there.
    #[error("model_type is {got}; supported are {supported}{}", .hint.as_deref().unwrap_or_default())]
    ModelType {
        /// The name.
        got: String,
        /// The names that are there.
        supported: String,
        /// Whose names its tensors would have, where that is known.
        hint: Option<String>,
    },
    /// A field of a `config.json` has a value that makes no sense.
    #[error("{field} is {got}, expected {expected}")]
    Config {
        /// The field.
        field: String,
        /// What would make sense.
        expected: String,
        /// The value.
        got: String,
    },
    /// A field of a `config.json` that must be there is not.
    #[error("{field} is missing; expected {expected}")]
    MissingConfig {
        /// The field.
        field: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field of a `config.json` asks for mathematics that is not supported.
    #[error("{field} is {got}, which is not supported; supported is {}", if expected.is_empty() { "leaving it out" } else { expected.as_str() })]
    UnsupportedConfig {
        /// The field.
        field: String,
        /// The value.
        got: String,
        /// What is supported.
        expected: String,
    },
    /// A field of a `config.json` that nobody knows may change the mathematics.
    #[error(
        "{field} is {got}, and {model} has no such field here; the model is refused because that may change what it computes"
    )]
    UnknownConfig {
        /// The field.
        field: String,
        /// The value.
        got: String,
        /// The architecture.
        model: String,
    },
    /// A model file has not the tensors that its configuration says.
    #[error("{origin} does not fit its configuration: {}{}", list(.differences), .hint.as_deref().unwrap_or_default())]
    Tensors {
        /// The file or folder.
        origin: String,
        /// Every difference.
        differences: Vec<String>,
        /// Other names under which tensors would fit, where there are some.
        hint: Option<String>,
    },
    /// A model cannot be written as a GGUF file.
    #[error(
        "{what} of {model_type} is not written into GGUF files; tensors alone can be, with `cortical convert` of the safetensors file and --rename"
    )]
    NotExported {
        /// What is not written.
        what: String,
        /// The architecture.
        model_type: &'static str,
    },
    /// A folder has no model.
    #[error("{} is no model: expected a folder with config.json and model.safetensors, or a GGUF file", path.display())]
    NotAModel {
        /// The path.
        path: std::path::PathBuf,
    },
    /// Low-rank changes belong to a model that is not here.
    #[error(
        "{} has low-rank changes of {base:?}, which is not on this machine; name its folder in base_model_name_or_path of adapter_config.json", path.display()
    )]
    NoBase {
        /// The folder with the changes.
        path: std::path::PathBuf,
        /// What they belong to.
        base: String,
    },
    /// A folder describes low-rank changes and has none.
    #[error("{} has no adapter_model.safetensors beside its adapter_config.json; save the changes again with PEFT{}", path.display(), if *pickled { ", or turn adapter_model.bin into it with `cortical convert`" } else { "" })]
    NoChanges {
        /// The folder.
        path: std::path::PathBuf,
        /// Whether they are there as PyTorch saves them.
        pickled: bool,
    },
    /// A GGUF file lacks a key, or a key has a value that makes no sense.
    #[error("the GGUF file's {key} is {got}, expected {expected}")]
    GgufKey {
        /// The key.
        key: String,
        /// What would make sense.
        expected: String,
        /// The value.
        got: String,
    },
    /// A model without a head over tokens was asked for scores.
    #[error("this {model} has no head that scores tokens; it gives hidden states")]
    NoHead {
        /// The architecture.
        model: &'static str,
    },
    /// Saved keys and values are of other positions than their text.
    #[error(
        "the saved keys and values have {got} positions, and their text has {expected} tokens; save them again"
    )]
    CacheLength {
        /// The tokens.
        expected: usize,
        /// The positions.
        got: usize,
    },
    /// A model that sees whole texts only is to go on with some.
    #[error(
        "this {model} reads whole texts and keeps nothing of them, so it cannot go on with one"
    )]
    NoCache {
        /// The architecture.
        model: &'static str,
    },
    /// A model without low-rank changes was asked to save them.
    #[error("the model has no low-rank change to save; open it with adapters")]
    NoAdapter,
    /// A text is longer than the model's table of positions.
    #[error("the model has positions for {limit} tokens, but the text has {got}; shorten it")]
    TooLong {
        /// Positions that there are.
        limit: usize,
        /// Tokens that came.
        got: usize,
    },
    /// There is nothing to read.
    #[error("the model reads at least one token, as [batch, tokens], but got {got:?}")]
    NoTokens {
        /// The shape that came.
        got: Vec<usize>,
    },
    /// Weights cannot be quantized as asked.
    #[error("{name}: {why}")]
    Quantized {
        /// The tensor.
        name: String,
        /// What does not fit.
        why: cortical_kernels::quantized::QuantizedError,
    },
    /// A model file cannot be read.
    #[error(transparent)]
    Io(Box<cortical_io::Error>),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// `map_err` that says in which file something is wrong.
    pub(crate) fn in_file(path: &std::path::Path) -> impl FnOnce(Self) -> Self {
        let path = path.to_owned();
        move |source| match source {
            // These say it themselves.
            source @ (Self::Io(_) | Self::Tensors { .. } | Self::File { .. }) => source,
            source => Self::File {
                path,
                source: Box::new(source),
            },
        }
    }
}

impl From<cortical_io::Error> for Error {
    fn from(error: cortical_io::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Build(error.into())
    }
}

/// What to do about a network that ends with another shape than `[classes]`.
fn end(classes: usize, got: &[usize]) -> &'static str {
    match got {
        [_, .., last] if *last == classes => {
            "put \"flatten\" or a pool before its last layer, which reads each step by itself"
        }
        _ => "let its last layer be { linear = \"classes\" }",
    }
}

/// The first differences, a line each.
fn list(differences: &[String]) -> String {
    const LISTED: usize = 12;
    let shown = differences.iter().take(LISTED);
    let mut text: String = shown.map(|d| format!("\n  {d}")).collect();
    if differences.len() > LISTED {
        text.push_str(&format!("\n  and {} more", differences.len() - LISTED));
    }
    text
}
