//! What is learned: the fields of a recipe that only some tasks have.

use cortical_data::csv::CsvOptions;
use cortical_data::{Augment, Dataset, OpenOptions, Target};
use cortical_models::ModelSpec;
use cortical_settings::Choice;
use cortical_tensor::Seed;
use serde::{Deserialize, Serialize};

use crate::labels::LabelOutputs;
use crate::measured::{Measure, Unit};
use crate::numbers::NumberOutputs;
use crate::outputs::Outputs;

use super::{
    ClassifyRecipe, DataRecipe, LoraRecipe, SampleData, SampleTraining, TextData, TextTraining,
};

/// What a run learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TaskKind {
    /// Classes of pictures or of rows of numbers.
    #[default]
    Classification,
    /// Numbers that belong to rows of numbers.
    Regression,
    /// Any number of labels for rows of numbers.
    MultiLabel,
    /// The next token of a text.
    NextToken,
    /// Classes of texts.
    TextClassification,
}

impl TaskKind {
    /// Whether it is learned by a language model.
    #[must_use]
    pub fn is_text(self) -> bool {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => false,
            Self::NextToken | Self::TextClassification => true,
        }
    }

    /// The task in words, for messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Classification => "classes of pictures or of rows of numbers",
            Self::Regression => "numbers that belong to rows of numbers",
            Self::MultiLabel => "any number of labels for rows of numbers",
            Self::NextToken => "the next token of a text",
            Self::TextClassification => "classes of texts",
        }
    }

    /// What is measured beside the loss.
    #[must_use]
    pub fn measure(self) -> Measure {
        match self {
            Self::NextToken => Measure::Perplexity,
            Self::Regression => Measure::R2,
            Self::MultiLabel => Measure::AveragePrecision,
            Self::Classification | Self::TextClassification => Measure::Accuracy,
        }
    }

    /// What speed is counted in.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => Unit::Samples,
            Self::NextToken | Self::TextClassification => Unit::Tokens,
        }
    }

    /// What the data are counted in, in the plural.
    #[must_use]
    pub fn samples(self) -> &'static str {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => "samples",
            Self::NextToken => "tokens",
            Self::TextClassification => "texts",
        }
    }
}

/// What is learned, and by which model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TaskRecipe {
    /// Classes of pictures, or classes or numbers of rows of numbers.
    Samples(Box<SampleRecipe>),
    /// A language model: the next token or, with a table `[classify]`, classes of texts.
    Text(TextRecipe),
}

impl TaskRecipe {
    /// What is learned.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Samples(samples) => match samples.data.target {
                Target::Numbers => TaskKind::Regression,
                Target::Labels => TaskKind::MultiLabel,
                _ => TaskKind::Classification,
            },
            Self::Text(TextRecipe {
                classify: Some(_), ..
            }) => TaskKind::TextClassification,
            Self::Text(_) => TaskKind::NextToken,
        }
    }
}

/// The fields of a recipe for pictures and tables that others do not have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SampleRecipe {
    /// The network.
    pub model: ModelSpec,
    /// Further fields of `[data]`.
    pub data: SampleData,
    /// Further fields of `[train]`.
    pub train: SampleTraining,
    /// What is changed in pictures at random.
    pub augment: Augment,
}

/// The fields of a recipe for a language model that others do not have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TextRecipe {
    /// A preset such as `llama-tiny`, or the folder or GGUF file of a model to train further.
    pub model: String,
    /// Further fields of `[data]`.
    pub data: TextData,
    /// Further fields of `[train]`.
    pub train: TextTraining,
    /// Learn classes of texts in place of the next token.
    pub classify: Option<ClassifyRecipe>,
    /// Train low-rank changes in place of the weights.
    pub lora: Option<LoraRecipe>,
}

impl SampleRecipe {
    /// What the outputs of the network mean, for these samples to learn from.
    ///
    /// # Errors
    /// [`Error::OtherTarget`](crate::Error::OtherTarget) for samples with something else to predict.
    pub(crate) fn outputs(&self, train: &Dataset) -> crate::Result<Outputs> {
        let train_on = &self.train;
        Ok(match (self.data.target, train.targets()) {
            (Target::Numbers, Some(targets)) => Outputs::Numbers(NumberOutputs::new(
                targets.scale().clone(),
                train_on.loss,
                train_on.huber_delta,
            )),
            (Target::Labels, Some(targets)) => {
                let names = targets.names().to_vec();
                Outputs::Labels(LabelOutputs::new(names, &train_on.thresholds.0)?)
            }
            (Target::Classes, None) => Outputs::Classes(train.classes().to_vec()),
            (target, found) => {
                return Err(crate::Error::OtherTarget {
                    expected: target.name(),
                    found: match found {
                        Some(_) => Target::Numbers.name(),
                        None => Target::Classes.name(),
                    },
                });
            }
        })
    }

    /// The recipe as `cortical-data` takes it.
    #[must_use]
    pub fn options(&self, data: &DataRecipe) -> OpenOptions {
        let own = &self.data;
        OpenOptions {
            seed: Seed(own.split_seed),
            test_fraction: data.test_fraction,
            valid_fraction: data.valid_fraction,
            fold: own.folds.map(|folds| (folds, own.fold)),
            normalize: own.normalize,
            input_shape: own.input_shape.clone(),
            data_dir: own.dir.clone(),
            csv: CsvOptions {
                label: own.label.clone(),
                target: own.target,
                targets: own.targets.clone(),
                one_hot: own.one_hot.clone(),
                ignore: own.ignore.clone(),
                dates: own.dates.clone(),
                date_parts: own.date_parts.clone(),
                missing: own.missing,
                header: own.header,
                ..CsvOptions::default()
            },
        }
    }
}
