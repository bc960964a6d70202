//! A tokenizer as the values of a GGUF file: byte-pair encoding over bytes, as llama.cpp reads it.

use std::path::Path;

use cortical_io::{GgufValues, read_text};
use serde_json::Value;

use super::gguf::{LLAMA3, QWEN2};
use crate::error::{Error, Result};

/// Kinds of tokens: text, control tokens, those that somebody added, and numbers that no text has.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const ADDED: i32 = 4;
const UNUSED: i32 = 5;
/// What texts and turns end with where no file says it.
const ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>"];
/// The most bytes of a file of a tokenizer.
const FILE_BYTES: u64 = 64 << 20;

/// Adds the tokenizer of a folder as Hugging Face has it, for a model of so many tokens; its template of chats too.
///
/// # Errors
/// A folder without `tokenizer.json`, or one of another kind than byte-pair encoding over bytes.
pub fn write_gguf_tokenizer(
    folder: &Path,
    vocab_size: usize,
    values: &mut GgufValues,
) -> Result<()> {
    let path = folder.join("tokenizer.json");
    let origin = path.display().to_string();
    let wrong = |why: &str| Error::Tokenizer {
        origin: origin.clone(),
        why: why.to_owned(),
    };
    let text = read_text(&path, FILE_BYTES)?;
    let json: Value = serde_json::from_str(&text).map_err(|why| wrong(&why.to_string()))?;
    let model = &json["model"];
    let vocab = model["vocab"]
        .as_object()
        .filter(|_| model["type"] == "BPE");
    let vocab = vocab.ok_or_else(|| wrong("only byte-pair encoding is written into GGUF files"))?;
    if model["byte_fallback"] == true {
        return Err(wrong(
            "pieces of SentencePiece's are not written into GGUF files",
        ));
    }
    let pre = pre_name(&json["pre_tokenizer"]);
    let pre = pre.ok_or_else(|| {
        wrong("llama.cpp has no name for how it cuts texts into words that is known here")
    })?;
    if !json["normalizer"].is_null() && json["normalizer"]["type"] != "NFC" {
        return Err(wrong("its normalizer is not written into GGUF files"));
    }
    let mut tokens: Vec<(String, i32)> = (0..vocab_size)
        .map(|id| (format!("[PAD{id}]"), UNUSED))
        .collect();
    let mut put = |text: &str, id: Option<u64>, kind: i32| -> Result<()> {
        let place = id.and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
        let place =
            place.ok_or_else(|| wrong("a token's number is outside of the model's table"))?;
        *place = (text.to_owned(), kind);
        Ok(())
    };
    for (token, id) in vocab {
        put(token, id.as_u64(), NORMAL)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true {
            CONTROL
        } else {
            ADDED
        };
        let content = added["content"]
            .as_str()
            .ok_or_else(|| wrong("an added token has no text"))?;
        put(content, added["id"].as_u64(), kind)?;
    }
    let merges: Option<Vec<String>> = model["merges"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|merge| match merge {
            Value::String(merge) => Some(merge.clone()),
            pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
        })
        .collect();
    let merges = merges.ok_or_else(|| wrong("a merge is no pair of texts"))?;
    let (texts, kinds): (Vec<String>, Vec<i32>) = tokens.into_iter().unzip();
    values.text("tokenizer.ggml.model", "gpt2");
    values.text("tokenizer.ggml.pre", pre);
    values.texts("tokenizer.ggml.tokens", &texts);
    values.i32s("tokenizer.ggml.token_type", &kinds);
    values.texts("tokenizer.ggml.merges", &merges);
    settings(folder, &texts, &json, values)
}

/// What `tokenizer_config.json` and `config.json` say: ends, beginnings and the template of chats.
fn settings(folder: &Path, tokens: &[String], json: &Value, values: &mut GgufValues) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let path = folder.join(name);
        if !path.is_file() {
            return Ok(Value::Null);
        }
        let text = read_text(&path, FILE_BYTES)?;
        serde_json::from_str(&text).map_err(|why| Error::Tokenizer {
            origin: path.display().to_string(),
            why: why.to_string(),
        })
    };
    let (own, model) = (read("tokenizer_config.json")?, read("config.json")?);
    let by_text = |key: &str| {
        let text = own[key].as_str().or(own[key]["content"].as_str())?;
        tokens.iter().position(|token| token == text)
    };
    let by_number = |key: &str| {
        let number = model[key].as_u64().or(model[key][0].as_u64())?;
        usize::try_from(number).ok().filter(|id| *id < tokens.len())
    };
    for name in ["bos", "eos", "pad", "unk"] {
        let id =
            by_text(&format!("{name}_token")).or_else(|| by_number(&format!("{name}_token_id")));
        let usual = || {
            ENDS.iter()
                .find_map(|end| tokens.iter().position(|token| token == end))
        };
        let id = id.or_else(|| usual().filter(|_| name == "eos"));
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok()) {
            let name = if name == "pad" {
                "padding"
            } else if name == "unk" {
                "unknown"
            } else {
                name
            };
            values.u32(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
    // Whether texts begin with a token of their own: said, or done behind the cutting.
    let template = json["post_processor"]["single"].as_array().or_else(|| {
        let parts = json["post_processor"]["processors"].as_array()?;
        parts.iter().find_map(|part| part["single"].as_array())
    });
    let begins = template.is_some_and(|parts| {
        parts
            .first()
            .is_some_and(|part| part["SpecialToken"].is_object())
    });
    values.bool(
        "tokenizer.ggml.add_bos_token",
        own["add_bos_token"].as_bool().unwrap_or(begins),
    );
    let file = folder.join("chat_template.jinja");
    let template = match file.is_file() {
        true => Some(read_text(&file, FILE_BYTES)?),
        false => own["chat_template"].as_str().map(str::to_owned),
    };
    if let Some(template) = template {
        values.text("tokenizer.chat_template", &template);
    }
    Ok(())
}

/// llama.cpp's name for how texts are cut into words before pairs are merged.
fn pre_name(pre: &Value) -> Option<&'static str> {
    if pre["type"] == "ByteLevel" {
        let is_plain = pre["use_regex"] != false && pre["add_prefix_space"] != true;
        return is_plain.then_some("gpt-2");
    }
    let steps = pre["pretokenizers"]
        .as_array()
        .filter(|_| pre["type"] == "Sequence")?;
    let [first, last] = &steps[..] else {
        return None;
    };
    if last["type"] != "ByteLevel" || last["add_prefix_space"] == true {
        return None;
    }
    if first["type"] == "Digits" {
        let fits = first["individual_digits"] == true && last["use_regex"] != false;
        return fits.then_some("smollm");
    }
    let is_cut =
        first["type"] == "Split" && first["behavior"] == "Isolated" && first["invert"] != true;
    match first["pattern"]["Regex"]
        .as_str()
        .filter(|_| is_cut && last["use_regex"] == false)?
    {
        LLAMA3 => Some("llama-bpe"),
        QWEN2 => Some("qwen2"),
        _ => None,
    }
}
