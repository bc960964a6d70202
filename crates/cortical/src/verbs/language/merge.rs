//! `merge`

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use candle_core::Tensor;
use cortical_models::language::{self, LanguageModel, LoadOptions, TextClassifier, Weights};
use cortical_text::Tokenizer;
use serde_json::json;

use crate::cli_language::MergeArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::count;

/// `cortical merge`: a model as a folder of its own, its low-rank changes a part of its weights.
pub(crate) fn merge(args: &MergeArgs, output: &Output) -> Result<Done> {
    super::exists(&args.model)?;
    let options = LoadOptions {
        weights: Weights::Single,
        ..Default::default()
    };
    let (model, params, classes) = match language::read_classes(&args.model)? {
        None => {
            let loaded = language::open(&args.model, &options)?;
            (Merged::Tokens(loaded.model), loaded.params, Vec::new())
        }
        Some(classes) => {
            let (classifier, params) = TextClassifier::open(&args.model, classes.len(), &options)?;
            (Merged::Classes(classifier), params, classes)
        }
    };
    let (config, tensors) = match &model {
        Merged::Tokens(model) => {
            let tensors = language::merged_tensors(model, &params)?;
            (model.config().to_json(), tensors)
        }
        Merged::Classes(classifier) => {
            let config = classifier.model().config();
            (
                config.to_classifier_json(&classes),
                classifier.tensors(&params)?,
            )
        }
    };
    let config = config.ok_or_else(|| Error::NoConfig {
        path: args.model.clone(),
    })?;
    let changes = model.body().projections();
    let changes = changes.iter().filter(|p| p.is_adapted()).count();
    // A model may have no tokenizer, and take numbers only.
    let tokenizer = match Tokenizer::open(&args.model).and_then(|own| own.to_json()) {
        Ok(text) => Some(text),
        Err(why) => {
            output.warning(&format!("no tokenizer was written: {why}"));
            None
        }
    };
    new_folder(&args.out)?;
    let written = write_model(&args.out, &tensors, &config, tokenizer.as_deref());
    if written.is_err() {
        // It is ours alone; half a model helps nobody.
        let _ = fs::remove_dir_all(&args.out);
    }
    written?;
    let folder = args.out.display().to_string();
    let value = json!({ "folder": folder, "changes": changes, "tensors": tensors.len() });
    output.result(&value, |_| {
        let (changes, tensors) = (count(changes), count(tensors.len()));
        format!("{folder}: {tensors} tensors, {changes} low-rank changes are part of them")
    });
    Ok(Done::Finished)
}

/// Fills the folder.
fn write_model(
    folder: &Path,
    tensors: &[(String, Tensor)],
    config: &str,
    tokenizer: Option<&str>,
) -> Result<()> {
    // Others look for this word in the files of PyTorch's models.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    cortical_io::save_tensors(folder.join("model.safetensors"), tensors, &metadata)?;
    let write = |name: &str, text: &str| {
        cortical_io::write_atomic(folder.join(name), |file| file.write_all(text.as_bytes()))
    };
    write("config.json", config)?;
    if let Some(tokenizer) = tokenizer {
        write("tokenizer.json", tokenizer)?;
    }
    Ok(())
}

/// A model with either head.
enum Merged {
    Tokens(LanguageModel),
    Classes(TextClassifier),
}

impl Merged {
    fn body(&self) -> &LanguageModel {
        match self {
            Self::Tokens(model) => model,
            Self::Classes(classifier) => classifier.model(),
        }
    }
}

/// Makes the folder, which must not be there yet: what is in it might be somebody's only model.
fn new_folder(path: &Path) -> Result<()> {
    let failed = |why| Error::Folder {
        path: path.to_owned(),
        why,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::create_dir(path).map_err(|why| match why.kind() {
        ErrorKind::AlreadyExists => Error::Occupied {
            path: path.to_owned(),
        },
        _ => failed(why),
    })
}
