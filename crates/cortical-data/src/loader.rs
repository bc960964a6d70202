//! Batches in a seeded order that can be left and found again.

use candle_core::{Device, Tensor};
use cortical_tensor::{Rng, Seed};
use serde::{Deserialize, Serialize};

use crate::augment::Augment;
use crate::dataset::Dataset;
use crate::error::{Error, LoadDefect, Result};
use crate::sampling::Weights;

/// Where a loader stands: the batch that comes next. The order of an epoch depends on the seed and the epoch only, so
/// these two numbers are all a checkpoint needs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// How many epochs are complete.
    pub epoch: u64,
    /// How many batches of the epoch are done.
    pub batch: u64,
}

/// Some samples with their labels.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[b, shape...]`, `f32`, preprocessed.
    pub inputs: Tensor,
    /// `[b]`, `u32`: a class each. Where numbers are predicted `[b, targets]`, `f32`, on the scale on which they are
    /// learned.
    pub labels: Tensor,
    /// Where this batch stands in the run.
    pub position: Position,
}

impl Batch {
    /// How many samples the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.dims().first().copied().unwrap_or(0)
    }

    /// Whether the batch has no sample, which no loader's batch does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    batch_size: usize,
    shuffle: Option<Seed>,
    drop_last: bool,
    device: Device,
    augment: Option<(Augment, Seed)>,
    weights: Option<Weights>,
    limit: Option<u64>,
}

impl LoaderConfig {
    /// Changes pictures at random: each by the stream `"augment/<epoch>/<row>"` of `seed`, so that it depends on
    /// neither batches nor threads.
    #[must_use]
    pub fn augment(self, augment: Augment, seed: Seed) -> Self {
        let augment = (!augment.is_none()).then_some((augment, seed));
        Self { augment, ..self }
    }

    /// Draws the samples of an epoch with replacement, each as probably as its weight says; in effect only together
    /// with [`shuffle`](Self::shuffle), whose seed draws them.
    #[must_use]
    pub fn weighted(self, weights: Weights) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }

    /// Ends an epoch after so many batches, always the first ones of the same order.
    #[must_use]
    pub fn limit(self, batches: u64) -> Self {
        Self {
            limit: Some(batches),
            ..self
        }
    }

    /// A new random order each epoch, drawn by the stream `"shuffle/<epoch>"` of `seed`; without it, the data set's
    /// order.
    #[must_use]
    pub fn shuffle(self, seed: Seed) -> Self {
        Self {
            shuffle: Some(seed),
            ..self
        }
    }

    /// Whether to leave out an epoch's last batch when it is smaller than the others; by default it is kept.
    #[must_use]
    pub fn drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// Where the tensors are made; the CPU by default.
    #[must_use]
    pub fn device(self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self
        }
    }

    /// The loader over `dataset`, at its beginning.
    ///
    /// # Errors
    /// A batch size of 0; too few samples for one batch.
    pub fn build(self, dataset: &Dataset) -> Result<Loader> {
        if self.batch_size == 0 {
            return Err(Error::Load(LoadDefect::BatchSize));
        }
        if let Some((augment, _)) = &self.augment {
            augment.validate()?;
        }
        if let Some(weights) = &self.weights
            && weights.len() != dataset.len()
        {
            return Err(Error::Load(LoadDefect::WeightCount {
                expected: dataset.len(),
                found: weights.len(),
            }));
        }
        let needed = if self.drop_last { self.batch_size } else { 1 };
        if dataset.len() < needed {
            return Err(Error::Load(LoadDefect::NoBatches {
                expected: needed,
                found: dataset.len(),
            }));
        }
        Ok(Loader {
            dataset: dataset.clone(),
            config: self,
            position: Position::default(),
            order: None,
        })
    }
}

/// Batches of a data set, epoch after epoch.
///
/// ```
/// use cortical_data::{digits, Loader, Position};
/// use cortical_tensor::Seed;
/// let mut loader = Loader::config(64).shuffle(Seed(1)).build(&digits()?)?;
/// for batch in loader.epoch() {
///     let batch = batch?;
///     assert_eq!(batch.inputs.dims()[1..], [1, 8, 8]);
/// }
/// assert_eq!(loader.position(), Position { epoch: 1, batch: 0 });
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Dataset,
    config: LoaderConfig,
    position: Position,
    /// The order of an epoch, once it is known.
    order: Option<(u64, Vec<usize>)>,
}

