//! `metrics.jsonl`: one line of JSON an epoch and one every so many steps; the same as CSV and for TensorBoard on request.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::folder::RunPaths;
use crate::observe::{EpochMetrics, StepMetrics, TestMetrics};
use crate::recipe::LogRecipe;
use crate::tensorboard::EventFile;
use crate::{Error, Result};

/// The files, open at their ends.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    lines: Appended,
    columns: &'static [&'static str],
    csv: Option<Appended>,
    events: Option<EventFile>,
}

/// A file that grows.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
}

/// The columns of a classifier's `metrics.csv`.
pub(crate) const COLUMNS: &[&str] = &[
    "event",
    "step",
    "epoch",
    "loss",
    "accuracy",
    "lr",
    "grad_norm",
    "samples_per_second",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "train_seconds",
];

impl MetricsLog {
    /// Opens the files for a training that continues after `step`: lines of later steps are removed, as is a line
    /// that a killed process did not finish.
    pub(crate) fn open(
        paths: &RunPaths,
        recipe: &LogRecipe,
        columns: &'static [&'static str],
        step: u64,
    ) -> Result<Self> {
        let path = paths.metrics();
        let kept = whole_lines(&path, step)?;
        if let Some(kept) = &kept {
            let text: String = kept.iter().map(|line| format!("{}\n", line.text)).collect();
            cortical_io::write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
        }
        let csv = if recipe.csv {
            let rows = kept
                .iter()
                .flatten()
                .map(|line| csv_row(columns, &line.value));
            let head = format!("{}\n", columns.join(","));
            let text: String = std::iter::once(head).chain(rows).collect();
            let path = paths.metrics_csv();
            cortical_io::write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
            Some(Appended::open(path)?)
        } else {
            None
        };
        let events = if recipe.tensorboard {
            Some(EventFile::create(&paths.tensorboard())?)
        } else {
            None
        };
        Ok(Self {
            lines: Appended::open(path)?,
            columns,
            csv,
            events,
        })
    }

    /// A line about a step.
    pub(crate) fn step(&mut self, metrics: &StepMetrics, samples_per_second: f64) -> Result<()> {
        self.record(&json!({
            "event": "step",
            "step": metrics.step,
            "epoch": metrics.epoch,
            "loss": metrics.loss,
            "accuracy": metrics.accuracy,
            "lr": metrics.lr,
            "grad_norm": metrics.grad_norm,
            "samples_per_second": samples_per_second,
        }))
    }

    /// A line about a test between epochs.
    pub(crate) fn test(&mut self, metrics: &TestMetrics) -> Result<()> {
        self.record(&json!({
            "event": "test",
            "step": metrics.step,
            "test_loss": metrics.test_loss,
            "test_accuracy": metrics.test_accuracy,
        }))
    }

    /// A line about an epoch.
    pub(crate) fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.record(&json!({
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

    /// A line about anything that belongs to a step.
    pub(crate) fn record(&mut self, line: &Value) -> Result<()> {
        self.lines.append(&format!("{line}\n"))?;
        if let Some(csv) = &mut self.csv {
            csv.append(&csv_row(self.columns, line))?;
        }
        if let Some(events) = &mut self.events {
            let step = line["step"].as_u64().unwrap_or(0);
            let empty = Map::new();
            let fields = line.as_object().unwrap_or(&empty);
            let numbers = fields.iter().filter(|(name, _)| *name != "step");
            let numbers =
                numbers.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)));
            events.scalars(step, numbers)?;
        }
        Ok(())
    }

    /// Brings the lines to the disk, before a checkpoint says that they are there.
    pub(crate) fn sync(&self) -> Result<()> {
        self.lines.sync()
    }

    /// Brings everything to the disk, at the end of a run.
    pub(crate) fn finish(&self) -> Result<()> {
        self.lines.sync()?;
        match &self.csv {
            Some(csv) => csv.sync(),
            None => Ok(()),
        }
    }

    /// Removes the lines of steps after `step`, which will be taken again.
    pub(crate) fn cut(&mut self, step: u64) -> Result<()> {
        let path = self.lines.path.clone();
        let kept = whole_lines(&path, step)?.unwrap_or_default();
        let text: String = kept.iter().map(|line| format!("{}\n", line.text)).collect();
        cortical_io::write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
        self.lines = Appended::open(path)?;
        Ok(())
    }
}

