//! Which part of a text is certain while its tokens still come.
//!
//! A decoder may look at more than one token: bytes are joined into characters, the first token of a text loses its
//! space, the last one its mark of a word's end. What is given out as it comes must be what the whole text will begin
//! with, so everything that a further token can change is kept back.

use super::{Kind, Tokenizer};
use crate::error::Result;
use serde_json::Value;

/// What a further token may change at the end of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes in a row are read as one text: as long as they come, all of them may turn out to be no text.
    byte_runs: bool,
    /// The last token is written in another way than the same one before others.
    last_differs: bool,
    /// Characters that may be the beginning of something which is replaced.
    chars: usize,
    /// Anything may change: the text is certain at its end only.
    all: bool,
}

impl Tail {
    pub(super) fn of(kind: &Kind) -> Self {
        let Kind::Hub(hub) = kind else {
            return Self::default();
        };
        let decoder = hub.get_decoder().map(serde_json::to_value);
        match decoder {
            None => Self::default(),
            Some(Ok(value)) => {
                let mut tail = Self::default();
                let mut steps = Vec::new();
                list(&value, &mut steps);
                tail.follow(&steps);
                tail
            }
            Some(Err(_)) => Self {
                all: true,
                ..Self::default()
            },
        }
    }

    fn follow(&mut self, steps: &[&Value]) {
        // Whether the steps so far have made one text of all tokens.
        let mut joined = false;
        for step in steps {
            match step["type"].as_str().unwrap_or_default() {
                "ByteFallback" => self.byte_runs = true,
                "Fuse" | "ByteLevel" => joined = true,
                "Replace" if joined => match step["pattern"]["String"].as_str() {
                    // One replacement may make what the next one looks for.
                    Some(text) if self.chars == 0 => {
                        self.chars = text.chars().count().saturating_sub(1);
                    }
                    Some(text) if text.chars().count() == 1 => {}
                    _ => self.all = true,
                },
                "BPEDecoder" => {
                    self.last_differs = true;
                    self.all |= step["suffix"] == "";
                }
                "Replace" | "Strip" | "Metaspace" | "WordPiece" | "CTC" => {}
                _ => self.all = true,
            }
        }
    }
}

/// The steps of a decoder, one behind the other.
fn list<'v>(value: &'v Value, steps: &mut Vec<&'v Value>) {
    match value["decoders"].as_array() {
        Some(inner) => inner.iter().for_each(|step| list(step, steps)),
        None => steps.push(value),
    }
}

impl Tokenizer {
    /// The beginning of the text of `ids` that no further token can change.
    pub(crate) fn settled(&self, ids: &[u32]) -> Result<String> {
        if self.tail.all {
            return Ok(String::new());
        }
        let ids = match self.tail.byte_runs {
            true => &ids[..ids.len() - self.byte_run(ids)],
            false => ids,
        };
        let mut text = self.decode(ids)?;
        if self.tail.last_differs {
            let before = self.decode(&ids[..ids.len().saturating_sub(1)])?;
            text.truncate(common(&before, &text));
        }
        let chars = text.char_indices().rev();
        let kept = match self.tail.chars {
            0 => text.len(),
            n => chars.map(|(at, _)| at).nth(n - 1).unwrap_or(0),
        };
        text.truncate(kept);
        // An unfinished character shows as one that stands for bytes that are no text.
        text.truncate(text.trim_end_matches('\u{fffd}').len());
        Ok(text)
    }

    /// Whether nothing is certain before a text's end.
    pub(crate) fn settles_at_the_end(&self) -> bool {
        self.tail.all
    }

    /// Whether a token is part of the text at all: special ones are not.
    pub(crate) fn is_shown(&self, id: u32) -> bool {
        let Kind::Hub(hub) = &self.kind else {
            return true;
        };
        let token = hub.id_to_token(id);
        token.is_some_and(|token| !hub.get_added_vocabulary().is_special_token(&token))
    }

    /// How many tokens at the end of `ids` are single bytes.
    fn byte_run(&self, ids: &[u32]) -> usize {
        let is_byte = |id: &&u32| {
            self.piece(**id).is_some_and(|token| {
                let digits = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
                digits.is_some_and(|digits| digits.len() == 2)
            })
        };
        ids.iter().rev().take_while(is_byte).count()
    }
}

/// How many bytes two texts begin with that are the same.
pub(crate) fn common(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}
