//! `report.json`: what a finished run achieved.

use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;

/// What a finished run achieved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Steps that were taken.
    pub steps: u64,
    /// Epochs that were completed.
    pub epochs: u64,
    /// Seconds spent on steps: data, forward, backward and update, without evaluations and checkpoints.
    pub train_seconds: f64,
    /// Parameters of the network.
    pub parameters: usize,
    /// The trained network on the test samples.
    pub test: Evaluation,
}
