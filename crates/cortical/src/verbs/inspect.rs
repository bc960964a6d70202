//! `inspect`

use std::path::{Path, PathBuf};

use cortical_io::{GgufFile, TensorFile};
use cortical_models::language;
use cortical_settings::nearest;
use cortical_train::RunPaths;
use serde_json::{Value, json};

use crate::cli::InspectArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{Style, bytes, count, shape};
use crate::table::{Align, Table};

/// Characters of a metadata value that are shown to people.
const VALUE_CHARS: usize = 100;

/// `cortical inspect`
pub(crate) fn inspect(args: &InspectArgs, output: &Output) -> Result<Done> {
    if let Some(done) = language_model(args, output)? {
        return Ok(done);
    }
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

/// A language model by name or by its folder's configuration.
fn language_model(args: &InspectArgs, output: &Output) -> Result<Option<Done>> {
    let name = args.what.display().to_string();
    if !args.what.exists() {
        let presets = language::presets();
        return match presets.iter().find(|preset| preset.name == name) {
            Some(preset) => {
                super::language::preset::inspect(&name, &preset.config, args.why, output).map(Some)
            }
            None if name.contains(['/', '\\', '.']) => Ok(None),
            None => Err(Error::UnknownModel {
                nearest: nearest(&name, presets.iter().map(|preset| preset.name))
                    .map(str::to_owned),
                found: name,
                known: super::language::preset::names(),
            }),
        };
    }
    let config = args.what.join("config.json");
    if args.why && config.is_file() {
        let text = cortical_io::read_text(&config, 4 << 20)?;
        let config = language::LanguageConfig::from_json(&text)?;
        return super::language::preset::inspect(&name, &config, true, output).map(Some);
    }
    if GgufFile::is_gguf(&args.what) {
        return gguf(&GgufFile::open(&args.what)?, output).map(Some);
    }
    Ok(None)
}

/// What a GGUF file holds.
fn gguf(file: &GgufFile, output: &Output) -> Result<Done> {
    let counts = file.tensors().iter().map(|tensor| tensor.count());
    let parameters = counts.fold(0, usize::saturating_add);
    let size = file
        .tensors()
        .iter()
        .map(|tensor| tensor.bytes())
        .fold(0, u64::saturating_add);
    let rows: Vec<Value> = file
        .tensors()
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name(),
                "shape": tensor.shape(),
                "dtype": tensor.kind().name(),
                "parameters": tensor.count(),
            })
        })
        .collect();
    let texts: serde_json::Map<String, Value> = file
        .values()
        .iter()
        .map(|(key, value)| (key.clone(), Value::String(value.to_string())))
        .collect();
    let value = json!({
        "file": file.path().display().to_string(),
        "parameters": parameters,
        "bytes": size,
        "tensors": rows,
        "metadata": texts,
    });
    output.result(&value, |style| {
        let mut table = Table::new(&[
            ("tensor", Align::Left),
            ("shape", Align::Left),
            ("type", Align::Left),
            ("parameters", Align::Right),
        ]);
        for tensor in file.tensors() {
            table.row(vec![
                tensor.name().to_owned(),
                shape(tensor.shape()),
                tensor.kind().name(),
                count(tensor.count()),
            ]);
        }
        let total = format!(
            "{} parameters in {} tensors, {}",
            style.bold(&count(parameters)),
            count(file.tensors().len()),
            bytes(size)
        );
        let lines: String = file
            .values()
            .iter()
            .map(|(key, value)| {
                format!(
                    "  {} {}\n",
                    style.dim(&format!("{key}:")),
                    shown(&value.to_string())
                )
            })
            .collect();
        let path = file.path().display();
        format!("  {path}\n\n{}\n  {total}\n\n{lines}", table.render(style))
    });
    Ok(Done::Finished)
}

/// A value shortened for people.
fn shown(value: &str) -> String {
    let plain = value.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = plain.take(VALUE_CHARS).collect();
    if value.chars().count() > VALUE_CHARS {
        shown += " ...";
    }
    shown
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
    // What a training of low-rank changes leaves.
    let changes = what.join("adapter_model.safetensors");
    if changes.is_file() {
        return Ok(changes);
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
    let lines = file
        .metadata()
        .iter()
        .map(|(key, value)| format!("  {} {}\n", style.dim(&format!("{key}:")), shown(value)));
    let lines: String = lines.collect();
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}
