//! What each verb does.

pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod diff;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod language;
pub(crate) mod neurons;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod search;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod shell;
mod test_data;
pub(crate) mod train;
pub(crate) mod verify;

use std::path::Path;

use candle_core::Device;
use cortical_train::{RunPaths, TaskKind, TrainedModel};

use crate::error::{Error, Result};

/// The trained model that a person names: a run folder, or a model file.
pub(crate) fn load_model(what: &Path) -> Result<(TrainedModel, Option<RunPaths>)> {
    if !what.exists() {
        return Err(Error::NotFound {
            path: what.to_owned(),
        });
    }
    if !what.is_dir() {
        return Ok((TrainedModel::load(what, &Device::Cpu)?, None));
    }
    let paths = RunPaths::new(what);
    if paths.is_run() && paths.read_recipe()?.kind() == TaskKind::NextToken {
        return Err(Error::ContinuesTexts {
            run: what.to_owned(),
        });
    }
    if !paths.model().exists() {
        let error = match paths.is_run() {
            true => paths.no_model(),
            false => cortical_train::Error::NotARun {
                path: what.to_owned(),
            },
        };
        return Err(error.into());
    }
    let model = paths.load_model(&Device::Cpu)?;
    Ok((model, Some(paths)))
}

/// Characters of a text in a table.
const TEXT_CHARS: usize = 60;

/// The beginning of a text, on one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
