//! Finding out what a path is, and opening it.

use crate::contents::Contents;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::weights::Weights;
use cortical_io::{
    AnyModel, GgufFile, ModelFiles, NumpyFile, PytorchFile, TensorFile, printable, read_text,
};
use cortical_models::language::{GgufTensors, LanguageConfig, adapter_base, presets, read_classes};
use cortical_models::{ModelSpec, Network, Plan};
use cortical_neuron::Params;
use cortical_optim::fits;
use cortical_settings::nearest;
use cortical_train::{
    Recipe, RunPaths, Subject, SubjectModel, plan_of, presets as recipes, read_recipe_file,
};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most bytes of a `config.json` or an index that are read.
const JSON_BYTES: u64 = 64 << 20;
/// Names of files that a message lists.
const LISTED: usize = 8;
/// What PEFT puts before the names of a model's parameters.
const PEFT: &str = "base_model.model.";

impl Contents {
    /// Looks into a run, a safetensors or GGUF file, a folder with one model of any form, a `config.json`, a recipe,
    /// or a preset by its name: a language model, a network, or a recipe.
    ///
    /// # Errors
    /// Names what the path holds where that is nothing which can be looked into; files that are damaged.
    pub fn open(what: &Path) -> Result<Self> {
        if !what.exists() {
            return by_name(what);
        }
        match what.is_dir() {
            true => folder(what),
            false => file(what),
        }
    }
}

impl Contents {
    /// What a network is made of, before it has weights.
    ///
    /// # Errors
    /// Layers that cannot be built.
    pub fn of_plan(what: &'static str, path: &Path, plan: Plan) -> Result<Self> {
        let params = Params::dry(usize::MAX);
        Network::build(&plan, &params)?;
        let mut contents = Self::new(what, path);
        let all = params.all().into_iter();
        contents.entries = all.map(|p| Entry::new(p.name(), p.dims())).collect();
        contents.plan(plan);
        Ok(contents)
    }

    /// What a recipe trains. Its data are opened, for they say how large it is.
    ///
    /// # Errors
    /// Data that cannot be opened, a model that does not fit to them.
    pub fn of_recipe(what: &'static str, path: &Path, recipe: &Recipe) -> Result<Self> {
        let mut contents = match Subject::of(recipe)?.model {
            SubjectModel::Network(plan) => Self::of_plan(what, path, plan)?,
            SubjectModel::Language(config, _) => Self::of_config(what, path, config),
            _ => return Err(Error::NotFound { path: path.into() }),
        };
        trained_by(&mut contents, recipe);
        Ok(contents)
    }
}

/// The preset of this name.
fn by_name(what: &Path) -> Result<Contents> {
    let name = what.display().to_string();
    let all = presets();
    if let Some(preset) = all.iter().find(|preset| preset.name == name) {
        return Ok(Contents::of_config("preset", what, preset.config.clone()));
    }
    let networks = || ModelSpec::kinds().filter(|kind| kind.name != "layers");
    if networks().any(|kind| kind.name == name) {
        let spec: ModelSpec = name.parse().map_err(cortical_train::Error::from)?;
        let (shape, classes) = spec.usual_samples().expect("a preset is for some samples");
        let plan = Plan::new(&spec.layers(), shape, classes)?;
        let mut contents = Contents::of_plan("preset", what, plan)?;
        let said = format!(
            "for samples of shape {shape:?} and {classes} classes; a recipe may have others"
        );
        contents.remarks.push(said);
        return Ok(contents);
    }
    if let Some(recipe) = Recipe::preset(&name) {
        return Contents::of_recipe("preset", what, &recipe);
    }
    if name.contains(['/', '\\', '.']) {
        return Err(Error::NotFound { path: what.into() });
    }
    let models: Vec<&str> = all.iter().map(|preset| preset.name).collect();
    let networks: Vec<&str> = networks().map(|kind| kind.name).collect();
    let recipes: Vec<&str> = recipes().iter().map(|recipe| recipe.name).collect();
    let names = [&models[..], &networks, &recipes].concat();
    Err(Error::UnknownName {
        nearest: nearest(&name, names).map(str::to_owned),
        found: name,
        known: format!(
            "language models: {}; networks: {}; recipes: {}",
            models.join(", "),
            networks.join(", "),
            recipes.join(", ")
        ),
    })
}

fn file(path: &Path) -> Result<Contents> {
    if GgufFile::is_gguf(path) {
        return gguf(path);
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let text = read_text(path, JSON_BYTES)?;
        let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let has = |key: &str| value.as_ref().is_none_or(|value| value.get(key).is_some());
        return match (has("weight_map"), has("model_type")) {
            (true, false) => {
                let files = ModelFiles::open(path)?;
                let what = match files.format() {
                    "PyTorch" => "PyTorch files",
                    _ => "safetensors files",
                };
                safetensors(what, path, files)
            }
            (_, true) => Ok(Contents::of_config(
                "configuration",
                path,
                read_config(path)?,
            )),
            (false, false) => Err(Error::OtherJson { path: path.into() }),
        };
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        let recipe = read_recipe_file(path, &[])?;
        return Contents::of_recipe("recipe", path, &recipe);
    }
    if PytorchFile::may_be(path) || NumpyFile::may_be(path) {
        return other(path);
    }
    safetensors("safetensors file", path, ModelFiles::open(path)?)
}

