//! The backward pass through time, from the last step to the first.

use super::{Cell, Saved, Sequence, Weights, cell, in_time_order};
use crate::buffer::unspecified;
use crate::disjoint::Disjoint;
use crate::isa;
use crate::linear;
use crate::matmul::{MatRef, Prepacked, Write, matmul, prepack};
use crate::parallel;
use crate::real::Real;
use crate::scratch;
use crate::slice_sums::add_assign;

/// What comes from above.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a, T> {
    /// The gradient of `y`.
    pub d_y: &'a [T],
    /// The gradient of the state after the last step.
    pub d_h_n: Option<&'a [T]>,
    /// The gradient of the cell state after the last step.
    pub d_c_n: Option<&'a [T]>,
}

/// The gradients of everything that the forward pass read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradients<T> {
    /// As `x`.
    pub x: Vec<T>,
    /// As the first state.
    pub h_0: Vec<T>,
    /// As the first cell state; zeros for other cells than an LSTM.
    pub c_0: Vec<T>,
    /// As `w_ih`.
    pub w_ih: Vec<T>,
    /// As `w_hh`.
    pub w_hh: Vec<T>,
    /// As `b_ih`.
    pub b_ih: Vec<T>,
    /// As `b_hh`.
    pub b_hh: Vec<T>,
}

/// The gradients of [`super::forward`]; `y` is its output.
///
/// # Panics
/// If the lengths do not fit.
pub fn backward<T: Real>(
    kind: Cell,
    sequence: Sequence,
    x: &[T],
    weights: Weights<'_, T>,
    h_0: &[T],
    c_0: Option<&[T]>,
    y: &[T],
    saved: &Saved<T>,
    upstream: Upstream<'_, T>,
) -> Gradients<T> {
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
    assert_eq!(upstream.d_y.len(), y.len(), "recurrent: upstream gradient");
    assert_eq!(
        saved.gates.len(),
        steps * batch * width,
        "recurrent: saved gates"
    );
    let h_before = states_before(sequence, y, h_0);
    let mut out = Gradients {
        x: unspecified(x.len()),
        h_0: unspecified(batch * hidden),
        c_0: unspecified(batch * hidden),
        w_ih: unspecified(width * input),
        w_hh: unspecified(width * hidden),
        b_ih: unspecified(width),
        b_hh: unspecified(width),
    };
    let mut d_gates = unspecified(steps * batch * width);
    // What the states' product sees differs from what the inputs' sees in a GRU alone.
    let mut d_hidden = unspecified(if kind == Cell::Gru { d_gates.len() } else { 0 });
    // 1. Step by step the gradients of the gates' sums, with what they say about the states before.
    prepack(MatRef::row_major(weights.w_hh, width, hidden), |w_hh| {
        let outputs = [&mut d_gates[..], &mut d_hidden, &mut out.h_0, &mut out.c_0];
        through_time(
            kind, sequence, w_hh, c_0, &h_before, saved, upstream, outputs,
        );
    });
    // 2. Everything else is one product for all steps.
    let d_hidden = if kind == Cell::Gru {
        &d_hidden
    } else {
        &d_gates
    };
    let rows = steps * batch;
    let by_time;
    let x = if sequence.batch_first {
        by_time = in_time_order(sequence, x, input);
        &by_time[..]
    } else {
        x
    };
    let d_inputs = MatRef::row_major(&d_gates, rows, width);
    let w_ih = MatRef::row_major(weights.w_ih, width, input);
    if sequence.batch_first {
        let mut d_x = unspecified(out.x.len());
        matmul(d_inputs, w_ih, &mut d_x, Write::Replace);
        for (i, d_x) in d_x.chunks_exact(input.max(1)).enumerate() {
            let to = sequence.row(i / batch, i % batch) * input;
            out.x[to..to + input].copy_from_slice(d_x);
        }
    } else {
        matmul(d_inputs, w_ih, &mut out.x, Write::Replace);
    }
    let d_gates_t = d_inputs.t();
    matmul(
        d_gates_t,
        MatRef::row_major(x, rows, input),
        &mut out.w_ih,
        Write::Replace,
    );
    let d_hidden_t = MatRef::row_major(d_hidden, rows, width).t();
    matmul(
        d_hidden_t,
        MatRef::row_major(&h_before, rows, hidden),
        &mut out.w_hh,
        Write::Replace,
    );
    linear::bias_gradient(&d_gates, &mut out.b_ih);
    if kind == Cell::Gru {
        linear::bias_gradient(d_hidden, &mut out.b_hh);
    } else {
        out.b_hh.copy_from_slice(&out.b_ih);
    }
    out
}

