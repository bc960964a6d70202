//! The text of tokens that come one by one.

use super::Tokenizer;
use super::settled::common;
use crate::error::Result;

/// Tokens that are kept as the context of the next.
const CONTEXT: usize = 8;

/// The text behind a prompt, token by token: all pieces together are what the text of all tokens has behind that of the
/// prompt.
#[derive(Debug)]
pub(crate) struct GrowingText<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens that are text, for what stands before a token may change its text.
    window: Vec<u32>,
    /// The text of the window that was given out, or is the prompt's.
    given: String,
}

impl<'a> GrowingText<'a> {
    /// The text behind these tokens.
    pub(crate) fn new(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Result<Self> {
        let shown = prompt.iter().copied();
        let shown: Vec<u32> = shown.filter(|id| tokenizer.is_shown(*id)).collect();
        let (window, given) = context(tokenizer, &shown)?;
        Ok(Self {
            tokenizer,
            window,
            given,
        })
    }

    /// What a token adds that is certain, be it its own text or that of tokens before it.
    pub(crate) fn push(&mut self, token: u32) -> Result<String> {
        if !self.tokenizer.is_shown(token) {
            return Ok(String::new());
        }
        self.window.push(token);
        if self.tokenizer.settles_at_the_end() {
            return Ok(String::new());
        }
        let text = self.tokenizer.settled(&self.window)?;
        let Some(new) = text.strip_prefix(self.given.as_str()) else {
            // Less is certain than before the token came.
            return Ok(String::new());
        };
        let new = new.to_owned();
        self.given = text;
        if self.window.len() > 4 * CONTEXT {
            (self.window, self.given) = context(self.tokenizer, &self.window)?;
        }
        Ok(new)
    }

    /// What is left when no token comes any more.
    pub(crate) fn end(&mut self) -> Result<String> {
        let text = self.tokenizer.decode(&self.window)?;
        let new = text[common(&self.given, &text)..].to_owned();
        self.given = text;
        Ok(new)
    }
}

/// So many of the last tokens that what is certain of their text is not empty, with that text.
fn context(tokenizer: &Tokenizer, shown: &[u32]) -> Result<(Vec<u32>, String)> {
    if tokenizer.settles_at_the_end() {
        return Ok((shown.to_vec(), tokenizer.decode(shown)?));
    }
    let mut size = CONTEXT;
    loop {
        let part = &shown[shown.len().saturating_sub(size)..];
        let text = tokenizer.settled(part)?;
        if !text.is_empty() || size >= shown.len() {
            return Ok((part.to_vec(), text));
        }
        size *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Words with every mark that decoders know, single bytes, and special tokens.
    fn vocabulary() -> Vec<String> {
        let words = [
            "a",
            "▁",
            "▁the",
            "▁▁",
            "whale",
            "##ing",
            "##s",
            "the</w>",
            "whale</w>",
            "|",
            "<pad>",
            ".",
            "n't",
            "Ġ",
            "Ġsea",
            "é",
            "Ã",
            "©",
            "ð",
            "Ł",
            "▁a▁b",
            "ab",
            "H",
            "HHH",
            "�",
            "<0x41>",
            "<0xE9>",
            "<0xAF>",
            "<0xA8>",
            "<0xFF>",
            "<0x20>",
            "<s>",
            "</s>",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn tokenizer(decoder: &Value) -> Tokenizer {
        let words = vocabulary();
        let vocab: serde_json::Map<String, Value> = words
            .iter()
            .enumerate()
            .map(|(id, word)| (word.clone(), json!(id)))
            .collect();
        let special = |id: usize| super::super::added_token(&json!(id), &words[id]);
        let text = json!({
            "version": "1.0",
            "added_tokens": [special(words.len() - 2), special(words.len() - 1)],
            "decoder": decoder,
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<s>" },
        });
        Tokenizer::from_json("test", &text.to_string()).unwrap()
    }

    /// Decoders of published tokenizers, and steps in other orders.
    fn decoders() -> Vec<Value> {
        let strip =
            |start: usize| json!({ "type": "Strip", "content": " ", "start": start, "stop": 0 });
        let space = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
        let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
        let (bytes, fuse) = (json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" }));
        let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let metaspace = |scheme: &str| json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true });
        let regex = json!({ "type": "Replace", "pattern": { "Regex": "a+" }, "content": "o" });
        let chain = |steps: &[&Value]| json!({ "type": "Sequence", "decoders": steps });
        vec![
            Value::Null,
            chain(&[&space, &bytes, &fuse, &strip(1)]),
            chain(&[&space, &bytes, &fuse, &strip(3)]),
            chain(&[&space, &bytes, &fuse]),
            chain(&[&bytes, &metaspace("always")]),
            chain(&[&bytes, &fuse, &space, &replace("ab", "c")]),
            chain(&[&fuse, &replace(" the", "·"), &replace("aa", "b")]),
            chain(&[&fuse, &regex]),
            chain(&[&chain(&[&bytes, &chain(&[&space])]), &fuse]),
            metaspace("first"),
            metaspace("never"),
            level.clone(),
            chain(&[&level, &replace("  ", " ")]),
            json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
            json!({ "type": "BPEDecoder", "suffix": "</w>" }),
            json!({ "type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true }),
            json!({ "type": "Strip", "content": "H", "start": 1, "stop": 0 }),
        ]
    }

    fn grown(tokenizer: &Tokenizer, prompt: &[u32], ids: &[u32]) -> Vec<String> {
        let mut text = GrowingText::new(tokenizer, prompt).unwrap();
        let mut pieces: Vec<String> = ids.iter().map(|id| text.push(*id).unwrap()).collect();
        pieces.push(text.end().unwrap());
        pieces
    }

    #[test]
    fn spaces_and_broken_bytes_come_as_in_the_whole_text() {
        let all = decoders();
        let id = |word: &str| vocabulary().iter().position(|w| w == word).unwrap() as u32;
        let ids = |words: &[&str]| words.iter().map(|word| id(word)).collect::<Vec<u32>>();
        let pieces = grown(&tokenizer(&all[1]), &ids(&["a"]), &ids(&["▁the", "whale"]));
        assert_eq!(pieces, [" the", "whale", ""]);
        // Bytes that are a character until one more comes, which makes all of them none.
        let bytes = ids(&["<0xE9>", "<0xAF>", "<0xA8>", "<0xFF>", "▁the"]);
        let pieces = grown(&tokenizer(&all[1]), &ids(&["<s>", "a"]), &bytes);
        assert_eq!(pieces.concat(), "���� the");
        // What the prompt began is finished behind it.
        let prompt = ids(&["a", "<0xE9>", "<0xAF>"]);
        let pieces = grown(&tokenizer(&all[1]), &prompt, &ids(&["<0xA8>", "a"]));
        assert_eq!(pieces.concat(), "鯨a");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn pieces_are_the_whole_text(
            prompt in prop::collection::vec(0_u32..33, 0..30),
            ids in prop::collection::vec(0_u32..33, 0..90),
        ) {
            for decoder in decoders() {
                let tokenizer = tokenizer(&decoder);
                let all = [&prompt[..], &ids[..]].concat();
                let whole = tokenizer.decode(&all).unwrap();
                let shown: Vec<u32> = prompt.iter().copied().filter(|id| tokenizer.is_shown(*id)).collect();
                let before = match tokenizer.settles_at_the_end() {
                    true => common(&tokenizer.decode(&shown).unwrap(), &whole),
                    false => tokenizer.settled(&shown).unwrap().len(),
                };
                let got = grown(&tokenizer, &prompt, &ids).concat();
                prop_assert_eq!(got.as_str(), &whole[before..], "{} {:?} {:?}", decoder, prompt, ids);
            }
        }
    }
}
