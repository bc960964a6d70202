//! What a language model is trained for: the loop is the same for every task.

use candle_core::Tensor;
use cortical_models::language::LanguageConfig;
use cortical_neuron::{Params, Pass};
use cortical_tensor::Rng;
use cortical_text::Tokenizer;

use super::observe::{Material, TextMistake};
use crate::evaluate::Evaluation;
use crate::folder::RunPaths;
use crate::{Error, Result};

/// A model with what it learns from.
pub(super) trait Task {
    /// What the model is made of.
    fn config(&self) -> &LanguageConfig;

    /// What turns text into its tokens.
    fn tokenizer(&self) -> &Tokenizer;

    /// What there is to learn from and to test on.
    fn material(&self) -> Material;

    /// Steps, of so many batches each, that have as much as there is to learn from.
    fn steps_of_epoch(&self, batches: u64) -> u64;

    /// The mean loss of batch `number` of the run, and how many tokens the batch has.
    ///
    /// A batch is a function of its number and of `draws`, which a checkpoint keeps.
    fn loss(
        &mut self,
        number: u64,
        draws: &mut Rng,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, usize)>;

    /// Tests on what is held out.
    fn test(&self) -> Result<Tested>;

    /// The model's `config.json`, where transformers has a name for everything in it.
    fn description(&self) -> Option<String>;

    /// Writes the model file.
    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()>;
}

/// What a test found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tested {
    /// The mean loss in nats; `None` where nothing was held out.
    pub(super) loss: Option<f64>,
    /// What a model of tokens writes.
    pub(super) sample: String,
    /// How well classes are told apart.
    pub(super) classes: Option<Evaluation>,
    /// The texts that the model is most wrong about.
    pub(super) mistakes: Vec<TextMistake>,
}

/// Refuses tokens and lengths that a model does not have.
pub(super) fn check<'t>(
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
