//! `convert`

use std::fs;
use std::path::Path;

use cortical_io::{AnyModel, ConvertOptions, read_text};
use cortical_models::language::{GgufExport, LanguageConfig};
use cortical_text::write_gguf_tokenizer;
use serde_json::{Value, json};

use crate::cli_convert::ConvertArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{bytes, count};

/// The most bytes of a `config.json`.
const CONFIG_BYTES: u64 = 1 << 20;

/// `cortical convert`: a model in another format, with other types or names.
pub(crate) fn convert(args: &ConvertArgs, output: &Output) -> Result<Done> {
    if !args.input.exists() {
        return Err(Error::NotFound {
            path: args.input.clone(),
        });
    }
    may_replace(args)?;
    let model = AnyModel::open(&args.input)?;
    let mut options = ConvertOptions::default();
    options.dtype = args.dtype;
    options.shard_bytes = args.shard;
    options.renames.clone_from(&args.rename);
    let is_gguf = args
        .out
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    if is_gguf && args.input.join("config.json").is_file() {
        describe(args, &model, &mut options, output)?;
    }
    let done = cortical_io::convert(&model, &args.out, &options)?;
    if done.kept_as_bytes > 0 {
        let kept = count(done.kept_as_bytes);
        output.warning(&format!(
            "{kept} quantized tensors are kept as the bytes of their blocks, for the way back to GGUF; --dtype f16 makes numbers of them"
        ));
    }
    let files: Vec<String> = done
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let value = json!({
        "format": model.format(),
        "files": files,
        "tensors": done.tensors,
        "bytes": done.bytes,
        "left_out": done.left_out,
        "kept_as_bytes": done.kept_as_bytes,
    });
    output.result(&value, |_| {
        let mut text = format!(
            "{}: {} tensors, {}",
            args.out.display(),
            count(done.tensors),
            bytes(done.bytes)
        );
        if files.len() > 1 {
            text += &format!(", in {} files", count(files.len()));
        }
        if done.left_out > 0 {
            text += &format!("; {} left out", count(done.left_out));
        }
        text
    });
    Ok(Done::Finished)
}

/// Adds what a GGUF file says of a model in a folder as Hugging Face has it: sizes, names, the tokenizer.
fn describe(
    args: &ConvertArgs,
    model: &AnyModel,
    options: &mut ConvertOptions,
    output: &Output,
) -> Result<()> {
    let text = read_text(args.input.join("config.json"), CONFIG_BYTES)?;
    let config = LanguageConfig::from_json(&text).map_err(|why| why.with_names_of(model))?;
    let mut export = GgufExport::new(&config, model, &args.rename)?;
    let tokenizer = write_gguf_tokenizer(&args.input, config.vocab_size(), &mut export.values);
    if let Err(why) = tokenizer {
        output.warning(&format!("the file has no usable tokenizer: {why}"));
    }
    if let Some(kind) = pooling(&args.input)? {
        let key = format!("{}.pooling_type", export.name);
        export.values.u32(&key, kind);
    }
    for remark in &export.remarks {
        output.warning(remark);
    }
    options.gguf_values = Some(export.values);
    options.renames = export.renames;
    options.rearranged = export.rearranged;
    options.more = export.more;
    Ok(())
}

/// How sentence-transformers makes one vector of those of all tokens, by llama.cpp's numbers: their mean, or the first.
fn pooling(folder: &Path) -> Result<Option<u32>> {
    let path = folder.join("1_Pooling/config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(&path, CONFIG_BYTES)?;
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    let is_so = |mode: &str| said[format!("pooling_mode_{mode}")] == true;
    Ok(if is_so("mean_tokens") {
        Some(1)
    } else if is_so("cls_token") {
        Some(2)
    } else {
        None
    })
}

/// Refuses to replace what is read, and without --force anything.
fn may_replace(args: &ConvertArgs) -> Result<()> {
    let Ok(found) = fs::canonicalize(&args.out) else {
        return Ok(());
    };
    let path = args.out.clone();
    let is_read = fs::canonicalize(&args.input).is_ok_and(|read| {
        read == found
            || read.parent() == Some(&found)
            || read.is_dir() && found.parent() == Some(&read)
    });
    if is_read {
        return Err(Error::OutIsInput { path });
    }
    if !args.force && !is_empty_folder(&found) {
        return Err(Error::Exists { path });
    }
    Ok(())
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
