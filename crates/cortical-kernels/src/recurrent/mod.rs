//! Recurrent layers over a whole sequence, each as one call: plain RNN, LSTM and GRU.
//!
//! With `x_t` the input and `h` the state, and PyTorch's order of the gates in weights `[gates · hidden, …]`:
//!
//! - RNN: `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)`, or ReLU for tanh;
//! - LSTM: `i, f, o = σ(…)`, `g = tanh(…)` in the order i, f, g, o; `c_t = f c_{t−1} + i g`, `h_t = o tanh(c_t)`;
//! - GRU: `r, z = σ(…)`, `n = tanh(W_in x_t + b_in + r (W_hn h_{t−1} + b_hn))` in the order r, z, n;
//!   `h_t = (1 − z) n + z h_{t−1}`.
//!
//! What the inputs add to the gates of all steps is one product before the first step. Samples do not meet, so tasks
//! own rows of the batch for the whole sequence and never wait for each other; the states' weights are packed once for
//! all steps. The gates are kept for the backward pass, which goes through time from the end and then makes the
//! gradients of inputs and weights in one product each.
//!
//! Legend: `T` steps, `B` batch, `I` input features, `H` hidden features, `G` gates.
//!
//! # Source
//! Elman (1990); Hochreiter and Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase
//! representations using RNN encoder-decoder" (2014).

mod backward;
mod cell;
mod forward;
mod naive;

pub use backward::{Gradients, Upstream, backward};
pub use forward::{Finals, forward};
pub use naive::forward as forward_naive;

use crate::real::Real;

/// The kind of neuron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Plain, with tanh.
    RnnTanh,
    /// Plain, with ReLU.
    RnnRelu,
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru,
}

impl Cell {
    /// How many times `hidden` rows the weights have.
    #[must_use]
    pub fn gates(self) -> usize {
        match self {
            Self::RnnTanh | Self::RnnRelu => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Whether something beside the gates is kept for the backward pass: the cell's state (LSTM) or the
    /// hidden part of the candidate, `W_hn h + b_hn` (GRU).
    #[must_use]
    fn keeps_more(self) -> bool {
        matches!(self, Self::Lstm | Self::Gru)
    }
}

/// Sizes and order of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// I
    pub input: usize,
    /// H
    pub hidden: usize,
    /// Whether `x` and `y` are `[batch, steps, …]`, otherwise `[steps, batch, …]`.
    pub batch_first: bool,
    /// Whether time runs from the last step to the first.
    pub reverse: bool,
}

/// PyTorch's four parameters of a layer and direction.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a, T> {
    /// `[G · H, I]`
    pub w_ih: &'a [T],
    /// `[G · H, H]`
    pub w_hh: &'a [T],
    /// `[G · H]`
    pub b_ih: Option<&'a [T]>,
    /// `[G · H]`
    pub b_hh: Option<&'a [T]>,
}

/// What the forward pass keeps: both in the order `[steps, batch, …]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved<T> {
    /// The gates after their functions, `[T, B, G · H]`.
    pub gates: Vec<T>,
    /// The cell's state (LSTM) or the hidden part of the candidate (GRU), `[T, B, H]`; empty for RNN.
    pub more: Vec<T>,
}

/// A task takes at most this many samples; fewer where that would leave half of the machine idle.
const MAX_ROWS: usize = 16;
/// The same where more rows a task mean less reading: every step of a task reads all weights.
const MAX_ALONE: usize = 64;
/// Below this many samples a product no longer amortises reading the weights.
const MIN_ROWS: usize = 4;

impl Sequence {
    /// How many samples a task takes: a function of the batch, and where a product's rows stand alone of the threads
    /// too, as the cut then shows in no bit.
    fn rows_per_task(self, rows_stand_alone: bool) -> usize {
        if rows_stand_alone {
            let threads = rayon::current_num_threads().max(1);
            return self.batch.div_ceil(threads).clamp(MIN_ROWS, MAX_ALONE);
        }
        self.batch.div_ceil(2).clamp(MIN_ROWS, MAX_ROWS)
    }

    /// Which row of `x` or `y` holds a step of a sample.
    fn row(self, t: usize, b: usize) -> usize {
        if self.batch_first {
            b * self.steps + t
        } else {
            t * self.batch + b
        }
    }

    /// The step that comes `i`-th.
    fn step(self, i: usize) -> usize {
        if self.reverse { self.steps - 1 - i } else { i }
    }

    fn check<T>(self, cell: Cell, x: &[T], weights: &Weights<'_, T>, h_0: &[T], c_0: Option<&[T]>) {
        let Self {
            steps,
            batch,
            input,
            hidden,
            ..
        } = self;
        let rows = cell.gates() * hidden;
        assert_eq!(x.len(), steps * batch * input, "recurrent: input");
        assert_eq!(weights.w_ih.len(), rows * input, "recurrent: w_ih");
        assert_eq!(weights.w_hh.len(), rows * hidden, "recurrent: w_hh");
        for b in [weights.b_ih, weights.b_hh].into_iter().flatten() {
            assert_eq!(b.len(), rows, "recurrent: bias");
        }
        assert_eq!(h_0.len(), batch * hidden, "recurrent: first state");
        assert_eq!(
            c_0.is_some(),
            cell == Cell::Lstm,
            "recurrent: an LSTM has a cell state"
        );
        assert!(
            c_0.is_none_or(|c| c.len() == batch * hidden),
            "recurrent: first cell state"
        );
    }
}

/// A batch-first `[batch, steps, width]` as `[steps, batch, width]`.
fn in_time_order<T: Real>(sequence: Sequence, x: &[T], width: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(x.len());
    for t in 0..sequence.steps {
        for b in 0..sequence.batch {
            let from = sequence.row(t, b) * width;
            out.extend_from_slice(&x[from..from + width]);
        }
    }
    out
}

#[cfg(test)]
mod tests;
