//! Convolution over one, two or three axes, forward and backward.
//!
//! Dimensions: N batch, C input channels, O output channels, G groups, K kernel taps, P output pixels. The input is
//! `[N, C, depth, height, width]`, the weight `[O, C/G, depth, height, width]`, the output `[N, O, …]`, all row-major.
//!
//! ```text
//! y[n, o, p] = activation(b[o] + Σ_{c, t} w[o, c, t] · x[n, c, p · stride + t · dilation − padding])
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`Geometry`] | the checked shape |
//! | [`naive`] | the definition, as a reference |
//! | `im2col` | windows unrolled into a matrix: any shape, both number types |
//! | `direct` | straight from the padded input with vectors of its own: single precision on x86-64 |
//! | `driver` | the backward pass over a batch, with sums in a fixed order |
//! | [`Upstream`] | the gradient that arrives, through an activation and a pool |

#[cfg(target_arch = "x86_64")]
mod direct;
mod driver;
mod geometry;
mod im2col;
pub mod naive;
mod upstream;

pub(crate) use geometry::count;
pub use geometry::{Axis, Geometry, GeometryError, TransposedAxis};
pub use upstream::Upstream;
use upstream::fits_fused_pool;

use crate::activation::{self, Activation};
use crate::disjoint::Disjoint;
use crate::matmul::Write;
use crate::real::Real;
use crate::{isa, parallel, pool};

/// Where the gradients of a convolution go; one that nobody asked for is `None` and costs nothing.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// Gradient of the input, replaced.
    pub input: Option<&'a mut [T]>,
    /// Gradient of the weight, replaced or added to.
    pub weight: Option<(&'a mut [T], Write)>,
    /// Gradient of the bias, replaced or added to.
    pub bias: Option<(&'a mut [T], Write)>,
}

/// `y = activation(w ∗ x + b)`.
///
/// # Panics
/// If a slice has not the length that the geometry calls for.
pub fn forward<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
) {
    check(g, x, weight);
    assert_eq!(y.len(), g.output_len(), "output of a convolution");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), g.out_channels(), "bias of a convolution");
    }
    let sink = Sink::Whole(Disjoint::new(y));
    forward_into(g, x, weight, bias, activation, &sink);
}

/// `pooled = max_pool(activation(w ∗ x + b))` and which tap of each window won: the sums stay in a thread's scratch, an
/// image and group at a time.
///
/// # Panics
/// As [`forward`], and if the pool is not one over the convolution's output whose taps fit a byte.
pub fn forward_pooled<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    pool: &pool::Geometry,
    pooled: &mut [T],
    taps: &mut [u8],
) {
    check(g, x, weight);
    assert_eq!(pool.input_len(), g.output_len(), "input of a pool");
    assert_eq!(pool.in_pixels(), g.out_pixels(), "plane of a pool");
    assert!(fits_fused_pool(pool), "the taps of a window fit a byte");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), g.out_channels(), "bias of a convolution");
    }
    let sink = Sink::Pooled {
        pool,
        pooled: Disjoint::new(pooled),
        taps: Disjoint::new(taps),
    };
    forward_into(g, x, weight, bias, activation, &sink);
}

/// Where the outputs of a forward pass go.
enum Sink<'a, T> {
    /// To the output.
    Whole(Disjoint<'a, T>),
    /// Through a max pool to its output.
    Pooled {
        pool: &'a pool::Geometry,
        pooled: Disjoint<'a, T>,
        taps: Disjoint<'a, u8>,
    },
}

/// Chooses the way of convolving by the shape, the number type and the instruction set.
fn forward_into<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    sink: &Sink<'_, T>,
) {
    let isa = isa::current();
    #[cfg(target_arch = "x86_64")]
    if direct::serves::<T>(isa, g) {
        return direct::forward(isa, g, x, weight, bias, activation, sink);
    }
    im2col::forward(isa, g, x, weight, bias, activation, sink);
}

