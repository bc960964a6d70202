//! Heads over classes of texts: their names, and the names of the classes.

use super::architectures;
use super::config::LanguageConfig;
use super::json::short;
use crate::error::{Error, Result};
use cortical_io::read_text;
use serde_json::Value;
use std::path::Path;

/// The most bytes of a `config.json` that are read.
pub(crate) const CONFIG_BYTES: u64 = 4 << 20;

/// Whether a parameter belongs to a head over classes.
pub(crate) fn is_head(name: &str) -> bool {
    architectures::is_classifier(name.split('.').next().unwrap_or_default())
}

/// A parameter's name in a model with a head over classes, whose body has a name of its own.
pub(crate) fn full_name(config: &LanguageConfig, name: &str) -> String {
    let body = config.inner().names().body;
    match is_head(name) || name.starts_with(body) {
        true => name.to_owned(),
        false => format!("{body}{name}"),
    }
}

/// The classes of a model whose `config.json` says that it scores classes of texts; `None` for any other.
///
/// # Errors
/// A configuration that cannot be read, or whose `id2label` does not number its classes from 0.
pub fn read_classes(folder: impl AsRef<Path>) -> Result<Option<Vec<String>>> {
    let path = folder.as_ref().join("config.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path, CONFIG_BYTES)?;
    read_names(&text).map_err(Error::in_file(&path))
}

fn read_names(text: &str) -> Result<Option<Vec<String>>> {
    let value: Value = serde_json::from_str(text).map_err(|why| Error::Json { why })?;
    let is_one = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        name.ends_with("ForSequenceClassification")
    };
    if !value["architectures"]
        .as_array()
        .is_some_and(|all| all.iter().any(is_one))
    {
        return Ok(None);
    }
    let labels = &value["id2label"];
    let wrong = || Error::Config {
        field: "id2label".to_owned(),
        expected: "a name for each class, numbered from 0".to_owned(),
        got: short(labels),
    };
    let names = labels.as_object().ok_or_else(wrong)?;
    let name = |class: usize| {
        let name = names.get(&class.to_string())?;
        name.as_str().map(str::to_owned)
    };
    let classes: Option<Vec<String>> = (0..names.len()).map(name).collect();
    classes
        .filter(|all| !all.is_empty())
        .map(Some)
        .ok_or_else(wrong)
}
