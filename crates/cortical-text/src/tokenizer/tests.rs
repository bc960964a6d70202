//! Bytes and characters, training, GPT-2's files, and descriptions that make no tokenizer.

use super::*;
use crate::template::ChatTemplate;
use proptest::prelude::*;

const TEXT: &str = "the whale and the whaler and the white whale\n\nthe sea, the sea, the open sea\n\nÉtude für Ökonomen 鯨\n\n";

#[test]
fn bytes_and_characters_come_back() {
    let bytes = Tokenizer::bytes();
    assert_eq!(bytes.encode("é").unwrap(), [0xc3, 0xa9]);
    assert_eq!(bytes.decode(&[0xc3, 0xa9]).unwrap(), "é");
    assert_eq!(bytes.decode(&[0xc3]).unwrap(), "\u{fffd}");
    assert!(bytes.decode(&[256]).is_err());
    let characters = Tokenizer::characters("abba 鯨");
    assert_eq!(characters.vocab_size(), 4);
    assert_eq!(characters.encode("b鯨").unwrap(), [2, 3]);
    assert_eq!(characters.decode(&[2, 3]).unwrap(), "b鯨");
    let error = characters.encode("abc").unwrap_err().to_string();
    assert!(error.contains("has no 'c'"), "{error}");
}

#[test]
fn training_merges_what_is_frequent_and_repeats_itself() {
    let tokenizer = Tokenizer::train_bpe(&TEXT.repeat(4), 300).unwrap();
    assert!(tokenizer.vocab_size() > 256 && tokenizer.vocab_size() <= 300);
    let ids = tokenizer.encode("the whale").unwrap();
    assert!(ids.len() < 5, "{ids:?}");
    assert_eq!(tokenizer.decode(&ids).unwrap(), "the whale");
    let again = Tokenizer::train_bpe(&TEXT.repeat(4), 300).unwrap();
    assert_eq!(again.to_json().unwrap(), tokenizer.to_json().unwrap());
    assert!(matches!(
        Tokenizer::train_bpe(TEXT, 256),
        Err(Error::VocabularySize { .. })
    ));
}

#[test]
fn what_is_saved_is_the_same_tokenizer() {
    let trained = Tokenizer::train_bpe(TEXT, 280).unwrap();
    for tokenizer in [Tokenizer::bytes(), Tokenizer::characters(TEXT), trained] {
        let saved = tokenizer.to_json().unwrap();
        let back = Tokenizer::from_saved("test", &saved).unwrap();
        assert_eq!(back.encode(TEXT).unwrap(), tokenizer.encode(TEXT).unwrap());
        assert_eq!(back.decode(&back.encode(TEXT).unwrap()).unwrap(), TEXT);
    }
}

#[test]
fn gpt2s_files_make_its_tokenizer() {
    let vocab = r#"{"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<|endoftext|>": 5}"#;
    let tokenizer = Tokenizer::from_gpt2("test", vocab, "#version: 0.2\na b\nĠ ab\n").unwrap();
    assert_eq!(
        tokenizer.encode("ab ab<|endoftext|>b").unwrap(),
        [3, 4, 5, 1]
    );
    assert_eq!(tokenizer.decode(&[3, 4, 5]).unwrap(), "ab ab");
    assert_eq!(tokenizer.eos(), [5]);
    let wrong = Tokenizer::from_gpt2("test", vocab, "a z\n")
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("test is no usable tokenizer"), "{wrong}");
}

#[test]
fn crafted_descriptions_are_errors() {
    let cases = [
        "",
        "{}",
        "[]",
        r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}"#,
        r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#,
        r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#,
        r#"{"version": "1.0", "model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}}"#,
        r#"{"version": "1.0", "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false},
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#,
    ];
    for case in cases {
        assert!(Tokenizer::from_json("test", case).is_err(), "{case}");
    }
    let none = Tokenizer::open("no-such-folder").unwrap_err().to_string();
    assert!(none.contains("no-such-folder has no tokenizer"), "{none}");
}

