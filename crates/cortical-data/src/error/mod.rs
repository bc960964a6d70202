//! Everything that can be wrong with data: an [`Error`] says of which file or argument it speaks, a defect of a kind of
//! its own what is wrong with it.

mod augment;
mod csv;
mod idx;
mod loading;
mod picture;
mod preprocess;
mod sample;
mod split;

use std::io;
use std::path::{Path, PathBuf};

pub use augment::AugmentDefect;
pub use csv::{CsvDefect, Place};
pub use idx::IdxDefect;
pub use loading::LoadDefect;
pub use picture::PictureDefect;
pub use preprocess::PreprocessDefect;
pub use sample::SampleDefect;
pub use split::SplitDefect;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a data set, a file or an argument; the message says where, what was expected and what was found.
///
/// Lines and columns count from 1, byte offsets from 0 and after decompression.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system, or the decompressor, could not deliver the file's bytes.
    #[error("{path}: cannot be read at byte {offset}: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// How many (decompressed) bytes had been read.
        offset: u64,
        /// What the operating system or the decompressor says.
        why: io::Error,
    },
    /// What should be a file is a folder, a pipe or a device.
    #[error("{path}: expected a file, found a folder, a pipe or a device")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file holds more than the caller allows.
    #[error(
        "{path}: expected at most {limit_bytes} bytes after decompression, found more; raise the size limit if the file is meant to be this large"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes allowed.
        limit_bytes: u64,
    },
    /// A safetensors table lacks a tensor, or has one that does not fit.
    #[error("{path}: expected {expected}, found {found}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A file of tensors that cannot be read.
    #[error(transparent)]
    Tensors(#[from] cortical_io::Error),
    /// A folder holds nothing to learn from.
    #[error(
        "{path}: found neither folders of PNG or JPEG pictures, one for each class, nor the four IDX files that begin with train-images-idx3-ubyte"
    )]
    NothingToLearn {
        /// The folder.
        path: PathBuf,
    },
    /// No data set, file or folder goes by this name.
    #[error(
        "there is no data set, file or folder called {name:?}{hint}; data sets: {known}; a path names a CSV file, a safetensors table, or a folder of pictures or with four IDX files",
        hint = nearest.map_or(String::new(), |near| format!(" (did you mean {near:?}?)"))
    )]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<&'static str>,
        /// The names that are known, separated by commas.
        known: String,
    },
    /// A known data set is not on this machine.
    #[error(
        "the files of {name} are not on this machine; looked in {looked_in}; install them with `{install}` or name their folder"
    )]
    NotInstalled {
        /// The data set.
        name: &'static str,
        /// The folders looked in, separated by commas.
        looked_in: String,
        /// The command that installs it.
        install: &'static str,
    },
    /// A folder lacks one of the four IDX files.
    #[error("{folder}: expected a file {expected} or {expected}.gz, found neither")]
    MissingIdxFile {
        /// The folder.
        folder: PathBuf,
        /// The name of the missing file.
        expected: &'static str,
    },
    /// Two files that belong together disagree about the number of samples.
    #[error(
        "{images} has {expected} images, but {labels} has {found} labels; they do not belong together"
    )]
    IdxCounts {
        /// The file of images.
        images: PathBuf,
        /// The file of labels.
        labels: PathBuf,
        /// How many images.
        expected: usize,
        /// How many labels.
        found: usize,
    },
    /// A table of text, or a file with a text in each line.
    #[error("{path}{place}: {defect}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        defect: Box<CsvDefect>,
    },
    /// An IDX file.
    #[error("{path}, byte {offset}: {defect}")]
    Idx {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        defect: IdxDefect,
    },
    /// A picture, or a folder of pictures.
    #[error("{path}: {defect}")]
    Picture {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        defect: PictureDefect,
    },
    /// Samples cannot be divided into parts.
    #[error(transparent)]
    Split(#[from] SplitDefect),
    /// Values, shapes, labels or rows that do not fit together.
    #[error(transparent)]
    Sample(#[from] SampleDefect),
    /// Values cannot be preprocessed as asked.
    #[error(transparent)]
    Preprocess(#[from] PreprocessDefect),
    /// Samples cannot be changed at random as asked.
    #[error(transparent)]
    Augment(#[from] AugmentDefect),
    /// Batches cannot be made as asked.
    #[error(transparent)]
    Load(#[from] LoadDefect),
    /// candle could not make the tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Data have the classes `found` where those of `expected` are known, as a model's.
    #[must_use]
    pub fn other_classes(expected: &[String], found: &[String]) -> Self {
        Self::Sample(SampleDefect::OtherClasses {
            expected: list(expected),
            found: list(found),
        })
    }

    pub(crate) fn read(path: &Path, offset: u64, why: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            offset,
            why,
        }
    }
}

/// A cell's text as a message shows it: not longer than a line can bear.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Names as a message lists them: the first twenty, in quotes where they could be taken for two, then how many more.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| shorten(name.as_ref()))
        .map(|name| match name.contains(',') {
            true => format!("{name:?}"),
            false => name,
        })
        .collect();
    let more = names.len().saturating_sub(MOST);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}
