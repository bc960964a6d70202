//! Low-rank changes in the files of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.

mod files;
mod patterns;
mod settings;

use super::class_head::{full_name, is_head};
use super::config::LanguageConfig;
use super::model::LanguageModel;
use super::parts::{Change, TensorSpec};
use crate::error::{Error, Result};
use candle_core::Tensor;
use cortical_io::{printable, save_tensors, write_atomic};
use cortical_neuron::Params;
pub(crate) use files::{AdapterFiles, load_head};
use serde_json::{Map, Value, json};
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
    let own = |value: &dyn Fn(&(usize, f64)) -> Value| -> Value {
        let own = adapters.own.iter();
        // Keys are regular expressions.
        let key = |name: &String| format!("^{}", name.replace('.', r"\."));
        Value::Object(
            own.map(|(name, size)| (key(name), value(size)))
                .collect::<Map<_, _>>(),
        )
    };
    let description = json!({
        "peft_type": "LORA",
        "task_type": if head.is_empty() { "CAUSAL_LM" } else { "SEQ_CLS" },
        "modules_to_save": if head.is_empty() { Value::Null } else { json!(head) },
        "base_model_name_or_path": base,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "use_rslora": adapters.rslora,
        "rank_pattern": own(&|(rank, _)| json!(rank)),
        "alpha_pattern": own(&|(_, alpha)| json!(alpha)),
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
    if !path.exists() {
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
    let mut fields = settings::fields(path)?;
    let base = fields.text(name)?;
    base.ok_or_else(|| fields.missing(name, "the folder of a model"))
}
