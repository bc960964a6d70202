//! `metrics.jsonl`: one line of JSON an epoch and one every so many steps; the same as CSV and for TensorBoard on
//! request.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::folder::RunPaths;
use crate::observe::{PhaseMetrics, StepMetrics};
use crate::recipe::{LogRecipe, TaskKind};
use crate::tensorboard::EventFile;
use crate::{Error, Result};

/// The files, open at their ends.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    lines: Appended,
    columns: Vec<String>,
    task: TaskKind,
    csv: Option<Appended>,
    events: Option<EventFile>,
}

/// A file that grows.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
}

/// The columns of `metrics.csv`.
fn columns(task: TaskKind) -> Vec<String> {
    let (name, of_steps) = (task.measure().name(), task.measure().is_share());
    let [train, valid] = ["train", "valid"].map(|part| format!("{part}_{name}"));
    let mut columns = vec!["event", "step", "epoch", "loss"];
    columns.extend(of_steps.then_some(name));
    columns.extend(["lr", "grad_norm", task.unit().speed(), "train_loss"]);
    columns.extend(of_steps.then_some(&train[..]));
    columns.extend(["valid_loss", &valid, "train_seconds"]);
    columns.into_iter().map(str::to_owned).collect()
}

impl MetricsLog {
    /// Opens the files for a training that continues after `step`: lines of later steps are removed, as is a line
    /// that a killed process did not finish.
    pub(crate) fn open(
        paths: &RunPaths,
        recipe: &LogRecipe,
        task: TaskKind,
        step: u64,
    ) -> Result<Self> {
        let columns = columns(task);
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
                .map(|line| csv_row(&columns, &line.value));
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
            task,
            csv,
            events,
        })
    }

    /// A line about a step.
    pub(crate) fn step(&mut self, metrics: &StepMetrics, per_second: f64) -> Result<()> {
        let mut line = json!({
            "event": "step",
            "step": metrics.step,
            "epoch": metrics.epoch,
            "loss": metrics.loss,
            "lr": metrics.lr,
            "grad_norm": metrics.grad_norm,
        });
        line[self.task.unit().speed()] = json!(per_second);
        if let Some(accuracy) = metrics.accuracy {
            line[self.task.measure().name()] = json!(accuracy);
        }
        self.record(&line)
    }

    /// A line about an epoch, or about a validation between two.
    pub(crate) fn phase(&mut self, metrics: &PhaseMetrics) -> Result<()> {
        let name = self.task.measure().name();
        let mut line = json!({
            "event": if metrics.epoch.is_some() { "epoch" } else { "validation" },
            "step": metrics.step,
            "train_loss": metrics.train_loss,
            "train_seconds": metrics.train_seconds,
        });
        if let Some(epoch) = metrics.epoch {
            line["epoch"] = json!(epoch);
        }
        if let Some(accuracy) = metrics.train_accuracy {
            line[format!("train_{name}")] = json!(accuracy);
        }
        if let Some(valid) = &metrics.valid {
            line["valid_loss"] = json!(valid.loss);
            line[format!("valid_{name}")] = json!(valid.figure);
            if !valid.sample.is_empty() {
                line["sample"] = json!(valid.sample);
            }
        }
        self.record(&line)
    }

    /// A line about anything that belongs to a step.
    fn record(&mut self, line: &Value) -> Result<()> {
        self.lines.append(&format!("{line}\n"))?;
        if let Some(csv) = &mut self.csv {
            csv.append(&csv_row(&self.columns, line))?;
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
fn csv_row(columns: &[String], line: &Value) -> String {
    let cell = |name: &String| match &line[name.as_str()] {
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
    // Before it is opened, as opening a pipe waits for somebody who writes.
    let file = match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => {
            let path = path.to_owned();
            return Err(cortical_io::Error::NotAFile { path }.into());
        }
        found => found.and_then(|_| File::open(path)),
    };
    let file = match file {
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
    use crate::observe::Validation;

    fn metrics(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 1,
            loss: 0.5,
            accuracy: Some(1.0),
            lr: 0.1,
            units: 2,
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
        let mut log = MetricsLog::open(&paths, &recipe, TaskKind::Classification, 5).unwrap();
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
        drop(MetricsLog::open(&paths, &recipe, TaskKind::Classification, 0).unwrap());
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
        let mut log = MetricsLog::open(&paths, &recipe, TaskKind::Classification, 0).unwrap();
        log.step(&metrics(1), 10.0).unwrap();
        log.step(&metrics(2), 10.0).unwrap();
        log.finish().unwrap();
        // Reopened after step 1, the row of step 2 is gone, as in the lines.
        let mut log = MetricsLog::open(&paths, &recipe, TaskKind::Classification, 1).unwrap();
        let phase = PhaseMetrics {
            step: 2,
            epoch: None,
            train_loss: 0.75,
            train_accuracy: Some(0.25),
            valid: Some(Validation {
                loss: Some(0.25),
                figure: Some(0.5),
                sample: String::new(),
            }),
            train_seconds: 1.5,
        };
        log.phase(&phase).unwrap();
        let text = std::fs::read_to_string(paths.metrics_csv()).unwrap();
        let want = format!(
            "{}\nstep,1,1,0.5,1.0,0.1,3.0,10.0,,,,,\nvalidation,2,,,,,,,0.75,0.25,0.25,0.5,1.5\n",
            columns(TaskKind::Classification).join(",")
        );
        assert_eq!(text, want);
    }
}
