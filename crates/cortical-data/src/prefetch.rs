//! Batches that are made ahead of their use, in a thread of their own.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::error::{Error, LoadDefect, Result};
use crate::loader::{Batch, Loader, Position};

/// A [`Loader`] whose next batches wait in a bounded queue, made by a thread in the background.
///
/// Batches and their order are those of the loader, for a batch is a function of its position. The thread ends when
/// this is dropped or moved to another position.
///
/// ```
/// use cortical_data::{digits, Loader, Prefetch};
/// use cortical_tensor::Seed;
/// let loader = Loader::config(64).shuffle(Seed(1)).build(&digits()?)?;
/// let mut plain = loader.clone();
/// let mut ahead = Prefetch::new(loader, 2);
/// for _ in 0..3 {
///     assert_eq!(ahead.next_batch()?.labels.to_vec1::<u32>()?, plain.next_batch()?.labels.to_vec1::<u32>()?);
/// }
/// assert_eq!(ahead.position(), plain.position());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Prefetch {
    /// The loader, standing where the consumer stands.
    loader: Loader,
    depth: usize,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    queue: Option<Receiver<Result<(Batch, Position)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Prefetch {
    /// Makes up to `depth` batches ahead; with 0, each when it is asked for.
    #[must_use]
    pub fn new(loader: Loader, depth: usize) -> Self {
        Self {
            loader,
            depth,
            worker: None,
        }
    }

    /// The loader behind it, standing before the next batch.
    #[must_use]
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Which batch comes next.
    #[must_use]
    pub fn position(&self) -> Position {
        self.loader.position()
    }

    /// Goes to a position.
    ///
    /// # Errors
    /// As [`Loader::seek`].
    pub fn seek(&mut self, position: Position) -> Result<()> {
        self.worker = None;
        self.loader.seek(position)
    }

    /// The next batch.
    ///
    /// # Errors
    /// As [`Loader::next_batch`].
    pub fn next_batch(&mut self) -> Result<Batch> {
        if self.depth == 0 {
            return self.loader.next_batch();
        }
        let worker = match &mut self.worker {
            Some(worker) => worker,
            None => self
                .worker
                .insert(Worker::start(self.loader.clone(), self.depth)?),
        };
        let received = worker.queue.as_ref().and_then(|queue| queue.recv().ok());
        match received {
            Some(Ok((batch, next))) => {
                self.loader.seek(next)?;
                Ok(batch)
            }
            Some(Err(error)) => {
                self.worker = None;
                Err(error)
            }
            None => {
                // The thread died, which only a panic does; the loader itself says why.
                self.worker = None;
                self.loader.next_batch()
            }
        }
    }
}

impl Worker {
    fn start(mut loader: Loader, depth: usize) -> Result<Self> {
        let (send, queue) = sync_channel(depth);
        let thread = std::thread::Builder::new()
            .name("cortical-data".to_owned())
            .spawn(move || {
                loop {
                    let batch = loader.next_batch();
                    let is_error = batch.is_err();
                    let position = loader.position();
                    if send.send(batch.map(|batch| (batch, position))).is_err() || is_error {
                        return;
                    }
                }
            })
            .map_err(|why| Error::Load(LoadDefect::Thread { why }))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::iris;
    use cortical_tensor::Seed;

    fn loader() -> Loader {
        let config = Loader::config(16).shuffle(Seed(3));
        config.build(&iris().unwrap()).unwrap()
    }

    fn inputs(batch: &Batch) -> Vec<f32> {
        batch.inputs.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn batches_ahead_are_the_loaders_batches_from_any_position() {
        for depth in [0, 1, 3] {
            let (mut plain, mut ahead) = (loader(), Prefetch::new(loader(), depth));
            for at in [(0, 0), (2, 5), (1, 9)] {
                let position = Position {
                    epoch: at.0,
                    batch: at.1,
                };
                plain.seek(position).unwrap();
                ahead.seek(position).unwrap();
                for _ in 0..25 {
                    let (a, b) = (plain.next_batch().unwrap(), ahead.next_batch().unwrap());
                    assert_eq!(inputs(&a), inputs(&b));
                    assert_eq!(a.position, b.position);
                    assert_eq!(plain.position(), ahead.position());
                }
            }
        }
    }

    #[test]
    fn a_seek_that_is_refused_leaves_the_position() {
        let mut ahead = Prefetch::new(loader(), 2);
        ahead.next_batch().unwrap();
        let error = ahead.seek(Position {
            epoch: 0,
            batch: 99,
        });
        assert!(error.is_err());
        assert_eq!(ahead.position().batch, 1);
    }
}
