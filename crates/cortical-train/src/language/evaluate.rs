//! How well a finished run's model foresees a text.

use candle_core::DType;
use cortical_models::language::{self, LanguageModel, LoadOptions};
use cortical_neuron::Pass;
use cortical_text::Tokenizer;

use super::text::{Corpus, cut, starts};
use crate::recipe::LanguageData;
use crate::{Error, Result, RunPaths};

/// How well a model foresees a text.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Foresight {
    /// The mean of `−ln p` in nats a token.
    pub loss: f64,
    /// Tokens that were to be foreseen.
    pub tokens: usize,
}

impl Foresight {
    /// `e^loss`: as unsure as among so many equally likely tokens.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// Tests the model of a finished run: on the blocks of the held-out text that the training tested it on, or on all whole blocks of another text,
/// `moby-dick`, a file or a folder. `None` where that has no whole block.
///
/// # Errors
/// [`Error::NotARun`], [`Error::NotFinished`]; a model or a text that cannot be read.
pub fn evaluate_language(paths: &RunPaths, text: Option<&str>) -> Result<Option<Foresight>> {
    let path = || paths.root().to_owned();
    let recipe = paths.read_language_recipe()?;
    let recipe = recipe.ok_or_else(|| Error::NotARun { path: path() })?;
    if paths.read_language_report()?.is_none() {
        return Err(Error::NotFinished { path: path() });
    }
    let tokenizer = Tokenizer::open(paths.root()).map_err(Error::text)?;
    let loaded = language::open(paths.root(), &LoadOptions::default())?;
    let data = LanguageData {
        name: text.unwrap_or(&recipe.data.name).to_owned(),
        tokenizer: "model".to_owned(),
        test_fraction: match text {
            Some(_) => 0.0,
            None => recipe.data.test_fraction,
        },
    };
    let corpus = Corpus::open(&data, Some(tokenizer))?;
    let (tokens, blocks) = match text {
        Some(_) => (&corpus.train, 0),
        None => (&corpus.test, recipe.train.eval_blocks),
    };
    let shape = (recipe.train.batch_size, recipe.train.block);
    foresee(&loaded.model, tokens, blocks, shape)
}

/// The mean loss over so many blocks, evenly spread, or all of them for 0; a batch of them at a time.
pub(super) fn foresee(
    model: &LanguageModel,
    tokens: &[u32],
    blocks: usize,
    (batch, block): (usize, usize),
) -> Result<Option<Foresight>> {
    let starts = starts(tokens.len(), blocks, block);
    let mut sum = 0.0;
    for part in starts.chunks(batch) {
        let (ids, labels) = cut(tokens, part, block)?;
        let loss = model.loss(&ids, &labels, &mut Pass::eval())?;
        let loss = f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        sum += loss * part.len() as f64;
    }
    Ok((!starts.is_empty()).then(|| Foresight {
        loss: sum / starts.len() as f64,
        tokens: starts.len() * block,
    }))
}
