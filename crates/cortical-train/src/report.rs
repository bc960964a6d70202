//! `report.json`: what a finished run achieved.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::measured::{Measured, TextMistake};
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
    pub(crate) fn set_test(&mut self, test: Option<Measured>) {
        let Some(test) = test else {
            return;
        };
        self.test_loss = test.loss();
        match test {
            Measured::Classes(found) => self.test = Some(found),
            Measured::Texts { classes, mistakes } => {
                self.test = Some(classes);
                self.mistakes = mistakes;
            }
            Measured::Text(found) => {
                self.perplexity = found.perplexity();
                self.sample = found.sample;
            }
        }
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
