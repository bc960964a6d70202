//! Whether a training fits into memory, asked before anything large is made.

mod arena;
mod batch;

pub use batch::Activations;

use std::fmt;
use std::path::Path;

use cortical_io::{GgufFile, ModelFiles, machine_memory};
use cortical_kernels::alloc::block_bytes;
use cortical_models::language::LanguageConfig;
use cortical_models::{Network, Plan};
use cortical_neuron::Params;
use cortical_optim::fits;

use crate::recipe::{Recipe, StorageType, TextRecipe};
use crate::{Error, Result};

/// Bytes that a training or a model in use needs, by what they are for. What is not known beforehand counts as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryNeed {
    /// The program itself.
    pub program: u64,
    /// The data, which stay in memory.
    pub data: u64,
    /// The tokens of a language model: their texts, and how they are made of each other.
    pub tokenizer: u64,
    /// The parameters.
    pub weights: u64,
    /// A gradient for each that is trained.
    pub gradients: u64,
    /// What the optimizer keeps, and an average of the weights.
    pub optimizer: u64,
    /// What a batch leaves behind on its way forward.
    pub activations: u64,
    /// Keys and values of what a language model has read.
    pub cache: u64,
    /// Gradients of activations on their way back, other intermediate results, and what the allocator rounds up and
    /// keeps for later.
    pub workspace: u64,
}

/// A parameter: its shape, and whether it is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterShape {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Whether it gets a gradient.
    pub is_trained: bool,
}

impl ParameterShape {
    /// A parameter that is trained.
    #[must_use]
    pub fn trained(dims: &[usize]) -> Self {
        Self {
            dims: dims.to_vec(),
            is_trained: true,
        }
    }

    /// Its elements, no more than can be counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        let dims = self.dims.iter().map(|dim| *dim as u64);
        dims.fold(1, u64::saturating_mul)
    }
}

