//! Text to tokens and back.

mod bounds;
mod direct;
mod ends;
mod gguf;
mod gguf_write;
mod growing;
mod open;
mod settled;
#[cfg(test)]
mod tests;

use crate::error::{Error, MAX_VOCABULARY, MIN_VOCABULARY, Result};
use cortical_io::{GgufFile, printable};
pub use gguf_write::write_gguf_tokenizer;
pub(crate) use growing::GrowingText;
use serde_json::{Value, json};
use settled::Tail;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeBuilder, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizedString, Normalizer, Tokenizer as Hub};

/// GPT-2's name of the token that ends a text, also in what is trained here.
const END: &str = "<|endoftext|>";
/// Turns text into tokens and tokens into text. Clones share one vocabulary.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    kind: Kind,
    /// Put before a text that is to be read from its beginning.
    bos: Option<u32>,
    /// What a model ends with.
    eos: Vec<u32>,
    /// Which part of a text that grows may still change.
    tail: Tail,
    /// How many times as long a text may become before it is cut into tokens.
    growth: f64,
}

#[derive(Clone, Debug)]
enum Kind {
    Bytes,
    Characters(Arc<Characters>),
    Hub(Arc<Hub>),
}

#[derive(Debug)]
struct Characters {
    all: Vec<char>,
    ids: HashMap<char, u32>,
}

/// The most characters of what the library says about a stranger's description.
const WHY_CHARS: usize = 300;
/// Where its parts do not fit each other, the library ends in a panic.
const CONTRADICTION: &str = "the tokenizer's parts contradict each other";
/// How many times as long a text may become without its being measured.
const FREE_GROWTH: f64 = 16.0;
/// Bytes that are measured at a time, and that a text may become whatever its length.
const PIECE_BYTES: usize = 1 << 14;
const GROWN_BYTES: usize = 16 << 20;

impl Tokenizer {
    fn new(kind: Kind) -> Self {
        let tail = Tail::of(&kind);
        Self {
            kind,
            bos: None,
            eos: Vec::new(),
            tail,
            growth: 1.0,
        }
    }

    /// Every byte of UTF-8 a token: 256 tokens, no text is unknown. The byte 0, which text does not have, ends one.
    #[must_use]
    pub fn bytes() -> Self {
        Self {
            eos: vec![0],
            ..Self::new(Kind::Bytes)
        }
    }

    /// Every character of `text` a token, in the order of their code points.
    #[must_use]
    pub fn characters(text: &str) -> Self {
        let all: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let ids = all.iter().zip(0_u32..).map(|(c, id)| (*c, id)).collect();
        Self::new(Kind::Characters(Arc::new(Characters { all, ids })))
    }

