//! What somebody who watches the training of a language model sees, and what it ends with.

use std::path::PathBuf;

use cortical_models::language::LanguageConfig;
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::observe::{EarlyEnd, Warning};

/// What happens in a training.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageEvent<'a> {
    /// Everything is ready for the first step.
    Ready {
        /// What the model is made of.
        config: &'a LanguageConfig,
        /// Its parameters.
        parameters: usize,
        /// Those of them that training changes.
        trainable: usize,
        /// Bytes of the parameters, their gradients and what the optimizer keeps before its first step.
        bytes: u64,
        /// What there is to learn from.
        material: Material,
        /// Steps taken earlier.
        start_step: u64,
        /// Steps of the run.
        total_steps: u64,
    },
    /// Something to know.
    Warning(&'a Warning),
    /// A step was taken.
    Step {
        /// Steps so far.
        step: u64,
        /// The loss in nats a token, or a text.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// The norm of all gradients together, before it was limited.
        grad_norm: f64,
        /// Tokens of the step.
        tokens: usize,
    },
    /// The held-out text was foreseen and a text was written, or held-out texts were told apart.
    Test {
        /// Steps so far.
        step: u64,
        /// The loss in nats a token, or a text.
        loss: f64,
        /// What the model wrote.
        sample: &'a str,
        /// The share of texts whose class was recognised, where classes are learned.
        accuracy: Option<f64>,
    },
    /// A checkpoint is on the disk.
    Checkpoint {
        /// Its step.
        step: u64,
    },
    /// The step before was the last one, though there were to be more.
    EarlyEnd(EarlyEnd),
}

/// What a model learns from and is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// Tokens of raw text, each of which is the label of the one before.
    Tokens {
        /// To learn from.
        train: usize,
        /// To test on.
        test: usize,
    },
    /// Texts with a class each.
    Texts {
        /// To learn from.
        train: usize,
        /// To test on.
        test: usize,
        /// How many classes there are.
        classes: usize,
    },
}

/// A text that a model took for another class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextMistake {
    /// How it begins.
    pub text: String,
    /// Its class.
    pub label: String,
    /// The class that it was taken for.
    pub prediction: String,
    /// How probable that class was for the model.
    pub probability: f64,
    /// The loss in nats.
    pub loss: f64,
}

/// What a finished training found: `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LanguageReport {
    /// Always `language`.
    pub kind: String,
    /// Steps of the run.
    pub steps: u64,
    /// Tokens that the model read.
    pub tokens: u64,
    /// Seconds spent on steps.
    pub train_seconds: f64,
    /// Parameters of the model.
    pub parameters: usize,
    /// Those of them that training changed.
    pub trainable: usize,
    /// The loss on the held-out text in nats a token, or a text of a class; `null` where none was held out.
    pub test_loss: Option<f64>,
    /// `e` to its power, where tokens are foreseen.
    pub perplexity: Option<f64>,
    /// What the model writes at the end.
    pub sample: String,
    /// How well classes are told apart, where they are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// The held-out texts that the model is most wrong about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<TextMistake>,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageOutcome {
    /// The last step is done, and the model is written.
    Finished(LanguageReport),
    /// It had been finished before.
    AlreadyFinished(LanguageReport),
    /// It was asked to stop, and everything is saved.
    Stopped {
        /// Steps taken so far.
        step: u64,
        /// Steps of the run.
        total_steps: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}
