//! How well the language model of a finished run predicts a text.

use cortical_models::language::{self, LoadOptions};
use cortical_text::Tokenizer;

use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::task::{Corpus, text_scores};
use crate::{Error, Result};

/// Tests the language model of a finished run on all whole blocks of a text: `moby-dick`, a file or a folder. `None`
/// where it has no whole block.
///
/// # Errors
/// [`Error::NotARun`], [`Error::NotFinished`]; a model or a text that cannot be read; a run of another task.
pub fn evaluate_text(paths: &RunPaths, text: &str) -> Result<Option<Measured>> {
    let (recipe, _) = paths.read_finished()?;
    let of_text = recipe.text()?;
    let tokens = test_tokens(paths, Some(text))?;
    let loaded = language::open(paths.root(), &LoadOptions::default())?;
    let shape = (recipe.train.batch_size, of_text.train.block);
    text_scores(&loaded.model, &tokens, 0, shape)
}

/// The tokens of the text that a finished run held out, or of another text.
///
/// # Errors
/// As [`evaluate_text`].
pub fn test_tokens(paths: &RunPaths, text: Option<&str>) -> Result<Vec<u32>> {
    let (recipe, _) = paths.read_finished()?;
    recipe.text()?;
    let tokenizer = Tokenizer::open(paths.root()).map_err(Error::text)?;
    let mut data = recipe.data.clone();
    if let Some(name) = text {
        data.name = name.to_owned();
        (data.test_fraction, data.valid_fraction) = (0.0, 0.0);
    }
    let corpus = Corpus::open(&data, "model", Some(tokenizer))?;
    Ok(match text {
        Some(_) => corpus.train,
        None => corpus.test,
    })
}
