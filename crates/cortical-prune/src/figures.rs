//! What a model achieves and what it costs.

use serde_json::{Value, json};

/// What a model achieves and what it costs.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// The share of the test samples that it classifies rightly, where classes are learned.
    pub accuracy: Option<f64>,
    /// e to the mean loss on the test tokens, where tokens are predicted.
    pub perplexity: Option<f64>,
    /// The mean loss on the test part.
    pub loss: Option<f64>,
    /// Parameters.
    pub parameters: usize,
    /// Those of them that are 0 for good.
    pub pruned: usize,
    /// Multiplications with an addition for one sample, all weights counted, where they are known.
    pub multiply_adds: Option<u64>,
    /// Bytes of the model file.
    pub file_bytes: u64,
    /// Median milliseconds of a forward pass for so many samples at a time.
    pub milliseconds: Vec<(usize, f64)>,
}

impl Figures {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let times = self.milliseconds.iter();
        let times = times.map(|(batch, ms)| json!({ "batch": batch, "ms": ms }));
        json!({
            "accuracy": self.accuracy,
            "perplexity": self.perplexity,
            "loss": self.loss,
            "parameters": self.parameters,
            "pruned": self.pruned,
            "multiply_adds": self.multiply_adds,
            "file_bytes": self.file_bytes,
            "milliseconds": times.collect::<Vec<_>>(),
        })
    }
}
