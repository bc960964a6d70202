//! What each verb does.

pub(crate) mod data;
pub(crate) mod diff;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod language;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod train;

use std::path::{Path, PathBuf};

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
    if !paths.model().is_file() {
        let path = PathBuf::from(what);
        let error = if paths.is_run() {
            cortical_train::Error::NotFinished { path }
        } else {
            cortical_train::Error::NotARun { path }
        };
        return Err(error.into());
    }
    let model = paths.load_model(&Device::Cpu)?;
    Ok((model, Some(paths)))
}
