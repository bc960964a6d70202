//! Keys and values of positions that a model has read.

use candle_core::Tensor;
use cortical_neuron::Result;
use cortical_tensor::Error;

/// The keys and values of one layer, `[batch, positions, kv_heads, dim]` each, in buffers that double when they are
/// full.
///
/// It belongs to evaluation: what it holds has no history, so no gradient flows to earlier positions.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    buffers: Option<[Tensor; 2]>,
    len: usize,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many positions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all positions but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends keys and values, and returns all that are held.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit to what is held.
    pub fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let rows = k.dim(1)?;
        let end = self.len + rows;
        self.reserve(k, v, end)?;
        let [k_all, v_all] = self.buffers.as_ref().expect("`reserve` made the buffers");
        for (all, part) in [(k_all, k), (v_all, v)] {
            all.slice_set(&part.detach().contiguous()?, 1, self.len)?;
        }
        self.len = end;
        Ok((k_all.narrow(1, 0, end)?, v_all.narrow(1, 0, end)?))
    }

    /// Makes room for `end` positions.
    fn reserve(&mut self, k: &Tensor, v: &Tensor, end: usize) -> Result<()> {
        let fits = |held: &Tensor, new: &Tensor| {
            let (held, new) = (held.dims(), new.dims());
            held.len() == new.len() && held[0] == new[0] && held[2..] == new[2..]
        };
        if let Some([k_all, v_all]) = &self.buffers {
            for (argument, held, new) in [("keys", k_all, k), ("values", v_all, v)] {
                if !fits(held, new) {
                    let mut expected = held.dims().to_vec();
                    expected[1] = new.dims().get(1).copied().unwrap_or(0);
                    let (op, got) = ("cache", new.dims().to_vec());
                    let expected = format!("{expected:?}, as the cache holds");
                    return Err(Error::Shape {
                        op,
                        argument,
                        expected,
                        got,
                    }
                    .into());
                }
            }
            if k_all.dim(1)? >= end {
                return Ok(());
            }
        }
        let grown = |new: &Tensor, held: Option<&Tensor>| {
            let mut shape = new.dims().to_vec();
            shape[1] = end.next_power_of_two();
            let all = Tensor::zeros(shape, new.dtype(), new.device())?;
            if let Some(held) = held.filter(|_| self.len > 0) {
                all.slice_set(&held.narrow(1, 0, self.len)?.contiguous()?, 1, 0)?;
            }
            candle_core::Result::Ok(all)
        };
        let held = self.buffers.as_ref();
        self.buffers = Some([
            grown(k, held.map(|b| &b[0]))?,
            grown(v, held.map(|b| &b[1]))?,
        ]);
        Ok(())
    }
}
