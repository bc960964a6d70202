//! A tokenizer as the values of a GGUF file, of the kinds that llama.cpp has: byte-pair encoding over bytes, pieces of
//! SentencePiece's, and WordPiece.

mod pieces;
mod words;

use std::path::Path;

use cortical_io::{GgufValues, printable, read_text};
use serde_json::Value;

use super::gguf::{LLAMA3, QWEN2};
use crate::error::{Error, Result};

/// Kinds of tokens: text, what stands for text that has no token, control tokens, those that somebody added, numbers
/// that no text has, and single bytes.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const ADDED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;
/// What texts and turns end with where no file says it.
const ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>"];
/// Tokens that files of settings name, and what GGUF files call them (one of them as it was once misspelt).
const NAMED: [(&str, &str); 7] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("pad", "padding"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("cls", "cls"),
    ("mask", "mask"),
];
/// The most bytes of a file of a tokenizer.
const FILE_BYTES: u64 = 64 << 20;

/// Why a tokenizer is not written.
type Refusal = String;

/// The tokens of a model by their numbers, with their kinds.
struct Tokens(Vec<(String, i32)>);

impl Tokens {
    /// As many as the model has, none of them a text yet.
    fn new(count: usize) -> Self {
        Self(
            (0..count)
                .map(|id| (format!("[PAD{id}]"), UNUSED))
                .collect(),
        )
    }

    fn put(&mut self, text: &str, id: Option<u64>, kind: i32) -> std::result::Result<(), Refusal> {
        let place = id.and_then(|id| self.0.get_mut(usize::try_from(id).ok()?));
        let place = place.ok_or("a token's number is outside of the model's table")?;
        *place = (text.to_owned(), kind);
        Ok(())
    }

    /// The tokens that stand beside the vocabulary.
    fn put_added(&mut self, json: &Value) -> std::result::Result<(), Refusal> {
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let kind = match added["special"] == true {
                true => CONTROL,
                false => ADDED,
            };
            let content = added["content"].as_str();
            let content = content.ok_or("an added token has no text")?;
            self.put(content, added["id"].as_u64(), kind)?;
        }
        Ok(())
    }

    fn write(self, model: &str, pre: &str, values: &mut GgufValues) -> Vec<String> {
        let (texts, kinds): (Vec<String>, Vec<i32>) = self.0.into_iter().unzip();
        values.text("tokenizer.ggml.model", model);
        values.text("tokenizer.ggml.pre", pre);
        values.texts("tokenizer.ggml.tokens", &texts);
        values.i32s("tokenizer.ggml.token_type", &kinds);
        texts
    }
}

/// Adds the tokenizer of a folder as Hugging Face has it, for a model of so many tokens; its template of chats too.
///
/// # Errors
/// A folder without `tokenizer.json`, or one that llama.cpp would not follow to the letter.
pub fn write_gguf_tokenizer(
    folder: &Path,
    vocab_size: usize,
    values: &mut GgufValues,
) -> Result<()> {
    let path = folder.join("tokenizer.json");
    let wrong = |why: String| Error::Tokenizer {
        origin: path.display().to_string(),
        why,
    };
    let text = read_text(&path, FILE_BYTES)?;
    let json: Value = serde_json::from_str(&text).map_err(|why| wrong(why.to_string()))?;
    let model = &json["model"];
    let written = match model["type"].as_str() {
        Some("BPE") if model["byte_fallback"] == true => pieces::write(&json, vocab_size, values),
        Some("BPE") => byte_pairs(&json, vocab_size, values),
        Some("WordPiece") => words::write(&json, vocab_size, values),
        other => Err(format!(
            "its model {} is not written into GGUF files; BPE and WordPiece are",
            printable(other.unwrap_or("without a type"), 60)
        )),
    };
    settings(folder, &written.map_err(wrong)?, &json, values)
}

/// The merges of two texts each.
fn merges(model: &Value) -> std::result::Result<Vec<[&str; 2]>, Refusal> {
    let merges = model["merges"].as_array();
    let merges = merges.map(Vec::as_slice).unwrap_or_default().iter();
    merges
        .map(|merge| {
            let pair = match merge {
                Value::String(merge) => merge.split_once(' '),
                pair => pair[0].as_str().zip(pair[1].as_str()),
            };
            let (left, right) = pair.ok_or("a merge is no pair of texts")?;
            Ok([left, right])
        })
        .collect()
}

/// Byte-pair encoding over bytes written as letters.
fn byte_pairs(
    json: &Value,
    vocab_size: usize,
    values: &mut GgufValues,
) -> std::result::Result<Vec<String>, Refusal> {
    let model = &json["model"];
    let vocab = model["vocab"].as_object().ok_or("it has no vocabulary")?;
    let pre = pre_name(&json["pre_tokenizer"]);
    let pre =
        pre.ok_or("llama.cpp has no name for how it cuts texts into words that is known here")?;
    if !json["normalizer"].is_null() && json["normalizer"]["type"] != "NFC" {
        return Err("its normalizer is not written into GGUF files".to_owned());
    }
    let mut tokens = Tokens::new(vocab_size);
    for (token, id) in vocab {
        tokens.put(token, id.as_u64(), NORMAL)?;
    }
    tokens.put_added(json)?;
    let merges: Vec<String> = merges(model)?
        .into_iter()
        .map(|merge| merge.join(" "))
        .collect();
    let texts = tokens.write("gpt2", pre, values);
    values.texts("tokenizer.ggml.merges", &merges);
    Ok(texts)
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
    // llama.cpp puts the first before a text and the last behind it, and asks for no others.
    let is_words = json["model"]["type"] == "WordPiece";
    for (name, key) in NAMED {
        let name = match name {
            "bos" if is_words => "cls",
            "eos" if is_words => "sep",
            name => name,
        };
        let id =
            by_text(&format!("{name}_token")).or_else(|| by_number(&format!("{name}_token_id")));
        let usual = || {
            ENDS.iter()
                .find_map(|end| tokens.iter().position(|token| token == end))
        };
        let id = id.or_else(|| usual().filter(|_| name == "eos"));
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok()) {
            values.u32(&format!("tokenizer.ggml.{key}_token_id"), id);
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
    // WordPiece's always do, and end with one too.
    if !is_words {
        let begins = own["add_bos_token"].as_bool().unwrap_or(begins);
        values.bool("tokenizer.ggml.add_bos_token", begins);
    }
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
