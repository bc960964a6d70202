//! Convolution as its definition says, kept as the reference of the fast kernels.
//!
//! ```text
//! y[n, o, p] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, p · stride + t · dilation − padding], zero outside the input
//! ```

use super::Geometry;
use crate::real::Real;

/// Calls `f(output, input, weight)` with the flat indices of every product that the convolution adds up.
fn for_each_product(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let axes = g.axes();
    let (per_in, per_out) = (g.in_per_group(), g.out_per_group());
    // The input position that tap `t` of window `p` reads, if it is not padding.
    let read = |i: usize, p: usize, t: usize| {
        (p * axes[i].stride + t * axes[i].dilation)
            .checked_sub(axes[i].padding[0])
            .filter(|&at| at < axes[i].input)
    };
    let mut output = 0;
    for n in 0..g.batch() {
        for o in 0..g.out_channels() {
            for p in positions(g.output()) {
                for c in 0..per_in {
                    let channel = n * g.in_channels() + o / per_out * per_in + c;
                    for (tap, t) in positions(axes.map(|axis| axis.kernel)).enumerate() {
                        let (Some(d), Some(h), Some(w)) = (
                            read(0, p[0], t[0]),
                            read(1, p[1], t[1]),
                            read(2, p[2], t[2]),
                        ) else {
                            continue;
                        };
                        let input =
                            ((channel * axes[0].input + d) * axes[1].input + h) * axes[2].input + w;
                        f(output, input, (o * per_in + c) * g.taps() + tap);
                    }
                }
                output += 1;
            }
        }
    }
}

/// Every position of a box, the last axis fastest.
fn positions(sizes: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = sizes;
    (0..depth).flat_map(move |d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w])))
}

/// `y = w ∗ x + b`, without an activation.
pub fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T]) {
    for (i, y) in y.iter_mut().enumerate() {
        let o = i / g.out_pixels() % g.out_channels();
        *y = bias.map_or(T::ZERO, |bias| bias[o]);
    }
    for_each_product(g, |output, input, w| y[output] += weight[w] * x[input]);
}

/// `d_x = ∂/∂x (w ∗ x) · d_y`
pub fn backward_input<T: Real>(g: &Geometry, weight: &[T], d_y: &[T], d_x: &mut [T]) {
    d_x.fill(T::ZERO);
    for_each_product(g, |output, input, w| d_x[input] += weight[w] * d_y[output]);
}

/// `d_w = ∂/∂w (w ∗ x) · d_y`
pub fn backward_weight<T: Real>(g: &Geometry, x: &[T], d_y: &[T], d_weight: &mut [T]) {
    d_weight.fill(T::ZERO);
    for_each_product(g, |output, input, w| d_weight[w] += x[input] * d_y[output]);
}

/// `d_b[o] = Σ_{n, p} d_y[n, o, p]`
pub fn backward_bias<T: Real>(g: &Geometry, d_y: &[T], d_bias: &mut [T]) {
    d_bias.fill(T::ZERO);
    for (i, d_y) in d_y.iter().enumerate() {
        d_bias[i / g.out_pixels() % g.out_channels()] += *d_y;
    }
}