/// Fills in the gradients of the gates' sums and of the first states: `[d_gates, d_hidden, d_h_0, d_c_0]`.
fn through_time<T: Real>(
    kind: Cell,
    sequence: Sequence,
    w_hh: &Prepacked<'_, T>,
    c_0: Option<&[T]>,
    h_before: &[T],
    saved: &Saved<T>,
    upstream: Upstream<'_, T>,
    outputs: [&mut [T]; 4],
) {
    let Sequence {
        steps,
        batch,
        hidden,
        ..
    } = sequence;
    let width = kind.gates() * hidden;
    let isa = isa::current();
    let [d_gates, d_hidden, d_h_0, d_c_0] = outputs.map(Disjoint::new);
    let rows = sequence.rows_per_task(w_hh.rows_stand_alone());
    parallel::for_each(batch.div_ceil(rows), |task| {
        let first = task * rows;
        let n = rows.min(batch - first);
        let of_task = first * hidden..(first + n) * hidden;
        let start = |from: Option<&[T]>, to: &mut [T]| match from {
            Some(from) => to.copy_from_slice(&from[of_task.clone()]),
            None => to.fill(T::ZERO),
        };
        scratch::with(2 * n * hidden, |buffer: &mut [T]| {
            let (d_h, d_c) = buffer.split_at_mut(n * hidden);
            start(upstream.d_h_n, d_h);
            start(upstream.d_c_n, d_c);
            for order in (0..steps).rev() {
                let t = sequence.step(order);
                let at = t * batch + first;
                let gate_rows = at * width..(at + n) * width;
                // SAFETY: a task alone writes its samples' rows, in every step.
                let (d_gates, d_hidden) = unsafe {
                    let of_hidden = if kind == Cell::Gru {
                        gate_rows.clone()
                    } else {
                        0..0
                    };
                    (d_gates.part(gate_rows.clone()), d_hidden.part(of_hidden))
                };
                // 1. Each sample's gates.
                let gates = &saved.gates[gate_rows];
                let before = order
                    .checked_sub(1)
                    .map(|o| sequence.step(o) * batch + first);
                for r in 0..n {
                    let span = r * hidden..(r + 1) * hidden;
                    let wide = r * width..(r + 1) * width;
                    let d_h = &mut d_h[span.clone()];
                    let above = sequence.row(t, first + r) * hidden;
                    add_assign(isa, d_h, &upstream.d_y[above..above + hidden]);
                    let (gates, d_gates) = (&gates[wide.clone()], &mut d_gates[wide.clone()]);
                    let row = |x: &[T], at: usize| -> std::ops::Range<usize> {
                        debug_assert!((at + r + 1) * hidden <= x.len());
                        (at + r) * hidden..(at + r + 1) * hidden
                    };
                    match kind {
                        Cell::RnnTanh | Cell::RnnRelu => {
                            cell::rnn_backward(isa, kind, gates, d_h, d_gates);
                        }
                        Cell::Lstm => {
                            let c = &saved.more[row(&saved.more, at)];
                            let c_before = match before {
                                Some(before) => &saved.more[row(&saved.more, before)],
                                None => {
                                    let c_0 = c_0.expect("`check` saw an LSTM's cell state");
                                    &c_0[row(c_0, first)]
                                }
                            };
                            cell::lstm_backward(
                                isa,
                                gates,
                                c_before,
                                c,
                                d_h,
                                &mut d_c[span],
                                d_gates,
                            );
                        }
                        Cell::Gru => {
                            let hidden_part = &saved.more[row(&saved.more, at)];
                            let h_before = &h_before[row(h_before, at)];
                            let d_hidden = &mut d_hidden[wide];
                            cell::gru_backward(
                                isa,
                                gates,
                                hidden_part,
                                h_before,
                                d_h,
                                d_gates,
                                d_hidden,
                            );
                        }
                    }
                }
                // 2. The state before.
                let (d_sums, write) = if kind == Cell::Gru {
                    (d_hidden, Write::Add)
                } else {
                    (d_gates, Write::Replace)
                };
                let d_sums = MatRef::row_major(d_sums, n, width);
                w_hh.multiply(d_sums, d_h, hidden, write);
            }
            // SAFETY: a task alone writes its samples' first states.
            unsafe {
                d_h_0.part(of_task.clone()).copy_from_slice(d_h);
                d_c_0.part(of_task.clone()).copy_from_slice(d_c);
            }
        });
    });
}

/// The state that each step started from, `[steps, batch, hidden]`.
fn states_before<T: Real>(sequence: Sequence, y: &[T], h_0: &[T]) -> Vec<T> {
    let Sequence {
        steps,
        batch,
        hidden,
        ..
    } = sequence;
    let mut out = vec![T::ZERO; y.len()];
    for order in 0..steps {
        let step = &mut out[sequence.step(order) * batch * hidden..][..batch * hidden];
        let Some(before) = order.checked_sub(1).map(|o| sequence.step(o)) else {
            step.copy_from_slice(h_0);
            continue;
        };
        for b in 0..batch {
            let from = sequence.row(before, b) * hidden;
            step[b * hidden..(b + 1) * hidden].copy_from_slice(&y[from..from + hidden]);
        }
    }
    out
}
