//! The equations, one number at a time: the reference of the fast kernels.

use super::{Cell, Sequence, Weights};

/// Every step's state in the order of `x`, and the states after the last step.
#[must_use]
pub fn forward(
    kind: Cell,
    sequence: Sequence,
    x: &[f64],
    weights: Weights<'_, f64>,
    h_0: &[f64],
    c_0: Option<&[f64]>,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let Sequence {
        steps,
        batch,
        input,
        hidden,
        ..
    } = sequence;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut y = vec![0.0; steps * batch * hidden];
    let (mut h, mut c) = (
        h_0.to_vec(),
        c_0.map_or_else(|| vec![0.0; h_0.len()], <[f64]>::to_vec),
    );
    for order in 0..steps {
        let t = if sequence.reverse {
            steps - 1 - order
        } else {
            order
        };
        for b in 0..batch {
            let row = if sequence.batch_first {
                b * steps + t
            } else {
                t * batch + b
            };
            let before = h[b * hidden..(b + 1) * hidden].to_vec();
            let weighted = |w: &[f64], bias: Option<&[f64]>, from: &[f64], k: usize| {
                let n = from.len();
                let sum: f64 = from
                    .iter()
                    .zip(&w[k * n..(k + 1) * n])
                    .map(|(x, w)| x * w)
                    .sum();
                sum + bias.map_or(0.0, |b| b[k])
            };
            let of_input = |k| {
                weighted(
                    weights.w_ih,
                    weights.b_ih,
                    &x[row * input..(row + 1) * input],
                    k,
                )
            };
            let of_state = |k| weighted(weights.w_hh, weights.b_hh, &before, k);
            for j in 0..hidden {
                let gate = |g: usize| of_input(g * hidden + j) + of_state(g * hidden + j);
                let state = &mut h[b * hidden + j];
                match kind {
                    Cell::RnnTanh => *state = gate(0).tanh(),
                    Cell::RnnRelu => *state = gate(0).max(0.0),
                    Cell::Lstm => {
                        let cell = &mut c[b * hidden + j];
                        *cell = sigmoid(gate(1)) * *cell + sigmoid(gate(0)) * gate(2).tanh();
                        *state = sigmoid(gate(3)) * cell.tanh();
                    }
                    Cell::Gru => {
                        let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                        let n = (of_input(2 * hidden + j) + r * of_state(2 * hidden + j)).tanh();
                        *state = (1.0 - z) * n + z * before[j];
                    }
                }
                y[row * hidden + j] = *state;
            }
        }
    }
    (y, h, c)
}
