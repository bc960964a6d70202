//! What happens to one sample in one step besides the products.

use super::Cell;
use crate::real::Real;

multiversion! {
    /// h = f(gates + bias); the gates keep h.
    pub(super) fn rnn_forward<T: Real>(cell: Cell, gates: &mut [T], bias: &[T], h: &mut [T]) {
        let relu = cell == Cell::RnnRelu;
        for ((g, b), h) in gates.iter_mut().zip(bias).zip(h) {
            let sum = *g + *b;
            let y = if relu { sum.maximum(T::ZERO) } else { sum.tanh::<I>() };
            *g = y;
            *h = y;
        }
    }
}

multiversion! {
    /// The gradient of the sum from that of h.
    pub(super) fn rnn_backward<T: Real>(cell: Cell, gates: &[T], d_h: &[T], d_gates: &mut [T]) {
        let relu = cell == Cell::RnnRelu;
        for ((d, g), d_h) in d_gates.iter_mut().zip(gates).zip(d_h) {
            let step = if *g > T::ZERO { T::ONE } else { T::ZERO };
            *d = *d_h * if relu { step } else { T::ONE - *g * *g };
        }
    }
}

/// The parts of `x` that belong to `N` gates.
#[inline(always)]
fn split<const N: usize, T>(x: &[T]) -> [&[T]; N] {
    let n = x.len() / N;
    std::array::from_fn(|i| &x[i * n..(i + 1) * n])
}

#[inline(always)]
fn split4_mut<T>(x: &mut [T]) -> [&mut [T]; 4] {
    let n = x.len() / 4;
    let (a, b) = x.split_at_mut(2 * n);
    let ((a, b), (c, d)) = (a.split_at_mut(n), b.split_at_mut(n));
    [a, b, c, d]
}

#[inline(always)]
fn split3_mut<T>(x: &mut [T]) -> [&mut [T]; 3] {
    let n = x.len() / 3;
    let (a, b) = x.split_at_mut(n);
    let (b, c) = b.split_at_mut(n);
    [a, b, c]
}

multiversion! {
    /// Gates i, f, g, o from their sums; the states c and h move on.
    pub(super) fn lstm_forward<T: Real>(gates: &mut [T], bias: &[T], c: &mut [T], h: &mut [T]) {
        let n = c.len();
        let [i, f, g, o] = split4_mut(gates);
        let [b_i, b_f, b_g, b_o] = split::<4, T>(bias);
        let (i, f, g, o, h) = (&mut i[..n], &mut f[..n], &mut g[..n], &mut o[..n], &mut h[..n]);
        let (b_i, b_f, b_g, b_o) = (&b_i[..n], &b_f[..n], &b_g[..n], &b_o[..n]);
        for j in 0..n {
            let (i_j, f_j) = ((i[j] + b_i[j]).sigmoid::<I>(), (f[j] + b_f[j]).sigmoid::<I>());
            let (g_j, o_j) = ((g[j] + b_g[j]).tanh::<I>(), (o[j] + b_o[j]).sigmoid::<I>());
            let c_j = f_j.mul_add::<I>(c[j], i_j * g_j);
            (i[j], f[j], g[j], o[j]) = (i_j, f_j, g_j, o_j);
            c[j] = c_j;
            h[j] = o_j * c_j.tanh::<I>();
        }
    }
}

multiversion! {
    /// The gradients of the gates' sums; `d_c` moves from this step's cell state to the one before.
    pub(super) fn lstm_backward<T: Real>(
        gates: &[T], c_before: &[T], c: &[T], d_h: &[T], d_c: &mut [T], d_gates: &mut [T],
    ) {
        let n = c.len();
        let [i, f, g, o] = split::<4, T>(gates);
        let [d_i, d_f, d_g, d_o] = split4_mut(d_gates);
        let (i, f, g, o, c_before) = (&i[..n], &f[..n], &g[..n], &o[..n], &c_before[..n]);
        let (d_h, d_c) = (&d_h[..n], &mut d_c[..n]);
        let (d_i, d_f, d_g, d_o) = (&mut d_i[..n], &mut d_f[..n], &mut d_g[..n], &mut d_o[..n]);
        for j in 0..n {
            let squashed = c[j].tanh::<I>();
            let d = d_c[j] + d_h[j] * o[j] * (T::ONE - squashed * squashed);
            d_o[j] = d_h[j] * squashed * o[j] * (T::ONE - o[j]);
            d_i[j] = d * g[j] * i[j] * (T::ONE - i[j]);
            d_g[j] = d * i[j] * (T::ONE - g[j] * g[j]);
            d_f[j] = d * c_before[j] * f[j] * (T::ONE - f[j]);
            d_c[j] = d * f[j];
        }
    }
}

multiversion! {
    /// Gates r, z, n from their sums, where n's hold the input's part alone and `hidden` the state's; h moves on.
    pub(super) fn gru_forward<T: Real>(gates: &mut [T], bias: &[T], hidden: &mut [T], hidden_bias: &[T], h: &mut [T]) {
        let len = h.len();
        let [r, z, n] = split3_mut(gates);
        let [b_r, b_z, b_n] = split::<3, T>(bias);
        let (r, z, n, hidden) = (&mut r[..len], &mut z[..len], &mut n[..len], &mut hidden[..len]);
        let (b_r, b_z, b_n, hidden_bias) = (&b_r[..len], &b_z[..len], &b_n[..len], &hidden_bias[..len]);
        for j in 0..len {
            let (r_j, z_j) = ((r[j] + b_r[j]).sigmoid::<I>(), (z[j] + b_z[j]).sigmoid::<I>());
            let hidden_j = hidden[j] + hidden_bias[j];
            let n_j = (n[j] + b_n[j] + r_j * hidden_j).tanh::<I>();
            (r[j], z[j], n[j], hidden[j]) = (r_j, z_j, n_j, hidden_j);
            h[j] = n_j + z_j * (h[j] - n_j);
        }
    }
}

multiversion! {
    /// The gradients of the input's sums (`d_gates`) and of the state's (`d_hidden`, which differ in n); `d_h` becomes
    /// the part that the state before gets directly.
    pub(super) fn gru_backward<T: Real>(
        gates: &[T], hidden: &[T], h_before: &[T], d_h: &mut [T], d_gates: &mut [T], d_hidden: &mut [T],
    ) {
        let len = d_h.len();
        let [r, z, n] = split::<3, T>(gates);
        let (r, z, n, hidden, h_before) = (&r[..len], &z[..len], &n[..len], &hidden[..len], &h_before[..len]);
        {
            let [d_r, d_z, d_n] = split3_mut(d_gates);
            let (d_r, d_z, d_n) = (&mut d_r[..len], &mut d_z[..len], &mut d_n[..len]);
            for j in 0..len {
                let d = d_h[j];
                d_n[j] = d * (T::ONE - z[j]) * (T::ONE - n[j] * n[j]);
                d_z[j] = d * (h_before[j] - n[j]) * z[j] * (T::ONE - z[j]);
                d_r[j] = d_n[j] * hidden[j] * r[j] * (T::ONE - r[j]);
                d_h[j] = d * z[j];
            }
        }
        d_hidden[..2 * len].copy_from_slice(&d_gates[..2 * len]);
        for ((d, d_n), r) in d_hidden[2 * len..].iter_mut().zip(&d_gates[2 * len..]).zip(r) {
            *d = *d_n * *r;
        }
    }
}
