//! Transfer: weights from another network, and what of it is trained.

use std::path::{Path, PathBuf};

use cortical_data::csv::Column;
use cortical_data::{Dataset, Targets};
use cortical_io::TensorFile;
use cortical_neuron::Params;
use cortical_optim::fits;

use crate::folder::RunPaths;
use crate::outputs::Outputs;
use crate::recipe::StartRecipe;
use crate::{Error, Result, model_file};

/// Fills the network with the weights of the file that the recipe names, but for those that begin afresh.
///
/// Parameters and buffers of the network must be in the file with their shapes; the file may have more, which is not
/// used.
///
/// # Errors
/// [`Error::StartLacks`] lists what the file does not have, or has in another shape; [`Error::NoMatch`] for a pattern
/// that fits nothing; a file that cannot be read. The network is then as it was.
pub(crate) fn take_weights(start: &StartRecipe, params: &Params) -> Result<()> {
    if start.from.is_empty() {
        return Ok(());
    }
    let path = file_of(&start.from);
    let file = TensorFile::open(&path)?;
    let own = params.named_tensors();
    refuse_idle(
        "start.replace",
        &start.replace,
        own.iter().map(|(n, _)| &n[..]),
    )?;
    let (mut taken, mut differences) = (Vec::new(), Vec::new());
    for (name, tensor) in own.iter().filter(|(name, _)| !is_replaced(start, name)) {
        match file.info(name) {
            None => differences.push(format!("{name} is missing")),
            Some(info) if info.shape() != tensor.dims() => differences.push(format!(
                "{name} is {:?} in the file and {:?} in the network",
                info.shape(),
                tensor.dims()
            )),
            Some(_) => {
                let value = file.load(name, params.device())?;
                taken.push((name, value.to_dtype(tensor.dtype())?));
            }
        }
    }
    if !differences.is_empty() {
        return Err(Error::StartLacks {
            path,
            differences: differences.join("; "),
        });
    }
    for (name, value) in taken {
        params.set(name, &value)?;
    }
    Ok(())
}

/// The columns of the table that the named network has learned from, so that another table is read as that one was;
/// none where it learned from something else, or where its first layer begins afresh.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn columns(start: &StartRecipe) -> Result<Vec<Column>> {
    if start.from.is_empty() {
        return Ok(Vec::new());
    }
    let file = TensorFile::open(file_of(&start.from))?;
    // Files of others do not say how their samples were read.
    let Some(columns) = model_file::columns(&file) else {
        return Ok(Vec::new());
    };
    let names = model_file::parameters(&file);
    let replaced = names.first().is_some_and(|name| is_replaced(start, name));
    Ok(if replaced { Vec::new() } else { columns })
}

/// That the named network tells the classes of these data apart or predicts their numbers, so that its last layer means
/// by each output what the data mean by it; letters in another case do not matter.
///
/// # Errors
/// [`Error::StartClasses`], but where the last layer begins afresh, or names are unknown; a file that cannot be read.
pub(crate) fn check_outputs(start: &StartRecipe, data: &Dataset) -> Result<()> {
    if start.from.is_empty() {
        return Ok(());
    }
    let path = file_of(&start.from);
    let file = TensorFile::open(&path)?;
    let (names, outputs) = (model_file::parameters(&file), model_file::outputs(&file));
    // Files of others do not say what their outputs mean.
    let (Some(last), Some(outputs)) = (names.last(), outputs) else {
        return Ok(());
    };
    if is_replaced(start, last) || !data.names_classes() {
        return Ok(());
    }
    let (has_numbers, classes) = match outputs {
        Outputs::Classes(classes) => (false, classes),
        Outputs::Numbers(numbers) => (true, numbers.scale().names().to_vec()),
        Outputs::Labels(labels) => (true, labels.names().to_vec()),
    };
    let own = data.targets().map_or(data.classes(), Targets::names);
    let own = match data.targets().is_some() == has_numbers {
        true => own,
        // What is called alike is still no number and no class.
        false => return Err(other_outputs(path, last, own, &classes)),
    };
    let pairs = own.iter().zip(&classes);
    let alike = pairs.filter(|(a, b)| a.to_lowercase() == b.to_lowercase());
    if own.len() == classes.len() && alike.count() == own.len() {
        return Ok(());
    }
    Err(other_outputs(path, last, own, &classes))
}

/// The error for a network whose outputs mean something else than the data.
fn other_outputs(path: PathBuf, last: &str, own: &[String], found: &[String]) -> Error {
    let layer = last.rsplit_once('.').map_or(last, |(layer, _)| layer);
    Error::StartClasses {
        path,
        expected: list(own),
        found: list(found),
        head: format!("{layer}.*"),
    }
}

/// The first twenty names, and how many more there are.
fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether a parameter begins afresh.
fn is_replaced(start: &StartRecipe, name: &str) -> bool {
    start.replace.iter().any(|pattern| fits(pattern, name))
}

/// Freezes the parameters that the recipe names.
///
/// # Errors
/// [`Error::NoMatch`] for a pattern that fits nothing, and if nothing is left to train.
pub(crate) fn freeze(start: &StartRecipe, params: &Params) -> Result<()> {
    let all = params.all();
    refuse_idle("start.freeze", &start.freeze, all.iter().map(|p| p.name()))?;
    for param in &all {
        if start
            .freeze
            .iter()
            .any(|pattern| fits(pattern, param.name()))
        {
            param.set_trainable(false);
        }
    }
    if params.trainable().is_empty() && !all.is_empty() {
        return Err(Error::NothingToTrain);
    }
    Ok(())
}

/// A pattern that fits no name is a mistake in it.
pub(crate) fn refuse_idle<'n>(
    field: &'static str,
    patterns: &[String],
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<()> {
    for pattern in patterns {
        if !names.clone().any(|name| fits(pattern, name)) {
            let known: Vec<&str> = names.take(8).collect();
            return Err(Error::NoMatch {
                field,
                pattern: pattern.clone(),
                known: known.join(", "),
            });
        }
    }
    Ok(())
}

/// The model file of a run, or the file itself.
fn file_of(from: &str) -> PathBuf {
    let path = Path::new(from);
    if path.is_dir() {
        RunPaths::new(path).model()
    } else {
        path.to_owned()
    }
}