/// A GGUF file with these keys and no tensors.
fn gguf(keys: &[(&str, Key<'_>)]) -> (tempfile::TempDir, GgufFile) {
    let mut bytes = b"GGUF".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend([0, keys.len() as u64].map(u64::to_le_bytes).concat());
    for (name, value) in keys {
        text(&mut bytes, name);
        match value {
            Key::Text(value) => {
                bytes.extend(8_u32.to_le_bytes());
                text(&mut bytes, value);
            }
            Key::Flag(value) => {
                bytes.extend(7_u32.to_le_bytes());
                bytes.push(u8::from(*value));
            }
            Key::Number(value) => {
                bytes.extend(4_u32.to_le_bytes());
                bytes.extend(value.to_le_bytes());
            }
            Key::Texts(values) => {
                bytes.extend([9_u32, 8].map(u32::to_le_bytes).concat());
                bytes.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| text(&mut bytes, value));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.gguf");
    std::fs::write(&path, bytes).unwrap();
    let file = GgufFile::open(&path).unwrap();
    (folder, file)
}

enum Key<'a> {
    Text(&'a str),
    Flag(bool),
    Number(u32),
    Texts(Vec<&'a str>),
}

#[test]
fn a_text_begins_as_llama_cpp_begins_it() {
    let first = |model: &str, pre: &str, key: Option<bool>| {
        let tokens = vec!["<b>", "<s>", "</s>", "a", "Ġ", "▁", "▁a", "<|im_end|>"];
        let mut keys = vec![
            ("tokenizer.ggml.model", Key::Text(model)),
            ("tokenizer.ggml.pre", Key::Text(pre)),
            ("tokenizer.ggml.tokens", Key::Texts(tokens)),
            ("tokenizer.ggml.eos_token_id", Key::Number(2)),
        ];
        if model == "gpt2" {
            keys.push(("tokenizer.ggml.bos_token_id", Key::Number(0)));
        }
        keys.extend(key.map(|key| ("tokenizer.ggml.add_bos_token", Key::Flag(key))));
        let (_folder, file) = gguf(&keys);
        let tokenizer = Tokenizer::from_gguf(&file).unwrap();
        // Both the end that the file names, and what is called one.
        assert_eq!(tokenizer.eos(), [2, 7]);
        let ids = tokenizer.encode("a<|im_end|>").unwrap();
        assert_eq!(ids.last(), Some(&7), "{ids:?}");
        ids[0]
    };
    for pre in ["llama-bpe", "llama3", "llama-v3"] {
        assert_eq!(first("gpt2", pre, None), 0);
        assert_eq!(first("gpt2", pre, Some(false)), 3);
    }
    for pre in ["gpt-2", "qwen2", "smaug-bpe"] {
        assert_eq!(first("gpt2", pre, None), 3);
        assert_eq!(first("gpt2", pre, Some(true)), 0);
    }
    // The number that SentencePiece gives it where the file names none.
    assert_eq!(first("llama", "default", None), 1);
    assert_eq!(first("llama", "default", Some(false)), 6);
}

#[test]
fn turns_end_as_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let end = |names: &[&str], config: &str| {
        let added = names.iter().enumerate();
        let added: Vec<Value> = added
            .map(|(id, name)| added_token(&json!(id + 1), name))
            .collect();
        let text = json!({ "version": "1.0", "added_tokens": added,
            "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] } });
        std::fs::write(folder.path().join("tokenizer.json"), text.to_string()).unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let tokenizer = Tokenizer::open(folder.path()).unwrap();
        (tokenizer.eos().to_vec(), tokenizer.turn_ends())
    };
    for name in [
        "<|im_end|>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<|end|>",
        "[EOT]",
    ] {
        assert_eq!(end(&["x", name], "{}"), (vec![2], vec![2]), "{name}");
        // A file that names another end is believed where a text goes on, not where somebody speaks.
        let named = r#"{"eos_token_id": 1}"#;
        assert_eq!(end(&["x", name], named), (vec![1], vec![1, 2]), "{name}");
    }
    assert_eq!(end(&["</s>"], "{}"), (vec![1], vec![1]));
    let both = end(&["<|end|>", "<|return|>", "<|call|>"], "{}");
    assert_eq!(both.1, [2, 3]);
    // An ordinary word is none.
    assert_eq!(end(&[], "{}"), (vec![], vec![]));
}

#[test]
fn changes_have_the_tokenizer_of_their_model() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let adapter = folder.path().join("adapter");
    for path in [&base, &adapter] {
        std::fs::create_dir(path).unwrap();
    }
    let text = Tokenizer::train_bpe(TEXT, 270).unwrap().to_json().unwrap();
    std::fs::write(base.join("tokenizer.json"), text).unwrap();
    std::fs::write(base.join("config.json"), r#"{"eos_token_id": 5}"#).unwrap();
    std::fs::write(base.join("chat_template.jinja"), "hello").unwrap();
    let config = r#"{"base_model_name_or_path": "../base"}"#;
    std::fs::write(adapter.join("adapter_config.json"), config).unwrap();
    let opened = Tokenizer::open(&adapter).unwrap();
    assert_eq!(opened.vocab_size(), 270);
    assert_eq!(opened.eos(), [5]);
    assert!(ChatTemplate::open(&adapter).is_ok());
    let config = r#"{"base_model_name_or_path": "far/away"}"#;
    std::fs::write(adapter.join("adapter_config.json"), config).unwrap();
    let error = Tokenizer::open(&adapter).unwrap_err().to_string();
    assert!(error.contains("far/away"), "{error}");
}

#[test]
fn lengths_of_descriptions_are_not_believed() {
    let with = |part: &str, value: &Value| {
        let text = json!({ "version": "1.0", part: value,
            "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] } });
        Tokenizer::from_json("test", &text.to_string())
    };
    let error = |part: &str, value: &Value| with(part, value).unwrap_err().to_string();
    for charsmap in [
        "/////wAAAAA=",
        "AAAAAA==",
        "AwAAAAAAAAA=",
        "/w==",
        "CAAAAAAAAAA=",
        "?",
    ] {
        let value = json!({ "type": "Precompiled", "precompiled_charsmap": charsmap });
        let error = error("normalizer", &value);
        assert!(
            error.contains("precompiled_charsmap"),
            "{charsmap}: {error}"
        );
        let nested = json!({ "type": "Sequence", "normalizers": [{ "type": "Sequence", "normalizers": [value] }] });
        assert!(with("normalizer", &nested).is_err());
    }
    let twice = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
    let all = |step: &Value, count: usize, inner: &str| json!({ "type": "Sequence", inner: vec![step; count] });
    assert!(error("normalizer", &all(&twice, 40, "normalizers")).contains("times as long"));
    assert!(error("decoder", &all(&twice, 40, "decoders")).contains("times as long"));
    let level = byte_level(false);
    assert!(error("pre_tokenizer", &all(&level, 40, "pretokenizers")).contains("times as long"));
    let pieces = json!({ "type": "TemplateProcessing", "special_tokens": {}, "pair": [
        { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
        "single": vec![json!({ "Sequence": { "id": "A", "type_id": 0 } }); 2] });
    assert!(error("post_processor", &all(&pieces, 40, "processors")).contains("times as long"));
    for (old, new) in [("String", "x".repeat(100_000)), ("Regex", "x".repeat(300))] {
        let value = json!({ "type": "Replace", "pattern": { old: "a" }, "content": new });
        assert!(error("normalizer", &value).contains("times as long"));
    }
    let value = json!({ "type": "Prepend", "prepend": "x".repeat(100_000) });
    assert!(error("normalizer", &value).contains("before a text"));
    let mut deep = twice.clone();
    for _ in 0..60 {
        deep = json!({ "type": "Sequence", "normalizers": [deep] });
    }
    assert!(error("normalizer", &deep).contains("deep"));
    // What may grow is measured with each text.
    let tokenizer = with("normalizer", &all(&twice, 8, "normalizers")).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap().len(), 256);
    let error = tokenizer
        .encode(&"a".repeat(300_000))
        .unwrap_err()
        .to_string();
    assert!(error.contains("of 300000"), "{error}");
}

#[test]
fn a_long_token_is_refused_in_a_moment() {
    let long = "b".repeat(400_000);
    let words: Vec<String> = (1..200).map(|n| "c".repeat(n)).collect();
    let keys = |tokens| {
        [
            ("tokenizer.ggml.model", Key::Text("llama")),
            ("tokenizer.ggml.tokens", Key::Texts(tokens)),
        ]
    };
    let (_folder, file) = gguf(&keys(vec!["a", &long]));
    let error = Tokenizer::from_gguf(&file).unwrap_err().to_string();
    assert!(
        error.contains("token 1") && error.contains("400000 bytes"),
        "{error}"
    );
    let (_folder, file) = gguf(&keys(words.iter().map(String::as_str).collect()));
    assert!(Tokenizer::from_gguf(&file).is_ok());
}

proptest! {
    #[test]
    fn any_text_comes_back_from_a_trained_tokenizer(text in ".{0,60}") {
        let tokenizer = Tokenizer::train_bpe(TEXT, 270).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text);
    }
}