/// `y = activation(wᵀ ∗ x + b)`, the transposed convolution: `g` is the convolution that it is the adjoint of, which
/// leads from `y` to `x` ([`Geometry::transposed`]).
///
/// # Panics
/// If a slice has not the length that the geometry calls for.
pub fn transposed_forward<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
) {
    let gradients = Gradients {
        input: Some(&mut *y),
        weight: None,
        bias: None,
    };
    assert_eq!(weight.len(), g.weight_len(), "weight of a convolution");
    let upstream = Upstream::Sum { d_z: x };
    upstream.check(g.output_len());
    // Without a weight gradient the convolution's input is not read.
    dispatch(g, &[], weight, &upstream, gradients);
    let (isa, pixels) = (isa::current(), g.in_pixels().max(1));
    let chunk = parallel::rows_per_task(pixels) * pixels;
    parallel::chunks_mut(y, chunk, |at, y| {
        if let Some(bias) = bias {
            for (i, plane) in y.chunks_exact_mut(pixels).enumerate() {
                let b = bias[(at / pixels + i) % g.in_channels()];
                plane.iter_mut().for_each(|y| *y += b);
            }
        }
        activation::forward_in_place(isa, activation, y);
    });
}

/// The gradients of a transposed convolution, given the one of its weighted sum; `g` is as in [`transposed_forward`].
///
/// # Panics
/// If a slice has not the length that the geometry calls for.
pub fn transposed_backward<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    d_z: &[T],
    gradients: Gradients<'_, T>,
) {
    let Gradients {
        input,
        weight: d_weight,
        bias: d_bias,
    } = gradients;
    if let Some(d_x) = input {
        forward(g, d_z, weight, None, Activation::Identity, d_x);
    }
    if d_weight.is_some() {
        let gradients = Gradients {
            input: None,
            weight: d_weight,
            bias: None,
        };
        backward(g, d_z, weight, &Upstream::Sum { d_z: x }, gradients);
    }
    if let Some((d_bias, write)) = d_bias {
        if write == Write::Replace {
            d_bias.fill(T::ZERO);
        }
        let image = g.in_channels() * g.in_pixels();
        for d_z in d_z.chunks_exact(image.max(1)) {
            crate::slice_sums::add_row_sums(isa::current(), d_z, d_bias);
        }
    }
}

/// The gradients of a convolution, given the one of its output, or of an activation or a pool above it.
///
/// # Panics
/// If a slice has not the length that the geometry calls for.
pub fn backward<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    upstream: &Upstream<'_, T>,
    gradients: Gradients<'_, T>,
) {
    check(g, x, weight);
    upstream.check(g.output_len());
    if let Some(d_x) = &gradients.input {
        assert_eq!(d_x.len(), g.input_len(), "input gradient of a convolution");
    }
    if let Some((d_w, _)) = &gradients.weight {
        assert_eq!(
            d_w.len(),
            g.weight_len(),
            "weight gradient of a convolution"
        );
    }
    if let Some((d_b, _)) = &gradients.bias {
        assert_eq!(
            d_b.len(),
            g.out_channels(),
            "bias gradient of a convolution"
        );
    }
    dispatch(g, x, weight, upstream, gradients);
}

/// Chooses the way of convolving by the shape and the instruction set.
fn dispatch<T: Real>(
    g: &Geometry,
    x: &[T],
    weight: &[T],
    upstream: &Upstream<'_, T>,
    gradients: Gradients<'_, T>,
) {
    #[cfg(target_arch = "x86_64")]
    if direct::serves::<T>(isa::current(), g) {
        return direct::backward(isa::current(), g, x, weight, upstream, gradients);
    }
    let method = im2col::Im2col { g: *g, weight };
    driver::backward(g, &method, x, upstream, gradients);
}

fn check<T>(g: &Geometry, x: &[T], weight: &[T]) {
    assert_eq!(x.len(), g.input_len(), "input of a convolution");
    assert_eq!(weight.len(), g.weight_len(), "weight of a convolution");
}

#[cfg(test)]
mod tests;
