//! A description whose model is byte-pair encoding, without a copy of its vocabulary in between: the library reads a
//! model of any kind into a tree first, which takes several times the memory of what comes of it.

use super::bounds::fields;
use serde_json::Value;
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::{AddedToken, Tokenizer as Hub};

/// A model for the time being, which has no tokens.
const EMPTY: &str = r#"{"type":"BPE","vocab":{},"merges":[]}"#;

/// Fields of a description, as they are written.
const MODEL: &str = r#""model""#;
const ADDED: &str = r#""added_tokens""#;

/// Reads a description; `None` for one that has another model, or parts twice.
pub(super) fn read(text: &str) -> Option<tokenizers::Result<Hub>> {
    let all = fields(text)?;
    let model = only(&all, MODEL)?;
    if only(&fields(model)?, r#""type""#)? != r#""BPE""# {
        return None;
    }
    let added = match all.iter().any(|(name, _)| *name == ADDED) {
        true => only(&all, ADDED)?,
        false => "[]",
    };
    let steps = all
        .iter()
        .filter(|(name, _)| ![MODEL, ADDED].contains(name));
    let steps: Vec<String> = steps
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    let made = || -> tokenizers::Result<Hub> {
        let model: BPE = serde_json::from_str(model)?;
        let added: Vec<AddedToken> = serde_json::from_str(added)?;
        join(&steps, model, added)
    };
    Some(made())
}

/// The steps that a value describes, around a model of its own.
pub(super) fn make(
    steps: &Value,
    model: BpeBuilder,
    added: Vec<AddedToken>,
) -> tokenizers::Result<Hub> {
    let steps = steps.as_object().into_iter().flatten();
    let steps = steps.map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
    join(&steps.collect::<Vec<String>>(), model.build()?, added)
}

/// Steps as the fields of an object, with a model and tokens that are looked for before it.
fn join(steps: &[String], model: BPE, added: Vec<AddedToken>) -> tokenizers::Result<Hub> {
    let separator = if steps.is_empty() { "" } else { "," };
    let text = format!(r#"{{{}{separator}"model":{EMPTY}}}"#, steps.join(","));
    let mut hub = Hub::from_bytes(text.as_bytes())?;
    hub.with_model(model);
    hub.add_tokens(added)?;
    Ok(hub)
}

/// The value of the one field of this name.
fn only<'t>(fields: &[(&str, &'t str)], name: &str) -> Option<&'t str> {
    let mut found = fields.iter().filter(|(field, _)| *field == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Value {
        let added = |id: u32, content: &str, normalized: bool| {
            json!({
                "id": id, "content": content, "special": !normalized, "normalized": normalized,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        };
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [added(4, "<|end|>", false), added(5, "whale", true)],
            "normalizer": { "type": "Lowercase" },
            "pre_tokenizer": { "type": "Whitespace" },
            "decoder": { "type": "Fuse" },
            "model": {
                "type": "BPE", "unk_token": "?", "fuse_unk": true,
                "vocab": { "?": 0, "a": 1, "b": 2, "ab": 3 }, "merges": [["a", "b"]],
            },
        })
    }

    #[test]
    fn it_is_what_the_library_reads() {
        let text = description().to_string();
        let ours = read(&text).unwrap().unwrap();
        let theirs = Hub::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(
            ours.to_string(false).unwrap(),
            theirs.to_string(false).unwrap()
        );
        let ids = |hub: &Hub| {
            hub.encode("abba WHALE<|end|> ccab", true)
                .unwrap()
                .get_ids()
                .to_vec()
        };
        assert_eq!(ids(&ours), ids(&theirs));
        assert_eq!(ids(&ours), [3, 2, 1, 5, 4, 0, 3]);
    }

    #[test]
    fn other_descriptions_are_the_librarys() {
        let mut other = description();
        other["model"] = json!({ "type": "WordLevel", "vocab": { "a": 0 }, "unk_token": "a" });
        assert!(read(&other.to_string()).is_none());
        let text = description().to_string();
        let twice = text.replacen('{', r#"{"added_tokens":[],"#, 1);
        assert!(read(&twice).is_none());
        assert!(read("[]").is_none());
        let wrong = text.replace(r#"[["a","b"]]"#, r#"[["a","c"]]"#);
        assert!(read(&wrong).unwrap().is_err());
    }
}
