//! Keys and values of a whole model.

use cortical_attention::Cache;

/// Keys and values of every block, so that a text is read once.
#[derive(Clone, Debug, Default)]
pub struct ModelCache {
    pub(crate) layers: Vec<Cache>,
}

impl ModelCache {
    /// An empty cache for so many blocks.
    pub(crate) fn of(layers: usize) -> Self {
        Self {
            layers: vec![Cache::new(); layers],
        }
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
