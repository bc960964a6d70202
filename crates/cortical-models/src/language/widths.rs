//! What can be removed from the blocks of a language model: heads, and neurons of the feed-forward part.
//!
//! An architecture says beside the names of its tensors which of them belong to its heads and its feed-forward width
//! ([`Config::widths`](super::architecture::Config::widths)); the groups of a model follow from it.

use crate::layers::{NeuronGroup, Role, Slice};

/// What a linear layer or a norm is to heads or neurons, and the axis of its weights along which they lie.
pub(crate) type Side = (Role, usize);

pub(crate) const MAKES: Side = (Role::Makes, 0);
pub(crate) const FOLLOWS: Side = (Role::Follows, 0);
pub(crate) const READS: Side = (Role::Reads, 1);
/// The same for weights that lie in columns, as GPT-2 has them.
pub(crate) const MAKES_COLUMNS: Side = (Role::Makes, 1);
pub(crate) const READS_COLUMNS: Side = (Role::Reads, 0);

/// A layer of a block by the end of its name, what it is, how many positions each head or neuron has, and whether there
/// are biases as well that go with them.
pub(crate) type Place = (String, Side, usize, bool);

/// What can be removed from every block of a model.
#[derive(Clone, Debug)]
pub(crate) struct BlockWidths {
    /// What the names of blocks begin with, behind the prefix of the model.
    pub(crate) stack: &'static str,
    /// Heads of keys and values with their queries, where the architecture does not tie them to the model's width.
    pub(crate) heads: Option<(usize, Vec<Place>)>,
    /// Neurons of the feed-forward part.
    pub(crate) inner: (usize, Vec<Place>),
}

/// The groups of a model: those of heads and those of the feed-forward part, a group for each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockGroups {
    /// Heads of keys and values, each with the queries that share it; empty where none can be removed.
    pub heads: Vec<NeuronGroup>,
    /// Neurons of the feed-forward part.
    pub inner: Vec<NeuronGroup>,
}

impl BlockWidths {
    pub(crate) fn groups(&self, prefix: &str, layers: usize) -> BlockGroups {
        let group = |layer: usize, (count, places): &(usize, Vec<Place>)| {
            let block = format!("{prefix}{}.{layer}.", self.stack);
            let slices = places.iter().flat_map(|(name, (role, axis), each, bias)| {
                let slice = |kind: &str, axis: usize| Slice {
                    tensor: format!("{block}{name}.{kind}"),
                    axis,
                    from: 0,
                    each: *each,
                    role: *role,
                };
                let bias = bias.then(|| slice("bias", 0));
                std::iter::once(slice("weight", *axis)).chain(bias)
            });
            NeuronGroup {
                count: *count,
                fixed: false,
                slices: slices.collect(),
            }
        };
        let heads = self.heads.iter();
        BlockGroups {
            heads: heads
                .flat_map(|heads| (0..layers).map(move |layer| group(layer, heads)))
                .collect(),
            inner: (0..layers).map(|layer| group(layer, &self.inner)).collect(),
        }
    }
}