/// The tensors of a file of PyTorch's or NumPy's.
fn other(path: &Path) -> Result<Contents> {
    let model = AnyModel::open(path)?;
    let what = match model.format() {
        "NumPy" => "NumPy file",
        _ => "PyTorch file",
    };
    let mut contents = Contents::new(what, path);
    contents.entries = model
        .tensors()
        .iter()
        .map(|t| Entry::new(t.name(), t.shape()).in_file(t.kind().name(), t.bytes(), 0))
        .collect();
    contents.sort_by(|_| None);
    contents.weights.push(Weights::Other(Box::new(model)));
    Ok(contents)
}

/// Names a file of PyTorch's as what it is, where only safetensors are read.
pub(crate) fn refuse_pickle(path: &Path) -> Result<()> {
    match PytorchFile::may_be(path) {
        true => Err(Error::PyTorch { path: path.into() }),
        false => Ok(()),
    }
}

fn read_config(path: &Path) -> Result<LanguageConfig> {
    let text = read_text(path, JSON_BYTES)?;
    let config = LanguageConfig::from_json(&text);
    Ok(config.map_err(|why| cortical_models::Error::File {
        path: path.into(),
        source: Box::new(why),
    })?)
}

fn folder(path: &Path) -> Result<Contents> {
    if path.join("adapter_config.json").is_file() {
        return changes(path);
    }
    let run = RunPaths::new(path);
    let has = |name: &str| path.join(name).is_file();
    let models = [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ];
    if models.into_iter().any(has) {
        let what = if run.is_run() {
            "run"
        } else {
            "folder of a model"
        };
        let mut contents = safetensors(what, path, ModelFiles::open(path)?)?;
        described(&mut contents, path)?;
        of_run(&mut contents, &run);
        return Ok(contents);
    }
    if let Some(step) = run.checkpoints().steps()?.last() {
        let model = run.checkpoints().folder(*step).join("model.safetensors");
        let mut contents = safetensors(
            "newest checkpoint of a run",
            &model,
            ModelFiles::open(&model)?,
        )?;
        of_run(&mut contents, &run);
        return Ok(contents);
    }
    if run.is_run() && run.report().exists() {
        return Err(run.no_model().into());
    }
    if run.is_run() {
        return Err(Error::NoWeightsYet { path: path.into() });
    }
    let names = names(path)?;
    let ending = |end: &str| -> Vec<PathBuf> {
        let found = names.iter().filter(|name| name.ends_with(end));
        found.map(|name| path.join(name)).collect()
    };
    let (parts, ggufs) = (ending(".safetensors"), ending(".gguf"));
    match (&parts[..], &ggufs[..]) {
        ([], [one]) => return gguf(one),
        ([], []) => {}
        (_, []) => {
            let files = ModelFiles::of_files(path, &parts)?;
            let mut contents = safetensors("folder of safetensors files", path, files)?;
            described(&mut contents, path)?;
            return Ok(contents);
        }
        _ => {
            let all = parts
                .iter()
                .chain(&ggufs)
                .filter_map(|path| path.file_name());
            let names = all.map(|name| printable(&name.to_string_lossy(), 80));
            return Err(Error::SeveralModels {
                path: path.into(),
                names: names.collect(),
            });
        }
    }
    let others: Vec<PathBuf> = [".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz"]
        .into_iter()
        .flat_map(ending)
        .filter(|path| PytorchFile::may_be(path) || NumpyFile::may_be(path))
        .collect();
    if let [one] = &others[..] {
        let mut contents = other(one)?;
        described(&mut contents, path)?;
        return Ok(contents);
    }
    if has("config.json") {
        let config = path.join("config.json");
        let mut contents = Contents::of_config("configuration", path, read_config(&config)?);
        if read_classes(path)?.is_some() {
            contents.remarks.push("config.json is of a model that scores classes: what is shown is the model that scores tokens".to_owned());
        }
        return Ok(contents);
    }
    Err(Error::NoModel {
        path: path.into(),
        holds: listed(&names),
        advice: match others.is_empty() {
            false => "; it has several files of PyTorch's or NumPy's: name one of them".to_owned(),
            true => String::new(),
        },
    })
}