impl StorageType {
    /// Bytes of a weight.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

impl MemoryNeed {
    /// The parts by their names, without those that are nothing.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let parts = [
            ("program", self.program),
            ("data", self.data),
            ("tokenizer", self.tokenizer),
            ("weights", self.weights),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("cache", self.cache),
            ("workspace", self.workspace),
        ];
        parts.into_iter().filter(|(_, bytes)| *bytes > 0)
    }

    /// All parts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts()
            .map(|(_, bytes)| bytes)
            .fold(0, u64::saturating_add)
    }

    /// A training of these parameters, beside what its batches need.
    #[must_use]
    pub fn of_parameters(
        recipe: &Recipe,
        parameters: &[ParameterShape],
        dtype: StorageType,
    ) -> Self {
        let mut need = Self::default();
        for parameter in parameters {
            let bytes = parameter.count().saturating_mul(dtype.bytes());
            let mut copies = vec![bytes];
            if parameter.is_trained {
                let mut states = recipe.optim.config.state_count(&parameter.dims) as u64;
                states += u64::from(recipe.average.averaging().is_some());
                // A copy in single precision.
                states += if dtype.bytes() < 4 {
                    4 / dtype.bytes()
                } else {
                    0
                };
                need.gradients = need.gradients.saturating_add(bytes);
                need.optimizer = need.optimizer.saturating_add(bytes.saturating_mul(states));
                copies.extend(std::iter::repeat_n(bytes, 1 + states as usize));
            }
            need.weights = need.weights.saturating_add(bytes);
            let rounded = copies.into_iter().map(rounding);
            need.workspace = rounded.fold(need.workspace, u64::saturating_add);
        }
        need
    }

    /// The same with data of so many bytes, with what batches of so many samples need, and those of an evaluation.
    #[must_use]
    pub fn with_batch(
        mut self,
        data: u64,
        activations: &Activations,
        batch: usize,
        eval_batch: usize,
    ) -> Self {
        (self.data, self.activations) = (data, activations.kept(batch));
        let peak = activations.peak(data, batch, eval_batch);
        let more = peak.saturating_sub(self.activations.saturating_add(data));
        self.workspace = self.workspace.saturating_add(more);
        self
    }

    /// What a training of a network on so many samples needs at least.
    pub(crate) fn of_network(
        recipe: &Recipe,
        plan: &Plan,
        recompute: usize,
        samples: usize,
    ) -> Self {
        let Ok(parameters) = network_parameters(recipe, plan) else {
            // A network that cannot be built is refused where it is.
            return Self::default();
        };
        let need = Self::of_parameters(recipe, &parameters, StorageType::F32);
        let activations = Activations::of_network(plan, recompute);
        let batch = recipe.train.batch_size.min(samples);
        need.at_least(recipe, &activations, batch)
    }

    /// What a training of a language model that is drawn anew needs at least.
    pub(crate) fn of_drawn(recipe: &Recipe, text: &TextRecipe, config: &LanguageConfig) -> Self {
        let tensors = config.tensors().into_iter();
        let tensors = tensors.map(|tensor| (tensor.name, tensor.shape));
        let parameters = text_parameters(recipe, text, tensors);
        let need = Self::of_parameters(recipe, &parameters, text.train.dtype);
        // Of labelled texts, lengths are not known.
        match (config.costs(text.train.block), &text.classify) {
            (Ok(costs), None) => {
                let vocabulary = config.vocab_size();
                let activations = Activations::of_text(&costs, text.train.block, vocabulary);
                need.at_least(recipe, &activations, recipe.train.batch_size)
            }
            _ => need,
        }
    }

    /// What a training of a language model in files needs at least. They are not opened for it but for their headers;
    /// `None` where there are none.
    pub(crate) fn of_stored(recipe: &Recipe, text: &TextRecipe) -> Option<Self> {
        let path = Path::new(&text.model);
        let tensors: Vec<(String, Vec<usize>)> = if GgufFile::is_gguf(path) {
            let file = GgufFile::open(path).ok()?;
            let tensors = file.tensors().iter();
            tensors
                .map(|t| (t.name().to_owned(), t.shape().to_vec()))
                .collect()
        } else {
            let files = ModelFiles::open(path).ok()?;
            files
                .tensors()
                .map(|t| (t.name().to_owned(), t.shape().to_vec()))
                .collect()
        };
        let mut parameters = text_parameters(recipe, text, tensors);
        // Patterns are of the model's names, which a file may have others for.
        if !recipe.start.freeze.is_empty() {
            parameters.iter_mut().for_each(|one| one.is_trained = false);
        }
        Some(Self::of_parameters(recipe, &parameters, text.train.dtype))
    }

    /// The same with what a batch leaves behind at least, where it is known what is trained.
    fn at_least(self, recipe: &Recipe, activations: &Activations, batch: usize) -> Self {
        match recipe.start.freeze.is_empty() {
            true => Self {
                activations: activations.kept(batch),
                ..self
            },
            // Nothing is kept below the first layer that is trained.
            false => self,
        }
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

/// The parameters of a network, and which of them a recipe trains.
pub(crate) fn network_parameters(recipe: &Recipe, plan: &Plan) -> Result<Vec<ParameterShape>> {
    let params = Params::dry(usize::MAX);
    Network::build(plan, &params)?;
    let tensors = params.all().into_iter();
    let tensors = tensors.map(|param| (param.name().to_owned(), param.dims().to_vec()));
    Ok(shapes(recipe, tensors))
}

/// The parameters of a language model with these tensors, and which of them a recipe trains: low-rank changes of some,
/// or all.
pub(crate) fn text_parameters(
    recipe: &Recipe,
    text: &TextRecipe,
    tensors: impl IntoIterator<Item = (String, Vec<usize>)>,
) -> Vec<ParameterShape> {
    let tensors: Vec<(String, Vec<usize>)> = tensors.into_iter().collect();
    let Some(lora) = &text.lora else {
        return shapes(recipe, tensors);
    };
    let mut all = Vec::new();
    for (name, dims) in tensors {
        let layer = name.strip_suffix(".weight").unwrap_or(&name);
        let layer = layer.rsplit('.').next().unwrap_or_default();
        if let (&[out, input], true) = (&dims[..], lora.targets.iter().any(|name| name == layer)) {
            all.push(ParameterShape::trained(&[lora.rank, input]));
            all.push(ParameterShape::trained(&[out, lora.rank]));
            all.extend(lora.dora.then(|| ParameterShape::trained(&[out])));
        }
        all.push(ParameterShape {
            dims,
            is_trained: false,
        });
    }
    all
}

fn shapes(
    recipe: &Recipe,
    tensors: impl IntoIterator<Item = (String, Vec<usize>)>,
) -> Vec<ParameterShape> {
    let frozen = |name: &str| {
        recipe
            .start
            .freeze
            .iter()
            .any(|pattern| fits(pattern, name))
    };
    let shape = |(name, dims): (String, Vec<usize>)| ParameterShape {
        is_trained: !frozen(&name),
        dims,
    };
    tensors.into_iter().map(shape).collect()
}

/// What the allocator adds to a tensor.
fn rounding(bytes: u64) -> u64 {
    usize::try_from(bytes).map_or(0, |bytes| (block_bytes(bytes) - bytes) as u64)
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
        let need = MemoryNeed::of_network(&recipe, &plan, 0, 100);
        let weights = 4 * plan.parameters() as u64;
        assert_eq!((need.weights, need.gradients), (weights, weights));
        // AdamW keeps two means.
        assert_eq!(need.optimizer, 2 * weights);
        assert_eq!(need.activations, 4 * 10 * (64 + 3));
        let few = MemoryNeed::of_network(&recipe, &plan, 0, 2);
        assert_eq!(
            few.activations,
            4 * 2 * (64 + 3),
            "no batch is larger than the data"
        );
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
        assert_eq!(full.weights, lora.weights - lora.gradients);
        // 4 blocks, two projections each, 8 numbers each way and both of AdamW's means.
        assert!(lora.gradients > 0 && lora.gradients < full.gradients / 20);
        assert_eq!(lora.optimizer, 2 * lora.gradients);
        assert_eq!(full.optimizer, 2 * full.weights);
    }
}