impl Appended {
    fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(why) => Err(Error::file(path)(why)),
        }
    }

    /// One write a line, so that a killed process leaves whole lines.
    fn append(&mut self, line: &str) -> Result<()> {
        let written = self.file.write_all(line.as_bytes());
        written.map_err(Error::file(&self.path))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::file(&self.path))
    }
}

/// A line as a row: what it does not say is empty.
fn csv_row(columns: &[&str], line: &Value) -> String {
    let cell = |name: &&str| match &line[*name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells: Vec<String> = columns.iter().map(cell).collect();
    format!("{}\n", cells.join(","))
}

/// A line as it was written, for another parser might not read the last bit of its numbers, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    text: String,
    pub(crate) value: Value,
}

/// The whole lines that are about no later step than `step`; `None` without a file.
pub(crate) fn whole_lines(path: &Path, step: u64) -> Result<Option<Vec<Line>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(Error::file(path)(why)),
    };
    let mut kept = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::file(path))?;
        let Ok(text) = String::from_utf8(line) else {
            continue;
        };
        let value: Option<Value> = serde_json::from_str(&text).ok();
        let about = |value: &Value| value["step"].as_u64().is_some_and(|at| at <= step);
        kept.extend(value.filter(about).map(|value| Line { text, value }));
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 1,
            loss: 0.5,
            accuracy: 1.0,
            lr: 0.1,
            samples: 2,
            grad_norm: 3.0,
        }
    }

    #[test]
    fn later_and_unfinished_lines_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(folder.path());
        let text = "{\"step\":1}\n{\"step\":5}\n{\"step\":6}\n{\"ste";
        std::fs::write(paths.metrics(), text).unwrap();
        let recipe = LogRecipe::default();
        let mut log = MetricsLog::open(&paths, &recipe, COLUMNS, 5).unwrap();
        log.step(&metrics(6), 10.0).unwrap();
        log.sync().unwrap();
        let steps = || {
            let text = std::fs::read_to_string(paths.metrics()).unwrap();
            let step = |line: &str| serde_json::from_str::<Value>(line).unwrap()["step"].clone();
            text.lines().map(step).collect::<Vec<_>>()
        };
        assert_eq!(steps(), [1, 5, 6]);
        log.cut(5).unwrap();
        log.step(&metrics(6), 10.0).unwrap();
        assert_eq!(steps(), [1, 5, 6]);
        drop(MetricsLog::open(&paths, &recipe, COLUMNS, 0).unwrap());
        assert_eq!(std::fs::read_to_string(paths.metrics()).unwrap(), "");
    }

    #[test]
    fn the_table_has_the_lines_as_rows() {
        let folder = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(folder.path());
        let recipe = LogRecipe {
            csv: true,
            ..LogRecipe::default()
        };
        let mut log = MetricsLog::open(&paths, &recipe, COLUMNS, 0).unwrap();
        log.step(&metrics(1), 10.0).unwrap();
        log.step(&metrics(2), 10.0).unwrap();
        log.finish().unwrap();
        // Reopened after step 1, the row of step 2 is gone, as in the lines.
        let mut log = MetricsLog::open(&paths, &recipe, COLUMNS, 1).unwrap();
        let test = TestMetrics {
            step: 2,
            test_loss: 0.25,
            test_accuracy: 0.5,
        };
        log.test(&test).unwrap();
        let text = std::fs::read_to_string(paths.metrics_csv()).unwrap();
        let want = format!(
            "{}\nstep,1,1,0.5,1.0,0.1,3.0,10.0,,,,,\ntest,2,,,,,,,,,0.25,0.5,\n",
            COLUMNS.join(",")
        );
        assert_eq!(text, want);
    }
}
