//! Scaled dot-product attention: each query takes a mean of the values, weighted by how well it fits the keys.
//!
//! `O = softmax(scale · Q Kᵀ + mask) V`, head by head. The scores are never held whole: a block of queries meets a
//! block of keys at a time, with a running maximum and sum, so memory grows with the length of the sequence and not
//! with its square. The forward pass keeps one number a query, the logarithm of the softmax's denominator; the backward
//! pass computes the scores again.
//!
//! Backward, with `P = softmax(S)` and `δᵢ = Σ_d dOᵢ_d Oᵢ_d`:
//! `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ∘ (dP − δ)`, `dQ = scale · dS K`, `dK = scale · dSᵀ Q`.
//!
//! With a soft cap `c` the scaled scores are `S = c · tanh(scale · Q Kᵀ / c)`, and their gradients
//! `dS · (1 − (S / c)²)`.
//!
//! Tensors are `[batch, heads, rows, dim]` in any order in memory ([`Strides`]), so that heads can be read where a
//! projection left them. With fewer key heads than query heads, neighbouring query heads share one (grouped queries). A
//! query that may attend to nothing gets zeros.
//!
//! Legend: `b` batch, `h` head of queries, `g` head of keys and values, `i` query, `j` key, `d` element of a head.
//!
//! # Source
//! Vaswani et al., "Attention is all you need" (2017); Milakov and Gimelshein, "Online normalizer calculation for
//! softmax" (2018); Gemma Team, "Gemma 2" (2024), section 2, for the soft cap; Dao et al., "FlashAttention" (2022);
//! Ainslie et al., "GQA" (2023).

mod backward;
mod forward;
mod naive;
mod row;

pub use backward::{Gradients, backward};
pub use forward::{QueryRow, forward, forward_rows};
pub use naive::{backward as backward_naive, forward as forward_naive};

use crate::disjoint::Disjoint;
use crate::isa::InstructionSet;
use crate::matmul::MatRef;
use crate::parallel;
use crate::real::Real;
use row::MaskRow;

/// How many queries meet a block of keys at a time.
const QUERY_BLOCK: usize = 64;
/// How many keys: the scores of a block stay in the second cache. A multiple of 4, the numbers a step of the random
/// stream makes.
const KEY_BLOCK: usize = 256;
/// Up to this many queries a transposed copy of the keys costs more than it saves.
const FEW_QUERIES: usize = 4;

/// The sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Heads of queries, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Rows of Q and of the output.
    pub queries: usize,
    /// Rows of K and V.
    pub keys: usize,
    /// Elements of a row of Q and K.
    pub dim: usize,
    /// Elements of a row of V and of the output.
    pub value_dim: usize,
}

/// How far apart neighbours are in a `[batch, heads, rows, dim]` slice; the elements of a row are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// From one sequence to the next.
    pub batch: usize,
    /// From one head to the next.
    pub head: usize,
    /// From one row to the next.
    pub row: usize,
}

impl Strides {
    /// Of a contiguous `[batch, heads, rows, dim]`.
    #[must_use]
    pub fn heads_outside(heads: usize, rows: usize, dim: usize) -> Self {
        Self {
            batch: heads * rows * dim,
            head: rows * dim,
            row: dim,
        }
    }

    /// Of a contiguous `[batch, rows, heads, dim]`, which is what a projection returns.
    #[must_use]
    pub fn heads_inside(heads: usize, rows: usize, dim: usize) -> Self {
        Self {
            batch: heads * rows * dim,
            head: dim,
            row: heads * dim,
        }
    }

    fn at(self, b: usize, h: usize, row: usize) -> usize {
        b * self.batch + h * self.head + row * self.row
    }

    fn check(self, what: &str, len: usize, [batch, heads, rows, dim]: [usize; 4]) {
        if batch * heads * rows * dim > 0 {
            let last = self.at(batch - 1, heads - 1, rows - 1) + dim;
            assert!(
                last <= len,
                "attention: {what} ends at {last}, its slice at {len}"
            );
        }
    }

