//! What a language model costs and keeps, block by block, known before anything is allocated.

use super::config::LanguageConfig;
use super::describe::BLOCK;
use super::head::Head;
use super::model::LanguageModel;
use crate::error::Result;
use cortical_neuron::{Description, Params, product};

/// A language model in numbers, for one text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TextCosts {
    /// What stands before the blocks: tables, and norms behind them.
    pub before: Vec<Description>,
    /// The blocks.
    pub blocks: Vec<Description>,
    /// What stands behind the blocks, the head last.
    pub behind: Vec<Description>,
}

impl TextCosts {
    /// All of them, in the order in which they run.
    pub fn parts(&self) -> impl Iterator<Item = &Description> {
        self.before.iter().chain(&self.blocks).chain(&self.behind)
    }

    /// Multiplications, with the addition that follows each.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        let all = self.parts().map(|part| part.multiply_adds);
        all.fold(0, u64::saturating_add)
    }
}

impl LanguageConfig {
    /// What a text of so many tokens costs, read at once: products with every weight and those of attention, and what a
    /// training keeps for the way back. Nothing is allocated.
    ///
    /// ```
    /// use cortical_models::language::preset;
    /// let config = preset("llama-tiny").expect("a preset").config;
    /// let (one, two) = (config.costs(1)?.multiply_adds(), config.costs(2)?.multiply_adds());
    /// // The second token is seen by itself, and sees the first.
    /// assert!(two > 2 * one);
    /// # Ok::<(), cortical_models::Error>(())
    /// ```
    ///
    /// # Errors
    /// Sizes that do not fit together.
    pub fn costs(&self, tokens: usize) -> Result<TextCosts> {
        let params = Params::dry(usize::MAX);
        let model = LanguageModel::build(self, &params)?;
        let mut costs = TextCosts {
            before: Vec::new(),
            blocks: Vec::new(),
            behind: Vec::new(),
        };
        for part in model.describe(tokens)? {
            match part.kind {
                BLOCK => costs.blocks.push(part),
                _ if costs.blocks.is_empty() => costs.before.push(part),
                _ => costs.behind.push(part),
            }
        }
        if self.head() != Head::None {
            let (d, vocab) = (self.hidden_size(), self.vocab_size());
            let products = product(&[tokens, d, vocab]);
            // Scores are never there all at once; the gradient of what enters is made on the way.
            costs
                .behind
                .push(Description::new("Head", "lm_head", &[tokens, d]).costs(products, products));
        }
        Ok(costs)
    }

    /// Numbers that are kept of each position while a model writes: keys and values of all blocks. 0 for a model that
    /// reads whole texts only.
    #[must_use]
    pub fn cache_width(&self) -> u64 {
        product(&[self.layers()]).saturating_mul(product(&[self.inner().cache_width()]))
    }
}
