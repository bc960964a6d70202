//! The forward pass through time.

use super::{Cell, Saved, Sequence, Weights, cell, transposed};
use crate::disjoint::Disjoint;
use crate::isa;
use crate::matmul::{MatRef, Write, matmul_serial};
use crate::parallel;
use crate::real::Real;
use crate::scratch;

/// Where the states after the last step go, `[batch, hidden]` each.
#[derive(Debug)]
pub struct Finals<'a, T> {
    /// h after the last step.
    pub h: &'a mut [T],
    /// c after the last step: for an LSTM.
    pub c: Option<&'a mut [T]>,
}

/// Runs a layer over a sequence: writes every step's state to `y` and the last states to `finals`, and returns what the
/// backward pass needs.
///
/// # Panics
/// If the lengths do not fit, or `c_0` is given to another cell than an LSTM.
pub fn forward<T: Real>(
    kind: Cell,
    sequence: Sequence,
    x: &[T],
    weights: Weights<'_, T>,
    h_0: &[T],
    c_0: Option<&[T]>,
    y: &mut [T],
    finals: Finals<'_, T>,
) -> Saved<T> {
    sequence.check(kind, x, &weights, h_0, c_0);
    let Sequence {
        steps,
        batch,
        input,
        hidden,
        ..
    } = sequence;
    let width = kind.gates() * hidden;
    assert_eq!(y.len(), steps * batch * hidden, "recurrent: output");
    assert_eq!(finals.h.len(), batch * hidden, "recurrent: last state");
    let isa = isa::current();
    let w_ih = transposed(isa, weights.w_ih, width, input);
    let w_hh = transposed(isa, weights.w_hh, width, hidden);
    let bias = Biases::new(kind, hidden, &weights);
    let more = if kind.keeps_more() {
        steps * batch * hidden
    } else {
        0
    };
    let mut saved = Saved {
        gates: vec![T::ZERO; steps * batch * width],
        more: vec![T::ZERO; more],
    };
    let mut no_cell = vec![
        T::ZERO;
        if kind == Cell::Lstm {
            0
        } else {
            batch * hidden
        }
    ];
    let c_n = finals.c.unwrap_or(&mut no_cell);
    assert_eq!(c_n.len(), batch * hidden, "recurrent: last cell state");
    let (gates, more) = (
        Disjoint::new(&mut saved.gates),
        Disjoint::new(&mut saved.more),
    );
    let (y, h_n, c_n) = (
        Disjoint::new(y),
        Disjoint::new(finals.h),
        Disjoint::new(c_n),
    );
    let rows = sequence.rows_per_task();
    parallel::for_each(batch.div_ceil(rows), |task| {
        let first = task * rows;
        let n = rows.min(batch - first);
        let of_task = first * hidden..(first + n) * hidden;
        scratch::with(2 * n * hidden, |state: &mut [T]| {
            let (h, c) = state.split_at_mut(n * hidden);
            h.copy_from_slice(&h_0[of_task.clone()]);
            match c_0 {
                Some(c_0) => c.copy_from_slice(&c_0[of_task.clone()]),
                None => c.fill(T::ZERO),
            }
            for t in (0..steps).map(|i| sequence.step(i)) {
                let at = t * batch + first;
                // SAFETY: a task alone writes its samples' rows, in every step.
                let gates = unsafe { gates.part(at * width..(at + n) * width) };
                // 1. The weighted inputs and states of all gates.
                let x = &x[sequence.row(t, first) * input..];
                let x = MatRef::strided(x, n, input, sequence.row_stride() * input, 1);
                matmul_serial(
                    x,
                    MatRef::row_major(&w_ih, input, width),
                    gates,
                    width,
                    Write::Replace,
                );
                let joined = if kind == Cell::Gru { 2 * hidden } else { width };
                let state = MatRef::row_major(h, n, hidden);
                let w = MatRef::strided(&w_hh, hidden, joined, width, 1);
                matmul_serial(state, w, gates, width, Write::Add);
                // SAFETY: as above; an RNN keeps nothing more.
                let more = unsafe {
                    more.part(if kind.keeps_more() {
                        at * hidden..(at + n) * hidden
                    } else {
                        0..0
                    })
                };
                if kind == Cell::Gru && hidden > 0 {
                    let w = MatRef::strided(&w_hh[joined..], hidden, hidden, width, 1);
                    matmul_serial(state, w, more, hidden, Write::Replace);
                }
                // 2. The gates and the new state.
                for r in 0..n {
                    let (span, gates) = (
                        r * hidden..(r + 1) * hidden,
                        &mut gates[r * width..(r + 1) * width],
                    );
                    let h = &mut h[span.clone()];
                    match kind {
                        Cell::RnnTanh | Cell::RnnRelu => {
                            cell::rnn_forward(isa, kind, gates, &bias.gates, h);
                        }
                        Cell::Lstm => {
                            cell::lstm_forward(isa, gates, &bias.gates, &mut c[span.clone()], h);
                            more[span.clone()].copy_from_slice(&c[span]);
                        }
                        Cell::Gru => {
                            cell::gru_forward(
                                isa,
                                gates,
                                &bias.gates,
                                &mut more[span],
                                &bias.candidate,
                                h,
                            );
                        }
                    }
                    let out = sequence.row(t, first + r) * hidden;
                    // SAFETY: as above.
                    unsafe { y.part(out..out + hidden) }.copy_from_slice(h);
                }
            }
            // SAFETY: a task alone writes its samples' last states.
            unsafe {
                h_n.part(of_task.clone()).copy_from_slice(h);
                if kind == Cell::Lstm {
                    c_n.part(of_task).copy_from_slice(c);
                }
            }
        });
    });
    saved
}

/// The biases as the cells add them.
struct Biases<T> {
    /// b_ih + b_hh; without b_hn for a GRU.
    gates: Vec<T>,
    /// b_hn of a GRU.
    candidate: Vec<T>,
}

impl<T: Real> Biases<T> {
    fn new(kind: Cell, hidden: usize, weights: &Weights<'_, T>) -> Self {
        let width = kind.gates() * hidden;
        let mut gates = weights
            .b_ih
            .map_or_else(|| vec![T::ZERO; width], <[T]>::to_vec);
        let mut candidate = vec![T::ZERO; hidden];
        if let Some(b_hh) = weights.b_hh {
            let joined = if kind == Cell::Gru { 2 * hidden } else { width };
            for (g, b) in gates.iter_mut().zip(&b_hh[..joined]) {
                *g += *b;
            }
            if kind == Cell::Gru {
                candidate.copy_from_slice(&b_hh[joined..]);
            }
        }
        Self { gates, candidate }
    }
}
