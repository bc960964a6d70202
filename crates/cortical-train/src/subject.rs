//! What a recipe trains, known before anything large is made.

use std::path::Path;

use cortical_io::{GgufFile, read_text};
use cortical_models::Plan;
use cortical_models::language::{GgufTensors, LanguageConfig, TextCosts, preset};
use std::sync::Arc;

use crate::memory::{Activations, MemoryNeed, ParameterShape, network_parameters, text_parameters};
use crate::recipe::{Recipe, StorageType, TextRecipe};
use crate::task::{Corpus, own_tokenizer};
use crate::{Error, Result, start};

/// The most bytes of a `config.json` that are read.
const CONFIG_BYTES: u64 = 64 << 20;

/// What a recipe trains: its model in numbers, and what stays in memory beside it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subject {
    /// The model.
    pub model: SubjectModel,
    /// Every parameter, and whether it is trained.
    pub parameters: Vec<ParameterShape>,
    /// Bytes of the data; 0 where they are not known.
    pub data: u64,
    /// Samples that are learned from, where they are known: no batch is larger.
    pub samples: Option<usize>,
}

/// A model in numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubjectModel {
    /// Layers in a row.
    Network(Plan),
    /// A language model, and what a text of a block costs.
    Language(LanguageConfig, TextCosts),
}

impl Subject {
    /// What a recipe trains. The data are opened, for they say how large the model is.
    ///
    /// # Errors
    /// Data that cannot be opened, a model that does not fit to them; [`Error::OtherTask`] for classes of texts, whose
    /// lengths are not known.
    pub fn of(recipe: &Recipe) -> Result<Self> {
        if let Ok(samples) = recipe.samples() {
            let splits = recipe.open_samples(&start::columns(&recipe.start)?)?;
            let outputs = samples.outputs(&splits.train)?.count();
            let layers = samples.model.layers();
            let plan = Plan::new(&layers, splits.train.input_shape(), outputs)?;
            return Ok(Self {
                data: splits.bytes(),
                samples: Some(splits.train.len()),
                ..Self::of_network(recipe, plan)?
            });
        }
        let text = recipe.text()?;
        if text.classify.is_some() {
            return Self::of_language(recipe, stored_config(&text.model)?);
        }
        let corpus = Corpus::open(&recipe.data, &text.data.tokenizer, own_tokenizer(text))?;
        let config = match preset(&text.model) {
            Some(preset) => {
                let tokens = corpus.tokenizer.vocab_size();
                let tokens = tokens.max(preset.config.vocab_size());
                preset.config.with_vocab_size(tokens)
            }
            None => stored_config(&text.model)?,
        };
        let tokens =
            [&corpus.train, &corpus.valid, &corpus.test].map(|part| size_of_val(&part[..]));
        Ok(Self {
            data: tokens.into_iter().sum::<usize>() as u64,
            ..Self::of_language(recipe, config)?
        })
    }

    /// A network by itself, without its data.
    ///
    /// # Errors
    /// Layers that cannot be built.
    pub fn of_network(recipe: &Recipe, plan: Plan) -> Result<Self> {
        Ok(Self {
            parameters: network_parameters(recipe, &plan)?,
            model: SubjectModel::Network(plan),
            data: 0,
            samples: None,
        })
    }

    /// A language model by itself, without the text.
    ///
    /// # Errors
    /// [`Error::OtherTask`] for a recipe of pictures or tables; sizes that do not fit together.
    pub fn of_language(recipe: &Recipe, config: LanguageConfig) -> Result<Self> {
        let text = recipe.text()?;
        let tensors = config.tensors().into_iter();
        let tensors = tensors.map(|tensor| (tensor.name, tensor.shape));
        Ok(Self {
            parameters: text_parameters(recipe, text, tensors),
            model: SubjectModel::Language(config.clone(), config.costs(text.train.block)?),
            data: 0,
            samples: None,
        })
    }

    /// Multiply-adds of a batch on its way forward.
    #[must_use]
    pub fn multiply_adds(&self, batch: usize) -> u64 {
        let of_one = match &self.model {
            SubjectModel::Network(plan) => plan.multiply_adds(),
            SubjectModel::Language(_, costs) => costs.multiply_adds(),
        };
        of_one.saturating_mul(batch as u64)
    }

    /// What a step of so many samples needs, part by part.
    #[must_use]
    pub fn memory(&self, recipe: &Recipe, batch: usize) -> MemoryNeed {
        let batch = self.samples.map_or(batch, |samples| batch.min(samples));
        let (activations, dtype, eval_batch) = match (&self.model, &recipe.task) {
            (SubjectModel::Network(plan), crate::TaskRecipe::Samples(samples)) => {
                let activations = Activations::of_network(plan, samples.train.recompute);
                (activations, StorageType::F32, samples.train.eval_batch_size)
            }
            (SubjectModel::Network(plan), _) => {
                (Activations::of_network(plan, 0), StorageType::F32, 0)
            }
            (SubjectModel::Language(config, costs), task) => {
                let text = match task {
                    crate::TaskRecipe::Text(text) => Some(text),
                    crate::TaskRecipe::Samples(_) => None,
                };
                let tokens = text.map_or(1, |text: &TextRecipe| text.train.block);
                let activations = Activations::of_text(costs, tokens, config.vocab_size());
                let dtype = text.map_or(StorageType::F32, |text| text.train.dtype);
                (activations, dtype, 0)
            }
        };
        let need = MemoryNeed::of_parameters(recipe, &self.parameters, dtype);
        need.with_batch(self.data, &activations, batch, eval_batch)
    }
}

/// The configuration of a model in files.
fn stored_config(model: &str) -> Result<LanguageConfig> {
    let path = Path::new(model);
    if let Some(preset) = preset(model) {
        return Ok(preset.config);
    }
    if GgufFile::is_gguf(path) {
        let names = GgufTensors::new(Arc::new(GgufFile::open(path)?))?;
        return Ok(names.config().clone());
    }
    let text = read_text(path.join("config.json"), CONFIG_BYTES)?;
    LanguageConfig::from_json(&text).map_err(Error::from)
}