    /// Byte-pair encoding trained on a text: from 256 bytes on, the most frequent pair becomes a token, again and
    /// again. One token more, `<|endoftext|>`, ends a text.
    ///
    /// # Errors
    /// [`Error::VocabularySize`]; [`Error::Tokenizer`] if training fails.
    ///
    /// # Source
    /// Sennrich et al., "Neural machine translation of rare words with subword units" (2016).
    pub fn train_bpe(text: &str, vocab_size: usize) -> Result<Self> {
        if !(MIN_VOCABULARY..=MAX_VOCABULARY).contains(&vocab_size) {
            return Err(Error::VocabularySize { got: vocab_size });
        }
        let mut hub = Hub::new(BPE::default());
        hub.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        hub.with_decoder(Some(ByteLevel::new(false, true, true)));
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .min_frequency(2)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from(END, true)])
            .build();
        // Whole lines keep the splitting into words what it is when text is encoded; paragraphs keep the pieces small.
        let trained = hub.train(
            &mut TrainerWrapper::from(trainer),
            text.split_inclusive("\n\n"),
        );
        trained.map_err(|why| Error::Tokenizer {
            origin: "the training text".to_owned(),
            why: why.to_string(),
        })?;
        let mut tokenizer = Self::new(Kind::Hub(Arc::new(hub)));
        tokenizer.eos.extend(tokenizer.id(END));
        Ok(tokenizer)
    }

    /// The tokenizer of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] with what is wrong; a crafted description is an error too, never a panic.
    pub fn from_json(origin: &str, text: &str) -> Result<Self> {
        let refuse = |why: String| Error::Tokenizer {
            origin: origin.to_owned(),
            why: printable(&why, WHY_CHARS),
        };
        Self::made(&refuse, text, || {
            direct::read(text).unwrap_or_else(|| Hub::from_bytes(text.as_bytes()))
        })
    }

    /// The tokenizer whose steps a `tokenizer.json` without a model describes, with a model of its own and tokens that
    /// are looked for before it.
    fn from_parts(
        origin: &str,
        steps: &Value,
        model: BpeBuilder,
        added: Vec<AddedToken>,
    ) -> Result<Self> {
        let refuse = |why: String| Error::Tokenizer {
            origin: origin.to_owned(),
            why: printable(&why, WHY_CHARS),
        };
        Self::made(&refuse, &steps.to_string(), || {
            direct::make(steps, model, added)
        })
    }

    /// A tokenizer of the library's whose steps `text` describes.
    fn made(
        refuse: &dyn Fn(String) -> Error,
        text: &str,
        make: impl FnOnce() -> tokenizers::Result<Hub>,
    ) -> Result<Self> {
        let growth = bounds::check(text).map_err(refuse)?;
        // The reader is somebody else's, and some of its checks are panics.
        let hub = catch_unwind(AssertUnwindSafe(make));
        let mut hub = hub
            .map_err(|_| refuse(CONTRADICTION.to_owned()))?
            .map_err(|why| refuse(why.to_string()))?;
        // Padding and truncation are for batches in Python; here every token counts.
        hub.with_padding(None);
        hub.with_truncation(None)
            .map_err(|why| refuse(why.to_string()))?;
        if hub.get_vocab_size(true) == 0 {
            return Err(refuse("it has no tokens".to_owned()));
        }
        Ok(Self {
            growth,
            ..Self::new(Kind::Hub(Arc::new(hub)))
        })
    }

    /// GPT-2's tokenizer from its vocabulary (`vocab.json`, also called `encoder.json`) and merges (`merges.txt`, also
    /// `vocab.bpe`).
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_gpt2(origin: &str, vocab: &str, merges: &str) -> Result<Self> {
        let vocab: Value = serde_json::from_str(vocab).map_err(|why| Error::Tokenizer {
            origin: origin.to_owned(),
            why: format!("the vocabulary is no JSON: {why}"),
        })?;
        let merges: Vec<&str> = merges
            .lines()
            .filter(|line| !line.starts_with("#version") && !line.trim().is_empty())
            .collect();
        let end = vocab.get(END).cloned();
        let added: Vec<Value> = end.iter().map(|id| added_token(id, END)).collect();
        let description = json!({
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": byte_level(true),
            "decoder": byte_level(true),
            "model": { "type": "BPE", "vocab": vocab, "merges": merges },
        });
        let mut tokenizer = Self::from_json(origin, &description.to_string())?;
        tokenizer.eos = end
            .and_then(|id| id.as_u64())
            .map(|id| id as u32)
            .into_iter()
            .collect();
        Ok(tokenizer)
    }

    /// The tokenizer in a GGUF file.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], [`Error::Kind`], [`Error::Tokenizer`].
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        gguf::tokenizer(file)
    }

    /// The tokens of a text, with the token of its beginning where the tokenizer has one.
    ///
    /// # Errors
    /// [`Error::Encode`] for a character that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_as(text, true)
    }

    /// The tokens of a part of a text, without tokens around it. Names of special tokens in it become those tokens.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn encode_part(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_as(text, false)
    }

    fn encode_as(&self, text: &str, whole: bool) -> Result<Vec<u32>> {
        match &self.kind {
            Kind::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Kind::Characters(known) => {
                let id = |c: char| {
                    known.ids.get(&c).copied().ok_or_else(|| Error::Encode {
                        why: format!("the vocabulary has no {c:?}"),
                    })
                };
                text.chars().map(id).collect()
            }
            Kind::Hub(hub) => {
                self.check_growth(hub, text)?;
                let encoded = catch_unwind(AssertUnwindSafe(|| hub.encode_fast(text, whole)));
                let encoded = encoded
                    .map_err(|_| Error::Encode {
                        why: CONTRADICTION.to_owned(),
                    })?
                    .map_err(|why| Error::Encode {
                        why: printable(&why.to_string(), WHY_CHARS),
                    })?;
                let mut ids = encoded.get_ids().to_vec();
                if let Some(bos) = self.bos.filter(|bos| whole && ids.first() != Some(bos)) {
                    ids.insert(0, bos);
                }
                Ok(ids)
            }
        }
    }

    /// Refuses a text that becomes much longer, of a tokenizer that could do that: piece by piece, so that little is
    /// ever there at once.
    fn check_growth(&self, hub: &Hub, text: &str) -> Result<()> {
        let Some(normalizer) = hub.get_normalizer().filter(|_| self.growth > FREE_GROWTH) else {
            return Ok(());
        };
        let (mut rest, mut bytes) = (text, 0);
        while !rest.is_empty() {
            let (piece, behind) =
                rest.split_at(rest.floor_char_boundary(PIECE_BYTES.min(rest.len())));
            let mut piece = NormalizedString::from(piece);
            let done = catch_unwind(AssertUnwindSafe(|| normalizer.normalize(&mut piece)));
            let done = done.map_err(|_| CONTRADICTION.to_owned());
            let done =
                done.and_then(|done| done.map_err(|why| printable(&why.to_string(), WHY_CHARS)));
            done.map_err(|why| Error::Encode { why })?;
            bytes += piece.get().len();
            if bytes > GROWN_BYTES + text.len().saturating_mul(4) {
                return Err(Error::Encode {
                    why: format!(
                        "the tokenizer makes more than {bytes} bytes of {}",
                        text.len()
                    ),
                });
            }
            rest = behind;
        }
        Ok(())
    }

    /// The text of tokens, without special ones. Bytes that are no text become `�`.
    ///
    /// # Errors
    /// [`Error::Decode`] for a token that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let unknown = |id: u32| Error::Decode {
            why: format!("there is no token {id}"),
        };
        match &self.kind {
            Kind::Bytes => {
                let byte = |id: &u32| u8::try_from(*id).map_err(|_| unknown(*id));
                let bytes: Vec<u8> = ids.iter().map(byte).collect::<Result<_>>()?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Kind::Characters(known) => {
                let character = |id: &u32| {
                    known
                        .all
                        .get(*id as usize)
                        .copied()
                        .ok_or_else(|| unknown(*id))
                };
                ids.iter().map(character).collect()
            }
            Kind::Hub(hub) => {
                // Some decoders ask for the last of no tokens.
                if !ids.iter().any(|id| self.is_shown(*id)) {
                    return Ok(String::new());
                }
                let decoded = catch_unwind(AssertUnwindSafe(|| hub.decode(ids, true)));
                decoded
                    .map_err(|_| Error::Decode {
                        why: CONTRADICTION.to_owned(),
                    })?
                    .map_err(|why| Error::Decode {
                        why: why.to_string(),
                    })
            }
        }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match &self.kind {
            Kind::Bytes => 256,
            Kind::Characters(known) => known.all.len(),
            Kind::Hub(hub) => hub.get_vocab_size(true),
        }
    }

    /// The token that stands for exactly this text.
    #[must_use]
    pub fn id(&self, text: &str) -> Option<u32> {
        match &self.kind {
            Kind::Bytes => match text.as_bytes() {
                [byte] => Some(u32::from(*byte)),
                _ => None,
            },
            Kind::Characters(known) => {
                let mut chars = text.chars();
                let first = chars.next()?;
                known
                    .ids
                    .get(&first)
                    .copied()
                    .filter(|_| chars.next().is_none())
            }
            Kind::Hub(hub) => hub.token_to_id(text),
        }
    }

    /// A token as the vocabulary writes it.
    #[must_use]
    pub fn piece(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Bytes => u8::try_from(id).ok().map(|b| b.escape_ascii().to_string()),
            Kind::Characters(known) => known.all.get(id as usize).map(char::to_string),
            Kind::Hub(hub) => hub.id_to_token(id),
        }
    }

    /// The tokens that a model ends a text with.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// The token before a whole text, where it is put there beside what the description says.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The description as a `tokenizer.json`; bytes and characters, which need none, are `{"type": …}`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when it cannot be written.
    pub fn to_json(&self) -> Result<String> {
        match &self.kind {
            Kind::Bytes => Ok(json!({ "cortical": "bytes" }).to_string()),
            Kind::Characters(known) => {
                let all: String = known.all.iter().collect();
                Ok(json!({ "cortical": "characters", "characters": all }).to_string())
            }
            Kind::Hub(hub) => hub.to_string(false).map_err(|why| Error::Tokenizer {
                origin: "this tokenizer".to_owned(),
                why: why.to_string(),
            }),
        }
    }

    /// Reads what [`Tokenizer::to_json`] wrote, or any `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_saved(origin: &str, text: &str) -> Result<Self> {
        let head: Value = match text.len() {
            ..=1_000_000 => serde_json::from_str(text).unwrap_or_default(),
            _ => Value::Null,
        };
        match (head["cortical"].as_str(), head["characters"].as_str()) {
            (Some("bytes"), _) => Ok(Self::bytes()),
            (Some("characters"), Some(all)) => Ok(Self::characters(all)),
            _ => Self::from_json(origin, text),
        }
    }
}

/// A special token as `tokenizer.json` lists it.
fn added_token(id: &Value, content: &str) -> Value {
    json!({
        "id": id, "content": content, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

fn byte_level(regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex })
}
