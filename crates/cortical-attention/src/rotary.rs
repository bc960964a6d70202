//! Rotary positions of a layer.

use candle_core::{DType, Device, Tensor};
use cortical_kernels::rope::{Pairs, frequencies};
use cortical_neuron::Result;
use cortical_tensor::ops::{self, HeadOrder};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Rotates queries and keys by their positions, so that scores depend on distances. Clones share one table of angles.
///
/// # Source
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
#[derive(Clone, Debug)]
pub struct Rotary {
    pairs: Pairs,
    frequencies: Frequencies,
    scale: f64,
    table: Arc<Mutex<Option<Table>>>,
    /// What the last rows of several texts turned by: every block of a model asks for the same.
    picked: Arc<Mutex<Option<Picked>>>,
}

/// Cosines and sines of some positions.
#[derive(Clone, Debug)]
struct Picked {
    positions: Vec<u32>,
    cos: Tensor,
    sin: Tensor,
}

/// Frequencies for a text of so many positions.
type ByLength = Arc<dyn Fn(usize) -> Vec<f64> + Send + Sync>;

#[derive(Clone)]
enum Frequencies {
    Fixed(Arc<[f64]>),
    ByLength(ByLength),
}

impl fmt::Debug for Frequencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(frequencies) => frequencies.fmt(f),
            Self::ByLength(_) => f.write_str("by length"),
        }
    }
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

    /// With frequencies of your own, as models extended to longer texts have them.
    #[must_use]
    pub fn with_frequencies(frequencies: Vec<f64>, pairs: Pairs) -> Self {
        Self::make(Frequencies::Fixed(frequencies.into()), pairs)
    }

    /// With frequencies that change with the number of positions read so far, as dynamically extended models have
    /// them: all positions turn by other angles when the text grows, so a cache holds keys before they are rotated.
    #[must_use]
    pub fn by_length(
        frequencies: impl Fn(usize) -> Vec<f64> + Send + Sync + 'static,
        pairs: Pairs,
    ) -> Self {
        Self::make(Frequencies::ByLength(Arc::new(frequencies)), pairs)
    }

    fn make(frequencies: Frequencies, pairs: Pairs) -> Self {
        Self {
            pairs,
            frequencies,
            scale: 1.0,
            table: Arc::default(),
            picked: Arc::default(),
        }
    }

    /// Has every rotated element multiplied by `scale`, as YaRN does; 1 by default.
    #[must_use]
    pub fn scaled(mut self, scale: f64) -> Self {
        self.scale = scale;
        self.table = Arc::default();
        self.picked = Arc::default();
        self
    }

    /// Whether the angles of all positions change when the text grows.
    #[must_use]
    pub fn is_by_length(&self) -> bool {
        matches!(self.frequencies, Frequencies::ByLength(_))
    }

    /// Rotates `x` of `[batch, rows, heads, dim]` whose first row has position `first`, the last row being the last one
    /// read.
    ///
    /// # Errors
    /// When a head has fewer elements than are rotated.
    pub fn rotate(&self, x: &Tensor, first: usize) -> Result<Tensor> {
        let (cos, sin, pairs) = self.angles(first, x.dim(1)?, x)?;
        Ok(ops::rotary(x, &cos, &sin, pairs, HeadOrder::Inside)?)
    }

    /// The cosines and sines of positions from `first` on, of the dtype and on the device of `like`, and the layout of
    /// the pairs.
    pub(crate) fn angles(
        &self,
        first: usize,
        rows: usize,
        like: &Tensor,
    ) -> Result<(Tensor, Tensor, Pairs)> {
        let table = self.table(first.saturating_add(rows), like.dtype(), like.device())?;
        let part = |t: &Tensor| t.narrow(0, first, rows);
        Ok((part(&table.cos)?, part(&table.sin)?, self.pairs))
    }

    /// Rotates `x` of `[1, rows, heads, dim]` whose rows have these positions. It is not for angles that
    /// [change](Self::is_by_length) when the text grows.
    ///
    /// # Errors
    /// When a head has fewer elements than are rotated, or there are other positions than rows.
    pub(crate) fn rotate_at(&self, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        let len = positions.iter().max().map_or(0, |last| *last as usize + 1);
        let table = self.table(len, x.dtype(), x.device())?;
        let mut picked = self.picked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |picked: &Picked| {
            picked.positions == positions
                && picked.cos.dtype() == x.dtype()
                && picked.cos.device().same_device(x.device())
        };
        if !picked.as_ref().is_some_and(is_same) {
            let rows = Tensor::new(positions, x.device())?;
            *picked = Some(Picked {
                positions: positions.to_vec(),
                cos: table.cos.index_select(&rows, 0)?,
                sin: table.sin.index_select(&rows, 0)?,
            });
        }
        let found = picked.clone().expect("it was just made");
        drop(picked);
        let (cos, sin) = (found.cos, found.sin);
        Ok(ops::rotary(x, &cos, &sin, self.pairs, HeadOrder::Inside)?)
    }

    /// The table of at least `len` positions; of exactly `len` where the angles depend on it.
    fn table(&self, len: usize, dtype: DType, device: &Device) -> Result<Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*table {
            let enough = match self.frequencies {
                Frequencies::Fixed(_) => table.len >= len,
                Frequencies::ByLength(_) => table.len == len,
            };
            let fits = enough && table.cos.dtype() == dtype;
            if fits && table.cos.device().same_device(device) {
                return Ok(table.clone());
            }
        }
        let (len, frequencies) = match &self.frequencies {
            Frequencies::Fixed(fixed) => (len.next_power_of_two(), fixed.clone()),
            Frequencies::ByLength(by_length) => (len, by_length(len).into()),
        };
        let (mut cos, mut sin) = ops::rotary_angles(0..len, &frequencies, dtype, device)?;
        if self.scale != 1.0 {
            cos = cos.affine(self.scale, 0.0)?;
            sin = sin.affine(self.scale, 0.0)?;
        }
        Ok(table.insert(Table { cos, sin, len }).clone())
    }
}
