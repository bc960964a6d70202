//! Language models in Hugging Face folders: config.json and safetensors files.

use super::class_head::is_head;
use super::config::LanguageConfig;
use super::head::Head;
use super::source::{Weights, quantize, unreadable};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_io::ModelFiles;
use cortical_kernels::quantized::QuantizedMatrix;
use cortical_neuron::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Older files call the scale and shift of BERT's norms gamma and beta.
fn older_name(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".weight").map(|stem| (stem, "gamma"));
    let (stem, older) = stem.or_else(|| name.strip_suffix(".bias").map(|stem| (stem, "beta")))?;
    stem.ends_with("LayerNorm")
        .then(|| format!("{stem}.{older}"))
}

/// Tensors that files have and models do not need: what the architecture says, and heads of a model that is to have
/// another or none.
fn is_spare(config: &LanguageConfig, head: Head, name: &str) -> bool {
    let inner = config.inner();
    let first = name.split('.').next().unwrap_or_default();
    let headless = head == Head::None && inner.head() != Head::None;
    let is_head = first == "lm_head" || first == inner.names().classifier.0;
    (headless && is_head) || inner.is_spare(name)
}

/// Compares what the configuration says with what the files have, before anything is built.
pub(crate) fn check(
    path: &Path,
    config: &LanguageConfig,
    prefix: &str,
    head: Head,
    files: &ModelFiles,
) -> Result<()> {
    let mut there: BTreeMap<&str, _> = files.tensors().map(|t| (t.name(), t)).collect();
    let mut differences = Vec::new();
    for want in config.tensors_as(prefix, head) {
        let older = older_name(&want.name);
        let found = there.remove(want.name.as_str());
        let found = found.or_else(|| older.and_then(|older| there.remove(older.as_str())));
        match found {
            None => differences.push(format!("{} {:?} is missing", want.name, want.shape)),
            Some(tensor) if tensor.shape() != want.shape => differences.push(format!(
                "{} has shape {:?}, the configuration says {:?}",
                want.name,
                tensor.shape(),
                want.shape
            )),
            Some(tensor) => {
                let float = matches!(
                    tensor.element().dtype(),
                    Some(DType::F32 | DType::F16 | DType::BF16 | DType::F64)
                );
                if !float {
                    differences.push(format!("{} has elements {}", want.name, tensor.element()));
                }
            }
        }
    }
    let unknown = there
        .values()
        .filter(|tensor| !is_spare(config, head, tensor.name()));
    differences
        .extend(unknown.map(|t| format!("{} {:?} is not in the model", t.name(), t.shape())));
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        origin: path.display().to_string(),
        differences,
    })
}

/// Parameters from safetensors files.
#[derive(Debug)]
pub(crate) struct FolderSource {
    pub(crate) files: ModelFiles,
    pub(crate) weights: Weights,
    /// Whether a head over classes is none of the files' business.
    pub(crate) new_head: bool,
}

impl FolderSource {
    fn load(&self, name: &str) -> cortical_neuron::Result<Option<Tensor>> {
        if self.new_head && is_head(name) {
            return Ok(None);
        }
        let has = |name: &str| self.files.tensors().any(|tensor| tensor.name() == name);
        let older = older_name(name);
        let found = match older {
            _ if has(name) => name,
            Some(ref older) if has(older) => older.as_str(),
            _ => return Ok(None),
        };
        let tensor = self.files.load(found, &Device::Cpu);
        tensor.map(Some).map_err(unreadable(name))
    }
}

impl Source for FolderSource {
    fn tensor(&self, name: &str, _shape: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        self.load(name)
    }

    fn quantized(
        &self,
        name: &str,
        _shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<QuantizedMatrix>>> {
        let Weights::Quantized(format) = self.weights else {
            return Ok(None);
        };
        self.load(name)?
            .map(|tensor| quantize(name, &tensor, format))
            .transpose()
    }
}
