//! What both tasks of a language model share: the text as tokens, and the model that a recipe names.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cortical_models::language::{
    LanguageConfig, LoadOptions, TextClassifier, Weights, preset, save_adapter,
};
use cortical_neuron::{Adapters, Params};
use cortical_tensor::{Rng, Seed};
use cortical_text::Tokenizer;

use crate::folder::RunPaths;
use crate::memory::MemoryNeed;
use crate::recipe::{DataRecipe, Recipe, StorageType, TextRecipe};
use crate::{Error, Result};

/// The most bytes of text that are read.
const TEXT_BYTES: u64 = 1 << 30;

/// Tokens to learn from, to validate on and to test on.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) train: Vec<u32>,
    pub(crate) valid: Vec<u32>,
    pub(crate) test: Vec<u32>,
}

impl Corpus {
    /// Reads the text and packs its documents into one stream: each ends with the token that ends a text, where there
    /// is one, and the next begins behind it, so that no block has room that nothing is learned in. The test part is
    /// the end of it, the validation part stands before that.
    pub(crate) fn open(data: &DataRecipe, name: &str, own: Option<Tokenizer>) -> Result<Self> {
        let documents = documents(&data.name)?;
        let tokenizer = tokenizer(name, own, &documents)?;
        let end = tokenizer.eos().first().copied();
        let mut all = Vec::new();
        for document in &documents {
            all.extend(tokenizer.encode_part(document).map_err(Error::text)?);
            all.extend(end.filter(|_| documents.len() > 1));
        }
        let tokens = all.len() as f64;
        let test = all.split_off((tokens * (1.0 - data.test_fraction)) as usize);
        let held = (tokens * data.valid_fraction) as usize;
        let valid = all.split_off(all.len().saturating_sub(held));
        Ok(Self {
            tokenizer,
            train: all,
            valid,
            test,
        })
    }

    /// Blocks from random places: what the model reads, and what comes next at every position.
    pub(crate) fn batch(
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
pub(crate) fn starts(tokens: usize, blocks: usize, block: usize) -> Vec<usize> {
    let whole = tokens.saturating_sub(1) / block;
    let count = if blocks == 0 {
        whole
    } else {
        blocks.min(whole)
    };
    (0..count).map(|i| i * whole / count * block).collect()
}

/// `[batch, block]` tokens from each start, and those one further on as labels.
pub(crate) fn cut(tokens: &[u32], starts: &[usize], block: usize) -> Result<(Tensor, Tensor)> {
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

/// The files that a text is in, in their order; none for the one that is part of the program.
///
/// # Errors
/// [`Error::NoText`]; a folder that cannot be listed.
pub(crate) fn text_files(text: &str) -> Result<Vec<PathBuf>> {
    if cortical_data::texts()
        .iter()
        .any(|known| known.name == text)
    {
        return Ok(Vec::new());
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(Error::NoText {
            name: text.to_owned(),
        });
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file(path))? {
        let file = entry.map_err(Error::file(path))?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::NoText {
            name: text.to_owned(),
        }),
        false => Ok(files),
    }
}

fn documents(text: &str) -> Result<Vec<String>> {
    let files = text_files(text)?;
    if files.is_empty() {
        return Ok(vec![cortical_data::moby_dick()?]);
    }
    let read = |path: &PathBuf| Ok(cortical_io::read_text(path, TEXT_BYTES)?);
    files.iter().map(read).collect()
}

/// The tokenizer of this name; `own` is that of the model.
pub(crate) fn tokenizer(
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

/// The tokenizer that the model of a recipe brings.
pub(crate) fn own_tokenizer(text: &TextRecipe) -> Option<Tokenizer> {
    match preset(&text.model) {
        Some(_) => None,
        None => Tokenizer::open(Path::new(&text.model)).ok(),
    }
}

/// Where a language model comes from: from what the recipe names, or from the folder of the run that it has trained.
pub(crate) struct Origin<'a> {
    recipe: &'a Recipe,
    text: &'a TextRecipe,
    finished: Option<&'a RunPaths>,
}

impl<'a> Origin<'a> {
    /// Refuses a training that is larger than this machine, before anything is read or drawn.
    pub(crate) fn new(
        recipe: &'a Recipe,
        text: &'a TextRecipe,
        finished: Option<&'a RunPaths>,
    ) -> Result<Self> {
        let need = match (finished, preset(&text.model)) {
            (Some(_), _) => None,
            (None, Some(preset)) => Some(MemoryNeed::of_drawn(recipe, text, &preset.config)),
            (None, None) => MemoryNeed::of_stored(recipe, text),
        };
        need.map_or(Ok(()), MemoryNeed::check)?;
        Ok(Self {
            recipe,
            text,
            finished,
        })
    }

    /// The folder or the file of the model, where it is not drawn.
    pub(crate) fn path(&self) -> &'a Path {
        self.finished
            .map_or(Path::new(&self.text.model), RunPaths::root)
    }

    /// The tokenizer by its name in a recipe, and the one that the model brings.
    pub(crate) fn tokenizer(&self) -> Result<(&'a str, Option<Tokenizer>)> {
        let name = self.text.data.tokenizer.as_str();
        Ok(match self.finished {
            Some(run) => {
                let own = Tokenizer::open(run.root()).map_err(Error::text)?;
                ("model", Some(own))
            }
            None => (name, own_tokenizer(self.text)),
        })
    }

    /// The sizes of a preset with a place for its parameters, if the recipe names one: a fresh model learns the tokens
    /// that there are.
    pub(crate) fn drawn(&self, tokenizer: &Tokenizer) -> Option<(LanguageConfig, Params)> {
        if self.finished.is_some() {
            return None;
        }
        let config = preset(&self.text.model)?.config;
        let tokens = tokenizer.vocab_size().max(config.vocab_size());
        let dtype = match self.text.train.dtype {
            StorageType::F32 => DType::F32,
            StorageType::Bf16 => DType::BF16,
        };
        let params = Params::with_dtype(&Device::Cpu, Seed(self.recipe.seed), dtype);
        params.adapt(adapters(self.text));
        Some((config.with_vocab_size(tokens), params))
    }

    /// How a model that is there is opened. That of a finished run has its low-rank changes already.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            weights: match self.text.train.dtype {
                StorageType::F32 => Weights::Single,
                StorageType::Bf16 => Weights::Bf16,
            },
            adapters: match self.finished {
                Some(_) => None,
                None => adapters(self.text),
            },
            seed: self.recipe.seed,
            ..Default::default()
        }
    }
}

