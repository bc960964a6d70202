//! Language models out of Hugging Face folders and GGUF files.

use super::adapter::{
    CONFIG as ADAPTER_CONFIG, base_of_adapter, load_changes, read_adapter_config,
};
use super::class_head::CONFIG_BYTES;
use super::config::LanguageConfig;
use super::folder::{self, FolderSource};
use super::gguf::{self, GgufSource};
use super::head::Head;
use super::model::LanguageModel;
use super::source::{LoadOptions, Weights};
use crate::error::{Error, Result};
use candle_core::{DType, Device};
use cortical_io::{GgufFile, ModelFiles, read_text};
use cortical_neuron::{Params, Source};
use cortical_tensor::Seed;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model with its parameters.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: LanguageModel,
    /// Its parameters, without those that are quantized.
    pub params: Params,
    /// Where it came from.
    pub path: PathBuf,
    /// The GGUF file it came from, which has a tokenizer too.
    pub gguf: Option<Arc<GgufFile>>,
    /// Bytes of all its tensors as they lie in the file.
    pub stored_bytes: u64,
}

/// Opens a folder with `config.json` and safetensors files, one or several, a GGUF file, or a folder with low-rank
/// changes as PEFT saves them: then the model is the one that they belong to, and the changes stand beside its weights,
/// which are in single precision.
///
/// # Errors
/// What [`LanguageConfig::from_json`] refuses; [`Error::Tensors`] with every tensor that is missing, of another shape
/// or of no use to the model; those of the files themselves.
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
    let has = |name: &str| files.tensors().any(|tensor| tensor.name() == name);
    let (prefix, mut head) = config.settle(&has);
    if options.headless {
        head = Head::None;
    }
    folder::check(path, &config, prefix, head, &files)?;
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
    let (config, mut head) = LanguageConfig::from_gguf(&file)?;
    if options.headless {
        head = Head::None;
    }
    let tensors = gguf::stored(&config, head);
    gguf::check(&file, &tensors, head)?;
    let stored_bytes = file.tensors().iter().map(|tensor| tensor.bytes()).sum();
    let source = Arc::new(GgufSource::new(file.clone(), tensors, options.weights));
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
        Weights::Bf16 => DType::BF16,
        _ => DType::F32,
    };
    let params = Params::with_source(&Device::Cpu, Seed(options.seed), dtype, source);
    params.adapt(options.adapters.clone());
    params
}
