//! Who watches a training, and who may stop it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cortical_kernels::isa;

use serde::{Deserialize, Serialize};

use crate::Recipe;
use crate::measured::{Measure, Unit};

/// What a training is about to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup<'a> {
    /// The run folder.
    pub run: &'a Path,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The model, in a word.
    pub model: String,
    /// Its parameters.
    pub parameters: usize,
    /// Those of them that training changes.
    pub trainable: usize,
    /// Bytes of the parameters, their gradients and what the optimizer keeps.
    pub bytes: u64,
    /// What there is to learn from.
    pub data: DataSize,
    /// What is measured beside the loss.
    pub measure: Measure,
    /// Steps that were taken earlier.
    pub start_step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

/// How much there is to learn from, to validate on and to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSize {
    /// What speed is counted in.
    pub unit: Unit,
    /// Samples to learn from: pictures, rows, texts or tokens.
    pub train: usize,
    /// Samples to validate on while training; 0 where none are held out for that.
    pub valid: usize,
    /// Samples of the test at the end.
    pub test: usize,
    /// How many classes there are, where classes are learned.
    pub classes: Option<usize>,
    /// How many numbers of a sample are learned, where numbers are.
    pub targets: usize,
    /// The shape of a sample; empty for texts.
    pub shape: Vec<usize>,
    /// How the files were understood, a line each: what a reader of tables guessed, what was left out.
    pub understood: Vec<String>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepMetrics {
    /// Steps taken so far.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// Mean loss of its samples, in nats.
    pub loss: f64,
    /// Share of its samples that was classified rightly, where classes are learned.
    pub accuracy: Option<f64>,
    /// The learning rate of this step.
    pub lr: f64,
    /// Samples or tokens of the step.
    pub units: usize,
    /// The norm of all gradients together, before it was limited.
    pub grad_norm: f64,
}

/// What a validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The mean loss over the validation samples, in nats.
    pub loss: Option<f64>,
    /// What was measured beside it.
    pub figure: Option<f64>,
    /// What the model wrote; nothing where it writes nothing.
    pub sample: String,
}

/// The training between two validations, or an epoch of it, and what the validation behind it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseMetrics {
    /// Steps taken so far.
    pub step: u64,
    /// Epochs completed, if one was completed with this step.
    pub epoch: Option<u64>,
    /// Mean loss over the epoch's samples so far, in nats.
    pub train_loss: f64,
    /// Share of them that was classified rightly, where classes are learned.
    pub train_accuracy: Option<f64>,
    /// What the validation found; `None` where nothing is held out for it.
    pub valid: Option<Validation>,
    /// Seconds spent on steps since the run began.
    pub train_seconds: f64,
}

/// Something that a person should know, though the training goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A checkpoint cannot be used, and an older one or none is taken.
    #[error("{why}")]
    CheckpointSkipped {
        /// Which one, and why.
        why: String,
    },
    /// A step led to something non-finite, and was left out.
    #[error("step {step} is left out: {place} is non-finite")]
    StepLeftOut {
        /// The step.
        step: u64,
        /// Where it came up first.
        place: String,
    },
    /// The weights were non-finite or led to that, and the training went back to its newest checkpoint.
    #[error(
        "{place} is non-finite: back to the checkpoint of step {step}; the step that led there will be left out"
    )]
    RolledBack {
        /// The step of the checkpoint.
        step: u64,
        /// Where it came up first.
        place: String,
    },
    /// The data are not those that the run began with, and the person knows it.
    #[error("the data have changed: {changes}; the run goes on with what there is now")]
    DataChanged {
        /// What is different.
        changes: String,
    },
    /// The checkpoint was written by an older version.
    #[error(
        "the checkpoint of step {step} was written by an older version; whether its recipe has changed since then cannot be told"
    )]
    OldCheckpoint {
        /// The step of the checkpoint.
        step: u64,
    },
    /// The checkpoint was written with other instructions, whose sums differ in the last bits.
    #[error(
        "the checkpoint was written with {written} instructions, this process uses {current}: the run will not end with the same bits"
    )]
    InstructionSet {
        /// The checkpoint's instruction set.
        written: String,
        /// This process's.
        current: String,
    },
}

impl Warning {
    /// What is to be said about a checkpoint that was written with these instructions.
    pub(crate) fn of_other_instructions(written: &str) -> Option<Self> {
        let current = isa::current().name();
        (written != current).then(|| Self::InstructionSet {
            written: written.to_owned(),
            current: current.to_owned(),
        })
    }
}

/// Why a training ends before its last step.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EarlyEnd {
    /// `train.patience` is used up.
    #[error(
        "ends early after step {step}: {tests} validations in a row found nothing better than {best:.4}"
    )]
    Patience {
        /// Steps taken.
        step: u64,
        /// Validations since the best one.
        tests: u64,
        /// What the best validation found.
        best: f64,
    },
    /// `train.time_budget_s` is used up.
    #[error("ends early after step {step}: its {seconds} s are used up")]
    TimeBudget {
        /// Steps taken.
        step: u64,
        /// The budget.
        seconds: f64,
    },
}

/// What happens in a training.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Everything is ready for the first step.
    Ready(Setup<'a>),
    /// Something to know.
    Warning(&'a Warning),
    /// A step was taken.
    Step(&'a StepMetrics),
    /// An epoch is complete, or a validation between two epochs is done.
    Phase(&'a PhaseMetrics),
    /// A checkpoint is on the disk.
    Checkpoint {
        /// Its step.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
    /// The step before was the last one, though there were to be more.
    EarlyEnd(EarlyEnd),
}

/// Somebody who watches; the training itself prints nothing.
pub trait Observer: Send {
    /// Something has happened.
    fn event(&mut self, event: Event<'_>);
}

/// Nobody watches.
impl Observer for () {
    fn event(&mut self, _: Event<'_>) {}
}

impl<F: FnMut(Event<'_>) + Send> Observer for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// Somebody who may ask a training to stop after the step that it is in.
pub trait Stop: Sync {
    /// Whether it should.
    fn is_requested(&self) -> bool;
}

/// Stops when it is set, for example by a signal.
impl Stop for AtomicBool {
    fn is_requested(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Never stops.
impl Stop for () {
    fn is_requested(&self) -> bool {
        false
    }
}
