//! The tensors of low-rank changes, and what stands beside them in their file.

use super::settings::{Module, Settings};
use super::{CONFIG, PREFIX, TENSORS, is_part, peft_name};
use crate::error::{Error, Result};
use crate::language::architectures;
use crate::language::class_head::is_head;
use crate::language::parts::{Part, TensorSpec};
use cortical_io::{TensorFile, TensorInfo};
use cortical_neuron::{Adapters, Param, Params};
use std::path::{Path, PathBuf};

/// A folder of low-rank changes as PEFT or [`save_adapter`](super::save_adapter) saves them.
#[derive(Debug)]
pub(crate) struct AdapterFiles {
    folder: PathBuf,
    settings: Settings,
    file: TensorFile,
}

impl AdapterFiles {
    /// Opens both files.
    ///
    /// # Errors
    /// [`Error::UnsupportedConfig`] for what is not a plain LoRA, rsLoRA or DoRA of linear layers,
    /// [`Error::UnknownConfig`] for a field that nobody knows and that says something; those of the files.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let settings = Settings::read(folder)?;
        let path = folder.join(TENSORS);
        if !path.exists() {
            return Err(Error::NoChanges {
                path: folder.to_owned(),
                pickled: folder.join("adapter_model.bin").exists(),
            });
        }
        let file = TensorFile::open(path)?;
        let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let tables = file.tensors().iter().map(|info| own(info.name()));
        let table = tables
            .filter_map(|name| Some(name.strip_suffix(".lora_embedding_A")?.to_owned()))
            .next();
        if let Some(table) = table {
            let got = cortical_io::printable(&table, 120);
            let why = Error::UnsupportedConfig {
                field: "target_modules".to_owned(),
                got: format!("{got}, a table of tokens"),
                expected: "a linear layer".to_owned(),
            };
            return Err(Error::in_file(&folder.join(CONFIG))(why));
        }
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            file,
        })
    }

    /// Whether a head that shares the table of tokens needs weights of its own: one of both changes, the other does
    /// not.
    pub(crate) fn unties(&self, tensors: &[TensorSpec]) -> Result<bool> {
        let tables = tensors.iter().filter(|tensor| tensor.part == Part::Tokens);
        let mut tables = tables.filter_map(|tensor| tensor.name.strip_suffix(".weight"));
        let head = "lm_head";
        Ok(self.settings.saves(head)
            || tables.any(|table| self.settings.saves(table))
            || self
                .settings
                .selects(head)
                .map_err(Error::in_file(&self.config()))?)
    }

    fn config(&self) -> PathBuf {
        self.folder.join(CONFIG)
    }

    /// Which layers of a model with these tensors have a change, and of which size.
    ///
    /// # Errors
    /// [`Error::Tensors`] when the file has changes of another rank or lacks some, before anything is made.
    pub(crate) fn adapters(&self, tensors: &[TensorSpec]) -> Result<Adapters> {
        let mut modules = Vec::new();
        for tensor in tensors {
            let is_table = matches!(tensor.part, Part::Tokens | Part::Positions | Part::Segments);
            if let Some(name) = tensor.name.strip_suffix(".weight")
                && !is_table
                && tensor.shape.len() == 2
            {
                modules.push(self.module(name));
            }
        }
        let adapters = self.settings.adapters(&modules);
        let adapters = adapters.map_err(Error::in_file(&self.config()))?;
        let mut differences = Vec::new();
        for module in modules.iter().filter(|module| adapters.names(&module.name)) {
            let (rank, _) = adapters.size(&module.name);
            let name = format!("{PREFIX}{}.lora_A.weight", module.full);
            match self.file.info(&name).map(TensorInfo::shape) {
                Some([stored, _]) if *stored == rank => {}
                Some(shape) => differences.push(format!(
                    "{name} has shape {shape:?}, the configuration says rank {rank}"
                )),
                None => differences.push(format!("{name} of rank {rank} is missing")),
            }
        }
        match differences.is_empty() {
            true => Ok(adapters),
            false => Err(self.differ(differences)),
        }
    }

    /// A layer of the model by its name there and in the file.
    fn module(&self, name: &str) -> Module {
        let mut names = bodies().map(|body| format!("{body}{name}"));
        let stored = |full: &String| {
            let first = format!("{PREFIX}{full}.lora_A.weight");
            self.file.info(&first).is_some()
        };
        Module {
            name: name.to_owned(),
            full: names.find(stored).unwrap_or(name.to_owned()),
        }
    }

    fn differ(&self, differences: Vec<String>) -> Error {
        Error::Tensors {
            origin: self.file.path().display().to_string(),
            differences,
            hint: None,
        }
    }

    /// Loads the changes, and what else the file has whole, into the model that they belong to; a head over classes
    /// beside them is left to [`load_head`] where `headless` says so.
    ///
    /// # Errors
    /// [`Error::Tensors`] with every tensor that is missing, of another shape or of no use; the model stays as it was.
    pub(crate) fn load(&self, params: &Params, headless: bool) -> Result<()> {
        let whole = self.whole(params, headless)?;
        let is_spare = |name: &str| {
            let own = name.strip_prefix(PREFIX);
            is_copy(name) || self.is_whole(name) || headless && own.is_some_and(is_head)
        };
        load_parts(&self.file, params, is_part, is_spare)?;
        for (name, param) in whole {
            let value = self.file.load(&name, params.device())?;
            param.set(&value.to_dtype(param.dtype())?)?;
        }
        Ok(())
    }

    /// Whether the file has a tensor because it was trained as a whole.
    fn is_whole(&self, name: &str) -> bool {
        let own = own_name(name);
        let Some((module, leaf)) = own.rsplit_once('.') else {
            return false;
        };
        !is_head(&own)
            && !is_part(&own)
            && (self.settings.saves(module) || self.settings.has_biases() && leaf == "bias")
    }

    /// What the file has whole, and where it goes: somebody may have changed it.
    fn whole(&self, params: &Params, headless: bool) -> Result<Vec<(String, Param)>> {
        let all = params.all();
        let mut found = Vec::new();
        let mut differences = Vec::new();
        for info in self.file.tensors() {
            let name = info.name();
            if !is_copy(name) && !self.is_whole(name) {
                continue;
            }
            let own = own_name(name);
            let is_it = |param: &&Param| {
                let mut names = bodies().map(|body| format!("{body}{}", param.name()));
                names.any(|full| full == own)
            };
            let is_left_out = is_copy(name) && (headless || !self.is_whole(name));
            match all.iter().find(is_it) {
                // A head that shares the table has no parameter of its own.
                None if is_left_out => {}
                None => differences.push(format!("{name} {:?} is not in the model", info.shape())),
                Some(param) if param.dims() != info.shape() => differences.push(format!(
                    "{name} has shape {:?}, the model {:?}",
                    info.shape(),
                    param.dims()
                )),
                Some(param) => found.push((name.to_owned(), param.clone())),
            }
        }
        for saved in self.settings.saved().iter().filter(|name| !is_head(name)) {
            let is_of = |info: &TensorInfo| {
                let own = own_name(info.name());
                own.rsplit_once('.')
                    .is_some_and(|(module, _)| module.ends_with(saved.as_str()))
            };
            if !self.file.tensors().iter().any(is_of) {
                let saved = cortical_io::printable(saved, 120);
                differences.push(format!("{saved}, which modules_to_save names, is missing"));
            }
        }
        match differences.is_empty() {
            true => Ok(found),
            false => Err(self.differ(differences)),
        }
    }
}

