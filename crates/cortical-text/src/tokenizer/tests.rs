//! Bytes and characters, training, GPT-2's files, and descriptions that make no tokenizer.

use super::*;
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

proptest! {
    #[test]
    fn any_text_comes_back_from_a_trained_tokenizer(text in ".{0,60}") {
        let tokenizer = Tokenizer::train_bpe(TEXT, 270).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text);
    }
}
