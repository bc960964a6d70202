//! The forward pass through time.

use super::{Cell, Saved, Sequence, Weights, cell, in_time_order};
use crate::buffer::unspecified;
use crate::disjoint::Disjoint;
use crate::isa;
use crate::matmul::{MatRef, Prepacked, Write, matmul, prepack};
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
    let more = if kind.keeps_more() {
        steps * batch * hidden
    } else {
        0
    };
    let mut saved = Saved {
        gates: unspecified(steps * batch * width),
        more: unspecified(more),
    };
    // 1. The weighted inputs of all gates and steps are one product.
    let by_time;
    let x = if sequence.batch_first {
        by_time = in_time_order(sequence, x, input);
        &by_time[..]
    } else {
        x
    };
    matmul(
        MatRef::row_major(x, steps * batch, input),
        MatRef::row_major(weights.w_ih, width, input).t(),
        &mut saved.gates,
        Write::Replace,
    );
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
    // 2. What the states add can only be known step by step.
    let joined = if kind == Cell::Gru { 2 } else { kind.gates() } * hidden;
    let (gates, candidate) = weights.w_hh.split_at(joined * hidden);
    let columns = |w, rows| MatRef::row_major(w, rows, hidden).t();
    let bias = Biases::new(kind, hidden, &weights);
    prepack(columns(gates, joined), |gates| {
        prepack(columns(candidate, width - joined), |candidate| {
            let states = [h_0, c_0.unwrap_or(&[])];
            let outputs = [&mut saved.gates, &mut saved.more, y, finals.h, c_n];
            through_time(kind, sequence, [gates, candidate], &bias, states, outputs);
        });
    });
    saved
}

/// Runs the steps: `[gates, more, y, h_n, c_n]` are filled in, of which the gates hold what the inputs have added.
fn through_time<T: Real>(
    kind: Cell,
    sequence: Sequence,
    [w_gates, w_candidate]: [&Prepacked<'_, T>; 2],
    bias: &Biases<T>,
    [h_0, c_0]: [&[T]; 2],
    outputs: [&mut [T]; 5],
) {
    let Sequence {
        steps,
        batch,
        hidden,
        ..
    } = sequence;
    let isa = isa::current();
    let width = kind.gates() * hidden;
    let [gates, more, y, h_n, c_n] = outputs.map(Disjoint::new);
    let rows = sequence.rows_per_task(w_gates.rows_stand_alone() && w_candidate.rows_stand_alone());
    parallel::for_each(batch.div_ceil(rows), |task| {
        let first = task * rows;
        let n = rows.min(batch - first);
        let of_task = first * hidden..(first + n) * hidden;
        scratch::with(2 * n * hidden, |state: &mut [T]| {
            let (h, c) = state.split_at_mut(n * hidden);
            h.copy_from_slice(&h_0[of_task.clone()]);
            if kind == Cell::Lstm {
                c.copy_from_slice(&c_0[of_task.clone()]);
            }
            for t in (0..steps).map(|i| sequence.step(i)) {
                let at = t * batch + first;
                // SAFETY: a task alone writes its samples' rows, in every step; an RNN keeps nothing more.
                let (gates, more) = unsafe {
                    let of_more = if kind.keeps_more() {
                        at * hidden..(at + n) * hidden
                    } else {
                        0..0
                    };
                    (gates.part(at * width..(at + n) * width), more.part(of_more))
                };
                // 1. The weighted states of all gates.
                let state = MatRef::row_major(h, n, hidden);
                w_gates.multiply(state, gates, width, Write::Add);
                if kind == Cell::Gru {
                    w_candidate.multiply(state, more, hidden, Write::Replace);
                }
                // 2. The gates and the new state.
                for r in 0..n {
                    let span = r * hidden..(r + 1) * hidden;
                    let gates = &mut gates[r * width..(r + 1) * width];
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
                            let more = &mut more[span];
                            cell::gru_forward(isa, gates, &bias.gates, more, &bias.candidate, h);
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