pub(crate) fn adapters(text: &TextRecipe) -> Option<Adapters> {
    text.lora.as_ref().map(|lora| Adapters {
        rank: lora.rank,
        alpha: lora.alpha,
        targets: lora.targets.clone(),
        dora: lora.dora,
        ..Adapters::default()
    })
}

/// Where low-rank changes are learned, nothing else is but a head over classes.
///
/// # Errors
/// [`Error::NoMatch`] for a target that no layer of the model has for a name.
pub(crate) fn train_changes_only(
    text: &TextRecipe,
    config: &LanguageConfig,
    params: &Params,
) -> Result<()> {
    let Some(lora) = &text.lora else {
        return Ok(());
    };
    let all = params.all();
    for target in &lora.targets {
        let adapted = format!(".{target}.lora_A.weight");
        if !all.iter().any(|param| param.name().ends_with(&adapted)) {
            return Err(Error::NoMatch {
                field: "lora.targets",
                pattern: target.clone(),
                known: layers(config).join(", "),
            });
        }
    }
    for param in &all {
        let name = param.name();
        param.set_trainable(name.contains("lora_") || TextClassifier::is_head(name));
    }
    Ok(())
}

/// The last parts of the names of a model's linear layers.
fn layers(config: &LanguageConfig) -> Vec<String> {
    let mut names = Vec::new();
    for tensor in config.tensors() {
        let name = tensor.name.strip_suffix(".weight");
        let last = name.and_then(|name| name.rsplit('.').next());
        let last = last.filter(|last| tensor.shape.len() == 2 && !last.contains("embed"));
        names.extend(last.map(str::to_owned).filter(|last| !names.contains(last)));
    }
    names
}

/// Refuses tokens and lengths that a model does not have.
pub(crate) fn check<'t>(
    mut tokens: impl Iterator<Item = &'t u32>,
    config: &LanguageConfig,
    block: usize,
) -> Result<()> {
    let vocabulary = config.vocab_size();
    if let Some(&token) = tokens.find(|id| **id as usize >= vocabulary) {
        return Err(Error::UnknownToken {
            token,
            tokens: vocabulary,
        });
    }
    match config.table_positions() {
        Some(positions) if block > positions => Err(Error::LongBlock { block, positions }),
        _ => Ok(()),
    }
}

/// Writes the configuration, where transformers has a name for everything in it, and the tokenizer.
pub(crate) fn describe(
    paths: &RunPaths,
    config: Option<String>,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let write = |name: &str, text: &str| -> Result<()> {
        let path = paths.root().join(name);
        Ok(cortical_io::write_atomic(path, |file| {
            file.write_all(text.as_bytes())
        })?)
    };
    if let Some(text) = config {
        write("config.json", &text)?;
    }
    write("tokenizer.json", &tokenizer.to_json().map_err(Error::text)?)
}

/// Writes the low-rank changes of a finished run, if that is what it learned; whether it was. Those of a model that was
/// drawn for the run belong to weights that are nowhere else: the whole model is to be written.
pub(crate) fn save_changes(
    paths: &RunPaths,
    text: &TextRecipe,
    config: &LanguageConfig,
    params: &Params,
) -> Result<bool> {
    if text.lora.is_none() || preset(&text.model).is_some() {
        return Ok(false);
    }
    save_adapter(paths.root(), params, config, &text.model)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut data = DataRecipe {
            name: folder.path().display().to_string(),
            test_fraction: 0.2,
            valid_fraction: 0.0,
        };
        let corpus = Corpus::open(&data, "auto", None).unwrap();
        assert_eq!(corpus.train, b"abc\0defgh".map(u32::from));
        assert_eq!(corpus.test, b"ij\0".map(u32::from));
        assert!(corpus.valid.is_empty());
        let mut rng = Rng::new(Seed(1), "x");
        for _ in 0..50 {
            let (x, y) = corpus.batch(2, 3, &mut rng).unwrap();
            let (x, y) = (x.to_vec2::<u32>().unwrap(), y.to_vec2::<u32>().unwrap());
            assert!(x[0][1] == y[0][0] && y[1][2] <= u32::from(b'h'));
        }
        data.valid_fraction = 0.25;
        let corpus = Corpus::open(&data, "auto", None).unwrap();
        assert_eq!(corpus.train, b"abc\0de".map(u32::from));
        assert_eq!(corpus.valid, b"fgh".map(u32::from));
        assert_eq!(corpus.test, b"ij\0".map(u32::from), "it does not change");
    }
}
