//! What a run learns: how a batch becomes a loss, what is measured, what is saved. The [trainer](crate::trainer) does
//! the rest.

mod classification;
mod labelled;
mod mix;
mod next_token;
mod text;

use std::path::Path;

use candle_core::{DType, Tensor};
use cortical_data::Position;
use cortical_neuron::Params;
use cortical_tensor::Rng;

use crate::Result;
use crate::folder::RunPaths;
use crate::measured::{Measure, Measured};
use crate::observe::DataSize;
use crate::recipe::{Recipe, TrainRecipe};

pub(crate) use classification::Classification;
pub(crate) use labelled::{LabelledTexts, TextClasses, evaluation, scores, tokens};
pub(crate) use next_token::{NextToken, text_scores};
pub(crate) use text::{Corpus, adapters, own_tokenizer, text_files, train_changes_only};

/// The random stream inside steps: dropout, and what else is drawn while a batch goes forward.
pub(crate) const STREAM: &str = "train";

/// A model with what it learns from.
pub(crate) trait Task<'r>: Sized {
    /// Samples that go forward together.
    type Batch: Batch;

    /// Opens the data, and opens or draws the model.
    fn open(recipe: &'r Recipe) -> Result<(Self, Params)>;

    /// What is measured beside the loss.
    fn measure(&self) -> Measure;

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

/// A loss as a number.
pub(crate) fn number(loss: &Tensor) -> Result<f64> {
    Ok(f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
