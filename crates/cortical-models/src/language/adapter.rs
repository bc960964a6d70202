//! Low-rank changes in the files of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.

use super::architectures;
use super::class_head::{full_name, is_head};
use super::config::LanguageConfig;
use super::json::{HARMLESS_OF_ADAPTERS, JsonFields, short};
use super::model::LanguageModel;
use super::parts::{Change, TensorSpec};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_io::{TensorFile, printable, read_text, save_tensors, write_atomic};
use cortical_neuron::{Adapters, Params};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What PEFT puts before the names of a model's parameters.
const PREFIX: &str = "base_model.model.";
/// Our name of a parameter that PEFT keeps without its last part.
const MAGNITUDE: &str = "lora_magnitude_vector.weight";
pub(crate) const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// Whether a parameter belongs to a low-rank change.
pub(crate) fn is_part(name: &str) -> bool {
    ["lora_A.weight", "lora_B.weight", MAGNITUDE]
        .iter()
        .any(|part| name.ends_with(part))
}

/// PEFT's name in its file.
fn peft_name(name: &str) -> String {
    let name = match name.strip_suffix(MAGNITUDE) {
        Some(stem) => format!("{stem}lora_magnitude_vector"),
        None => name.to_owned(),
    };
    format!("{PREFIX}{name}")
}

/// Saves the low-rank changes of a model into a folder, as PEFT's `from_pretrained` reads them, and the head over
/// classes if there is one. `base` is what the changes belong to: a folder or a name on the hub.
///
/// # Errors
/// [`Error::NoAdapter`] when there are none; those of the files.
pub fn save_adapter(
    folder: impl AsRef<Path>,
    params: &Params,
    config: &LanguageConfig,
    base: &str,
) -> Result<()> {
    let folder = folder.as_ref();
    let all = params.all();
    let parts = all.iter().filter(|param| is_part(param.name()));
    let mut tensors: Vec<(String, Tensor)> = parts
        .map(|param| (param.name().to_owned(), param.tensor().clone()))
        .collect();
    let Some(adapters) = params.adapters().filter(|_| !tensors.is_empty()) else {
        return Err(Error::NoAdapter);
    };
    // A head over classes is trained as a whole, and goes with the changes.
    let heads = all.iter().filter(|param| is_head(param.name()));
    let heads: Vec<_> = heads
        .map(|param| (param.name().to_owned(), param.tensor().clone()))
        .collect();
    let first = heads.first().and_then(|(name, _)| name.split('.').next());
    let head: Vec<String> = first.map(str::to_owned).into_iter().collect();
    tensors.extend(heads);
    for (name, _) in &mut tensors {
        if !head.is_empty() {
            *name = full_name(config, name);
        }
        *name = peft_name(name);
    }
    let description = json!({
        "peft_type": "LORA",
        "task_type": if head.is_empty() { "CAUSAL_LM" } else { "SEQ_CLS" },
        "modules_to_save": if head.is_empty() { Value::Null } else { json!(head) },
        "base_model_name_or_path": base,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "target_modules": adapters.targets,
        "use_dora": adapters.dora,
        "lora_dropout": 0.0,
        "bias": "none",
        // GPT-2's weights lie in columns.
        "fan_in_fan_out": config.tensors().iter().any(in_columns),
        "inference_mode": true,
    });
    save_tensors(
        folder.join(TENSORS),
        &tensors,
        &[("format".to_owned(), "pt".to_owned())].into(),
    )?;
    let text = format!("{description:#}\n");
    write_atomic(folder.join(CONFIG), |file| file.write_all(text.as_bytes()))?;
    Ok(())
}

fn in_columns(tensor: &TensorSpec) -> bool {
    matches!(tensor.gguf, Some((_, Change::Columns)))
}

/// Makes all low-rank changes part of a model's weights, and gives its tensors by their names without those changes:
/// the model as others open it. The model keeps the merged weights; `unmerge` of its projections takes the changes out
/// again.
///
/// # Errors
/// [`cortical_neuron::Error::Fixed`] for changes of quantized weights; when a tensor cannot be made.
pub fn merged_tensors(model: &LanguageModel, params: &Params) -> Result<Vec<(String, Tensor)>> {
    for projection in model.projections() {
        projection.merge()?;
    }
    let all = params.named_tensors();
    Ok(all.into_iter().filter(|(name, _)| !is_part(name)).collect())
}

