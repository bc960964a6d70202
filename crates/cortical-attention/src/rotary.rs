//! Rotary positions of a layer.

use candle_core::{DType, Device, Tensor};
use cortical_kernels::rope::{Pairs, frequencies};
use cortical_neuron::Result;
use cortical_tensor::ops::{self, HeadOrder};
use std::sync::{Arc, Mutex, PoisonError};

/// Rotates queries and keys by their positions, so that scores depend on distances. Clones share one table of angles.
///
/// # Source
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
#[derive(Clone, Debug)]
pub struct Rotary {
    pairs: Pairs,
    frequencies: Arc<[f64]>,
    table: Arc<Mutex<Option<Table>>>,
}

/// Cosines and sines of positions `0..len`.
#[derive(Clone, Debug)]
struct Table {
    cos: Tensor,
    sin: Tensor,
    len: usize,
}

impl Rotary {
    /// Frequencies `base^(−2i/dim)` for a head of `dim` elements, or for its first `dim` elements.
    #[must_use]
    pub fn new(dim: usize, base: f64, pairs: Pairs) -> Self {
        Self::with_frequencies(frequencies(dim, base), pairs)
    }

    /// With frequencies of your own, as models stretched to longer texts have them.
    #[must_use]
    pub fn with_frequencies(frequencies: Vec<f64>, pairs: Pairs) -> Self {
        Self {
            pairs,
            frequencies: frequencies.into(),
            table: Arc::default(),
        }
    }

    /// Rotates `x` of `[batch, rows, heads, dim]` whose first row has position `first`.
    ///
    /// # Errors
    /// When a head has fewer elements than are rotated.
    pub fn rotate(&self, x: &Tensor, first: usize) -> Result<Tensor> {
        let rows = x.dim(1)?;
        let table = self.table(first.saturating_add(rows), x.dtype(), x.device())?;
        let cos = table.cos.narrow(0, first, rows)?;
        let sin = table.sin.narrow(0, first, rows)?;
        Ok(ops::rotary(x, &cos, &sin, self.pairs, HeadOrder::Inside)?)
    }

    /// The table, grown to at least `len` positions.
    fn table(&self, len: usize, dtype: DType, device: &Device) -> Result<Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*table {
            let fits = table.len >= len && table.cos.dtype() == dtype;
            if fits && table.cos.device().same_device(device) {
                return Ok(table.clone());
            }
        }
        let len = len.next_power_of_two();
        let (cos, sin) = ops::rotary_angles(0..len, &self.frequencies, dtype, device)?;
        Ok(table.insert(Table { cos, sin, len }).clone())
    }
}
