//! What a run learns: how a batch becomes a loss, what is measured, what is saved. The [trainer](crate::trainer) does
//! the rest.

mod classification;
mod labelled;
mod mix;
mod multi_label;
mod next_token;
mod regression;
mod samples;
mod text;

use std::path::Path;

use candle_core::{DType, Tensor};
use cortical_data::Position;
use cortical_neuron::Params;
use cortical_tensor::Rng;
use cortical_tensor::ops::{CrossEntropy, cross_entropy};

use crate::Result;
use crate::folder::RunPaths;
use crate::measured::Measured;
use crate::observe::DataSize;
use crate::recipe::{Recipe, TaskKind, TrainRecipe};

use classification::Classes;
use labelled::TextClasses;
pub(crate) use labelled::{LabelledTexts, evaluation, scores, tokens};
use multi_label::Labels;
use next_token::NextToken;
pub(crate) use next_token::text_scores;
use regression::Numbers;
use samples::SampleTask;
pub(crate) use text::{Corpus, adapters, own_tokenizer, text_files, train_changes_only};

/// The random stream inside steps: dropout, and what else is drawn while a batch goes forward.
pub(crate) const STREAM: &str = "train";

/// A model with what it learns from.
pub(crate) trait Task<'r>: Sized {
    /// Samples that go forward together.
    type Batch: Batch;

    /// Opens the data, and opens or draws the model that the recipe names; to test it, that of the finished run.
    fn open(recipe: &'r Recipe, finished: Option<&RunPaths>) -> Result<(Self, Params)>;

    /// What there is to learn from, to validate on and to test on.
    fn data_size(&self) -> DataSize;

    /// The model, in a word.
    fn model(&self) -> String;

    /// Batches of an epoch: a whole number of steps, or the last step has fewer.
    fn batches_per_epoch(&self) -> u64;

    /// Where the next batch stands.
    fn position(&self) -> Position;

    /// Goes to a batch; `random` is what [`random`](Self::random) was when it was the next one.
    fn seek(&mut self, position: Position, random: Option<&Rng>) -> Result<()>;

    /// The random stream that batches are drawn from, by name, where they are not a function of their position.
    fn random(&self) -> Option<(&'static str, &Rng)> {
        None
    }

    /// The next batch.
    fn next_batch(&mut self) -> Result<Self::Batch>;

    /// The mean loss of a batch on its way forward in training, and the sum of what is measured over its samples.
    fn loss(&mut self, batch: &Self::Batch, rng: &mut Rng) -> Result<(Tensor, Option<f64>)>;

    /// Evaluates on what is held out; `None` where nothing is.
    fn evaluate(&self, part: Part) -> Result<Option<Measured>>;

    /// Where something non-finite comes up first on a batch's way: in training with these random numbers, or in
    /// evaluation.
    fn non_finite(&self, batch: &Self::Batch, rng: Option<&Rng>) -> Result<Option<String>>;

    /// Writes what makes the folder a model that others open, beside the model file.
    fn describe(&self, _paths: &RunPaths) -> Result<()> {
        Ok(())
    }

    /// Writes the weights into a file of their own.
    fn save_weights(&self, path: &Path, params: &Params) -> Result<()>;

    /// Writes the model of the finished run.
    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()> {
        self.save_weights(&paths.model(), params)
    }
}

/// Something that is done with a task, whichever it is.
pub(crate) trait Visitor<'r> {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<T: Task<'r>>(self) -> Result<Self::Output>;
}

impl TaskKind {
    /// Does something with the task of this kind.
    pub(crate) fn visit<'r, V: Visitor<'r>>(self, visitor: V) -> Result<V::Output> {
        match self {
            Self::Classification => visitor.visit::<SampleTask<'r, Classes<'r>>>(),
            Self::Regression => visitor.visit::<SampleTask<'r, Numbers<'r>>>(),
            Self::MultiLabel => visitor.visit::<SampleTask<'r, Labels<'r>>>(),
            Self::NextToken => visitor.visit::<NextToken<'r>>(),
            Self::TextClassification => visitor.visit::<TextClasses<'r>>(),
        }
    }
}

/// Samples that go forward together.
pub(crate) trait Batch {
    /// Where the batch stands in the training.
    fn position(&self) -> Position;

    /// How many samples it has: its weight beside others in a step.
    fn samples(&self) -> usize;

    /// What its speed is counted in: samples or tokens.
    fn units(&self) -> usize {
        self.samples()
    }
}

/// A part of the data that is not learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Looked at while training; what is chosen is chosen by it.
    Valid,
    /// Looked at once, at the end.
    Test,
}

/// The batches of a task that cuts its data itself: how many were taken, and how many make an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batches {
    taken: u64,
    per_epoch: u64,
}

impl Batches {
    /// None taken yet of so much data, of which a batch has a part. An epoch is a whole number of steps.
    pub(crate) fn new(train: &TrainRecipe, data: usize, of_batch: usize) -> Self {
        let of_step = (of_batch as u64).saturating_mul(train.accumulate);
        let whole = (data as u64)
            .div_ceil(of_step)
            .saturating_mul(train.accumulate);
        let per_epoch = match train.overfit_batches {
            0 => whole,
            few => few.min(whole),
        };
        Self {
            taken: 0,
            per_epoch,
        }
    }

    pub(crate) fn per_epoch(self) -> u64 {
        self.per_epoch
    }

    /// Where the next one stands.
    pub(crate) fn position(self) -> Position {
        position_of(self.taken, self.per_epoch)
    }

    pub(crate) fn seek(&mut self, position: Position) {
        self.taken = position.epoch * self.per_epoch + position.batch;
    }

    /// Takes the next one: its number from the beginning, and where it stands.
    pub(crate) fn take(&mut self) -> (u64, Position) {
        let (number, position) = (self.taken, self.position());
        self.taken += 1;
        (number, position)
    }
}

/// A position `number` batches after the beginning, in epochs of so many.
pub(crate) fn position_of(number: u64, batches_per_epoch: u64) -> Position {
    Position {
        epoch: number / batches_per_epoch,
        batch: number % batches_per_epoch,
    }
}

/// The loss of classes, with a share of each label spread over all of them, and a weight for each where they have some.
fn smoothed(
    logits: &Tensor,
    labels: &Tensor,
    label_smoothing: f64,
    weight: Option<&Tensor>,
) -> Result<Tensor> {
    let options = CrossEntropy {
        label_smoothing,
        weight: weight.cloned(),
        ..CrossEntropy::default()
    };
    let loss = cross_entropy(logits, labels, &options);
    Ok(loss.map_err(cortical_neuron::Error::from)?)
}

/// A loss as a number.
pub(crate) fn number(loss: &Tensor) -> Result<f64> {
    Ok(f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
