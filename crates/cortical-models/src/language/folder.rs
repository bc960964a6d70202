//! Language models in Hugging Face folders: config.json and safetensors files, or PyTorch's.

use super::class_head::is_head;
use super::config::LanguageConfig;
use super::head::Head;
use super::hints;
use super::source::{Weights, quantize_rows, unreadable};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_io::{ModelFiles, printable};
use cortical_kernels::constant::ConstantMatrix;
use cortical_kernels::quantized::QuantizedMatrix;
use cortical_neuron::Source;
use std::collections::{BTreeMap, BTreeSet};
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

/// Where tensors are that have more than one name: under which one the files have them.
pub(crate) type Aliases = BTreeMap<String, String>;

/// Compares what the configuration says with what the files have, before anything is built.
pub(crate) fn check(
    path: &Path,
    config: &LanguageConfig,
    (prefix, head): (&str, Head),
    files: &ModelFiles,
    aliases: &Aliases,
) -> Result<()> {
    let there: BTreeMap<&str, _> = files.tensors().map(|t| (t.name(), t)).collect();
    let mut used = BTreeSet::new();
    let mut differences = Vec::new();
    let (mut missing, mut unexpected) = (Vec::new(), Vec::new());
    for want in config.tensors_as(prefix, head) {
        let found = stored_name(&want.name, aliases, &|name| there.contains_key(name));
        let found = found.and_then(|name| there.get_key_value(name.as_str()));
        used.extend(found.map(|(name, _)| *name));
        match found.map(|(_, tensor)| *tensor) {
            None => {
                differences.push(format!("{} {:?} is missing", want.name, want.shape));
                missing.push((want.name, want.shape));
            }
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
    // Of elements with two names one is enough.
    let is_used = |name: &str| {
        let kept = aliases
            .get(name)
            .is_some_and(|kept| used.contains(kept.as_str()));
        kept || used.contains(name)
    };
    let unknown = there
        .values()
        .filter(|tensor| !is_used(tensor.name()) && !is_spare(config, head, tensor.name()));
    for tensor in unknown {
        let name = printable(tensor.name(), 120);
        differences.push(format!("{name} {:?} is not in the model", tensor.shape()));
        unexpected.push((tensor.name().to_owned(), tensor.shape().to_vec()));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        origin: path.display().to_string(),
        differences,
        hint: hints::rename(&missing, &unexpected),
    })
}

/// The name under which files have a tensor, if they do.
pub(crate) fn stored_name(
    name: &str,
    aliases: &Aliases,
    has: &dyn Fn(&str) -> bool,
) -> Option<String> {
    if has(name) {
        return Some(name.to_owned());
    }
    let older = older_name(name).filter(|older| has(older));
    older.or_else(|| aliases.get(name).filter(|kept| has(kept)).cloned())
}

/// Parameters from the files of a folder.
#[derive(Debug)]
pub(crate) struct FolderSource {
    pub(crate) files: ModelFiles,
    pub(crate) aliases: Aliases,
    pub(crate) weights: Weights,
    /// Whether a head over classes is none of the files' business.
    pub(crate) new_head: bool,
}

impl FolderSource {
    /// The name under which the files have a parameter that is to come from them.
    fn stored(&self, name: &str) -> Option<String> {
        if self.new_head && is_head(name) {
            return None;
        }
        let has = |name: &str| self.files.tensors().any(|tensor| tensor.name() == name);
        stored_name(name, &self.aliases, &has)
    }

    fn load(&self, name: &str) -> cortical_neuron::Result<Option<Tensor>> {
        let Some(found) = self.stored(name) else {
            return Ok(None);
        };
        let tensor = self.files.load(&found, &Device::Cpu);
        tensor.map(Some).map_err(unreadable(name))
    }
}

impl Source for FolderSource {
    fn tensor(&self, name: &str, _shape: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        self.load(name)
    }

    fn constant(
        &self,
        name: &str,
        shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<dyn ConstantMatrix>>> {
        if matches!(self.weights, Weights::Stored | Weights::Quantized(_))
            && let Some(found) = self.stored(name)
            && let Some(matrix) = self.files.sparse(&found).map_err(unreadable(name))?
        {
            return Ok(Some(Arc::new(matrix)));
        }
        let quantized = self.quantized(name, shape)?;
        Ok(quantized.map(|matrix| matrix as Arc<dyn ConstantMatrix>))
    }

    fn quantized(
        &self,
        name: &str,
        shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<QuantizedMatrix>>> {
        let (Weights::Quantized(format), &[rows, cols]) = (self.weights, shape) else {
            return Ok(None);
        };
        let Some(found) = self.stored(name) else {
            return Ok(None);
        };
        let read = |first: usize, count: usize| {
            let mut numbers = vec![0.0; count * cols];
            let read = self.files.read_numbers(&found, first * cols, &mut numbers);
            read.map_err(unreadable(name))?;
            Ok(numbers.into_iter().map(|number| number as f32).collect())
        };
        quantize_rows(name, [rows, cols], format, read).map(Some)
    }
}
