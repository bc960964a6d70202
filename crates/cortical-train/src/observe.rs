//! Who watches a training, and who may stop it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cortical_kernels::isa;
use cortical_models::Plan;
use serde::{Deserialize, Serialize};

use crate::Recipe;

/// What a training is about to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Setup<'a> {
    /// The run folder.
    pub run: &'a Path,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The network.
    pub plan: &'a Plan,
    /// Samples to learn from.
    pub train_samples: usize,
    /// Samples to test on.
    pub test_samples: usize,
    /// Steps that were taken earlier.
    pub start_step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
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
    /// Share of its samples that was classified rightly.
    pub accuracy: f64,
    /// The learning rate of this step.
    pub lr: f64,
    /// Samples of the step.
    pub samples: usize,
    /// The norm of all gradients together, before it was limited.
    pub grad_norm: f64,
}

/// A test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestMetrics {
    /// Steps taken so far.
    pub step: u64,
    /// Mean loss over the test samples, in nats.
    pub test_loss: f64,
    /// Share of the test samples that is classified rightly.
    pub test_accuracy: f64,
}

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochMetrics {
    /// Steps taken so far.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// Mean loss over the epoch's samples while training, in nats.
    pub train_loss: f64,
    /// Share of the epoch's samples that was classified rightly while training.
    pub train_accuracy: f64,
    /// Mean loss over the test samples, in nats.
    pub test_loss: f64,
    /// Share of the test samples that is classified rightly.
    pub test_accuracy: f64,
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
    /// A step led to something that is no number, and was left out.
    #[error("step {step} is left out: {place} is no number")]
    StepLeftOut {
        /// The step.
        step: u64,
        /// Where it came up first.
        place: String,
    },
    /// The weights were no numbers any more or led to none, and the training went back to its newest checkpoint.
    #[error(
        "{place} is no number: back to the checkpoint of step {step}; the step that led there will be left out"
    )]
    RolledBack {
        /// The step of the checkpoint.
        step: u64,
        /// Where it came up first.
        place: String,
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
        "ends early after step {step}: {tests} tests in a row found nothing better than {best:.4}"
    )]
    Patience {
        /// Steps taken.
        step: u64,
        /// Tests since the best one.
        tests: u64,
        /// What the best test found.
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
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Everything is ready for the first step.
    Ready(Setup<'a>),
    /// Something to know.
    Warning(&'a Warning),
    /// A step was taken.
    Step(&'a StepMetrics),
    /// An epoch is complete, and tested.
    Epoch(&'a EpochMetrics),
    /// A test is done.
    Test(&'a TestMetrics),
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
