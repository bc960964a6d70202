//! Published models in our layers, against what the programs compute that they were published for.
//!
//! `models/` holds what those computed (`make_models.py` beside it made the files), silero-vad's weights (1.2 MB, MIT)
//! and one head of all-MiniLM-L6-v2: enough to test both always. The whole of all-MiniLM-L6-v2 (91 MB) is fetched:
//! `cargo xtask fetch minilm-l6-v2`, then `cargo xtask cases --models`.

mod minilm;
mod silero;

use candle_core::{Device, Tensor};
use cortical_io::TensorFile;
use std::path::{Path, PathBuf};

/// The largest difference that a result may have.
pub const TOLERANCE: f64 = 1e-4;

/// Why a model was not checked, or did not agree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read, or lacks a tensor.
    #[error(transparent)]
    File(#[from] cortical_io::Error),
    /// A layer refused.
    #[error(transparent)]
    Layer(#[from] cortical_neuron::Error),
    /// A result is not the published program's.
    #[error("{what} differs by {difference:.2e}, more than {:.0e}", TOLERANCE)]
    Differs {
        /// Which result.
        what: String,
        /// By how much.
        difference: f64,
    },
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        Self::Layer(error.into())
    }
}

/// A result that agreed, with its largest difference.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Which result.
    pub what: String,
    /// The largest difference.
    pub difference: f64,
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "passed   {}: largest difference {:.2e}",
            self.what, self.difference
        )
    }
}

/// The folder of the committed models.
#[must_use]
pub fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Which weights of silero-vad: the package holds two states of the training, whose networks answer differently.
#[derive(Clone, Copy, Debug)]
pub enum SileroWeights {
    /// Those of the ONNX model.
    Onnx,
    /// Those of the package's safetensors file.
    Safetensors,
}

/// silero-vad over a tone and noise, chunk after chunk with its state, against its ONNX model in onnxruntime, or with
/// the weights of the package's safetensors file against the same network in PyTorch.
///
/// # Errors
/// [`ModelError`] when the weights cannot be read or a result differs.
pub fn silero(weights: &Path, which: SileroWeights) -> Result<Vec<Agreement>, ModelError> {
    silero::check(&committed().join("silero.safetensors"), weights, which)
}

/// One attention head of all-MiniLM-L6-v2, against `BertModel` in PyTorch.
///
/// # Errors
/// [`ModelError`] when the file cannot be read or the result differs.
pub fn minilm_head() -> Result<Vec<Agreement>, ModelError> {
    minilm::check_head(&committed().join("minilm-head.safetensors"))
}

/// Sentence embeddings of the whole of all-MiniLM-L6-v2, against `BertModel` in PyTorch.
///
/// # Errors
/// [`ModelError`] when the weights cannot be read or a result differs.
pub fn minilm(weights: &Path) -> Result<Vec<Agreement>, ModelError> {
    minilm::check(&committed().join("minilm.safetensors"), weights)
}

/// A tensor of a file on the CPU.
fn load(file: &TensorFile, name: &str) -> Result<Tensor, ModelError> {
    Ok(file.load(name, &Device::Cpu)?)
}

/// Compares a result with the published program's.
fn agree(what: impl Into<String>, got: &Tensor, want: &Tensor) -> Result<Agreement, ModelError> {
    let (what, apart) = (
        what.into(),
        (got - want)?.abs()?.flatten_all()?.to_vec1::<f32>()?,
    );
    // A NaN is no agreement, so it must not be lost in a maximum.
    let difference = apart.into_iter().fold(0.0_f64, |worst, d| {
        let d = f64::from(d);
        if d.is_nan() || d > worst { d } else { worst }
    });
    if difference <= TOLERANCE {
        return Ok(Agreement { what, difference });
    }
    Err(ModelError::Differs { what, difference })
}
