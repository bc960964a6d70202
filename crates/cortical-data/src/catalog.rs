//! Data sets by name: what there is, and one door to all of it.

use std::path::{Path, PathBuf};

use cortical_tensor::Seed;
use serde::Serialize;

use crate::csv::{self, Column, ColumnKind, CsvOptions};
use crate::dataset::{Dataset, Splits};
use crate::edges::{self, edges};
use crate::embedded::{concrete, digits, iris, moby_dick};
use crate::error::{Error, Result, list};
use crate::idx;
use crate::pictures;
use crate::preprocess::{Normalize, Preprocess};
use crate::split::{fold, split};
use crate::table;
use crate::targets::{Target, TargetScale};

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
    /// The names of the classes; none where numbers are predicted.
    pub classes: &'static [&'static str],
    /// The names of the numbers that are predicted; none where classes are.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub targets: &'static [&'static str],
    /// Under which terms it may be used.
    pub licence: &'static str,
    /// Who made it, and how it comes here.
    pub source: &'static str,
    /// The command that installs its files; `None` when it is embedded.
    pub install: Option<&'static str>,
}

impl Entry {
    /// Whether the data set can be opened on this machine: embedded, or its files lie in a folder that [`open`] looks
    /// in.
    #[must_use]
    pub fn is_available(&self, data_dir: Option<&Path>) -> bool {
        self.install.is_none()
            || folders(self.name, data_dir)
                .iter()
                .any(|f| idx::is_folder(f))
    }
}

const CATALOG: &[Entry] = &[
    Entry {
        name: "concrete",
        summary: "mixtures of concrete and their strength, a number to predict, embedded",
        samples: 1030,
        test_samples: None,
        input_shape: &[8],
        classes: &[],
        targets: &["strength"],
        licence: "CC BY 4.0 (UCI)",
        source: "I-C. Yeh 1998, UCI Concrete Compressive Strength",
        install: None,
    },
    Entry {
        name: "digits",
        summary: "handwritten digits, 8x8 pixels, embedded",
        samples: 1797,
        test_samples: None,
        input_shape: &[1, 8, 8],
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        targets: &[],
        licence: "CC BY 4.0 (UCI), BSD-3-Clause (scikit-learn)",
        source: "UCI Optical Recognition of Handwritten Digits, as scikit-learn ships it",
        install: None,
    },
    Entry {
        name: "edges",
        summary: "edges in four directions, 12x12 pixels, drawn by the program",
        samples: edges::SAMPLES,
        test_samples: None,
        input_shape: &[1, edges::SIDE, edges::SIDE],
        classes: &edges::CLASSES,
        targets: &[],
        licence: "that of this program",
        source: "drawn by this program, the same every time",
        install: None,
    },
    Entry {
        name: "iris",
        summary: "lengths of sepals and petals of three species of iris, embedded",
        samples: 150,
        test_samples: None,
        input_shape: &[4],
        classes: &["setosa", "versicolor", "virginica"],
        targets: &[],
        licence: "CC BY 4.0 (UCI), BSD-3-Clause (scikit-learn)",
        source: "R. A. Fisher 1936, UCI, as scikit-learn ships it",
        install: None,
    },
    Entry {
        name: FASHION_MNIST,
        summary: "photographs of clothes, 28x28 pixels",
        samples: 60_000,
        test_samples: Some(10_000),
        input_shape: &[1, 28, 28],
        classes: &FASHION_CLASSES,
        targets: &[],
        licence: "MIT",
        source: "Zalando Research 2017; the Debian package dataset-fashion-mnist",
        install: Some(FASHION_INSTALL),
    },
];

/// The data set that is not part of the program.
pub(crate) const FASHION_MNIST: &str = "fashion-mnist";
const FASHION_INSTALL: &str = "apt-get install dataset-fashion-mnist";

const FASHION_CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The data sets that [`open`] knows by name.
#[must_use]
pub fn catalog() -> &'static [Entry] {
    CATALOG
}

/// A text that language models learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// The name that recipes know it by.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Under which terms it may be used.
    pub licence: &'static str,
    /// Who wrote it, and how it comes here.
    pub source: &'static str,
}

impl Text {
    /// The whole text.
    ///
    /// # Errors
    /// None; the text is part of the program.
    pub fn read(&self) -> Result<String> {
        moby_dick()
    }
}

