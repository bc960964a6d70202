//! Keys and values of a whole model.

use crate::error::Result;
use candle_core::Tensor;
use cortical_attention::Cache;

/// The next tokens of one of several texts that a model reads together.
#[derive(Debug)]
pub struct NextTokens<'a> {
    /// The tokens, at least one.
    pub tokens: &'a [u32],
    /// What the model read of this text before.
    pub cache: &'a mut ModelCache,
}

/// What keys and values of a block are called.
pub(crate) fn names(layer: usize) -> [String; 2] {
    ["keys", "values"].map(|what| format!("layers.{layer}.{what}"))
}

/// Keys and values of every block, so that a text is read once.
#[derive(Debug, Default)]
pub struct ModelCache {
    pub(crate) layers: Vec<Cache>,
}

impl ModelCache {
    /// An empty cache for so many blocks, with room for so many positions.
    pub(crate) fn of(layers: usize, positions: usize) -> Self {
        Self {
            layers: (0..layers).map(|_| Cache::with_room(positions)).collect(),
        }
    }

    /// The first `len` positions in memory of their own, with room for `positions`.
    ///
    /// # Errors
    /// When memory is short.
    pub fn fork(&self, len: usize, positions: usize) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.fork(len, positions));
        Ok(Self {
            layers: layers.collect::<cortical_neuron::Result<_>>()?,
        })
    }

    /// Keys and values by names, `[positions, kv_heads, dim]` each, to be saved.
    ///
    /// # Errors
    /// candle's.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::with_capacity(2 * self.layers.len());
        for (layer, cache) in self.layers.iter().enumerate() {
            if let Some(held) = cache.held()? {
                for (name, t) in names(layer).into_iter().zip(held) {
                    all.push((name, t.squeeze(0)?));
                }
            }
        }
        Ok(all)
    }

    /// How many positions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, Cache::len)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blocks that it belongs to.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Forgets all positions but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        for layer in &mut self.layers {
            layer.truncate(len);
        }
    }
}