impl Loader {
    /// Batches of `batch_size` samples, in the data set's order, the last one smaller where it does not come out even.
    #[must_use]
    pub fn config(batch_size: usize) -> LoaderConfig {
        LoaderConfig {
            batch_size,
            shuffle: None,
            drop_last: false,
            device: Device::Cpu,
            augment: None,
            weights: None,
            limit: None,
        }
    }

    /// The data set that the batches come from.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The number of samples in a batch, but for the last one of an epoch.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.config.batch_size
    }

    /// How many batches an epoch has.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        let (n, size) = (self.dataset.len(), self.config.batch_size);
        let batches = if self.config.drop_last {
            n / size
        } else {
            n.div_ceil(size)
        };
        let batches = batches as u64;
        self.config
            .limit
            .map_or(batches, |limit| batches.min(limit.max(1)))
    }

    /// How many samples an epoch shows.
    #[must_use]
    pub fn samples_per_epoch(&self) -> usize {
        let n = self.dataset.len();
        let n = if self.config.drop_last {
            n - n % self.config.batch_size
        } else {
            n
        };
        let batches = usize::try_from(self.batches_per_epoch()).unwrap_or(usize::MAX);
        n.min(batches.saturating_mul(self.config.batch_size))
    }

    /// Which batch comes next.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes to a position that [`Loader::position`] gave, in this run or an earlier one.
    ///
    /// # Errors
    /// A batch that no epoch of this loader has.
    pub fn seek(&mut self, position: Position) -> Result<()> {
        let batches = self.batches_per_epoch();
        if position.batch >= batches {
            return Err(Error::Load(LoadDefect::Position {
                expected: batches,
                found: position.batch,
            }));
        }
        self.position = position;
        Ok(())
    }

    /// The next batch; after an epoch's last one, the next epoch's first.
    ///
    /// # Shapes
    /// Inputs `[b, shape...]`, labels `[b]` or `[b, targets]`.
    ///
    /// # Errors
    /// The device's own errors; the position then stays where it is.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let position = self.position;
        let batches = self.batches_per_epoch();
        let rows = self.rows(position);
        let (dataset, device) = (&self.dataset, &self.config.device);
        let inputs = match &self.config.augment {
            Some((augment, seed)) => {
                let stream = |row: usize| {
                    let name = format!("augment/{}/{row}", position.epoch);
                    Rng::new(*seed, &name)
                };
                dataset.inputs().augmented(&rows, augment, stream, device)?
            }
            None => dataset.inputs().tensor(rows.iter().copied(), device)?,
        };
        let batch = Batch {
            inputs,
            labels: dataset.label_tensor(rows, device)?,
            position,
        };
        self.position = if position.batch + 1 < batches {
            Position {
                batch: position.batch + 1,
                ..position
            }
        } else {
            Position {
                epoch: position.epoch.saturating_add(1),
                batch: 0,
            }
        };
        Ok(batch)
    }

    /// The samples of the batch at `position`, which is below the number of batches.
    fn rows(&mut self, position: Position) -> Vec<usize> {
        let start = position.batch as usize * self.config.batch_size;
        let end = self
            .dataset
            .len()
            .min(start.saturating_add(self.config.batch_size));
        let Some(seed) = self.config.shuffle else {
            return (start..end).collect();
        };
        let order = match self.order.take() {
            Some((epoch, order)) if epoch == position.epoch => order,
            _ => {
                // With a limit it is always the same samples that are shown.
                let epoch = self.config.limit.map_or(position.epoch, |_| 0);
                let mut rng = Rng::new(seed, &format!("shuffle/{epoch}"));
                let n = self.dataset.len();
                match &self.config.weights {
                    Some(weights) => (0..n).map(|_| weights.draw(&mut rng)).collect(),
                    None => {
                        let mut order: Vec<usize> = (0..n).collect();
                        rng.shuffle(&mut order);
                        order
                    }
                }
            }
        };
        let rows = order[start..end].to_vec();
        self.order = Some((position.epoch, order));
        rows
    }

    /// The batches that are left of the current epoch: all of them at its beginning.
    pub fn epoch(&mut self) -> Epoch<'_> {
        let epoch = self.position.epoch;
        Epoch {
            loader: self,
            epoch,
            failed: false,
        }
    }
}

/// The batches that are left of an epoch; see [`Loader::epoch`].
#[derive(Debug)]
pub struct Epoch<'a> {
    loader: &'a mut Loader,
    epoch: u64,
    failed: bool,
}