    /// Whether no two of these elements share a place.
    fn is_disjoint(self, [batch, heads, rows, dim]: [usize; 4]) -> bool {
        if batch * heads * rows * dim == 0 {
            return true;
        }
        let mut axes = [
            (self.batch, batch),
            (self.head, heads),
            (self.row, rows),
            (1, dim),
        ];
        axes.sort_unstable();
        let mut reach = 1;
        axes.iter().filter(|a| a.1 > 1).all(|&(stride, size)| {
            let fits = stride >= reach;
            reach += stride * (size - 1);
            fits
        })
    }
}

/// An input of attention.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Where they are.
    pub strides: Strides,
}

impl<'a, T: Real> Heads<'a, T> {
    fn row(&self, b: usize, h: usize, row: usize, dim: usize) -> &'a [T] {
        let at = self.strides.at(b, h, row);
        &self.data[at..at + dim]
    }

    fn rows(&self, b: usize, h: usize, rows: std::ops::Range<usize>, dim: usize) -> MatRef<'a, T> {
        let data = if rows.is_empty() || dim == 0 {
            self.data
        } else {
            &self.data[self.strides.at(b, h, rows.start)..]
        };
        MatRef::strided(data, rows.len(), dim, self.strides.row, 1)
    }
}

/// An output of attention or a gradient: written, whatever it held.
#[derive(Debug)]
pub struct HeadsMut<'a, T> {
    /// The elements.
    pub data: &'a mut [T],
    /// Where they are.
    pub strides: Strides,
}

/// Rows of an output that tasks write.
struct OutputRows<'a, T> {
    data: Disjoint<'a, T>,
    strides: Strides,
}

impl<'a, T: Real> OutputRows<'a, T> {
    fn new(what: &str, heads: HeadsMut<'a, T>, shape: [usize; 4]) -> Self {
        heads.strides.check(what, heads.data.len(), shape);
        assert!(
            heads.strides.is_disjoint(shape),
            "attention: rows of {what} overlap"
        );
        Self {
            data: Disjoint::new(heads.data),
            strides: heads.strides,
        }
    }

    /// Calls `f` with one row.
    ///
    /// # Safety
    /// No other task uses this row.
    unsafe fn with_row(
        &self,
        b: usize,
        h: usize,
        row: usize,
        dim: usize,
        f: impl FnOnce(&mut [T]),
    ) {
        let at = self.strides.at(b, h, row);
        // SAFETY: rows share no element, as `new` checked, and the caller owns this one.
        f(unsafe { self.data.part(at..at + dim) });
    }
}

/// Which keys a query sees, or what is added to its scores; the elements of a row are adjacent, and a stride of 0
/// repeats.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a, T> {
    /// The elements.
    pub values: MaskValues<'a, T>,
    /// Where they are.
    pub strides: Strides,
}

/// The two kinds of mask.
#[derive(Clone, Copy, Debug)]
pub enum MaskValues<'a, T> {
    /// Not 0 where a query may attend to a key.
    Keep(&'a [u8]),
    /// Added to the scaled score.
    Add(&'a [T]),
}

/// Dropout of attention weights: kept with probability `1 − p` and divided by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The key of the random stream; the counter is the position in the score matrix.
    pub key: [u32; 2],
    /// In `[0, 1)`.
    pub p: f64,
}

/// What attention does besides the products.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a, T> {
    /// The factor of the scores, usually `1 / √dim`.
    pub scale: T,
    /// What scaled scores are softly kept below, before any mask.
    pub softcap: Option<T>,
    /// With `Some(offset)`, query `i` sees keys `0..=i + offset`: 0 for a whole sequence, the number of keys in a cache
    /// that came before the first query for one that goes on.
    pub causal: Option<usize>,
    /// An additional mask.
    pub mask: Option<Mask<'a, T>>,
    /// In training.
    pub dropout: Option<Dropout>,
}

