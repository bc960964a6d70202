//! Pieces of SentencePiece's: llama.cpp joins two neighbours while any two make a piece, those first whose piece has
//! the highest score.

use std::collections::{HashMap, HashSet};

use cortical_io::GgufValues;
use serde_json::{Value, json};

use super::{ADDED, BYTE, NORMAL, Refusal, Tokens, UNKNOWN, UNUSED, merges};

/// The space that begins words.
const SPACE: &str = "▁";
/// The score of what is never made of two pieces.
const APART: f32 = -1000.0;

/// Adds a tokenizer whose model is byte-pair encoding that falls back to bytes.
pub(super) fn write(
    json: &Value,
    vocab_size: usize,
    values: &mut GgufValues,
) -> Result<Vec<String>, Refusal> {
    let model = &json["model"];
    let vocab = model["vocab"].as_object().ok_or("it has no vocabulary")?;
    let prefix = prefix(json)?;
    let merges = merges(model)?;
    let made: HashSet<String> = merges.iter().map(|merge| merge.concat()).collect();
    // What somebody added is found in the text before anything is joined, but for spaces, which are none any more
    // there.
    let found = |text: &str| !text.contains(SPACE) || made.contains(text);
    let added: HashSet<&str> = json["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|added| added["content"].as_str())
        .filter(|text| found(text))
        .collect();
    let ranks = ranks(vocab.keys().map(String::as_str), &added, &merges)?;
    let mut tokens = Tokens::new(vocab_size);
    for (token, id) in vocab {
        let kind = match token {
            token if model["unk_token"] == token.as_str() => UNKNOWN,
            token if is_byte(token) => BYTE,
            _ => NORMAL,
        };
        tokens.put(token, id.as_u64(), kind)?;
    }
    tokens.put_added(json)?;
    for (text, kind) in &mut tokens.0 {
        // llama.cpp looks for it in the text as it is, where spaces are spaces.
        if *kind == ADDED && found(text) {
            *text = text.replace(SPACE, " ");
        }
    }
    if let Some(unknown) = model["unk_token"].as_str() {
        tokens.put(unknown, vocab.get(unknown).and_then(Value::as_u64), UNKNOWN)?;
    }
    let scores: Vec<f32> = tokens
        .0
        .iter()
        .map(|(text, kind)| match (*kind, ranks.get(text.as_str())) {
            (UNUSED, _) | (_, None) => APART * ranks.len().max(1) as f32,
            (_, Some(rank)) => -(*rank as f32),
        })
        .collect();
    let texts = tokens.write("llama", "default", values);
    values.f32s("tokenizer.ggml.scores", &scores);
    values.bool("tokenizer.ggml.add_space_prefix", prefix);
    Ok(texts)
}

/// Whether a space is put before the text: by how the text is changed before it is cut.
fn prefix(json: &Value) -> Result<bool, Refusal> {
    let prepend = json!({ "type": "Prepend", "prepend": SPACE });
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let normalizer = &json["normalizer"];
    let steps = match normalizer["type"].as_str() {
        None => Vec::new(),
        Some("Sequence") => normalizer["normalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
        Some(_) => vec![normalizer.clone()],
    };
    let pre = &json["pre_tokenizer"];
    // Gemma cuts at spaces that are none any more.
    let is_uncut = pre.is_null() || pre["type"] == "Split" && pre["pattern"]["String"] == " ";
    if is_uncut && steps == [prepend, replace.clone()] {
        return Ok(true);
    }
    if is_uncut && steps == [replace] {
        return Ok(false);
    }
    let is_meta = pre["type"] == "Metaspace" && pre["replacement"] == SPACE && pre["split"] != true;
    match pre["prepend_scheme"].as_str() {
        Some("always") if is_meta && steps.is_empty() => Ok(true),
        Some("never") if is_meta && steps.is_empty() => Ok(false),
        Some("first") if is_meta && steps.is_empty() => Err(
            "a space before the first word only (prepend_scheme first): llama.cpp puts one behind every special token too"
                .to_owned(),
        ),
        _ => Err("its normalizer is not SentencePiece's".to_owned()),
    }
}

fn is_byte(token: &str) -> bool {
    let digits = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// The place of each piece among those that are made of two, by the order of the merges.
///
/// llama.cpp knows scores of pieces, not of merges: any two neighbours that make a piece are joined, and two ways to
/// the same piece are worth the same. A tokenizer whose merges say otherwise would cut texts in another way there.
fn ranks<'a>(
    vocab: impl Iterator<Item = &'a str>,
    added: &HashSet<&str>,
    merges: &[[&str; 2]],
) -> Result<HashMap<String, usize>, Refusal> {
    let vocab: HashSet<&str> = vocab.collect();
    let mut ranks: HashMap<String, usize> = HashMap::new();
    let mut ways = HashSet::new();
    let mut last = String::new();
    for [left, right] in merges {
        let made = format!("{left}{right}");
        if added.contains(made.as_str()) {
            continue;
        }
        let next = ranks.len();
        let rank = *ranks.entry(made.clone()).or_insert(next);
        if rank != next && made != last {
            return Err(format!(
                "its merges are not in SentencePiece's order: two ways to {made:?} are of different worth"
            ));
        }
        ways.insert((made.clone(), left.len()));
        last = made;
    }
    let lengths: HashSet<usize> = vocab.iter().map(|token| token.len()).collect();
    for token in vocab.iter().filter(|token| !added.contains(**token)) {
        for (at, _) in token.char_indices().skip(1) {
            if !lengths.contains(&at) || !lengths.contains(&(token.len() - at)) {
                continue;
            }
            let (left, right) = token.split_at(at);
            let both = vocab.contains(left) && vocab.contains(right);
            if both && !is_byte(token) && !ways.contains(&((*token).to_owned(), at)) {
                return Err(format!(
                    "its merges are not SentencePiece's: {left:?} and {right:?} are never joined, and llama.cpp would"
                ));
            }
        }
    }
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_have_to_be_sentencepieces() {
        let check = |vocab: &[&str], merges: &[[&str; 2]]| {
            ranks(vocab.iter().copied(), &HashSet::from(["abc"]), merges)
        };
        let vocab = ["a", "b", "c", "ab", "bb", "abb"];
        let good = check(&vocab, &[["a", "b"], ["b", "b"], ["ab", "b"], ["a", "bb"]]).unwrap();
        assert_eq!((good["ab"], good["bb"], good["abb"]), (0, 1, 2));
        let apart = check(&vocab, &[["ab", "b"], ["a", "b"], ["a", "bb"], ["b", "b"]]);
        assert!(apart.unwrap_err().contains("different worth"));
        let missing = check(&vocab, &[["a", "b"], ["b", "b"], ["ab", "b"]]);
        assert!(missing.unwrap_err().contains("never joined"));
        // What was added is found before anything is joined.
        check(&["a", "b", "c", "ab", "abc"], &[["a", "b"]]).unwrap();
    }

    #[test]
    fn spaces_are_put_before_texts_or_not() {
        let prepend = json!({ "type": "Prepend", "prepend": "▁" });
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        let both = json!({ "type": "Sequence", "normalizers": [prepend, replace] });
        let check = |normalizer: &Value, pre: Value| {
            prefix(&json!({ "normalizer": normalizer, "pre_tokenizer": pre })).ok()
        };
        let meta = |scheme: &str| json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false });
        assert_eq!(check(&both, Value::Null), Some(true));
        assert_eq!(check(&replace, Value::Null), Some(false));
        assert_eq!(check(&Value::Null, meta("always")), Some(true));
        assert_eq!(check(&Value::Null, meta("never")), Some(false));
        assert_eq!(check(&Value::Null, meta("first")), None);
        assert_eq!(check(&both, meta("always")), None);
        assert_eq!(check(&json!({ "type": "NFKC" }), Value::Null), None);
        assert_eq!(check(&Value::Null, Value::Null), None);
    }
}
