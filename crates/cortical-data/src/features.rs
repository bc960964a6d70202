//! Samples that a trained model is asked about.

use std::path::PathBuf;

use crate::about::About;
use crate::inputs::Inputs;

/// Samples to predict from, with their labels when the file has them.
#[derive(Clone, Debug)]
pub struct Features {
    /// The samples.
    pub inputs: Inputs,
    /// The class of each sample, when the file has a label column and the options name the classes; `None` for a label
    /// that is none of them, which only [`CsvOptions::may_lack_labels`](crate::csv::CsvOptions::may_lack_labels)
    /// allows.
    pub labels: Option<Vec<Option<u32>>>,
    /// The numbers to predict, row by row in the order of the model's targets, when the file has their columns; NaN for
    /// one that is missing, which only [`CsvOptions::may_lack_labels`](crate::csv::CsvOptions::may_lack_labels) allows.
    pub targets: Option<Vec<f64>>,
    /// The file of each sample, where each is one of its own.
    pub files: Vec<PathBuf>,
    /// Whether the file is a table of text, whose cells [`csv::read_cells`](crate::csv::read_cells) gives.
    pub is_table: bool,
    /// How the file was understood.
    pub about: About,
}
