//! What is asked for.

use std::path::PathBuf;

use cortical_kernels::sparse::Precision;
use cortical_settings::{Choice, Table, Value};
use cortical_train::{Override, PruneMethod, PruneScope};

use crate::importance::{Importance, Share};
use crate::target::Target;

/// What is to be pruned, and how it is trained afterwards.
#[derive(Clone, Debug)]
pub struct Request {
    /// The finished run.
    pub run: PathBuf,
    /// The folder of the new run.
    pub out: PathBuf,
    /// What is removed.
    pub removal: Removal,
    /// How often every sample is seen afterwards, 0 for no training; as in the run where that begins again, and once
    /// otherwise, when absent.
    pub epochs: Option<u64>,
    /// Further fields of the new run's recipe.
    pub set: Vec<Override>,
    /// The precision of the connections of pruned layers that are packed, if any are to be.
    pub pack: Option<Precision>,
    /// How many samples at a time the time is measured for.
    pub batches: Vec<usize>,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// Single weights.
    Weights(Weights),
    /// Whole neurons and channels.
    Neurons {
        /// What makes a neuron important.
        importance: Importance,
        /// How many go.
        share: Share,
    },
    /// As many neurons and channels as make the network as fast as it is to be.
    Target {
        /// What makes a neuron important.
        importance: Importance,
        /// How fast it is to be.
        target: Target,
        /// For so many samples at a time.
        batch: usize,
    },
    /// Single weights, by what a whole training has made of them; then the training begins again without them (Frankle
    /// and Carbin, "The lottery ticket hypothesis", 2019).
    Rewind(Rewind),
}

/// What the masks of a lottery ticket are looked for in, and where training begins again.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewind {
    /// Which weights become 0, by what training has made of them.
    pub weights: Weights,
    /// Trainings after which weights go, each of which begins where the first began; the sparsity rises from one to the
    /// next by the same share of what is left.
    pub rounds: u32,
    /// The step from which the masks hold: until there a training goes as the first did, with the same draws.
    pub step: u64,
}

/// Which weights become 0: the fields of a recipe's table `[prune]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// What makes a weight important.
    pub method: PruneMethod,
    /// Among which weights the least important ones are looked for.
    pub scope: PruneScope,
    /// The share that is pruned.
    pub sparsity: Option<f64>,
    /// So many of each so many stay, such as `2:4`.
    pub pattern: Option<String>,
    /// The share of the steps over which the sparsity rises.
    pub ramp: f64,
    /// Names that are left alone.
    pub exclude: Vec<String>,
}

impl Weights {
    /// The table `[prune]`.
    pub(crate) fn to_override(&self) -> Override {
        let text = |value: &str| Value::from(value);
        let mut table = Table::new();
        let mut set = |name: &str, value: Value| table.insert(name.to_owned(), value);
        set("method", text(self.method.name()));
        set("scope", text(self.scope.name()));
        set("ramp", Value::from(self.ramp));
        if let Some(sparsity) = self.sparsity {
            set("sparsity", Value::from(sparsity));
        }
        if let Some(pattern) = &self.pattern {
            set("pattern", text(pattern));
        }
        let exclude = self.exclude.iter().map(|name| text(name)).collect();
        set("exclude", Value::Array(exclude));
        Override::new("prune", Value::Table(table))
    }
}
