//! Several processes that train one model: what they say to each other, whatever carries it.

mod defect;
mod threads;
mod tree;

pub use defect::CommunicationDefect;
pub use threads::{ThreadCommunicator, thread_communicators};
pub use tree::{Shares, tree_sum};

use crate::Result;

/// One of `size` ranks that work on the same training, numbered from 0.
///
/// A transport implements [`send`](Self::send) and [`receive`](Self::receive); the rest is made of these two, in an
/// order that depends on nothing but the number of ranks. Every rank must come to the same calls in the same order.
///
/// # Errors
/// Every method that talks returns [`CommunicationDefect`] for a rank that does not exist or is gone, and for a message
/// of another length than expected. After an error the ranks no longer agree: the training cannot go on.
pub trait Communicator: Send + Sync {
    /// This rank's number, below [`size`](Self::size).
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1.
    fn size(&self) -> usize;

    /// Hands `message` to another rank.
    fn send(&self, to: usize, message: &[u8]) -> Result<()>;

    /// Waits for the next message of another rank, which must be as long as `message`.
    fn receive(&self, from: usize, message: &mut [u8]) -> Result<()>;

    /// Every rank has what rank 0 had.
    fn broadcast(&self, message: &mut [u8]) -> Result<()> {
        // Rank r hands on to 2r + 1 and 2r + 2, so that no rank sends more than twice.
        if let Some(parent) = self.rank().checked_sub(1) {
            self.receive(parent / 2, message)?;
        }
        let children = [2 * self.rank() + 1, 2 * self.rank() + 2];
        for child in children.into_iter().filter(|child| *child < self.size()) {
            self.send(child, message)?;
        }
        Ok(())
    }

    /// The values of all ranks, one rank's after the other's; all have equally many.
    fn all_gather(&self, values: &[f64]) -> Result<Vec<f64>> {
        let mine = values.iter().flat_map(|x| x.to_le_bytes());
        let mut all: Vec<u8> = mine.collect();
        let of_rank = all.len();
        if self.rank() == 0 {
            let mut other = vec![0; of_rank];
            for from in 1..self.size() {
                self.receive(from, &mut other)?;
                all.extend_from_slice(&other);
            }
        } else {
            self.send(0, &all)?;
            all = (0..self.size()).flat_map(|_| vec![0; of_rank]).collect();
        }
        self.broadcast(&mut all)?;
        let (numbers, _) = all.as_chunks();
        Ok(numbers.iter().map(|x| f64::from_le_bytes(*x)).collect())
    }

    /// Every rank has the sums over all ranks: `values[i] = Σ_r values_r[i]`, added in the order of the ranks.
    fn all_reduce(&self, values: &mut [f64]) -> Result<()> {
        let all = self.all_gather(values)?;
        for (i, value) in values.iter_mut().enumerate() {
            let of_ranks = all.iter().skip(i).step_by(all.len() / self.size());
            *value = of_ranks.sum();
        }
        Ok(())
    }

    /// Goes on when every rank has come here.
    fn barrier(&self) -> Result<()> {
        self.all_gather(&[]).map(drop)
    }
}

/// The only rank of a training in one process.
///
/// ```
/// use cortical_train::{Communicator, SingleProcess};
/// assert_eq!(SingleProcess.all_gather(&[2.5])?, [2.5]);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleProcess;

impl Communicator for SingleProcess {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn send(&self, to: usize, _: &[u8]) -> Result<()> {
        Err(CommunicationDefect::NoSuchRank { rank: to, size: 1 }.into())
    }

    fn receive(&self, from: usize, _: &mut [u8]) -> Result<()> {
        Err(CommunicationDefect::NoSuchRank {
            rank: from,
            size: 1,
        }
        .into())
    }
}

#[cfg(test)]
mod tests;