/// Names of what is in a folder.
fn names(path: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::Read {
        path: path.into(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing in it".to_owned();
    }
    let shown: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| printable(name, 60))
        .collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The tensors of safetensors files, or of the parts that a model in PyTorch's files has.
fn safetensors(what: &'static str, path: &Path, files: ModelFiles) -> Result<Contents> {
    let mut contents = Contents::new(what, path);
    contents.entries = entries(&files, 0);
    contents.sort_by(|_| None);
    contents.ties = files.aliases().into_iter().collect();
    if let [only] = files.files() {
        contents.path = only.path().into();
        if let Some(plan) = plan_of(only) {
            contents.plan(plan);
        }
    }
    let metadata = files.files().iter().flat_map(TensorFile::metadata);
    contents.metadata = metadata
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    contents.weights.push(Weights::Files(files));
    Ok(contents)
}

fn entries(files: &ModelFiles, home: usize) -> Vec<Entry> {
    let entries = files.tensors().map(|tensor| {
        let dtype = tensor.element().name().to_owned();
        Entry::new(tensor.name(), tensor.shape()).in_file(dtype, tensor.bytes(), home)
    });
    entries.collect()
}

/// Adds what the config.json beside the tensors says, or why it says nothing.
fn described(contents: &mut Contents, folder: &Path) -> Result<()> {
    let path = folder.join("config.json");
    if !path.is_file() || contents.plan.is_some() {
        return Ok(());
    }
    match read_config(&path) {
        Err(why) => contents
            .remarks
            .push(format!("config.json explains nothing: {why}")),
        Ok(config) => {
            let there: BTreeMap<&str, &Entry> = contents
                .entries
                .iter()
                .map(|entry| (entry.name.as_str(), entry))
                .collect();
            let others = config.tensors().into_iter().filter_map(|spec| {
                let entry = there.get(spec.name.as_str())?;
                let (name, got, want) = (&spec.name, &entry.shape, &spec.shape);
                (entry.shape != spec.shape)
                    .then(|| format!("{name} has shape {got:?}, config.json says {want:?}"))
            });
            let others: Vec<String> = others.take(LISTED).collect();
            contents.remarks.extend(others);
            contents.describe(config);
        }
    }
    Ok(())
}

/// Adds which parameters the run trains.
fn of_run(contents: &mut Contents, run: &RunPaths) {
    if !run.is_run() {
        return;
    }
    match run.read_recipe() {
        Err(why) => contents
            .remarks
            .push(format!("what was trained is not known: {why}")),
        Ok(recipe) => trained_by(contents, &recipe),
    }
}

/// Adds which parameters a recipe trains.
fn trained_by(contents: &mut Contents, recipe: &Recipe) {
    for entry in contents.entries.iter_mut().filter(|entry| !entry.is_buffer) {
        let mut patterns = recipe.start.freeze.iter();
        let frozen = patterns.any(|pattern| fits(pattern, &entry.name));
        entry.trainable = Some(!frozen);
    }
}

/// Low-rank changes, and the frozen model that they belong to if it is on this machine.
fn changes(path: &Path) -> Result<Contents> {
    let file = path.join("adapter_model.safetensors");
    let files = ModelFiles::open(&file)?;
    let base = adapter_base(path);
    let mut contents = match &base {
        Ok(Some(base)) => Contents::open(base)?,
        _ => Contents::new("", &file),
    };
    contents.what = "low-rank changes and the model that they belong to";
    if let Err(why) = &base {
        contents.what = "low-rank changes";
        contents
            .remarks
            .push(format!("the model that they belong to is not shown: {why}"));
    }
    contents.path = path.into();
    for entry in &mut contents.entries {
        entry.trainable = (!entry.is_buffer).then_some(false);
        // Changes have Hugging Face's names, so what they change is shown under those.
        if let Some(common) = &entry.common {
            entry.name.clone_from(common);
        }
    }
    let home = contents.weights.len();
    let mut own = entries(&files, home);
    for entry in &mut own {
        if let Some(own) = entry.stored.strip_prefix(PEFT) {
            entry.name = own.replace(".base_layer.", ".");
        }
        // Tables are saved beside changes of them too.
        entry.trainable = Some(!entry.stored.ends_with(".base_layer.weight"));
    }
    // What is there whole stands in the place of the model's own.
    let names: HashSet<&str> = own.iter().map(|entry| &entry.name[..]).collect();
    contents
        .entries
        .retain(|entry| !names.contains(&entry.name[..]));
    contents.entries.extend(own);
    contents.weights.push(Weights::Files(files));
    if let Some(config) = contents.config.take() {
        contents.describe(config);
    }
    Ok(contents)
}

/// The tensors of a GGUF file, under Hugging Face's names too where its architecture is known.
fn gguf(path: &Path) -> Result<Contents> {
    let file = Arc::new(GgufFile::open(path)?);
    let mut contents = Contents::new("GGUF file", path);
    contents.entries = file
        .tensors()
        .iter()
        .map(|t| Entry::new(t.name(), t.shape()).in_file(t.kind().name(), t.bytes(), 0))
        .collect();
    let values = file.values().iter();
    contents.metadata = values
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    let names = match GgufTensors::new(file.clone()) {
        Err(why) => {
            contents
                .remarks
                .push(format!("its keys explain nothing: {why}"));
            contents.sort_by(|_| None);
            None
        }
        Ok(names) => {
            let known: BTreeMap<&str, &str> =
                names.names().map(|(name, own)| (own, name)).collect();
            for entry in &mut contents.entries {
                entry.common = known
                    .get(entry.name.as_str())
                    .map(|name| (*name).to_owned());
            }
            contents.describe(names.config().clone());
            Some(names)
        }
    };
    contents.weights.push(Weights::Gguf(file, names));
    Ok(contents)
}
