//! Samples that a trained model is asked about.

use std::path::PathBuf;

use crate::about::About;
use crate::inputs::Inputs;

/// Samples to predict from, with their labels when the file has them.
#[derive(Clone, Debug)]
pub struct Features {
    /// The samples.
    pub inputs: Inputs,
    /// The class of each sample, when the file has a label column and the options name the classes.
    pub labels: Option<Vec<u32>>,
    /// The file of each sample, where each is one of its own.
    pub files: Vec<PathBuf>,
    /// How the file was understood.
    pub about: About,
}
