//! `serve`

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cortical_data::csv::CsvOptions;
use cortical_data::{Target, open_features};
use cortical_models::language::{self, LoadOptions};
use cortical_serve::{Classifier, Language, Options, Subject};
use cortical_text::{ChatTemplate, Tokenizer};
use cortical_train::{Outputs, Prediction, TextModel, TrainedModel};
use serde_json::{Map, Value, json};

use crate::cli::Common;
use crate::cli_language::WeightsArg;
use crate::cli_serve::ServeArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::signals::Listener;
use crate::style::{bytes, count};
use crate::verbs::language::check_memory;
use crate::verbs::load_model;

/// Positions of a text where nobody says how many.
const CONTEXT: usize = 4096;
/// Samples that a classifier reads at a time.
const BATCH_SIZE: usize = 256;

/// `cortical serve`
pub(crate) fn serve(args: &ServeArgs, common: &Common, output: &Output) -> Result<Done> {
    if !args.model.exists() {
        let path = args.model.clone();
        return Err(Error::NotFound { path });
    }
    let mut options = Options::new(&name(args));
    options.together = args.together;
    options.queue = args.queue.into();
    options.max_tokens = args.max_tokens;
    options.max_body = usize::from(args.max_body) << 20;
    options.timeout = Duration::from_secs(args.timeout.into());
    options.api_key = args
        .api_key
        .clone()
        .or_else(|| std::env::var("CORTICAL_API_KEY").ok())
        .filter(|key| !key.is_empty());
    options.cors = args.cors.clone();
    options.local_only = args.host.is_loopback() && options.api_key.is_none();
    let subject = match classifier(&args.model)? {
        Some(classifier) => Subject::Classifier(classifier),
        None => language_model(args, &mut options, output)?,
    };
    let address = SocketAddr::new(args.host, args.port);
    let failed = |why| Error::Listen { address, why };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if !args.host.is_loopback() && options.api_key.is_none() {
        output.warning(
            "everybody who reaches this machine may use the model; --api-key asks for a key",
        );
    }
    let signals = Listener::start()?;
    // From now on a signal ends it gracefully, and a second one at once.
    signals.begin();
    let url = format!("http://{address}/");
    output.result(&json!({ "url": url, "model": options.name }), |style| {
        format!("  {} at {}", options.name, style.bold(&url))
    });
    output.remark("Ctrl-C ends it when the requests under way are answered.");
    cortical_serve::serve(subject, options, common.threads, listener, signals.stop())?;
    Ok(Done::Finished)
}

/// What clients call the model.
fn name(args: &ServeArgs) -> String {
    let own = args.model.canonicalize();
    let own = own.as_deref().unwrap_or(&args.model);
    let stem = match own.is_dir() {
        true => own.file_name(),
        false => own.file_stem(),
    };
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    args.name
        .clone()
        .or(stem)
        .unwrap_or_else(|| "model".to_owned())
}