const TEXTS: &[Text] = &[Text {
    name: "moby-dick",
    summary: "the novel Moby-Dick; or, The Whale, embedded",
    licence: "public domain",
    source: "H. Melville 1851, as the stdlib project ships it",
}];

/// The texts that are part of the program.
///
/// ```
/// let text = cortical_data::texts()[0];
/// assert_eq!(text.name, "moby-dick");
/// assert!(text.read()?.contains("Call me Ishmael."));
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[must_use]
pub fn texts() -> &'static [Text] {
    TEXTS
}

/// How [`open`] opens a data set.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Draws the held-out samples, where the data set has no test part of its own.
    pub seed: Seed,
    /// How much is held out, where the data set has no test part of its own.
    pub test_fraction: f64,
    /// How much of the training part, as it is after the test part was cut off, is for validation; 0 for none. It is
    /// ignored where the data set has a validation part of its own: those samples were chosen for this by whoever made
    /// the data set. The test part does not depend on it.
    pub valid_fraction: f64,
    /// Part `fold` of a cross-validation in so many folds is tested on instead: `(folds, fold)`, counted from 0. See
    /// [`fold`](crate::fold()).
    pub fold: Option<(usize, usize)>,
    /// What happens to raw values; statistics are taken from the training part only.
    pub normalize: Normalize,
    /// The shape that samples take, such as `[1, 8, 8]` for a CSV file of 64 columns; as they come when absent.
    pub input_shape: Option<Vec<usize>>,
    /// A folder to look into first for data sets that are files.
    pub data_dir: Option<PathBuf>,
    /// What to expect of a CSV file.
    pub csv: CsvOptions,
}

impl Default for OpenOptions {
    /// Seed 0, a fifth held out for testing and nothing for validation, values normalised as suits the data.
    fn default() -> Self {
        Self {
            seed: Seed(0),
            test_fraction: 0.2,
            valid_fraction: 0.0,
            fold: None,
            normalize: Normalize::Auto,
            input_shape: None,
            data_dir: None,
            csv: CsvOptions::default(),
        }
    }
}

/// Opens a data set by its name in the [`catalog`], or what lies at a path, ready to be trained on: a CSV file, a
/// safetensors file as for [`read_table`](crate::read_table), a folder with four IDX files as for [`idx::read_folder`],
/// or a folder of PNG and JPEG pictures, a folder for each class.
///
/// The classes of pictures are called as their folders. Where those are in `train` and `test`, these are the two parts,
/// and `valid` (or `val`, `validation`) beside them is the validation part; the case of the letters does not matter.
/// Where only `train` and `valid` are there, the latter is the test part, as it is all that is known to be held out:
/// then choices are made by samples of `train`, if [`OpenOptions::valid_fraction`] asks for some. With
/// [`OpenOptions::input_shape`] pictures are brought to that size, grey or coloured; else all must be of one size.
///
/// The files of Fashion-MNIST are looked for in `DATA_DIR/fashion-mnist`, `DATA_DIR`, where the Debian package
/// `dataset-fashion-mnist` puts them, and in `.cache/fashion-mnist`, where it may be unpacked.
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
        "concrete" => hold_out(&concrete()?, options)?,
        "digits" => hold_out(&digits()?, options)?,
        "edges" => hold_out(&edges()?, options)?,
        "iris" => hold_out(&iris()?, options)?,
        FASHION_MNIST => fashion_mnist(options)?,
        _ => {
            let path = Path::new(name_or_path);
            if idx::is_folder(path) {
                shaped(&idx::read_folder(path, None)?, options)?
            } else if pictures::is_folder(path) {
                match pictures::read_folder(path, options.input_shape.as_deref())? {
                    pictures::Folder::Split(splits) => folded(*splits, options)?,
                    pictures::Folder::Whole(all) => hold_out(&all, options)?,
                }
            } else if path.is_dir() {
                return Err(Error::NothingToLearn {
                    path: path.to_owned(),
                });
            } else if path.exists() && table::is_table(path) {
                hold_out(&table::read_table(path)?, options)?
            } else if path.exists() {
                hold_out(&csv::read(path, &options.csv)?, options)?
            } else {
                return Err(unknown(name_or_path));
            }
        }
    };
    let raw = raw.with_validation(options.valid_fraction, options.seed)?;
    let preprocess =
        Preprocess::fit_filled(options.normalize, options.csv.missing, raw.train.inputs())?;
    let splits = raw.preprocessed(&preprocess)?;
    // Labels are learned as they are, 0 and 1.
    let numbers = splits
        .train
        .targets()
        .filter(|_| options.csv.target != Target::Labels);
    let splits = match numbers.map(TargetScale::fit).transpose()? {
        Some(scale) => splits.map(|part| part.scaled(&scale))?,
        None => splits,
    };
    with_constant_columns(splits)
}

