//! `report.json`: what a finished run achieved.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::label_scores::LabelScores;
use crate::measured::{Measured, TextMistake};
use crate::number_scores::NumberScores;
use crate::recipe::TaskKind;

/// What a finished run achieved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// What was learned.
    #[serde(default)]
    pub task: TaskKind,
    /// Steps that were taken.
    pub steps: u64,
    /// Epochs that were completed.
    #[serde(default)]
    pub epochs: u64,
    /// Samples that were learned from, or tokens that were read, each as often as it was.
    #[serde(default)]
    pub seen: u64,
    /// Seconds spent on steps: data, forward, backward and update, without validations and checkpoints.
    pub train_seconds: f64,
    /// Parameters of the network.
    pub parameters: usize,
    /// Those of them that training changed; all, where an old report does not say.
    #[serde(default)]
    pub trainable: Option<usize>,
    /// Those that are pruned: 0 for good.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pruned: usize,
    /// The mean loss on the validation samples at the end, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    /// What was measured there beside it: accuracy or perplexity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_figure: Option<f64>,
    /// The mean loss on the test samples; `null` where nothing was held out.
    #[serde(default)]
    pub test_loss: Option<f64>,
    /// How well classes are recognised, where they are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// How good predicted numbers are, where numbers are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberScores>,
    /// How good predicted labels are, where a sample has any number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelScores>,
    /// `e^test_loss`, where tokens are predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// What the model writes at the end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sample: String,
    /// The held-out texts that the model is most wrong about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<TextMistake>,
}

/// Whether there is nothing to say.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Report {
    /// Adds what the test at the end found.
    pub(crate) fn set_test(&mut self, test: Measured) {
        self.test_loss = test.loss;
        let is_of_tokens =
            test.classes.is_none() && test.numbers.is_none() && test.labels.is_none();
        self.perplexity = test.figure.filter(|_| is_of_tokens);
        self.test = test.classes;
        self.numbers = test.numbers;
        self.labels = test.labels;
        self.sample = test.sample;
        self.mistakes = test.mistakes;
    }

    /// What the test at the end found; `None` where nothing was held out.
    #[must_use]
    pub fn tested(&self) -> Option<Measured> {
        let figure = self.test.as_ref().map(|test| test.accuracy);
        let numbers = self.numbers.as_ref();
        let figure = figure.or(numbers.and_then(|numbers| numbers.r2));
        let labels = self.labels.as_ref();
        let figure = figure.or(labels.and_then(|labels| labels.average_precision));
        let figure = figure.or(self.perplexity);
        let is_there =
            figure.is_some() || numbers.is_some() || labels.is_some() || !self.sample.is_empty();
        is_there.then(|| Measured {
            loss: self.test_loss,
            figure,
            count: match (&self.test, numbers) {
                (Some(test), _) => test.samples,
                (None, Some(numbers)) => numbers.samples,
                (None, None) => labels.map_or(0, |labels| labels.samples),
            },
            classes: self.test.clone(),
            numbers: self.numbers.clone(),
            labels: self.labels.clone(),
            sample: self.sample.clone(),
            mistakes: self.mistakes.clone(),
        })
    }

    /// Reads a report of this version or of the first one.
    pub(crate) fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        let mut value: Value = serde_json::from_slice(json)?;
        if value["kind"] == "language" {
            // The first version wrote another report for language models.
            let task = match value["test"].is_object() {
                true => TaskKind::TextClassification,
                false => TaskKind::NextToken,
            };
            value["task"] = serde_json::to_value(task)?;
            value["seen"] = value["tokens"].clone();
        } else if value["test_loss"].is_null() {
            value["test_loss"] = value["test"]["loss"].clone();
        }
        serde_json::from_value(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_first_version_can_be_read() {
        let classifier = br#"{"steps":3,"epochs":1,"train_seconds":0.5,"parameters":9,"test":{"samples":2,"loss":0.25,
            "accuracy":0.5,"classes":["a","b"],"confusion":[[1,0],[1,0]],"macro_f1":0.3}}"#;
        let report = Report::from_json(classifier).unwrap();
        assert_eq!(report.task, TaskKind::Classification);
        assert_eq!(report.test_loss, Some(0.25));
        let language = br#"{"kind":"language","steps":3,"tokens":96,"train_seconds":0.5,"parameters":9,"trainable":9,
            "test_loss":2.0,"perplexity":7.4,"sample":"the whale"}"#;
        let report = Report::from_json(language).unwrap();
        assert_eq!((report.task, report.seen), (TaskKind::NextToken, 96));
        assert_eq!(report.sample, "the whale");
    }
}