/// The model that the low-rank changes in a folder belong to, as a folder or a GGUF file; `None` for a folder without
/// changes.
///
/// # Errors
/// [`Error::NoBase`] when it is not on this machine; those of the file.
pub fn adapter_base(folder: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    let folder = folder.as_ref();
    let path = folder.join(CONFIG);
    if !path.is_file() {
        return Ok(None);
    }
    let base = base_name(&path).map_err(Error::in_file(&path))?;
    let found = [PathBuf::from(&base), folder.join(&base)];
    let mut found = found.into_iter().filter(|base| base.exists());
    // A model that stands in the folder itself would be opened as its own changes again and again.
    let found = found.find(|base| !base.join(CONFIG).is_file());
    found.map(Some).ok_or(Error::NoBase {
        path: folder.into(),
        base: printable(&base, 200),
    })
}

fn base_name(path: &Path) -> Result<String> {
    let name = "base_model_name_or_path";
    let mut fields = fields(path)?;
    let base = fields.text(name)?;
    base.ok_or_else(|| fields.missing(name, "the folder of a model"))
}

fn fields(path: &Path) -> Result<JsonFields> {
    let text = read_text(path, 1 << 20)?;
    let value: Value = serde_json::from_str(&text).map_err(|why| Error::Json { why })?;
    match value {
        Value::Object(map) => Ok(JsonFields::new("", map)),
        other => Err(Error::Config {
            field: CONFIG.to_owned(),
            expected: "an object".to_owned(),
            got: short(&other),
        }),
    }
}

/// What a folder's `adapter_config.json` says.
///
/// # Errors
/// [`Error::UnsupportedConfig`] for what is not a plain LoRA or DoRA, [`Error::UnknownConfig`] for a field that nobody
/// knows and that says something; those of the file.
pub fn read_adapter_config(folder: impl AsRef<Path>) -> Result<Adapters> {
    let path = folder.as_ref().join(CONFIG);
    read_fields(&path).map_err(Error::in_file(&path))
}

fn read_fields(path: &Path) -> Result<Adapters> {
    let mut fields = fields(path)?;
    let _ = fields.take("base_model_name_or_path");
    fields.only("peft_type", &[json!("LORA")])?;
    fields.only("bias", &[json!("none")])?;
    // A head over classes may come with the changes.
    let heads = [json!([]), json!(["score"]), json!(["classifier"])];
    let both = [
        json!(["classifier", "score"]),
        json!(["score", "classifier"]),
    ];
    fields.only("modules_to_save", &[&heads[..], &both].concat())?;
    for (name, empty) in [
        ("use_rslora", json!(false)),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
        ("layers_to_transform", json!([])),
        ("layer_replication", json!([])),
        ("trainable_token_indices", json!([])),
        ("exclude_modules", json!([])),
        ("lora_bias", json!(false)),
        ("use_qalora", json!(false)),
        ("target_parameters", json!([])),
        ("ensure_weight_tying", json!(false)),
    ] {
        fields.only(name, &[empty])?;
    }
    // Other first values are made of the model's own weights, which they change.
    let kept = [
        json!(true),
        json!(false),
        json!("gaussian"),
        json!("orthogonal"),
    ];
    fields.only("init_lora_weights", &kept)?;
    // Such changes act behind these tokens only.
    fields.only("alora_invocation_tokens", &[])?;
    let rank = fields.size("r")?.unwrap_or(8);
    let targets = fields.texts("target_modules")?;
    let adapters = Adapters {
        rank,
        alpha: fields.positive("lora_alpha")?.unwrap_or(8.0),
        targets: targets.ok_or_else(|| fields.missing("target_modules", "a list of names"))?,
        dora: fields.flag("use_dora")?.unwrap_or(false),
    };
    fields.finish_but("a low-rank change", |name| {
        HARMLESS_OF_ADAPTERS.contains(&name)
    })?;
    Ok(adapters)
}

