//! The tokenizer of a model's folder or file, and what the files beside it say about the end of a text.

use super::{END, Tokenizer};
use crate::error::{Error, Result};
use cortical_io::{GgufFile, read_text};
use cortical_models::language::adapter_base;
use serde_json::Value;
use std::path::Path;

/// The most bytes of a description that are read.
const DESCRIPTION_BYTES: u64 = 256 << 20;
/// The most bytes of a file with settings.
const SETTINGS_BYTES: u64 = 16 << 20;

impl Tokenizer {
    /// The tokenizer of a model: in its folder `tokenizer.json` or `vocab.json` with `merges.txt`, or in its GGUF file.
    /// Low-rank changes without one have the tokenizer of the model that they belong to.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], those of [`Tokenizer::from_json`] and of the files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if GgufFile::is_gguf(path) {
            return Self::from_gguf(&GgufFile::open(path)?);
        }
        if path.is_file() {
            let text = read_text(path, DESCRIPTION_BYTES)?;
            return Self::from_json(&path.display().to_string(), &text);
        }
        let file = path.join("tokenizer.json");
        let mut tokenizer = if file.exists() {
            Self::from_saved(
                &file.display().to_string(),
                &read_text(&file, DESCRIPTION_BYTES)?,
            )?
        } else {
            let both = |a: &str, b: &str| [path.join(a), path.join(b)];
            let pairs = [
                both("vocab.json", "merges.txt"),
                both("encoder.json", "vocab.bpe"),
            ];
            let found = pairs
                .into_iter()
                .find(|pair| pair.iter().all(|file| file.is_file()));
            let Some([vocab, merges]) = found else {
                return match adapter_base(path)? {
                    Some(base) => Self::open(base),
                    None => Err(Error::NoTokenizer { path: path.into() }),
                };
            };
            let read = |file: &Path| read_text(file, DESCRIPTION_BYTES);
            Self::from_gpt2(&path.display().to_string(), &read(&vocab)?, &read(&merges)?)?
        };
        tokenizer.read_settings(path)?;
        Ok(tokenizer)
    }

    /// What the files beside the tokenizer say about the end of a text; where those of low-rank changes say nothing,
    /// those of the model that they belong to do.
    fn read_settings(&mut self, folder: &Path) -> Result<()> {
        self.read_ends(folder)?;
        if self.eos.is_empty()
            && let Some(base) = adapter_base(folder)?
        {
            match GgufFile::is_gguf(&base) {
                true => self.eos = Self::from_gguf(&GgufFile::open(&base)?)?.eos,
                false => self.read_ends(&base)?,
            }
        }
        if self.eos.is_empty() {
            // Nothing says so, but this is what these tokens are for.
            self.eos.extend(self.id(END));
            self.eos.extend(self.text_ends());
        }
        self.eos.sort_unstable();
        self.eos.dedup();
        Ok(())
    }

    fn read_ends(&mut self, folder: &Path) -> Result<()> {
        for name in ["generation_config.json", "config.json"] {
            let Some(value) = settings(folder, name)? else {
                continue;
            };
            let ids = match &value["eos_token_id"] {
                Value::Array(list) => list.iter().filter_map(Value::as_u64).collect(),
                one => one.as_u64().into_iter().collect::<Vec<_>>(),
            };
            self.eos
                .extend(ids.into_iter().filter_map(|id| u32::try_from(id).ok()));
        }
        if let Some(value) = settings(folder, "tokenizer_config.json")? {
            let token = &value["eos_token"];
            let text = token.as_str().or_else(|| token["content"].as_str());
            self.eos.extend(text.and_then(|text| self.id(text)));
        }
        Ok(())
    }
}

/// A file with settings, if the folder has it.
fn settings(folder: &Path, name: &str) -> Result<Option<Value>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let value = serde_json::from_str(&read_text(&path, SETTINGS_BYTES)?);
    value.map(Some).map_err(|why| Error::Settings { path, why })
}
