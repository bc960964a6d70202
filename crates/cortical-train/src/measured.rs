//! What a validation or a test finds, whatever is learned.

use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;

/// What is measured beside the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The share of the samples whose class was recognised.
    Accuracy,
    /// `e^loss`: as unsure as among so many equally likely tokens.
    Perplexity,
}

impl Measure {
    /// Its name in `metrics.jsonl`, behind `train_` or `valid_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Perplexity => "perplexity",
        }
    }

    /// Whether it is a share of the samples, shown in per cent.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::Accuracy)
    }
}

/// What a validation or a test found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measured {
    /// Classes of pictures or of rows of numbers.
    Classes(Evaluation),
    /// The next token of a text.
    Text(TextScores),
    /// Classes of texts, and those that the model is most wrong about.
    Texts {
        /// The scores.
        classes: Evaluation,
        /// The texts.
        mistakes: Vec<TextMistake>,
    },
}

/// How well a model predicts the next token of a text, and what it writes itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextScores {
    /// The mean of `−ln p` in nats a token; `null` where no whole block was held out.
    pub loss: Option<f64>,
    /// Tokens that were to be predicted.
    #[serde(default)]
    pub tokens: u64,
    /// How the model continues a text.
    #[serde(default)]
    pub sample: String,
}

impl TextScores {
    /// `e^loss`.
    #[must_use]
    pub fn perplexity(&self) -> Option<f64> {
        self.loss.map(f64::exp)
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

impl Measured {
    /// The mean loss in nats, where anything was held out.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        match self {
            Self::Classes(found) | Self::Texts { classes: found, .. } => Some(found.loss),
            Self::Text(found) => found.loss,
        }
    }

    /// What was measured beside it.
    #[must_use]
    pub fn figure(&self) -> Option<f64> {
        match self {
            Self::Classes(found) | Self::Texts { classes: found, .. } => Some(found.accuracy),
            Self::Text(found) => found.perplexity(),
        }
    }

    /// What the model wrote; nothing where it writes nothing.
    #[must_use]
    pub fn sample(&self) -> &str {
        match self {
            Self::Text(found) => &found.sample,
            _ => "",
        }
    }

    /// How well classes were recognised, where there are any.
    #[must_use]
    pub fn classes(&self) -> Option<&Evaluation> {
        match self {
            Self::Classes(found) | Self::Texts { classes: found, .. } => Some(found),
            Self::Text(_) => None,
        }
    }
}
