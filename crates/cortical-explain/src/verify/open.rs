//! A model that can be compared with a reference.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_io::GgufFile;
use cortical_models::language::{
    LanguageModel, LoadOptions, Loaded, TextClassifier, Weights, open, read_classes,
};
use cortical_neuron::{Layer, Params, Pass};
use cortical_train::{RunPaths, TaskKind, TrainedModel};
use std::path::Path;

/// Tokens of a reference at most: attention and scores of more would take more memory than the file says.
const TOKENS_MOST: usize = 1 << 16;

/// A network or a language model in single precision.
#[derive(Debug)]
pub struct Verifiable(Kind);

#[derive(Debug)]
enum Kind {
    Network(Box<TrainedModel>),
    Language(Box<LanguageModel>, Params),
    Texts(Box<TextClassifier>, Params),
}

impl Verifiable {
    /// Opens a run, a model file that a training wrote, a folder as Hugging Face has it or a GGUF file.
    ///
    /// # Errors
    /// What is no model, or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::NotFound { path: path.into() });
        }
        crate::open::refuse_pickle(path)?;
        let options = LoadOptions {
            weights: Weights::Single,
            ..LoadOptions::default()
        };
        if path.is_dir()
            && let Some(classes) = read_classes(path)?
        {
            let (classifier, params) = TextClassifier::open(path, classes.len(), &options)?;
            return Ok(Self(Kind::Texts(Box::new(classifier), params)));
        }
        let run = RunPaths::new(path);
        let is_language = match run.is_run() {
            true => run.read_recipe()?.kind() == TaskKind::NextToken,
            false => {
                let has = |name: &str| path.join(name).is_file();
                has("config.json") || has("adapter_config.json") || GgufFile::is_gguf(path)
            }
        };
        if is_language {
            let Loaded { model, params, .. } = open(path, &options)?;
            return Ok(Self(Kind::Language(Box::new(model), params)));
        }
        let model = match path.is_dir() {
            true => run.load_model(&Device::Cpu)?,
            false => TrainedModel::load(path, &Device::Cpu)?,
        };
        Ok(Self(Kind::Network(Box::new(model))))
    }

    pub(super) fn params(&self) -> &Params {
        match &self.0 {
            Kind::Network(model) => model.params(),
            Kind::Language(_, params) | Kind::Texts(_, params) => params,
        }
    }

    /// The scores of what goes in as it is, without preprocessing; the hidden state of an encoder.
    pub(super) fn forward(&self, input: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let wants = |tokens: bool| match (input.dtype() == DType::U32, input.dims()) {
            (is, dims) if is == tokens && (!tokens || dims.len() == 2) => Ok(()),
            (_, dims) => Err(Error::ReferenceKind {
                expected: match tokens {
                    true => "tokens, whole numbers of shape [batch, tokens]",
                    false => "samples of floating-point numbers, preprocessed",
                },
                dtype: format!("{:?}", input.dtype()),
                shape: dims.to_vec(),
            }),
        };
        match &self.0 {
            Kind::Network(model) => {
                wants(false)?;
                Ok(model.network().forward(input, pass)?)
            }
            Kind::Language(model, _) => {
                wants(true)?;
                few(input)?;
                let hidden = model.hidden(input, None, pass)?;
                match model.has_head() {
                    true => Ok(model.scores(&hidden, pass)?),
                    false => Ok(hidden),
                }
            }
            Kind::Texts(classifier, _) => {
                wants(true)?;
                few(input)?;
                Ok(classifier.logits(&input.to_vec2::<u32>()?, pass)?)
            }
        }
    }
}

fn few(input: &Tensor) -> Result<()> {
    match input.elem_count() {
        1..=TOKENS_MOST => Ok(()),
        got => Err(Error::ReferenceTokens {
            most: TOKENS_MOST,
            got,
        }),
    }
}