/// Loads low-rank changes that PEFT or [`save_adapter`] saved into a model that was opened with the adapters of
/// [`read_adapter_config`].
///
/// # Errors
/// [`Error::Tensors`] with every tensor that is missing, of another shape or of no use; the model is then as it was.
pub fn load_adapter(folder: impl AsRef<Path>, params: &Params) -> Result<()> {
    load_changes(folder.as_ref(), params, false)
}

/// As [`load_adapter`]; a head over classes beside the changes is left to [`load_head`] where `headless` says so.
pub(crate) fn load_changes(folder: &Path, params: &Params, headless: bool) -> Result<()> {
    let is_spare = |name: &str| {
        let own = name.strip_prefix(PREFIX);
        is_copy(name) || headless && own.is_some_and(is_head)
    };
    load_parts(folder, params, is_part, is_spare)?;
    load_copies(folder, params)
}

/// Whether PEFT saved a table of tokens or a head over them whole, beside changes of the head.
fn is_copy(name: &str) -> bool {
    let own = name.strip_prefix(PREFIX).unwrap_or_default();
    ["lm_head.weight", "lm_head.base_layer.weight"].contains(&own)
        || [TABLE, "embed_tokens.base_layer.weight", "wte.weight"]
            .iter()
            .any(|end| own == *end || own.ends_with(&format!(".{end}")))
}

/// The table of tokens by the end of its name.
const TABLE: &str = "embed_tokens.weight";

/// Takes over the tables that PEFT saved whole, which somebody may have changed.
fn load_copies(folder: &Path, params: &Params) -> Result<()> {
    let file = TensorFile::open(folder.join(TENSORS))?;
    let mut values = Vec::new();
    let mut differences = Vec::new();
    for info in file.tensors().iter().filter(|info| is_copy(info.name())) {
        let own = info.name().trim_start_matches(PREFIX);
        let own = own.replace(".base_layer.", ".");
        let all = params.all();
        // A head that shares the table has no parameter of its own.
        let Some(param) = all.iter().find(|param| param.name() == own) else {
            continue;
        };
        if param.dims() != info.shape() {
            let (got, name) = (info.shape(), info.name());
            differences.push(format!(
                "{name} has shape {got:?}, the model {:?}",
                param.dims()
            ));
            continue;
        }
        let value = file.load(info.name(), params.device())?;
        values.push((param.clone(), value.to_dtype(param.dtype())?));
    }
    if !differences.is_empty() {
        let origin = file.path().display().to_string();
        return Err(Error::Tensors {
            origin,
            differences,
        });
    }
    for (param, value) in values {
        param.set(&value)?;
    }
    Ok(())
}

/// Loads the head over classes that was saved beside low-rank changes, if there is one.
///
/// # Errors
/// As [`load_adapter`].
pub(crate) fn load_head(folder: &Path, params: &Params) -> Result<()> {
    let file = TensorFile::open(folder.join(TENSORS))?;
    let head = |name: &str| name.strip_prefix(PREFIX).is_some_and(is_head);
    match file.tensors().iter().any(|tensor| head(tensor.name())) {
        true => load_parts(folder, params, is_head, |name| !head(name)),
        false => Ok(()),
    }
}

/// Loads the parameters that `is_own` names; of what the file has beside them, only what is spare may go unused.
fn load_parts(
    folder: &Path,
    params: &Params,
    is_own: impl Fn(&str) -> bool,
    is_spare: impl Fn(&str) -> bool,
) -> Result<()> {
    let file = TensorFile::open(folder.join(TENSORS))?;
    let mut differences = Vec::new();
    let mut found = Vec::new();
    // In a model that has a head over classes, something stands before the names of its body.
    let bodies: Vec<&str> = std::iter::once("").chain(architectures::bodies()).collect();
    for param in params
        .all()
        .into_iter()
        .filter(|param| is_own(param.name()))
    {
        let named = |body: &&str| peft_name(&format!("{body}{}", param.name()));
        let names: Vec<String> = bodies.iter().map(named).collect();
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
