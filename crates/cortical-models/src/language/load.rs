//! Language models out of Hugging Face folders and GGUF files.

use super::adapter::{CONFIG as ADAPTER_CONFIG, base_of_adapter, load_changes};
use super::classifier::is_head;
use super::gguf::{self, GgufSource};
use super::{Head, LanguageConfig, LanguageModel, read_adapter_config};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_io::{GgufFile, ModelFiles, read_text};
use cortical_kernels::packed::{Format, PackedMatrix};
use cortical_neuron::{Adapters, Params, Source};
use cortical_tensor::Seed;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most bytes of a `config.json` that are read.
pub(super) const CONFIG_BYTES: u64 = 4 << 20;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// How weights lie in memory; as [`Weights::Stored`] by default.
    pub weights: Weights,
    /// Low-rank changes of projections; none by default. Packed weights take none.
    pub adapters: Option<Adapters>,
    /// What new parameters are drawn from.
    pub seed: u64,
    /// Leave the head over tokens out, and any other head that the files have: for a model that gets a head of its own.
    pub headless: bool,
    /// Draw a head over classes anew where the files have one: for other classes than theirs.
    pub new_head: bool,
}

/// How a model's weights lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Packed where the file has them packed (GGUF), else in single precision.
    #[default]
    Stored,
    /// In single precision, as training has them.
    Single,
    /// As `bf16` parameters, which can be trained too: half the memory, three digits.
    Half,
    /// Packed like this.
    Packed(Format),
}

/// A model with its parameters.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: LanguageModel,
    /// Its parameters, without those that lie packed.
    pub params: Params,
    /// Where it came from.
    pub path: PathBuf,
    /// The GGUF file it came from, which has a tokenizer too.
    pub gguf: Option<Arc<GgufFile>>,
    /// Bytes of all its tensors as they lie in the file.
    pub stored_bytes: u64,
}

/// Opens a folder with `config.json` and safetensors files, one or several, a GGUF file, or a folder with low-rank changes as PEFT saves
/// them: then the model is the one that they belong to, and the changes stand beside its weights, which are in single precision.
///
/// # Errors
/// What [`LanguageConfig::from_json`] refuses; [`Error::Tensors`] with every tensor that is missing, of another shape or of no use to the
/// model; those of the files themselves.
pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded> {
    let path = path.as_ref();
    if GgufFile::is_gguf(path) {
        return open_gguf(path, options);
    }
    if path.join(ADAPTER_CONFIG).is_file() {
        return open_adapted(path, options);
    }
    let config_path = path.join("config.json");
    if !config_path.is_file() {
        return Err(Error::NotAModel { path: path.into() });
    }
    let mut config = LanguageConfig::from_json(&read_text(&config_path, CONFIG_BYTES)?)?;
    let files = ModelFiles::open(path)?;
    let (prefix, mut head) = adjust(&mut config, &files);
    if options.headless {
        head = Head::None;
    }
    check(path, &config, prefix, head, &files)?;
    let stored_bytes = files.tensors().map(|tensor| tensor.bytes()).sum();
    let source = Arc::new(FolderSource {
        files,
        weights: options.weights,
        new_head: options.new_head,
    });
    let params = store(source, options);
    let model = LanguageModel::build_as(&config, prefix, head, &params)?;
    Ok(Loaded {
        model,
        params,
        path: path.into(),
        gguf: None,
        stored_bytes,
    })
}

/// The model of low-rank changes, with them.
fn open_adapted(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    let base = base_of_adapter(path)?;
    let found = [PathBuf::from(&base), path.join(&base)];
    let found = found.into_iter().find(|base| base.exists());
    // A model that stands in the folder itself would be opened as its own changes again and again.
    let found = found.filter(|base| !base.join(ADAPTER_CONFIG).is_file());
    let found = found.ok_or(Error::NoBase {
        path: path.into(),
        base,
    })?;
    let options = LoadOptions {
        weights: match options.weights {
            Weights::Stored => Weights::Single,
            other => other,
        },
        adapters: Some(read_adapter_config(path)?),
        ..options.clone()
    };
    let loaded = open(found, &options)?;
    load_changes(path, &loaded.params, options.headless)?;
    Ok(Loaded {
        path: path.into(),
        ..loaded
    })
}

