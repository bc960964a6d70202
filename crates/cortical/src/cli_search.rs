//! The arguments of `search`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cortical_train::{Axis, Override};

/// How settings are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Every combination
    #[default]
    Grid,
    /// Random combinations, as many as --trials says
    Random,
    /// Random combinations for a part of the epochs, the best third of them for three times as many, and so on
    Halving,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical search iris --try optim.lr=1e-3,1e-2 --try 'model.hidden=[16],[64,64]'\n  cortical search my.toml --method random --trials 20 --try optim.lr=1e-4..1e-1 --folds 5\n  cortical search concrete --method halving --trials 27 --try optim.lr=1e-4..1e-1"
)]
pub(crate) struct SearchArgs {
    /// A recipe in a TOML file, or the name of a built-in one
    #[arg(value_name = "RECIPE")]
    pub(crate) recipe: PathBuf,
    /// A field and the values to try, or a range to draw from: FIELD=V1,V2 or FIELD=LOW..HIGH; may be repeated
    #[arg(long = "try", value_name = "FIELD=VALUES", required = true)]
    pub(crate) axes: Vec<Axis>,
    /// How settings are chosen
    #[arg(long, value_enum, default_value_t)]
    pub(crate) method: Method,
    /// How many settings are drawn, with --method random or halving
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) trials: usize,
    /// Judge each setting by a cross-validation in so many parts, in place of the validation part
    #[arg(long, value_name = "N")]
    pub(crate) folds: Option<usize>,
    /// Set any field of the recipe for all runs, such as train.epochs=20; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<Override>,
    /// The folder of all runs, with which a search that was stopped goes on; runs/NAME-search when absent
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
