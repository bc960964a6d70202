//! Data sets for training and prediction: where samples come from, and the order in which a network sees them.
//!
//! [`open`] takes a name of the [`catalog`] or a path and gives [`Splits`]: a [`Dataset`] to learn from, one to test on
//! and, where it is asked for, one for validation. A data set holds raw values and the [`Preprocess`] that every batch
//! goes through; the latter is saved with a model, so that [`open_features`] treats a row to predict from as the
//! training data were treated. A [`Loader`] makes [`Batch`]es in a seeded order, changed at random by an [`Augment`] if
//! they are pictures, ahead of their use by a [`Prefetch`]; its [`Position`] is all that a checkpoint needs to continue
//! with the same batches.
//!
//! This crate knows candle's tensors and `cortical-tensor`'s random streams. It does not know about networks or
//! training.
//!
//! ```
//! use cortical_data::{open, Loader, OpenOptions};
//! use cortical_tensor::Seed;
//!
//! let splits = open("iris", &OpenOptions { seed: Seed(1), ..Default::default() })?;
//! let mut loader = Loader::config(16).shuffle(Seed(1)).build(&splits.train)?;
//! for batch in loader.epoch() {
//!     let batch = batch?;
//!     assert_eq!(batch.inputs.dims(), [batch.len(), 4]);
//! }
//! # Ok::<(), cortical_data::Error>(())
//! ```

mod about;
mod augment;
mod catalog;
mod column;
pub mod csv;
mod dataset;
mod dates;
mod edges;
mod embedded;
mod error;
mod features;
mod files;
mod fill;
mod fit;
pub mod idx;
mod inputs;
mod loader;
mod numbers;
mod pictures;
mod predict;
mod prefetch;
mod preprocess;
mod sampling;
mod sources;
mod split;
mod table;
mod targets;

pub use about::About;
pub use augment::Augment;
pub use catalog::{Entry, OpenOptions, Text, catalog, open, texts};
pub use dataset::{Dataset, Splits};
pub use edges::edges;
pub use embedded::{concrete, digits, iris, moby_dick};
pub use error::{
    AugmentDefect, CsvDefect, Error, IdxDefect, LoadDefect, PictureDefect, Place, PreprocessDefect,
    Result, SampleDefect, SplitDefect,
};
pub use features::Features;
pub use fill::Missing;
pub use inputs::Inputs;
pub use loader::{Batch, Epoch, Loader, LoaderConfig, Position};
pub use pictures::{Pixels, read_picture};
pub use predict::open_features;
pub use prefetch::Prefetch;
pub use preprocess::{Normalize, Preprocess};
pub use sampling::Weights;
pub use sources::sources;
pub use split::{Rows, fold, split, split_rows};
pub use table::read_table;
pub use targets::{Target, TargetScale, Targets};
