//! What a validation or a test finds, whatever is learned.

use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::label_scores::LabelScores;
use crate::number_scores::NumberScores;

/// What is measured beside the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The share of the samples whose class was recognised.
    Accuracy,
    /// The share of the variance of the numbers that the predictions explain.
    R2,
    /// The mean of the labels' average precisions, where a sample has any number of labels.
    AveragePrecision,
    /// `e^loss`: as unsure as among so many equally likely tokens.
    Perplexity,
}

impl Measure {
    /// Its name, for people and behind `train_` or `valid_` in `metrics.jsonl`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::R2 => "r2",
            Self::AveragePrecision => "average_precision",
            Self::Perplexity => "perplexity",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::R2 => "R²",
            Self::AveragePrecision => "average precision",
            Self::Perplexity => "perplexity",
        }
    }

    /// Whether it is a share of the samples: each step has it too, and it is shown in per cent.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::Accuracy)
    }

    /// Whether more of it is better.
    #[must_use]
    pub fn larger_is_better(self) -> bool {
        matches!(self, Self::Accuracy | Self::R2 | Self::AveragePrecision)
    }

    /// What the loss beside it is counted in.
    #[must_use]
    pub fn loss_unit(self) -> &'static str {
        match self {
            Self::Accuracy => "nats",
            Self::R2 => "standardized targets",
            Self::AveragePrecision => "nats a label",
            Self::Perplexity => "nats a token",
        }
    }

    /// A figure as people read it.
    #[must_use]
    pub fn format(self, figure: f64) -> String {
        match self {
            Self::Accuracy => format!("{:.2} %", 100.0 * figure),
            Self::R2 | Self::AveragePrecision => format!("{figure:.4}"),
            Self::Perplexity => format!("{figure:.2}"),
        }
    }
}

/// What the speed of a training is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Pictures or rows.
    Samples,
    /// Tokens of text.
    Tokens,
}

impl Unit {
    /// The unit's name, in the plural.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Tokens => "tokens",
        }
    }

    /// The key of the speed in `metrics.jsonl`.
    #[must_use]
    pub fn speed(self) -> &'static str {
        match self {
            Self::Samples => "samples_per_second",
            Self::Tokens => "tokens_per_second",
        }
    }
}

/// What a validation or a test found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// The mean loss in nats, or of numbers on the scale on which they are learned;
    /// `None` where nothing was held out that has one.
    pub loss: Option<f64>,
    /// What was measured beside it.
    pub figure: Option<f64>,
    /// Samples or tokens that were looked at; 0 where that is not known.
    pub count: u64,
    /// How well each class was recognised, where there are any.
    pub classes: Option<Evaluation>,
    /// How good predicted numbers are, where there are any.
    pub numbers: Option<NumberScores>,
    /// How good predicted labels are, where a sample has any number of them.
    pub labels: Option<LabelScores>,
    /// How the model continues a text; nothing where it writes nothing.
    pub sample: String,
    /// The texts that the model is most wrong about.
    pub mistakes: Vec<TextMistake>,
}

impl From<Evaluation> for Measured {
    fn from(classes: Evaluation) -> Self {
        Self {
            loss: Some(classes.loss),
            figure: Some(classes.accuracy),
            count: classes.samples,
            classes: Some(classes),
            ..Self::default()
        }
    }
}

impl From<LabelScores> for Measured {
    fn from(labels: LabelScores) -> Self {
        Self {
            loss: Some(labels.loss),
            figure: labels.average_precision,
            count: labels.samples,
            labels: Some(labels),
            ..Self::default()
        }
    }
}

impl From<NumberScores> for Measured {
    fn from(numbers: NumberScores) -> Self {
        Self {
            loss: Some(numbers.loss),
            figure: numbers.r2,
            count: numbers.samples,
            numbers: Some(numbers),
            ..Self::default()
        }
    }
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
