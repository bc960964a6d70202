//! Data sets by name: what there is, and one door to all of it.

use std::path::{Path, PathBuf};

use cortical_tensor::Seed;
use serde::Serialize;

use crate::csv::{self, CsvOptions};
use crate::dataset::{Dataset, Splits};
use crate::embedded::{digits, iris};
use crate::error::{Error, Result};
use crate::preprocess::{Normalize, Preprocess};
use crate::split::split;

/// What is known about a data set before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The name that [`open`] knows it by.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// How many samples it has for training (and testing, where a part of them is held out).
    pub samples: usize,
    /// How many samples it has for testing only; `None` where a part of `samples` is held out.
    pub test_samples: Option<usize>,
    /// The shape of one sample.
    pub input_shape: &'static [usize],
    /// The names of the classes.
    pub classes: &'static [&'static str],
    /// Under which terms it may be used.
    pub licence: &'static str,
    /// Who made it, and how it comes here.
    pub source: &'static str,
}

const CATALOG: &[Entry] = &[
    Entry {
        name: "digits",
        summary: "handwritten digits, 8x8 pixels, embedded",
        samples: 1797,
        test_samples: None,
        input_shape: &[1, 8, 8],
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        licence: "CC BY 4.0 (UCI), BSD-3-Clause (scikit-learn)",
        source: "UCI Optical Recognition of Handwritten Digits, as scikit-learn ships it",
    },
    Entry {
        name: "iris",
        summary: "lengths of sepals and petals of three species of iris, embedded",
        samples: 150,
        test_samples: None,
        input_shape: &[4],
        classes: &["setosa", "versicolor", "virginica"],
        licence: "CC BY 4.0 (UCI), BSD-3-Clause (scikit-learn)",
        source: "R. A. Fisher 1936, UCI, as scikit-learn ships it",
    },
];

/// The data sets that [`open`] knows by name.
#[must_use]
pub fn catalog() -> &'static [Entry] {
    CATALOG
}

/// How [`open`] opens a data set.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Draws the held-out samples, where the data set has no test part of its own.
    pub seed: Seed,
    /// How much is held out, where the data set has no test part of its own.
    pub test_fraction: f64,
    /// What happens to raw values; statistics are taken from the training part only.
    pub normalize: Normalize,
    /// The shape that a sample of a CSV file takes, such as `[1, 8, 8]` for 64 columns; `[columns]` when absent.
    pub input_shape: Option<Vec<usize>>,
    /// A folder to look into first for data sets that are files.
    pub data_dir: Option<PathBuf>,
    /// What to expect of a CSV file.
    pub csv: CsvOptions,
}

impl Default for OpenOptions {
    /// Seed 0, a fifth held out, values normalised as suits the data.
    fn default() -> Self {
        Self {
            seed: Seed(0),
            test_fraction: 0.2,
            normalize: Normalize::Auto,
            input_shape: None,
            data_dir: None,
            csv: CsvOptions::default(),
        }
    }
}

/// Opens a data set by its name in the [`catalog`], or the CSV file at a path, ready to be trained on.
///
/// # Errors
/// A name that is neither; whatever is wrong with the files; data that cannot be split or normalised as asked.
///
/// ```
/// use cortical_data::{open, OpenOptions};
/// let splits = open("digits", &OpenOptions::default())?;
/// assert_eq!((splits.train.len(), splits.test.len()), (1438, 359));
/// assert_eq!(splits.train.preprocess().range(), 16.0);
/// # Ok::<(), cortical_data::Error>(())
/// ```
pub fn open(name_or_path: &str, options: &OpenOptions) -> Result<Splits> {
    let raw = match name_or_path {
        "digits" => hold_out(&digits()?, options)?,
        "iris" => hold_out(&iris()?, options)?,
        _ => {
            let path = Path::new(name_or_path);
            if !path.exists() {
                return Err(unknown(name_or_path));
            }
            hold_out(&csv::read(path, &options.csv)?, options)?
        }
    };
    let preprocess = Preprocess::fit(options.normalize, raw.train.inputs())?;
    raw.preprocessed(&preprocess)
}

/// Gives samples the shape that was asked for, and splits them.
fn hold_out(dataset: &Dataset, options: &OpenOptions) -> Result<Splits> {
    let dataset = match &options.input_shape {
        Some(shape) => dataset.reshaped(shape)?,
        None => dataset.clone(),
    };
    split(&dataset, options.test_fraction, options.seed)
}

/// The error for a name that means nothing.
fn unknown(name: &str) -> Error {
    let distance = |entry: &&Entry| strsim::damerau_levenshtein(name, entry.name);
    let names: Vec<&str> = CATALOG.iter().map(|entry| entry.name).collect();
    Error::UnknownDataset {
        name: name.to_owned(),
        nearest: CATALOG
            .iter()
            .min_by_key(distance)
            .filter(|entry| distance(entry) <= 1 + entry.name.len() / 3)
            .map(|entry| entry.name),
        known: names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_tells_the_truth() {
        let options = OpenOptions::default();
        for entry in catalog()
            .iter()
            .filter(|entry| entry.test_samples.is_none())
        {
            let splits = open(entry.name, &options).unwrap();
            assert_eq!(splits.train.len() + splits.test.len(), entry.samples);
            for part in [&splits.train, &splits.test] {
                assert_eq!(part.input_shape(), entry.input_shape, "{}", entry.name);
                assert_eq!(part.classes(), entry.classes, "{}", entry.name);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_told_its_neighbour() {
        let check = |name: &str, text: &str| {
            let error = open(name, &OpenOptions::default()).unwrap_err();
            assert_eq!(error.to_string(), text);
        };
        check(
            "digit",
            "there is no data set, file or folder called \"digit\" (did you mean \"digits\"?); data sets: digits, iris; a path names a CSV file or a folder with four IDX files",
        );
        check(
            "no/such.csv",
            "there is no data set, file or folder called \"no/such.csv\"; data sets: digits, iris; a path names a CSV file or a folder with four IDX files",
        );
    }

    #[test]
    fn statistics_come_from_the_training_part_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let rows: String = (0..20).map(|i| format!("{i},{}\n", i % 2)).collect();
        std::fs::write(&path, rows).unwrap();
        let splits = open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (16, 4));
        let train = (0..16).map(|row| splits.train.inputs().raw_row(row).unwrap()[0]);
        let mean = train.sum::<f32>() / 16.0;
        assert_eq!(splits.train.preprocess().mean(), [mean]);
        assert_eq!(splits.train.preprocess(), splits.test.preprocess());
        assert_ne!(mean, 9.5, "the mean of all twenty rows");
    }

    #[test]
    fn columns_can_be_seen_as_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "1,2,3,4,a\n5,6,7,8,b\n".repeat(5)).unwrap();
        let options = OpenOptions {
            input_shape: Some(vec![1, 2, 2]),
            ..OpenOptions::default()
        };
        let splits = open(path.to_str().unwrap(), &options).unwrap();
        assert_eq!(splits.train.input_shape(), [1, 2, 2]);
        assert_eq!(splits.train.preprocess().mean().len(), 1);
    }
}
