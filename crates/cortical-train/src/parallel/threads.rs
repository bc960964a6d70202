//! Ranks that are threads of one process: for tests, and to see what several ranks do without an installation.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{CommunicationDefect, Communicator};
use crate::Result;

/// A rank that reaches the others through channels.
#[derive(Debug)]
pub struct ThreadCommunicator {
    rank: usize,
    /// To each rank; that to itself is never used.
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

/// So many ranks that reach each other; each belongs on a thread of its own.
///
/// ```
/// use cortical_train::{Communicator, thread_communicators};
/// let all = std::thread::scope(|scope| {
///     let ranks = thread_communicators(2).into_iter();
///     let ranks: Vec<_> = ranks.map(|rank| scope.spawn(move || rank.all_gather(&[rank.rank() as f64]))).collect();
///     ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Result<Vec<_>, _>>()
/// })?;
/// assert_eq!(all, [[0.0, 1.0], [0.0, 1.0]]);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[must_use]
pub fn thread_communicators(size: usize) -> Vec<ThreadCommunicator> {
    let mut ranks: Vec<_> = (0..size)
        .map(|rank| ThreadCommunicator {
            rank,
            to: Vec::new(),
            from: Vec::new(),
        })
        .collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = channel();
            ranks[from].to.push(sender);
            ranks[to].from.push(Mutex::new(receiver));
        }
    }
    ranks
}

impl ThreadCommunicator {
    /// What belongs to another rank.
    fn other<'a, T>(&self, rank: usize, all: &'a [T]) -> Result<&'a T> {
        let size = all.len();
        let other = all.get(rank).filter(|_| rank != self.rank);
        Ok(other.ok_or(CommunicationDefect::NoSuchRank { rank, size })?)
    }
}

impl Communicator for ThreadCommunicator {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn send(&self, to: usize, message: &[u8]) -> Result<()> {
        let sent = self.other(to, &self.to)?.send(message.to_vec());
        Ok(sent.map_err(|_| CommunicationDefect::RankGone { rank: to })?)
    }

    fn receive(&self, from: usize, message: &mut [u8]) -> Result<()> {
        let receiver = self.other(from, &self.from)?;
        // Poisoned means that a thread panicked while it waited; the channel is as good as before.
        let receiver = receiver.lock().unwrap_or_else(|held| held.into_inner());
        let gone = |_| CommunicationDefect::RankGone { rank: from };
        let sent = receiver.recv().map_err(gone)?;
        let (expected, got) = (message.len(), sent.len());
        if got != expected {
            return Err(CommunicationDefect::Length {
                from,
                expected,
                got,
            }
            .into());
        }
        message.copy_from_slice(&sent);
        Ok(())
    }
}
