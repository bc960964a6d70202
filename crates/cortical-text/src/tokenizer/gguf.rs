//! The tokenizer that a GGUF file keeps, as the description that Hugging Face's files have.

use super::ends::is_turn_end;
use super::{Tokenizer, added_token, byte_level};
use crate::error::{Error, Result};
use cortical_io::{GgufFile, GgufValue, printable};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// How Llama 3 cuts text into words.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp calls it. Such a text begins with a token of its own where the file does not say otherwise.
const LLAMA3_NAMES: [&str; 3] = ["llama-bpe", "llama3", "llama-v3"];
/// How Qwen2 does, which keeps digits alone.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The most bytes of a piece of SentencePiece's, which are words and parts of words.
const PIECE_BYTES: usize = 1 << 10;

/// The kinds of tokens that are no text: control tokens, and those that somebody added.
const CONTROL: i64 = 3;
const ADDED: i64 = 4;

pub(super) fn tokenizer(file: &GgufFile) -> Result<Tokenizer> {
    let text = |key: &str| file.value(key).and_then(GgufValue::as_text);
    let list = |key: &str| file.value(key).and_then(GgufValue::as_texts);
    let origin = file.path().display().to_string();
    let Some(tokens) = list("tokenizer.ggml.tokens") else {
        return Err(Error::NoTokenizer {
            path: file.path().to_owned(),
        });
    };
    let types = file
        .value("tokenizer.ggml.token_type")
        .and_then(GgufValue::as_integers);
    let kind = |id: usize| types.and_then(|types| types.get(id)).copied().unwrap_or(1);
    let added: Vec<Value> = tokens
        .iter()
        .enumerate()
        .filter(|(id, token)| {
            let beside = matches!(kind(*id), CONTROL | ADDED) || is_turn_end(token);
            beside && !token.is_empty()
        })
        .map(|(id, token)| {
            let mut added = added_token(&json!(id), token);
            added["special"] = json!(kind(id) == CONTROL || is_turn_end(token));
            added
        })
        .collect();
    let mut vocab = Map::new();
    for (id, token) in tokens.iter().enumerate() {
        // Where a token stands twice, the first one counts, as in llama.cpp.
        vocab.entry(token.clone()).or_insert_with(|| json!(id));
    }
    let model = text("tokenizer.ggml.model").unwrap_or_default();
    let description = match model {
        "gpt2" => {
            let merges = list("tokenizer.ggml.merges").unwrap_or_default();
            let pre = text("tokenizer.ggml.pre").unwrap_or("gpt-2");
            byte_pairs(&origin, pre, vocab, merges, added)?
        }
        "llama" => {
            let scores = file
                .value("tokenizer.ggml.scores")
                .and_then(GgufValue::as_floats);
            let prefix = file
                .value("tokenizer.ggml.add_space_prefix")
                .and_then(GgufValue::as_bool);
            pieces(
                tokens,
                scores.unwrap_or_default(),
                vocab,
                added,
                prefix.unwrap_or(true),
            )
            .map_err(|why| Error::Tokenizer {
                origin: origin.clone(),
                why,
            })?
        }
        _ => {
            return Err(Error::Kind {
                origin,
                key: "tokenizer.ggml.model",
                got: printable(model, 60),
                supported: "gpt2 and llama",
            });
        }
    };
    let mut tokenizer = Tokenizer::from_json(&origin, &description.to_string())?;
    let id = |key: &str| {
        let id = file.value(key).and_then(GgufValue::as_u64)?;
        u32::try_from(id)
            .ok()
            .filter(|id| (*id as usize) < tokens.len())
    };
    let begins = file
        .value("tokenizer.ggml.add_bos_token")
        .and_then(GgufValue::as_bool);
    let pre = text("tokenizer.ggml.pre").unwrap_or_default();
    if begins.unwrap_or(model == "llama" || LLAMA3_NAMES.contains(&pre)) {
        // The numbers that llama.cpp takes where the file names none.
        let default = match model {
            "llama" => tokens.get(1).map(|_| 1),
            _ => tokenizer.id("<|begin_of_text|>"),
        };
        tokenizer.bos = id("tokenizer.ggml.bos_token_id").or(default);
    }
    let ends = ["eos", "eot", "eom"].map(|end| format!("tokenizer.ggml.{end}_token_id"));
    tokenizer.eos = ends.iter().filter_map(|key| id(key)).collect();
    if tokenizer.eos.is_empty() {
        tokenizer.eos = tokenizer.text_ends();
    }
    // Files name one end, and models know several: llama.cpp stops at all that are called so.
    tokenizer.eos = tokenizer.turn_ends();
    Ok(tokenizer)
}

/// Byte-pair encoding over bytes written as letters.
fn byte_pairs(
    origin: &str,
    pre: &str,
    vocab: Map<String, Value>,
    merges: &[String],
    added: Vec<Value>,
) -> Result<Value> {
    let split = |pattern: &str| {
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            byte_level(false),
        ] })
    };
    let (pre, whole_words) = match pre {
        "gpt-2" | "gpt2" | "default" => (byte_level(true), false),
        "smollm" | "starcoder" | "refact" | "command-r" => (
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Digits", "individual_digits": true }, byte_level(true),
            ] }),
            false,
        ),
        "smaug-bpe" => (split(LLAMA3), true),
        pre if LLAMA3_NAMES.contains(&pre) => (split(LLAMA3), true),
        "qwen2" | "deepseek-r1-qwen" => (split(QWEN2), false),
        _ => {
            return Err(Error::Kind {
                origin: origin.to_owned(),
                key: "tokenizer.ggml.pre",
                got: printable(pre, 60),
                supported: "gpt-2, smollm, starcoder, llama-bpe and qwen2",
            });
        }
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": pre,
        "decoder": byte_level(true),
        "model": { "type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": whole_words },
    }))
}

/// SentencePiece's pieces with scores, as byte-pair encoding whose merges are in the order of the scores of what they
/// make.
fn pieces(
    tokens: &[String],
    scores: &[f32],
    vocab: Map<String, Value>,
    added: Vec<Value>,
    prefix: bool,
) -> std::result::Result<Value, String> {
    // Every place of a token is one where it may be cut in two.
    if let Some((id, token)) = tokens
        .iter()
        .enumerate()
        .find(|(_, t)| t.len() > PIECE_BYTES)
    {
        return Err(format!(
            "token {id} of tokenizer.ggml.tokens has {} bytes; at most {PIECE_BYTES} are read",
            token.len()
        ));
    }
    let lengths: HashSet<usize> = tokens.iter().map(String::len).collect();
    let known: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, t)| (t.as_str(), id))
        .collect();
    let score = |id: usize| scores.get(id).copied().unwrap_or(0.0);
    let mut merges: Vec<(f32, usize, usize, [&str; 2])> = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        for (at, _) in token.char_indices().skip(1) {
            if !lengths.contains(&at) || !lengths.contains(&(token.len() - at)) {
                continue;
            }
            let (left, right) = token.split_at(at);
            if let (Some(l), Some(r)) = (known.get(left), known.get(right)) {
                merges.push((score(id), *l, *r, [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let merges: Vec<[&str; 2]> = merges.into_iter().map(|merge| merge.3).collect();
    let space = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizers = match prefix {
        true => json!([{ "type": "Prepend", "prepend": "▁" }, space]),
        false => json!([space]),
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = tokens.first().filter(|token| token.as_str() == "<unk>");
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": unknown,
            "byte_fallback": true, "fuse_unk": true, "ignore_merges": false,
        },
    }))
}
