//! The arguments of the verbs that look into a model while it computes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical neurons runs/digits-001\n  cortical neurons runs/fashion-mnist-001 --layer conv1 --out neurons.html\n  cortical neurons runs/flowers --data more-flowers.csv --json\n  cortical neurons models/smollm2 --prompt \"Call me Ishmael.\" --data moby-dick --out heads.html"
)]
pub(crate) struct NeuronsArgs {
    /// The folder of a finished run, a model file that `train` wrote, or a language model: a folder as Hugging Face has
    /// it or a GGUF file
    #[arg(value_name = "RUN|MODEL")]
    pub(crate) run: PathBuf,
    /// Look at the neurons over this: the test part of a data set or of an IDX folder, or all rows of a CSV file; for a
    /// language model, a text; what the run held out when absent
    #[arg(long, value_name = "NAME")]
    pub(crate) data: Option<String>,
    /// Name or number of the label column of a CSV file; the last one when absent
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub(crate) label: Option<String>,
    /// For a language model, the text over which attention is shown; the first tokens of the data when absent
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Only layers of this name, where `*` stands for any characters; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Vec<String>,
    /// Look at so many inputs, evenly spread; all of them when absent, or 2,048 tokens of a text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) inputs: Option<u64>,
    /// Measure what is lost without each neuron on so many inputs, 0 for not at all; as many as a minute or so allows
    /// when absent
    #[arg(long, value_name = "N")]
    pub(crate) silence: Option<usize>,
    /// Show so many neurons of each layer in the terminal
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) units: usize,
    /// Write a page with pictures: filters, the inputs that excite each neuron, heads of attention
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace that file even if it holds something else
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Go on although the run's data are not those that it has learned from
    #[arg(long, conflicts_with = "data")]
    pub(crate) changed_data: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical verify runs/fashion-mnist-001 --against lenet.safetensors\n  cortical verify models/smollm2 --against smollm2-pytorch.safetensors --json\n\nThe reference is what docs/dump.py writes of a PyTorch model: the outputs of its modules and the gradients of its parameters, under their names, for an input that is in the file.\nExit code 0: everything agrees; 1: something departs."
)]
pub(crate) struct VerifyArgs {
    /// The folder of a finished run, a model file that `train` wrote, or a language model: a folder as Hugging Face has
    /// it or a GGUF file
    #[arg(value_name = "RUN|MODEL")]
    pub(crate) model: PathBuf,
    /// What PyTorch has computed, as docs/dump.py writes it
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) against: PathBuf,
    /// How far a layer's output may be from the reference: the norm of the difference by the norm of the reference.
    /// Gradients may be ten times as far. For references in bf16 about 0.02
    #[arg(long, value_name = "X", default_value_t = cortical_explain::TOLERANCE, value_parser = tolerance)]
    pub(crate) tolerance: f64,
    /// Show every layer and gradient, not only those that depart
    #[arg(long)]
    pub(crate) all: bool,
}

/// A positive number.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if x > 0.0 && f64::is_finite(x) => Ok(x),
        _ => Err("expected a number above 0".to_owned()),
    }
}