/// What may stand before the names of a model's body, nothing first.
fn bodies() -> impl Iterator<Item = &'static str> + Clone {
    std::iter::once("").chain(architectures::bodies())
}

/// The name of a parameter in PEFT's file, without what PEFT adds to it.
fn own_name(name: &str) -> String {
    name.strip_prefix(PREFIX)
        .unwrap_or(name)
        .replace(".base_layer.", ".")
}

/// Whether PEFT saved a table of tokens or a head over them whole, beside changes of the head.
fn is_copy(name: &str) -> bool {
    let own = own_name(name);
    own == "lm_head.weight"
        || ["embed_tokens.weight", "wte.weight"]
            .iter()
            .any(|end| own == *end || own.ends_with(&format!(".{end}")))
}

/// Loads the head over classes that was saved beside low-rank changes, if there is one.
///
/// # Errors
/// As [`AdapterFiles::load`].
pub(crate) fn load_head(folder: &Path, params: &Params) -> Result<()> {
    let file = TensorFile::open(folder.join(TENSORS))?;
    let head = |name: &str| name.strip_prefix(PREFIX).is_some_and(is_head);
    match file.tensors().iter().any(|tensor| head(tensor.name())) {
        true => load_parts(&file, params, is_head, |name| !head(name)),
        false => Ok(()),
    }
}

/// Loads the parameters that `is_own` names; of what the file has beside them, only what is spare may go unused.
fn load_parts(
    file: &TensorFile,
    params: &Params,
    is_own: impl Fn(&str) -> bool,
    is_spare: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut differences = Vec::new();
    let mut found = Vec::new();
    for param in params
        .all()
        .into_iter()
        .filter(|param| is_own(param.name()))
    {
        // In a model that has a head over classes, something stands before the names of its body.
        let named = |body: &str| peft_name(&format!("{body}{}", param.name()));
        let names: Vec<String> = bodies().map(named).collect();
        let there = names.iter().find(|name| file.info(name).is_some());
        let name = there.unwrap_or(&names[0]).clone();
        match file.info(&name) {
            None => differences.push(format!("{name} {:?} is missing", param.dims())),
            Some(info) if info.shape() != param.dims() => {
                differences.push(format!(
                    "{name} has shape {:?}, the model {:?}",
                    info.shape(),
                    param.dims()
                ));
            }
            Some(_) => found.push((name, param)),
        }
    }
    for tensor in file.tensors() {
        let is_used = found.iter().any(|(name, _)| name == tensor.name());
        if !is_used && !is_spare(tensor.name()) {
            differences.push(format!(
                "{} {:?} is not in the model",
                tensor.name(),
                tensor.shape()
            ));
        }
    }
    if !differences.is_empty() {
        return Err(Error::Tensors {
            origin: file.path().display().to_string(),
            differences,
            hint: None,
        });
    }
    let values = found
        .into_iter()
        .map(|(name, param)| {
            let value = file.load(&name, params.device())?.to_dtype(param.dtype())?;
            Ok((param, value))
        })
        .collect::<Result<Vec<_>>>()?;
    for (param, value) in values {
        param.set(&value)?;
    }
    Ok(())
}
