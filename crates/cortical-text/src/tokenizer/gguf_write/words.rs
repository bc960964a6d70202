//! WordPiece, as BERT has it: llama.cpp cuts at spaces and punctuation, in lower case and without accents, and marks
//! where words begin instead of where they go on.

use cortical_io::GgufValues;
use serde_json::Value;

use super::{CONTROL, NORMAL, Refusal, Tokens};

/// Adds a tokenizer of BERT's.
pub(super) fn write(
    json: &Value,
    vocab_size: usize,
    values: &mut GgufValues,
) -> Result<Vec<String>, Refusal> {
    let model = &json["model"];
    let vocab = model["vocab"].as_object().ok_or("it has no vocabulary")?;
    let normalizer = &json["normalizer"];
    let is_usual = normalizer["type"] == "BertNormalizer"
        && normalizer["lowercase"] == true
        && normalizer["strip_accents"] != false
        && normalizer["handle_chinese_chars"] != false
        && normalizer["clean_text"] != false
        && json["pre_tokenizer"]["type"] == "BertPreTokenizer"
        && model["continuing_subword_prefix"] == GOES_ON;
    if !is_usual {
        return Err(
            "llama.cpp cuts texts as BERT does that knows no capitals, and it does not".to_owned(),
        );
    }
    let mut tokens = Tokens::new(vocab_size);
    for (token, id) in vocab {
        let text = match token.strip_prefix(GOES_ON) {
            Some(rest) => rest.to_owned(),
            None => format!("▁{token}"),
        };
        tokens.put(&text, id.as_u64(), NORMAL)?;
    }
    tokens.put_added(json)?;
    // By their own texts, under which settings name them.
    let mut texts: Vec<String> = tokens.0.iter().map(|(text, _)| text.clone()).collect();
    for (text, (_, kind)) in texts.iter_mut().zip(&tokens.0) {
        if *kind != CONTROL {
            text.insert_str(0, GOES_ON);
        }
    }
    tokens.write("bert", "default", values);
    Ok(texts)
}

/// What marks pieces that go on with a word.
const GOES_ON: &str = "##";
