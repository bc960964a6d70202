//! `metrics.jsonl`: one line of JSON an epoch and one every so many steps.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::observe::{EpochMetrics, StepMetrics};
use crate::{Error, Result};

/// The file, open at its end.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the file for a training that continues after `step`: lines of later steps are removed, as is a line
    /// that a killed process did not finish.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self> {
        let kept = match File::open(path) {
            Ok(file) => Some(lines_to(file, step).map_err(Error::file(path))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::file(path)(error)),
        };
        if let Some(kept) = kept {
            cortical_io::write_atomic(path, |file| file.write_all(&kept))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(Error::file(path))?,
        })
    }

    /// A line about a step.
    pub(crate) fn step(&mut self, metrics: &StepMetrics, samples_per_second: f64) -> Result<()> {
        self.line(&json!({
            "event": "step",
            "step": metrics.step,
            "epoch": metrics.epoch,
            "loss": metrics.loss,
            "accuracy": metrics.accuracy,
            "lr": metrics.lr,
            "samples_per_second": samples_per_second,
        }))
    }

    /// A line about an epoch.
    pub(crate) fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.line(&json!({
            "event": "epoch",
            "step": metrics.step,
            "epoch": metrics.epoch,
            "train_loss": metrics.train_loss,
            "train_accuracy": metrics.train_accuracy,
            "test_loss": metrics.test_loss,
            "test_accuracy": metrics.test_accuracy,
            "train_seconds": metrics.train_seconds,
        }))
    }

    fn line(&mut self, line: &Value) -> Result<()> {
        // One write a line, so that a killed process leaves whole lines.
        let line = format!("{line}\n");
        let written = self.file.write_all(line.as_bytes());
        written.map_err(Error::file(&self.path))
    }

    /// Brings the lines to the disk, before a checkpoint says that they are there.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::file(&self.path))
    }
}

/// The whole lines that are about no later step than `step`.
fn lines_to(file: File, step: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let value: Option<Value> = serde_json::from_slice(&line).ok();
        let at = value.and_then(|value| value["step"].as_u64());
        if at.is_some_and(|at| at <= step) {
            kept.extend_from_slice(&line);
            kept.push(b'\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_unfinished_lines_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = "{\"step\":1}\n{\"step\":5}\n{\"step\":6}\n{\"ste";
        std::fs::write(&path, text).unwrap();
        let mut log = MetricsLog::open(&path, 5).unwrap();
        let metrics = StepMetrics {
            step: 6,
            epoch: 1,
            loss: 0.5,
            accuracy: 1.0,
            lr: 0.1,
            samples: 2,
        };
        log.step(&metrics, 10.0).unwrap();
        log.sync().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["step"].clone())
            .collect();
        assert_eq!(steps, [1, 5, 6]);
        drop(MetricsLog::open(&path, 0).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
