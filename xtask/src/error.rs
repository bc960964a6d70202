//! What can go wrong in a chore, and what to do about it.

use std::path::PathBuf;

/// Everything a chore can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error("unknown verb `{got}`; run `cargo xtask help` to see the verbs there are")]
    UnknownVerb { got: String },
    #[error("`{verb}` does not understand `{got}`; {expected}")]
    UnknownArgument {
        verb: &'static str,
        got: String,
        expected: String,
    },
    #[error("cannot start `{program}`: {source}; {mend}")]
    Start {
        program: String,
        mend: &'static str,
        source: std::io::Error,
    },
    #[error("`{line}` failed ({status}); its own message is above")]
    Failed { line: String, status: String },
    #[error("step `{step}` failed after {seconds:.1} s: {reason}")]
    Step {
        step: &'static str,
        seconds: f64,
        reason: String,
    },
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`cargo metadata` printed something that is not the JSON it promises: {source}")]
    Metadata { source: serde_json::Error },
    #[error("`cargo metadata` left out `{field}`; this xtask expects format version 1")]
    MetadataField { field: &'static str },
    #[error("tidy found {count} thing(s) to mend; each is named above with its file and line")]
    Untidy { count: usize },
    #[error("{side} printed no line for the workload {bench}; run it by hand to see why")]
    NoResult { side: &'static str, bench: String },
    #[error("{asked} was asked for, but this machine runs {got}; name what it has with --isa")]
    Instructions { asked: &'static str, got: String },
    #[error("{} does not hold what was measured: {reason}; delete it and measure anew", path.display())]
    Records { path: PathBuf, reason: String },
    #[error("{}:{line}: {reason}; the tables there are are in docs/benchmarks.json", path.display())]
    Document {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    #[error("{} run(s) did not end with the model of the undisturbed one: {}", runs.len(), runs.join(", "))]
    NotIdentical { runs: Vec<String> },
    #[error("the whole {name} that damage starts from is refused: {said}; correct xtask/src/fuzz")]
    Seed { name: &'static str, said: String },
    #[error("{} case(s) ended as none may: {}", cases.len(), cases.join(", "))]
    Findings { cases: Vec<String> },
    #[error(
        "{} is missing after the fetch of `{name}`; its source changed its layout, correct the table in xtask/src/fetch.rs",
        path.display()
    )]
    NotFetched { name: &'static str, path: PathBuf },
    #[error("the download of `{what}` left no file behind; run this again, and by hand to see why")]
    NothingDownloaded { what: String },
}

/// A chore's result.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A closure for `map_err` that says what was being done to which path.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
