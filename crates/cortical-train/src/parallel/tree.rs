//! Sums whose bits do not depend on the number of ranks: micro-batches are the leaves of one binary tree.

use super::{CommunicationDefect, Communicator};
use crate::Result;

/// Which rank has which of the micro-batches: each has some in a row, and as many as another or one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    micro_batches: usize,
    ranks: usize,
}

impl Shares {
    /// So many micro-batches for so many ranks.
    ///
    /// # Errors
    /// [`CommunicationDefect::TooManyRanks`] if a rank would have none, and for no ranks.
    pub fn new(micro_batches: usize, ranks: usize) -> Result<Self> {
        if ranks == 0 || ranks > micro_batches {
            return Err(CommunicationDefect::TooManyRanks {
                micro_batches,
                ranks,
            }
            .into());
        }
        Ok(Self {
            micro_batches,
            ranks,
        })
    }

    /// The rank that has a micro-batch.
    #[must_use]
    pub fn owner(&self, micro_batch: usize) -> usize {
        let (each, more) = (
            self.micro_batches / self.ranks,
            self.micro_batches % self.ranks,
        );
        // The first ranks have one more.
        let of_those = more * (each + 1);
        match micro_batch.checked_sub(of_those) {
            None => micro_batch / (each + 1),
            Some(rest) => more + rest / each,
        }
    }
}

/// `Σ_m leaf(m)` over all micro-batches, the same bits on every rank and at any number of ranks.
///
/// `leaf` is asked only for the micro-batches of this rank ([`Shares`]), in their order, and returns equally many
/// values each time. The sum is that of a binary tree whose shape the number of micro-batches decides: a node adds its
/// first half (the larger one) and its second half. Whoever has a node's first leaf adds; whoever has the second half
/// sends it there. A rank holds one sum for each level of the tree at most, log2 M + 1.
///
/// ```
/// use cortical_train::{SingleProcess, tree_sum};
/// let sum = tree_sum(&SingleProcess, 3, |micro_batch| Ok(vec![micro_batch as f32]))?;
/// assert_eq!(sum, [3.0]);
/// # Ok::<(), cortical_train::Error>(())
/// ```
///
/// # Errors
/// More ranks than micro-batches; leaves of different lengths; those of `leaf` and of the communicator.
pub fn tree_sum(
    ranks: &dyn Communicator,
    micro_batches: usize,
    leaf: impl FnMut(usize) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let mut tree = Tree {
        ranks,
        shares: Shares::new(micro_batches, ranks.size())?,
        leaf,
        bytes: Vec::new(),
    };
    let sum = tree.node(0, micro_batches)?;
    if let Some(sum) = sum {
        tree.write(&sum);
    }
    ranks.broadcast(&mut tree.bytes)?;
    Ok(floats(&tree.bytes).collect())
}

struct Tree<'a, F> {
    ranks: &'a dyn Communicator,
    shares: Shares,
    leaf: F,
    /// The newest message, or room for the next: as long as this rank's leaves.
    bytes: Vec<u8>,
}

impl<F: FnMut(usize) -> Result<Vec<f32>>> Tree<'_, F> {
    /// The sum over the leaves from `start` to before `end`, on the rank that has the first of them.
    fn node(&mut self, start: usize, end: usize) -> Result<Option<Vec<f32>>> {
        let rank = self.ranks.rank();
        let owner = self.shares.owner(start);
        if rank < owner || rank > self.shares.owner(end - 1) {
            return Ok(None);
        }
        if end - start == 1 {
            let values = (self.leaf)(start)?;
            self.bytes.resize(size_of_val(values.as_slice()), 0);
            return Ok(Some(values));
        }
        let middle = start + (end - start).div_ceil(2);
        let first = self.node(start, middle)?;
        let second = self.node(middle, end)?;
        match (first, second) {
            (Some(mut sum), Some(second)) => {
                let (expected, got) = (size_of_val(&*sum), size_of_val(&*second));
                if expected != got {
                    let from = rank;
                    return Err(CommunicationDefect::Length {
                        from,
                        expected,
                        got,
                    }
                    .into());
                }
                add(&mut sum, second.into_iter());
                Ok(Some(sum))
            }
            (Some(mut sum), None) => {
                self.ranks
                    .receive(self.shares.owner(middle), &mut self.bytes)?;
                add(&mut sum, floats(&self.bytes));
                Ok(Some(sum))
            }
            (None, Some(second)) => {
                self.write(&second);
                self.ranks.send(owner, &self.bytes)?;
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }

    fn write(&mut self, values: &[f32]) {
        self.bytes.clear();
        self.bytes
            .extend(values.iter().flat_map(|x| x.to_le_bytes()));
    }
}

fn add(sum: &mut [f32], values: impl Iterator<Item = f32>) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|x| f32::from_le_bytes(*x))
}
