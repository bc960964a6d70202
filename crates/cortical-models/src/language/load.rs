//! Language models out of Hugging Face folders and GGUF files.

use super::adapter::{AdapterFiles, adapter_base};
use super::class_head::CONFIG_BYTES;
use super::config::LanguageConfig;
use super::folder::{self, FolderSource};
use super::gguf::{self, GgufSource};
use super::head::Head;
use super::model::LanguageModel;
use super::parts::{Part, TensorSpec};
use super::source::{LoadOptions, Weights};
use crate::error::{Error, Result};
use candle_core::{DType, Device};
use cortical_io::{AnyModel, GgufFile, ModelFiles, read_text};
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

/// Opens a folder with `config.json` and safetensors files or PyTorch's, one or several, a GGUF file, or a folder with
/// low-rank changes as PEFT saves them: then the model is the one that they belong to, and the changes stand beside its
/// weights, which are in single precision.
///
/// # Errors
/// What [`LanguageConfig::from_json`] refuses; [`Error::Tensors`] with every tensor that is missing, of another shape
/// or of no use to the model; those of the files themselves.
pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded> {
    let path = path.as_ref();
    if GgufFile::is_gguf(path) {
        return open_gguf(path, options, None);
    }
    if let Some(base) = adapter_base(path)? {
        return open_adapted(path, &base, options);
    }
    open_folder(path, options, None)
}

fn open_folder(
    path: &Path,
    options: &LoadOptions,
    changes: Option<&AdapterFiles>,
) -> Result<Loaded> {
    let config_path = path.join("config.json");
    if !config_path.exists() {
        return Err(Error::NotAModel { path: path.into() });
    }
    let config = LanguageConfig::from_json(&read_text(&config_path, CONFIG_BYTES)?);
    let config = config.map_err(Error::in_file(&config_path));
    let mut config = config.map_err(|error| match AnyModel::open(path) {
        Ok(model) => error.with_names_of(&model),
        Err(_) => error,
    })?;
    let files = ModelFiles::open(path)?;
    let mut aliases = files.aliases();
    let is_stored = |name: &str| files.tensors().any(|tensor| tensor.name() == name);
    let is_shared = |name: &str| aliases.values().any(|kept| kept == name);
    // A head that is stored for the table too, or is the same elements, has no weights of its own.
    let is_alias = is_shared("lm_head.weight") || aliases.contains_key("lm_head.weight");
    let shares = config.head() == Head::Tied && is_alias;
    let has = |name: &str| match name {
        "lm_head.weight" if shares => false,
        name => is_stored(name) || aliases.contains_key(name),
    };
    let (prefix, mut head) = config.settle(&has);
    if options.headless {
        head = Head::None;
    }
    if adapts_tied(&config, (prefix, head), options, changes)? {
        let table = config.tensors_as(prefix, head);
        let table = table.into_iter().find(|tensor| tensor.part == Part::Tokens);
        let table = table.map(|table| aliases.get(&table.name).cloned().unwrap_or(table.name));
        aliases.extend(table.map(|table| ("lm_head.weight".to_owned(), table)));
        (head, _) = (Head::Own, config.untie());
    }
    folder::check(path, &config, (prefix, head), &files, &aliases)?;
    let options = &with_changes(options, changes, &config.tensors_as(prefix, head))?;
    let stored = files.tensors();
    let stored = stored.filter(|tensor| !aliases.contains_key(tensor.name()));
    let stored_bytes = stored.map(|tensor| tensor.bytes()).sum();
    let source = Arc::new(FolderSource {
        files,
        aliases,
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
fn open_adapted(path: &Path, base: &Path, options: &LoadOptions) -> Result<Loaded> {
    let options = LoadOptions {
        weights: match options.weights {
            Weights::Stored => Weights::Single,
            other => other,
        },
        ..options.clone()
    };
    let changes = AdapterFiles::open(path)?;
    let loaded = match GgufFile::is_gguf(base) {
        true => open_gguf(base, &options, Some(&changes))?,
        false => open_folder(base, &options, Some(&changes))?,
    };
    changes.load(&loaded.params, options.headless)?;
    Ok(Loaded {
        path: path.into(),
        ..loaded
    })
}

fn open_gguf(path: &Path, options: &LoadOptions, changes: Option<&AdapterFiles>) -> Result<Loaded> {
    let file = Arc::new(GgufFile::open(path)?);
    let found = LanguageConfig::from_gguf(&file);
    let (mut config, mut head) = found.map_err(Error::in_file(path))?;
    if options.headless {
        head = Head::None;
    }
    if adapts_tied(&config, (config.prefix(), head), options, changes)? {
        (head, _) = (Head::Own, config.untie());
    }
    let tensors = gguf::stored(&file, &config, head);
    gguf::check(&file, &tensors, head)?;
    let options = &with_changes(options, changes, &config.tensors_as(config.prefix(), head))?;
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

/// Whether of a head and the table of tokens that it shares only one is to change, so that both need weights of their
/// own.
fn adapts_tied(
    config: &LanguageConfig,
    (prefix, head): (&str, Head),
    options: &LoadOptions,
    changes: Option<&AdapterFiles>,
) -> Result<bool> {
    if head != Head::Tied {
        return Ok(false);
    }
    match (changes, &options.adapters) {
        (Some(changes), _) => changes.unties(&config.tensors_as(prefix, head)),
        (None, adapters) => Ok(adapters.as_ref().is_some_and(|all| all.names("lm_head"))),
    }
}

/// The options, with the adapters that the files of low-rank changes say for a model of these tensors.
fn with_changes(
    options: &LoadOptions,
    changes: Option<&AdapterFiles>,
    tensors: &[TensorSpec],
) -> Result<LoadOptions> {
    let adapters = match changes {
        Some(changes) => Some(changes.adapters(tensors)?),
        None => options.adapters.clone(),
    };
    Ok(LoadOptions {
        adapters,
        ..options.clone()
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