fn open_gguf(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    let file = Arc::new(GgufFile::open(path)?);
    let (config, mut head) = gguf::config(&file)?;
    if options.headless {
        head = Head::None;
    }
    gguf::check(&file, &config, head)?;
    let stored_bytes = file.tensors().iter().map(|tensor| tensor.bytes()).sum();
    let source = Arc::new(GgufSource::new(file.clone(), &config, options.weights));
    let params = store(source, options);
    let model = LanguageModel::build_as(&config, config.prefix(), head, &params)?;
    Ok(Loaded {
        model,
        params,
        path: path.into(),
        gguf: Some(file),
        stored_bytes,
    })
}

fn store(source: Arc<dyn Source>, options: &LoadOptions) -> Params {
    let dtype = match options.weights {
        Weights::Half => DType::BF16,
        _ => DType::F32,
    };
    let params = Params::with_source(&Device::Cpu, Seed(options.seed), dtype, source);
    params.adapt(options.adapters.clone());
    params
}

/// What the files say about names that a configuration leaves open: a prefix before them, a head of its own, a pooler.
fn adjust(config: &mut LanguageConfig, files: &ModelFiles) -> (&'static str, Head) {
    let has = |name: &str| files.tensors().any(|tensor| tensor.name() == name);
    match config {
        LanguageConfig::Decoder(c) => {
            let prefix = if has("embed_tokens.weight") {
                ""
            } else {
                "model."
            };
            // A head in the files is used even where the configuration would share the table, as transformers does.
            let head = match (has("lm_head.weight"), c.tied) {
                (true, _) => Head::Own,
                (false, true) => Head::Tied,
                (false, false) if prefix.is_empty() => Head::None,
                (false, false) => Head::Own,
            };
            (prefix, head)
        }
        LanguageConfig::Gpt2(c) => {
            let prefix = if has("wte.weight") {
                ""
            } else {
                "transformer."
            };
            let own = has("lm_head.weight") || !c.tied;
            (prefix, if own { Head::Own } else { Head::Tied })
        }
        LanguageConfig::Bert(c) => {
            let inner = has("bert.embeddings.word_embeddings.weight");
            let prefix = if inner { "bert." } else { "" };
            c.pooler = has(&format!("{prefix}pooler.dense.weight"));
            (prefix, Head::None)
        }
    }
}

/// Older files call the scale and shift of BERT's norms gamma and beta.
fn older_name(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".weight").map(|stem| (stem, "gamma"));
    let (stem, older) = stem.or_else(|| name.strip_suffix(".bias").map(|stem| (stem, "beta")))?;
    stem.ends_with("LayerNorm")
        .then(|| format!("{stem}.{older}"))
}

/// Tensors that files have and models do not need: masks and frequencies that are computed, and heads for other tasks beside BERT.
fn is_spare(config: &LanguageConfig, head: Head, name: &str) -> bool {
    let is_head = || {
        ["lm_head.", "score."]
            .iter()
            .any(|head| name.starts_with(head))
    };
    match config {
        LanguageConfig::Decoder(_) | LanguageConfig::Gpt2(_) if head == Head::None && is_head() => {
            true
        }
        LanguageConfig::Decoder(_) => name.ends_with("rotary_emb.inv_freq"),
        LanguageConfig::Gpt2(_) => {
            name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
        }
        LanguageConfig::Bert(_) => {
            name.ends_with("embeddings.position_ids")
                || ["cls.", "classifier.", "qa_outputs."]
                    .iter()
                    .any(|head| name.starts_with(head))
        }
    }
}

/// Compares what the configuration says with what the files have, before anything is built.
fn check(
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

/// `map_err` for a tensor that a source cannot give.
pub(super) fn unreadable<E>(name: &str) -> impl FnOnce(E) -> cortical_neuron::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| cortical_neuron::Error::Source {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// Weights in single precision, packed.
pub(super) fn pack(
    name: &str,
    tensor: &Tensor,
    format: Format,
) -> cortical_neuron::Result<Arc<PackedMatrix>> {
    let (rows, cols) = tensor.dims2()?;
    let weights = tensor
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let packed = PackedMatrix::pack(format, rows, cols, &weights);
    Ok(Arc::new(packed.map_err(unreadable(name))?))
}

/// Parameters from safetensors files.
#[derive(Debug)]
struct FolderSource {
    files: ModelFiles,
    weights: Weights,
    /// Whether a head over classes is none of the files' business.
    new_head: bool,
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

    fn packed(
        &self,
        name: &str,
        _shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<PackedMatrix>>> {
        let Weights::Packed(format) = self.weights else {
            return Ok(None);
        };
        self.load(name)?
            .map(|tensor| pack(name, &tensor, format))
            .transpose()
    }
}