impl Epoch<'_> {
    /// Which batch comes next, for a checkpoint in the middle of a loop.
    #[must_use]
    pub fn position(&self) -> Position {
        self.loader.position
    }
}

impl Iterator for Epoch<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        // A failing device would fail again at the same position for ever.
        if self.failed || self.loader.position.epoch != self.epoch {
            return None;
        }
        let batch = self.loader.next_batch();
        self.failed = batch.is_err();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;
    use proptest::prelude::*;

    fn dataset(n: usize) -> Dataset {
        let inputs = Inputs::new((0..n).map(|i| i as f32).collect(), &[1]).unwrap();
        let classes = (0..n).map(|c| c.to_string()).collect();
        Dataset::new(inputs, (0..n as u32).collect(), classes).unwrap()
    }

    /// The labels of a batch, after a look whether they are those of its samples.
    fn labels(batch: &Batch) -> Vec<u32> {
        let labels = batch.labels.to_vec1::<u32>().unwrap();
        let inputs = batch.inputs.to_vec2::<f32>().unwrap();
        assert!(inputs.iter().zip(&labels).all(|(x, &y)| x[0] == y as f32));
        labels
    }

    #[test]
    fn an_epoch_shows_every_sample_once_in_an_order_of_its_own() {
        let mut loader = Loader::config(4)
            .shuffle(Seed(1))
            .build(&dataset(10))
            .unwrap();
        let mut epoch =
            || -> Vec<Vec<u32>> { loader.epoch().map(|b| labels(&b.unwrap())).collect() };
        let (first, second) = (epoch(), epoch());
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_ne!(first, second);
        for epoch in [first, second] {
            let mut seen = epoch.concat();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..10));
        }
    }

    #[test]
    fn without_shuffling_the_order_is_the_data_sets() {
        let mut loader = Loader::config(4)
            .drop_last(true)
            .build(&dataset(10))
            .unwrap();
        assert_eq!(
            (loader.batches_per_epoch(), loader.samples_per_epoch()),
            (2, 8)
        );
        let seen: Vec<u32> = loader.epoch().flat_map(|b| labels(&b.unwrap())).collect();
        assert!(seen.into_iter().eq(0..8));
    }

    #[test]
    fn what_makes_no_batch_is_refused() {
        let check = |config: LoaderConfig, n, text: &str| {
            assert_eq!(config.build(&dataset(n)).unwrap_err().to_string(), text);
        };
        check(
            Loader::config(0),
            3,
            "expected a batch size of at least 1, found 0",
        );
        check(
            Loader::config(4),
            0,
            "expected at least 1 sample(s) for one batch, found 0",
        );
        check(
            Loader::config(4).drop_last(true),
            3,
            "expected at least 4 sample(s) for one batch, found 3",
        );
        let mut loader = Loader::config(4).build(&dataset(8)).unwrap();
        assert_eq!(
            loader
                .seek(Position { epoch: 0, batch: 2 })
                .unwrap_err()
                .to_string(),
            "expected a position with a batch below 2, found 2; it was saved with other data or another batch size"
        );
    }

    #[test]
    fn the_largest_batch_size_is_one_batch() {
        let mut loader = Loader::config(usize::MAX).build(&dataset(3)).unwrap();
        assert_eq!(loader.next_batch().unwrap().len(), 3);
        assert_eq!(loader.position(), Position { epoch: 1, batch: 0 });
    }

    proptest! {
        #[test]
        fn a_restored_position_yields_the_same_batches(
            n in 1usize..30,
            batch_size in 1usize..8,
            steps in 0usize..40,
            shuffle: bool,
        ) {
            let build = || {
                let config = Loader::config(batch_size);
                let config = if shuffle { config.shuffle(Seed(5)) } else { config };
                config.build(&dataset(n)).unwrap()
            };
            let mut straight = build();
            for _ in 0..steps {
                straight.next_batch().unwrap();
            }
            let saved = serde_json::to_string(&straight.position()).unwrap();
            let mut resumed = build();
            resumed.seek(serde_json::from_str(&saved).unwrap()).unwrap();
            for _ in 0..20 {
                let (a, b) = (straight.next_batch().unwrap(), resumed.next_batch().unwrap());
                prop_assert_eq!(a.position, b.position);
                prop_assert_eq!(labels(&a), labels(&b));
            }
        }
    }
}
