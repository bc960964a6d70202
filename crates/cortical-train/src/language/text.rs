//! The text that a language model learns from, as one stream of tokens.

use crate::recipe::LanguageData;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_tensor::Rng;
use cortical_text::Tokenizer;
use std::fs;
use std::path::Path;

/// The most bytes of text that are read.
const TEXT_BYTES: u64 = 1 << 30;

/// Tokens to learn from and tokens to test on.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) tokenizer: Tokenizer,
    pub(super) train: Vec<u32>,
    pub(super) test: Vec<u32>,
}

impl Corpus {
    /// Reads the text and packs its documents into one stream: each ends with the token that ends a text, where there is one, and the next
    /// begins behind it, so that no block has room that nothing is learned in.
    pub(super) fn open(data: &LanguageData, own: Option<Tokenizer>) -> Result<Self> {
        let documents = documents(&data.name)?;
        let tokenizer = tokenizer(&data.tokenizer, own, &documents)?;
        let end = tokenizer.eos().first().copied();
        let mut all = Vec::new();
        for document in &documents {
            all.extend(tokenizer.encode_part(document).map_err(Error::text)?);
            all.extend(end.filter(|_| documents.len() > 1));
        }
        let kept = ((all.len() as f64) * (1.0 - data.test_fraction)) as usize;
        let test = all.split_off(kept);
        Ok(Self {
            tokenizer,
            train: all,
            test,
        })
    }

    /// Blocks from random places: what the model reads, and what comes next at every position.
    pub(super) fn batch(
        &self,
        batch: usize,
        block: usize,
        rng: &mut Rng,
    ) -> Result<(Tensor, Tensor)> {
        let places = (self.train.len() - block) as u64;
        let starts: Vec<usize> = (0..batch).map(|_| rng.below(places) as usize).collect();
        cut(&self.train, &starts, block)
    }
}

/// Where blocks of a text of so many tokens begin: so many of them evenly spread or, for 0, all whole ones.
pub(super) fn starts(tokens: usize, blocks: usize, block: usize) -> Vec<usize> {
    let whole = tokens.saturating_sub(1) / block;
    let count = if blocks == 0 {
        whole
    } else {
        blocks.min(whole)
    };
    (0..count).map(|i| i * whole / count * block).collect()
}

/// `[batch, block]` tokens from each start, and those one further on as labels.
pub(super) fn cut(tokens: &[u32], starts: &[usize], block: usize) -> Result<(Tensor, Tensor)> {
    let part = |shift: usize| -> Vec<u32> {
        let parts = starts
            .iter()
            .flat_map(|at| &tokens[at + shift..at + shift + block]);
        parts.copied().collect()
    };
    let shape = (starts.len(), block);
    Ok((
        Tensor::from_vec(part(0), shape, &Device::Cpu)?,
        Tensor::from_vec(part(1), shape, &Device::Cpu)?,
    ))
}

fn documents(text: &str) -> Result<Vec<String>> {
    if text == "moby-dick" {
        return Ok(vec![cortical_data::moby_dick()?]);
    }
    let path = Path::new(text);
    let read = |path: &Path| -> Result<String> {
        let size = fs::metadata(path).map_err(Error::file(path))?.len();
        if size > TEXT_BYTES {
            let why = format!("{size} bytes are more text than fits into memory here");
            return Err(Error::file(path)(std::io::Error::other(why)));
        }
        fs::read_to_string(path).map_err(Error::file(path))
    };
    if !path.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file(path))? {
        let file = entry.map_err(Error::file(path))?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

/// The tokenizer of this name; `own` is that of the model.
pub(super) fn tokenizer(
    name: &str,
    own: Option<Tokenizer>,
    documents: &[String],
) -> Result<Tokenizer> {
    let all = || documents.join("\n\n");
    match (name, own) {
        ("auto" | "model", Some(own)) => Ok(own),
        ("model", None) => Err(Error::NoOwnTokenizer),
        ("characters", _) => Ok(Tokenizer::characters(&all())),
        _ => match name.strip_prefix("bpe-").map(str::parse) {
            Some(Ok(size)) => Tokenizer::train_bpe(&all(), size).map_err(Error::text),
            // The recipe knows no other names.
            _ => Ok(Tokenizer::bytes()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::Seed;

    #[test]
    fn the_label_of_each_token_is_the_next_one() {
        let tokens: Vec<u32> = (0..20).collect();
        let (x, y) = cut(&tokens, &[0, 7], 4).unwrap();
        assert_eq!(x.to_vec2::<u32>().unwrap(), [[0, 1, 2, 3], [7, 8, 9, 10]]);
        assert_eq!(y.to_vec2::<u32>().unwrap(), [[1, 2, 3, 4], [8, 9, 10, 11]]);
    }

    #[test]
    fn a_corpus_holds_out_its_end_and_packs_documents() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.txt", "abc"), ("b.txt", "defghij"), ("c.md", "no")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let data = LanguageData {
            name: folder.path().display().to_string(),
            test_fraction: 0.2,
            ..Default::default()
        };
        let corpus = Corpus::open(&data, None).unwrap();
        assert_eq!(corpus.train, b"abc\0defgh".map(u32::from));
        assert_eq!(corpus.test, b"ij\0".map(u32::from));
        let mut rng = Rng::new(Seed(1), "x");
        for _ in 0..50 {
            let (x, y) = corpus.batch(2, 3, &mut rng).unwrap();
            let (x, y) = (x.to_vec2::<u32>().unwrap(), y.to_vec2::<u32>().unwrap());
            assert!(x[0][1] == y[0][0] && y[1][2] <= u32::from(b'h'));
        }
    }
}