fn language_model(args: &ServeArgs, options: &mut Options, output: &Output) -> Result<Subject> {
    let load = LoadOptions {
        weights: WeightsArg::form(args.weights),
        ..Default::default()
    };
    // First, as in the other verbs: reading it takes memory for a moment, which the weights take next.
    let tokenizer = Tokenizer::open(&args.model);
    let model = language::open(&args.model, &load)?.model;
    let tokenizer = tokenizer?;
    let template = match ChatTemplate::open(&args.model) {
        Ok(template) => Some(template),
        Err(cortical_text::Error::NoTemplate { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let config = model.config();
    let most = config.max_positions();
    options.context = args.context.unwrap_or_else(|| most.min(CONTEXT));
    if options.context > most {
        let (got, positions) = (options.context, most);
        return Err(Error::LongContext { got, positions });
    }
    options.kept = args.kept.unwrap_or(options.context.saturating_mul(4));
    if model.has_head() {
        let positions = options.together.saturating_mul(options.context);
        let memory = config.cache_bytes(positions.saturating_add(options.kept));
        output.remark(&format!(
            "{} with {} parameters; {} texts of up to {} tokens at a time, and {} tokens of earlier ones: keys and values take up to {}",
            output.err.bold(config.model_type()),
            count(config.parameters().unwrap_or(usize::MAX)),
            options.together,
            count(options.context),
            count(options.kept),
            memory.map_or("more than can be counted".to_owned(), |n| bytes(n as u64)),
        ));
        check_memory(memory, "a smaller --together, --context or --kept")?;
    }
    Ok(Subject::Language(Box::new(Language {
        model,
        tokenizer,
        template,
    })))
}

/// The classifier in a run, a folder or a file; `None` for a language model.
fn classifier(path: &Path) -> Result<Option<Classifier>> {
    if path.is_dir()
        && let Some(model) = TextModel::open(path)?
    {
        return Ok(Some(Arc::new(move |kind, body| {
            predict_texts(&model, kind, body)
        })));
    }
    let is_trained = match path.is_dir() {
        true => path.join("recipe.toml").exists() && !path.join("config.json").exists(),
        false => path.extension().is_some_and(|end| end == "safetensors"),
    };
    if !is_trained {
        return Ok(None);
    }
    match load_model(path) {
        Ok((model, _)) => {
            let next = AtomicU64::new(0);
            Ok(Some(Arc::new(move |kind, body| {
                let file = Upload::new(kind, body, next.fetch_add(1, Ordering::Relaxed))?;
                predict_file(&model, &file.0).map_err(|why| why.to_string())
            })))
        }
        // Such a run is a language model.
        Err(Error::ContinuesTexts { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Classes of `{"texts": [...]}`, or of the lines of a plain text.
fn predict_texts(model: &TextModel, kind: &str, body: &[u8]) -> Result<Value, String> {
    let texts: Vec<String> = match kind {
        "application/json" => {
            let value: Value = serde_json::from_slice(body).map_err(|why| why.to_string())?;
            let texts = value["texts"].as_array().map(|all| {
                let texts = all.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>()
            });
            texts
                .flatten()
                .ok_or("expected {\"texts\": [\"...\", ...]}")?
        }
        "text/plain" => {
            let text = std::str::from_utf8(body).map_err(|why| why.to_string())?;
            text.lines().map(str::to_owned).collect()
        }
        _ => {
            return Err("the body must be application/json, {\"texts\": [...]}, or text/plain with a text in each line".to_owned());
        }
    };
    let found = model.predict(&texts).map_err(|why| why.to_string())?;
    Ok(classes(model.classes(), &found))
}

/// A body as a file for the readers of tables and pictures, gone when it was read.
struct Upload(std::path::PathBuf);

impl Upload {
    fn new(kind: &str, body: &[u8], number: u64) -> Result<Self, String> {
        let end = match kind {
            "text/csv" => "csv",
            "image/png" => "png",
            "image/jpeg" => "jpg",
            _ => {
                return Err("the body must be text/csv, image/png or image/jpeg".to_owned());
            }
        };
        let name = format!("cortical-serve-{}-{number}.{end}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, body));
        let upload = Self(path);
        written
            .map(|()| upload)
            .map_err(|why| format!("the body cannot be kept while it is read: {why}"))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A file that stays behind is the system's to clean up.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a network predicts for each row or picture.
fn predict_file(model: &TrainedModel, path: &Path) -> Result<Value> {
    let options = CsvOptions {
        may_lack_labels: true,
        ..CsvOptions::default()
    };
    match model.outputs() {
        Outputs::Labels(outputs) => {
            let options = CsvOptions {
                target: Target::Labels,
                ..options
            };
            let features = open_features(path, model.preprocess(), &options)?;
            let found = model.predict_labels(&features.inputs, BATCH_SIZE)?;
            let row = |at: usize| -> Value {
                let own = &found[at];
                let named = outputs.names().iter();
                let there = named.clone().zip(&own.there).filter(|(_, there)| **there);
                let labels: Vec<&String> = there.map(|(name, _)| name).collect();
                let shares = named.zip(&own.probabilities);
                let shares: Map<String, Value> =
                    shares.map(|(name, p)| (name.clone(), json!(p))).collect();
                json!({ "labels": labels, "probabilities": shares })
            };
            let rows: Vec<Value> = (0..found.len()).map(row).collect();
            Ok(json!({ "predictions": rows }))
        }
        Outputs::Numbers(outputs) => {
            let features = open_features(path, model.preprocess(), &options)?;
            let found = model.predict_numbers(&features.inputs, BATCH_SIZE)?;
            let names = outputs.scale().names();
            let rows = found.iter().map(|own| {
                let values = names.iter().zip(&own.values);
                let values: Map<String, Value> = values
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect();
                json!({ "values": values })
            });
            Ok(json!({ "predictions": rows.collect::<Vec<_>>() }))
        }
        _ => {
            let options = CsvOptions {
                classes: Some(model.classes().to_vec()),
                ..options
            };
            let features = open_features(path, model.preprocess(), &options)?;
            let found = model.predict(&features.inputs, BATCH_SIZE)?;
            Ok(classes(model.classes(), &found))
        }
    }
}

/// The classes of some samples with all probabilities.
fn classes(names: &[String], found: &[Prediction]) -> Value {
    let rows = found.iter().map(|own| {
        let shares = names.iter().zip(&own.probabilities);
        let shares: Map<String, Value> = shares.map(|(name, p)| (name.clone(), json!(p))).collect();
        json!({
            "label": names.get(own.class),
            "probability": own.probability,
            "probabilities": shares,
        })
    });
    json!({ "predictions": rows.collect::<Vec<_>>() })
}