impl Sizes {
    fn q(self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.dim]
    }
    fn k(self) -> [usize; 4] {
        [self.batch, self.kv_heads, self.keys, self.dim]
    }
    fn v(self) -> [usize; 4] {
        [self.batch, self.kv_heads, self.keys, self.value_dim]
    }
    fn o(self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.value_dim]
    }

    /// How many query heads share a key head.
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    fn check<T: Real>(
        self,
        q: &Heads<'_, T>,
        k: &Heads<'_, T>,
        v: &Heads<'_, T>,
        options: &Options<'_, T>,
    ) {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "attention: whole groups of query heads"
        );
        q.strides.check("q", q.data.len(), self.q());
        k.strides.check("k", k.data.len(), self.k());
        v.strides.check("v", v.data.len(), self.v());
        if let Some(mask) = &options.mask {
            let len = match mask.values {
                MaskValues::Keep(values) => values.len(),
                MaskValues::Add(values) => values.len(),
            };
            mask.strides.check(
                "mask",
                len,
                [self.batch, self.heads, self.queries, self.keys],
            );
        }
        assert!(
            options.dropout.is_none_or(|d| (0.0..1.0).contains(&d.p)),
            "attention: a probability of dropout below 1"
        );
    }
}

impl<'a, T: Real> Options<'a, T> {
    /// How many keys query `i` sees, from the first.
    fn limit(&self, i: usize, keys: usize) -> usize {
        self.causal.map_or(keys, |offset| {
            i.saturating_add(offset).saturating_add(1).min(keys)
        })
    }

    /// Scales, caps and masks a row of scores.
    fn finish_scores(&self, isa: InstructionSet, scores: &mut [T], mask: MaskRow<'a, T>) {
        let scale = match self.softcap {
            None => self.scale,
            Some(cap) => {
                row::scale_and_cap(isa, scores, self.scale, cap);
                T::ONE
            }
        };
        row::scale_and_mask(isa, scores, scale, mask);
    }

    fn mask_row(
        &self,
        b: usize,
        h: usize,
        i: usize,
        keys: std::ops::Range<usize>,
    ) -> MaskRow<'a, T> {
        match &self.mask {
            None => MaskRow::None,
            Some(mask) => {
                let at = mask.strides.at(b, h, i);
                let part = at + keys.start..at + keys.end;
                match mask.values {
                    MaskValues::Keep(values) => MaskRow::Keep(&values[part]),
                    MaskValues::Add(values) => MaskRow::Add(&values[part]),
                }
            }
        }
    }
}

/// The factors of `rows · keys` weights under dropout, 0 or `1 / (1 − p)`, for whoever applies them elsewhere; rows
/// count queries over all heads.
#[must_use]
pub fn dropout_factors(dropout: Dropout, rows: usize, keys: usize) -> Vec<f32> {
    let isa = crate::isa::current();
    let mut factors = vec![1.0; rows * keys];
    if !factors.is_empty() {
        for (row, factors) in factors.chunks_exact_mut(keys).enumerate() {
            row::drop(isa, factors, dropout, row as u64, 0);
        }
    }
    factors
}

/// The transposes of every head's rows, `[batch, heads, dim, rows]`, with which scores are products of adjacent
/// elements.
fn transposes<T: Real>(
    isa: InstructionSet,
    x: &Heads<'_, T>,
    [batch, heads, rows, dim]: [usize; 4],
) -> Vec<T> {
    let mut out = vec![T::ZERO; batch * heads * rows * dim];
    if !out.is_empty() {
        parallel::chunks_mut(&mut out, dim * rows, |at, out| {
            let head = at / (dim * rows);
            let first = x.strides.at(head / heads, head % heads, 0);
            row::transpose(isa, &x.data[first..], x.strides.row, dim, out);
        });
    }
    out
}

#[cfg(test)]
mod tests;
