//! Keys and values of positions that a model has read.

use crate::observed_attention;
use candle_core::Tensor;
use cortical_neuron::{Pass, Result, View};
use cortical_tensor::Error;
use cortical_tensor::ops::{self, Attention, HeadOrder, SeenKeys};

/// The keys and values of one layer, `[batch, positions, kv_heads, dim]` each, in buffers that have room for as many
/// positions as were asked for, and double when they are full.
///
/// It belongs to evaluation: what it holds has no history, so no gradient flows to earlier positions.
#[derive(Debug, Default)]
pub struct Cache {
    buffers: Option<[Tensor; 2]>,
    len: usize,
    room: usize,
}

/// What a layer remembers of what was read before.
#[derive(Debug, Default)]
pub enum Memory<'a, 'c> {
    /// Nothing: the rows are whole texts.
    #[default]
    None,
    /// The rows of every text of the batch go on after what the cache holds.
    Text(&'a mut Cache),
    /// The rows are those of several texts, one after the other, each with a cache of its own.
    Texts(&'a mut [TextRows<'c>]),
}

/// The next rows of one of several texts.
#[derive(Debug)]
pub struct TextRows<'c> {
    /// What it read before.
    pub cache: &'c mut Cache,
    /// How many of the rows are its own.
    pub rows: usize,
}

impl<'a> From<Option<&'a mut Cache>> for Memory<'a, '_> {
    fn from(cache: Option<&'a mut Cache>) -> Self {
        cache.map_or(Self::None, Self::Text)
    }
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache that takes memory for so many positions when the first one comes, and no more until they are
    /// full.
    #[must_use]
    pub fn with_room(positions: usize) -> Self {
        Self {
            room: positions,
            ..Self::default()
        }
    }

    /// The first `len` positions in memory of their own, with room for so many.
    ///
    /// # Errors
    /// When memory is short.
    pub fn fork(&self, len: usize, room: usize) -> Result<Self> {
        let mut fork = Self::with_room(room);
        let len = len.min(self.len);
        if let Some([k, v]) = self.buffers.as_ref().filter(|_| len > 0) {
            fork.append(&k.narrow(1, 0, len)?, &v.narrow(1, 0, len)?)?;
        }
        Ok(fork)
    }

    /// A cache whose buffers these are, `[batch, room, kv_heads, dim]` each, and that holds their first `len`
    /// positions. Nobody else may hold them: further positions are written into them.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit to each other or have not so many positions.
    pub fn of(k: Tensor, v: Tensor, len: usize) -> Result<Self> {
        let dims = |t: &Tensor| t.dims().get(..3).map(<[usize]>::to_vec);
        let shape = |argument: &'static str, expected: String, got: &Tensor| Error::Shape {
            op: "cache",
            argument,
            expected,
            got: got.dims().to_vec(),
        };
        if k.rank() != 4 || k.dim(1)? < len {
            let expected = format!("[batch, {len} positions or more, kv_heads, dim]");
            return Err(shape("keys", expected, &k).into());
        }
        if v.rank() != 4 || dims(&k) != dims(&v) {
            let expected = format!(
                "[batch, positions, kv_heads, dim] as the keys, {:?}",
                k.dims()
            );
            return Err(shape("values", expected, &v).into());
        }
        let room = k.dim(1)?;
        Ok(Self {
            buffers: (room > 0).then_some([k, v]),
            len,
            room,
        })
    }

    /// The keys and values that it holds; `None` for none.
    ///
    /// # Errors
    /// candle's.
    pub fn held(&self) -> Result<Option<[Tensor; 2]>> {
        match &self.buffers {
            Some([k, v]) if self.len > 0 => {
                Ok(Some([k.narrow(1, 0, self.len)?, v.narrow(1, 0, self.len)?]))
            }
            _ => Ok(None),
        }
    }

    /// The buffers, which hold more positions than were read; `None` before the first.
    #[must_use]
    pub fn buffers(&self) -> Option<&[Tensor; 2]> {
        self.buffers.as_ref()
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
            shape[1] = match end <= self.room {
                true => self.room,
                false => end.next_power_of_two(),
            };
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

/// Attention of the next rows of several texts: `q`, `k` and `v` are `[1, rows, heads, dim]`, the rows of one text
/// after those of another, rotated already. The caches take keys and values; each row sees those of its own text up to
/// its own position, and of a window the last ones. Every row has the bits that it has alone.
///
/// # Errors
/// As [`ops::attention_rows`]; a shape that does not fit to the texts' rows.
pub fn attend_texts(
    layer: &str,
    [q, k, v]: [&Tensor; 3],
    texts: &mut [TextRows<'_>],
    window: Option<usize>,
    options: Attention<'_>,
    pass: &mut Pass<'_>,
) -> Result<Tensor> {
    let mut at = 0;
    let mut places = Vec::new();
    for (text, TextRows { cache, rows }) in texts.iter_mut().enumerate() {
        let before = cache.len();
        cache.append(&k.narrow(1, at, *rows)?, &v.narrow(1, at, *rows)?)?;
        at += *rows;
        for row in 0..*rows {
            let end = before + row + 1;
            let first = window.map_or(0, |window| end.saturating_sub(window));
            places.push((text, first..end));
        }
    }
    let held = |text: usize| {
        let cache: &Cache = texts[text].cache;
        cache.buffers().expect("keys were appended")
    };
    let seen: Vec<SeenKeys<'_>> = places
        .into_iter()
        .map(|(text, range)| {
            let [k, v] = held(text);
            SeenKeys { k, v, range }
        })
        .collect();
    if pass.wants(View::Attention) {
        // Only for the observer, who sees the weights of one row after the other.
        for (at, row) in seen.iter().enumerate() {
            let part = |t: &Tensor| t.narrow(1, row.range.start, row.range.len());
            let parts = [q.narrow(1, at, 1)?, part(row.k)?, part(row.v)?];
            let options = Attention {
                causal: None,
                mask: None,
                order: HeadOrder::Inside,
                ..options
            };
            observed_attention(layer, parts.each_ref(), options, pass)?;
        }
    }
    Ok(ops::attention_rows(
        q,
        &seen,
        options.scale,
        options.softcap,
    )?)
}
