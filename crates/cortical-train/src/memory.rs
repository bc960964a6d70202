//! Whether a training fits into memory, asked before anything large is made.

use std::fmt;
use std::path::Path;

use cortical_io::{GgufFile, ModelFiles, machine_memory};
use cortical_models::Plan;
use cortical_models::language::LanguageConfig;
use cortical_optim::OptimizerConfig;

use crate::recipe::{Recipe, StorageType, TextRecipe};
use crate::{Error, Result};

/// Values that a block of a language model keeps of a token for the way back, at least, in multiples of its width: the
/// inputs of both norms, queries, keys and values, the attention's result.
const KEPT_WIDTHS: u64 = 6;

/// Bytes that a training needs at least; what is not known beforehand counts as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The parameters.
    pub weights: u64,
    /// A gradient for each that is trained.
    pub gradients: u64,
    /// What the optimizer keeps, and an average of the weights.
    pub optimizer: u64,
    /// What a batch leaves behind on its way forward.
    pub activations: u64,
}

impl MemoryNeed {
    /// All parts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let parts = [
            self.weights,
            self.gradients,
            self.optimizer,
            self.activations,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    fn of(recipe: &Recipe, parameters: usize, dtype: StorageType, is_partly: bool) -> Self {
        let size: u64 = match dtype {
            StorageType::F32 => 4,
            StorageType::Bf16 => 2,
        };
        let weights = (parameters as u64).saturating_mul(size);
        // Which parameters are trained is not known before they are there.
        let trained = if is_partly { 0 } else { weights };
        let mut copies = states(&recipe.optim.config);
        copies += u64::from(recipe.average.averaging().is_some());
        // A copy in single precision.
        copies += if size < 4 { 4 / size } else { 0 };
        Self {
            weights,
            gradients: trained,
            optimizer: trained.saturating_mul(copies),
            activations: 0,
        }
    }

    /// Of a network of layers.
    pub(crate) fn of_network(recipe: &Recipe, plan: &Plan, recomputes: bool) -> Self {
        let is_partly = !recipe.start.freeze.is_empty();
        let kept = plan.layers().iter().filter(|layer| layer.parameters > 0);
        let sizes = kept.map(|layer| {
            let output = layer.output_shape.iter().map(|size| *size as u64);
            output.fold(4 * recipe.train.batch_size as u64, u64::saturating_mul)
        });
        let activations = match recomputes {
            true => sizes.max().unwrap_or(0),
            false => sizes.fold(0, u64::saturating_add),
        };
        Self {
            activations,
            ..Self::of(recipe, plan.parameters(), StorageType::F32, is_partly)
        }
    }

    /// Of a language model that is drawn anew.
    pub(crate) fn of_drawn(recipe: &Recipe, text: &TextRecipe, config: &LanguageConfig) -> Self {
        let tokens = (recipe.train.batch_size as u64).saturating_mul(text.train.block as u64);
        let of_token = KEPT_WIDTHS * 4 * config.hidden_size() as u64;
        let all = of_token.saturating_mul(config.layers() as u64);
        let parameters = config.parameters().unwrap_or(usize::MAX);
        Self {
            activations: tokens.saturating_mul(all),
            ..Self::of_text(recipe, text, parameters)
        }
    }

    /// Of a language model in files, which are not opened for it but for their headers; `None` where there are none.
    pub(crate) fn of_stored(recipe: &Recipe, text: &TextRecipe) -> Option<Self> {
        let path = Path::new(&text.model);
        let sum = |sum: usize, count: usize| sum.saturating_add(count);
        let parameters = if GgufFile::is_gguf(path) {
            let file = GgufFile::open(path).ok()?;
            file.tensors()
                .iter()
                .map(|tensor| tensor.count())
                .fold(0, sum)
        } else {
            let files = ModelFiles::open(path).ok()?;
            files.tensors().map(|tensor| tensor.count()).fold(0, sum)
        };
        Some(Self::of_text(recipe, text, parameters))
    }

    fn of_text(recipe: &Recipe, text: &TextRecipe, parameters: usize) -> Self {
        let is_partly = text.lora.is_some() || !recipe.start.freeze.is_empty();
        Self::of(recipe, parameters, text.train.dtype, is_partly)
    }

    /// # Errors
    /// [`Error::Memory`] if this machine has less.
    pub(crate) fn check(self) -> Result<()> {
        self.within(machine_memory().unwrap_or(u64::MAX))
    }

    fn within(self, memory: u64) -> Result<()> {
        match self.total() > memory {
            true => Err(Error::Memory {
                need: self.to_string(),
                memory: gib(memory),
            }),
            false => Ok(()),
        }
    }
}

/// How many numbers an optimizer keeps for each parameter, at least.
fn states(config: &OptimizerConfig) -> u64 {
    let of = |dims: &[usize]| config.state_count(dims);
    of(&[2, 2]).min(of(&[2])) as u64
}

/// `23.4 GiB: 5.8 GiB of weights, ...`.
impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of weights, {} of gradients, {} for the optimizer, {} of activations",
            gib(self.total()),
            gib(self.weights),
            gib(self.gradients),
            gib(self.optimizer),
            gib(self.activations)
        )
    }
}

/// Bytes as gibibytes.
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Override;

    fn recipe(overrides: &[&str]) -> Recipe {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        Recipe::from_toml("version = 2", None, &overrides).unwrap()
    }

    #[test]
    fn every_part_of_a_training_counts() {
        let recipe = recipe(&["data.name=iris", "model.kind=mlp", "train.batch_size=10"]);
        let layers = recipe.samples().unwrap().model.layers();
        let plan = Plan::new(&layers, &[4], 3).unwrap();
        let need = MemoryNeed::of_network(&recipe, &plan, false);
        let weights = 4 * plan.parameters() as u64;
        assert_eq!((need.weights, need.gradients), (weights, weights));
        // AdamW keeps two means.
        assert_eq!(need.optimizer, 2 * weights);
        assert!(need.activations >= 4 * 10 * 3);
        assert!(need.within(need.total()).is_ok());
        let error = need.within(need.total() - 1).unwrap_err().to_string();
        assert!(error.contains("GiB of gradients"), "{error}");
    }

    #[test]
    fn low_rank_changes_need_no_gradients_of_the_weights() {
        let all = ["data.name=moby-dick", "model=llama-tiny"];
        let full = recipe(&all);
        let lora = recipe(&[&all[..], &["lora.rank=8"]].concat());
        let need = |recipe: &Recipe| {
            let text = recipe.text().unwrap();
            let config = cortical_models::language::preset("llama-tiny")
                .unwrap()
                .config;
            MemoryNeed::of_drawn(recipe, text, &config)
        };
        let (full, lora) = (need(&full), need(&lora));
        assert_eq!(full.weights, lora.weights);
        assert_eq!((lora.gradients, lora.optimizer), (0, 0));
        assert_eq!(full.optimizer, 2 * full.weights);
    }
}
