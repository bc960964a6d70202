//! `inspect`

use std::path::{Path, PathBuf};

use cortical_io::TensorFile;
use cortical_train::RunPaths;
use serde_json::{Value, json};

use crate::Done;
use crate::cli::InspectArgs;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{Style, bytes, count, shape};
use crate::table::{Align, Table};

/// Characters of a metadata value that are shown to people.
const VALUE_CHARS: usize = 100;

/// `cortical inspect`
pub(crate) fn inspect(args: &InspectArgs, output: &Output) -> Result<Done> {
    let path = model_file(&args.what)?;
    let file = TensorFile::open(&path)?;
    let mut tensors: Vec<_> = file.tensors().iter().collect();
    tensors.sort_by(|a, b| a.name().cmp(b.name()));
    let counts = tensors.iter().map(|tensor| tensor.count());
    let parameters = counts.fold(0, usize::saturating_add);
    let size = tensors
        .iter()
        .map(|tensor| tensor.bytes())
        .fold(0, u64::saturating_add);
    let rows: Vec<Value> = tensors
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name(),
                "shape": tensor.shape(),
                "dtype": tensor.element().name(),
                "parameters": tensor.count(),
            })
        })
        .collect();
    let value = json!({
        "file": path.display().to_string(),
        "parameters": parameters,
        "bytes": size,
        "tensors": rows,
        "metadata": file.metadata(),
    });
    output.result(&value, |style| {
        let mut table = Table::new(&[
            ("tensor", Align::Left),
            ("shape", Align::Left),
            ("dtype", Align::Left),
            ("parameters", Align::Right),
        ]);
        for tensor in &tensors {
            table.row(vec![
                tensor.name().to_owned(),
                shape(tensor.shape()),
                tensor.element().name().to_owned(),
                count(tensor.count()),
            ]);
        }
        let total = format!(
            "{} parameters in {} tensors, {}",
            style.bold(&count(parameters)),
            count(tensors.len()),
            bytes(size)
        );
        let metadata = metadata(&file, style);
        format!(
            "  {}\n\n{}\n  {total}\n{metadata}",
            path.display(),
            table.render(style)
        )
    });
    Ok(Done::Finished)
}

/// The file to look into: the run's model, or the newest checkpoint's where there is none yet.
fn model_file(what: &Path) -> Result<PathBuf> {
    if !what.exists() {
        return Err(Error::NotFound {
            path: what.to_owned(),
        });
    }
    if !what.is_dir() {
        return Ok(what.to_owned());
    }
    let run = RunPaths::new(what);
    if run.model().is_file() {
        return Ok(run.model());
    }
    let checkpoints = run.checkpoints();
    let path = what.to_owned();
    match checkpoints.steps()?.last() {
        Some(step) => Ok(checkpoints.folder(*step).join("model.safetensors")),
        None if run.is_run() => Err(cortical_train::Error::NotFinished { path }.into()),
        None => Err(cortical_train::Error::NotARun { path }.into()),
    }
}

/// What the file says about itself, shortened for people.
fn metadata(file: &TensorFile, style: &Style) -> String {
    let lines = file.metadata().iter().map(|(key, value)| {
        let plain = value.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut shown: String = plain.take(VALUE_CHARS).collect();
        if value.chars().count() > VALUE_CHARS {
            shown += " ...";
        }
        format!("  {} {shown}\n", style.dim(&format!("{key}:")))
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}
