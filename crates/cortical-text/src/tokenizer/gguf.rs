//! The tokenizer that a GGUF file keeps: its steps as the description that Hugging Face's files have, its vocabulary as
//! the library's, without a description of many thousands of tokens in between.

use super::ends::is_turn_end;
use super::{Tokenizer, byte_level};
use crate::error::{Error, Result};
use cortical_io::{GgufFile, GgufValue, printable};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

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
    let added: Vec<AddedToken> = tokens
        .iter()
        .enumerate()
        .filter(|(id, token)| {
            let beside = matches!(kind(*id), CONTROL | ADDED) || is_turn_end(token);
            beside && !token.is_empty()
        })
        .map(|(id, token)| {
            let special = kind(id) == CONTROL || is_turn_end(token);
            AddedToken::from(token.as_str(), special).normalized(false)
        })
        .collect();
    let mut vocab = Vocab::with_capacity(tokens.len());
    for (id, token) in (0_u32..).zip(tokens) {
        // Where a token stands twice, the first one counts, as in llama.cpp.
        vocab.entry(token.clone()).or_insert(id);
    }
    let refuse = |why: String| Error::Tokenizer {
        origin: origin.clone(),
        why,
    };
    let model = text("tokenizer.ggml.model").unwrap_or_default();
    let (steps, bpe) = match model {
        "gpt2" => {
            let pre = text("tokenizer.ggml.pre").unwrap_or("gpt-2");
            let (steps, whole_words) = byte_pairs(&origin, pre)?;
            let merges = list("tokenizer.ggml.merges").unwrap_or_default();
            let merges = pairs(merges).map_err(refuse)?;
            let bpe = BPE::builder().vocab_and_merges(vocab, merges);
            (steps, bpe.ignore_merges(whole_words))
        }
        "llama" => {
            let scores = file
                .value("tokenizer.ggml.scores")
                .and_then(GgufValue::as_floats);
            let prefix = file
                .value("tokenizer.ggml.add_space_prefix")
                .and_then(GgufValue::as_bool);
            let merges = pieces(tokens, scores.unwrap_or_default()).map_err(refuse)?;
            let bpe = BPE::builder().vocab_and_merges(vocab, merges);
            (
                spaces(prefix.unwrap_or(true)),
                bytes_for_unknown(bpe, tokens),
            )
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
    let mut tokenizer = Tokenizer::from_parts(&origin, &steps, bpe, added)?;
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

/// The steps of byte-pair encoding over bytes written as letters, and whether a word that is a token stays whole.
fn byte_pairs(origin: &str, pre: &str) -> Result<(Value, bool)> {
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
    let steps = json!({ "pre_tokenizer": pre, "decoder": byte_level(true) });
    Ok((steps, whole_words))
}

/// Merges out of lines with two tokens each.
fn pairs(lines: &[String]) -> std::result::Result<Merges, String> {
    let pair = |(at, line): (usize, &String)| match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!(
            "merge {at} of tokenizer.ggml.merges is {:?}; two tokens with a space between them were expected",
            printable(line, 60)
        )),
    };
    lines.iter().enumerate().map(pair).collect()
}

/// SentencePiece's pieces with scores, as byte-pair encoding: the merges in the order of the scores of what they make.
fn pieces(tokens: &[String], scores: &[f32]) -> std::result::Result<Merges, String> {
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
    let owned = |[left, right]: [&str; 2]| (left.to_owned(), right.to_owned());
    Ok(merges.into_iter().map(|merge| owned(merge.3)).collect())
}

/// What is no token is written as tokens of single bytes; runs of what those lack are one unknown token.
fn bytes_for_unknown(bpe: BpeBuilder, tokens: &[String]) -> BpeBuilder {
    let bpe = bpe.byte_fallback(true).fuse_unk(true);
    match tokens.first() {
        Some(unknown) if unknown == "<unk>" => bpe.unk_token(unknown.clone()),
        _ => bpe,
    }
}

/// The steps around SentencePiece's pieces, in which a space is a letter.
fn spaces(prefix: bool) -> Value {
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
    json!({
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "decoder": { "type": "Sequence", "decoders": decoders },
    })
}
