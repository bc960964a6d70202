//! Looks into networks: what they hold, what they would take, how two of them differ, what their neurons do, and
//! whether they compute what another implementation does.
//!
//! - [`Contents`]: what a run, a model file, a folder, a configuration or the name of a language model holds: every
//!   tensor with its shape, what it is for ([`Kind`]), what is shared, what is trained, what one input costs. Headers
//!   are read, weights are not.
//! - [`Contents::tree`]: the modules as a tree of [`Node`]s, blocks that are alike once.
//! - [`Contents::explain`]: how the number of parameters comes about.
//! - [`forecast`]: memory, arithmetic and time that a training or the use of a model would take.
//! - [`diff`]: how two models differ, tensor by tensor, whatever files they come from.
//! - [`survey_network`], [`survey_texts`], [`survey_language`]: what single neurons do over some inputs, and what is
//!   lost without each.
//! - [`verify`]: whether a model computes what another implementation has, layer by layer.
//! - [`Stats`]: sparsity and norms, gathered from weights piece by piece where somebody asks for them.
//!
//! Functions return data; nothing here prints. Files are opened through `cortical-io`, what architectures call their
//! tensors is known to `cortical-models`, and runs to `cortical-train`.
//!
//! ```
//! use cortical_explain::{Contents, Kind};
//! let llama = Contents::open("llama2-7b".as_ref())?;
//! assert_eq!(llama.parameters(), 6_738_415_616);
//! assert_eq!(llama.kinds()[0], (Kind::FeedForward, 4_328_521_728));
//! let (lines, _) = llama.explain();
//! assert_eq!(lines[5].formula, "32 layers × 11,008 · 4,096");
//! # Ok::<(), cortical_explain::Error>(())
//! ```

mod contents;
mod diff;
mod entry;
mod error;
mod explain;
mod forecast;
mod kind;
mod neurons;
mod open;
mod stats;
mod tree;
mod verify;
mod weights;

pub use contents::{Contents, Text};
pub use diff::{Change, Diff, TensorDiff, diff};
pub use entry::Entry;
pub use error::{Error, Result};
pub use explain::Line;
pub use forecast::{Forecast, ForecastOptions, Machine, NumberType, Split, Work, forecast};
pub use kind::Kind;
pub use neurons::{
    AttentionHead, AttentionLayer, Effect, Filters, LanguageSurvey, LayerSurvey, Orientation,
    Shown, State, Survey, SurveyOptions, TextTokens, Top, Unit, language_page, page,
    survey_language, survey_network, survey_texts,
};
pub use stats::Stats;
pub use tree::{Node, TensorNode};
pub use verify::{
    Compared, Departure, GRADIENT_FACTOR, Reference, TOLERANCE, Verifiable, Verification, verify,
};