/// Says which columns have one value in the whole training part, as nothing can be learned from them.
fn with_constant_columns(splits: Splits) -> Result<Splits> {
    let constant = splits.train.inputs().constant_columns()?;
    if constant.is_empty() {
        return Ok(splits);
    }
    let columns = splits.train.preprocess().columns();
    let titles: Vec<String> = constant.iter().map(|&at| title_of(columns, at)).collect();
    let note = format!(
        "the same value in every row of the training part: {}",
        list(&titles)
    );
    splits.map(|part| {
        let mut about = part.about().clone();
        about.notes.push(note.clone());
        Ok(part.clone().with_about(about))
    })
}

/// What the number at a place of a sample is called.
fn title_of(columns: &[Column], mut at: usize) -> String {
    let number = format!("column {}", at + 1);
    for (index, column) in columns.iter().enumerate() {
        if at < column.width() {
            let title = column.title(index);
            return match &column.kind {
                ColumnKind::OneHot(names) => format!("column {title} is {:?}", names[at]),
                _ if column.name.is_some() => format!("column {title}"),
                _ => format!("column {}", index + 1),
            };
        }
        at -= column.width();
    }
    number
}

/// Gives samples the shape that was asked for, and splits them.
fn hold_out(dataset: &Dataset, options: &OpenOptions) -> Result<Splits> {
    let dataset = match &options.input_shape {
        Some(shape) => dataset.reshaped(shape)?,
        None => dataset.clone(),
    };
    match options.fold {
        Some((folds, part)) => fold(&dataset, folds, part, options.seed),
        None => split(&dataset, options.test_fraction, options.seed),
    }
}

/// Gives all parts the shape that was asked for.
fn shaped(splits: &Splits, options: &OpenOptions) -> Result<Splits> {
    let splits = match &options.input_shape {
        Some(shape) => splits.reshaped(shape)?,
        None => splits.clone(),
    };
    folded(splits, options)
}

/// In a cross-validation, a fold of the training part takes the place of the test part, which stays unseen.
fn folded(splits: Splits, options: &OpenOptions) -> Result<Splits> {
    match options.fold {
        Some((folds, part)) => Ok(Splits {
            valid: splits.valid,
            ..fold(&splits.train, folds, part, options.seed)?
        }),
        None => Ok(splits),
    }
}

/// Fashion-MNIST from the first folder that has it.
fn fashion_mnist(options: &OpenOptions) -> Result<Splits> {
    let folder = fashion_folder(options)?;
    shaped(&idx::read_folder(&folder, Some(&FASHION_CLASSES))?, options)
}

/// The folder that has the files of Fashion-MNIST.
pub(crate) fn fashion_folder(options: &OpenOptions) -> Result<PathBuf> {
    let folders = folders(FASHION_MNIST, options.data_dir.as_deref());
    let looked_in: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    let mut found = folders.into_iter();
    found
        .find(|folder| idx::is_folder(folder))
        .ok_or_else(|| Error::NotInstalled {
            name: FASHION_MNIST,
            looked_in: looked_in.join(", "),
            install: FASHION_INSTALL,
        })
}

/// The folders in which the files of a data set may lie, in the order in which they are tried.
fn folders(name: &str, data_dir: Option<&Path>) -> Vec<PathBuf> {
    let given = data_dir.map(|dir| [dir.join(name), dir.to_owned()]);
    let [installed, cached] =
        ["/usr/share/datasets", ".cache"].map(|dir| Path::new(dir).join(name));
    // A package that was unpacked and not installed has the system's folders in its own.
    let unpacked = cached.join("usr/share/datasets").join(name);
    let usual = [installed, cached, unpacked];
    given.into_iter().flatten().chain(usual).collect()
}

/// The error for a name that means nothing.
pub(crate) fn unknown(name: &str) -> Error {
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
mod tests;
