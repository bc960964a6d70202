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
//! | `driver` | the backward pass over a batch, with sums in a fixed order |
//! | [`Upstream`] | the gradient that arrives, through an activation and a pool |

mod driver;
mod geometry;
mod im2col;
pub mod naive;
mod upstream;

pub(crate) use geometry::count;
pub use geometry::{Axis, Geometry, GeometryError};
pub use upstream::{Upstream, fits_fused_pool};

use crate::activation::Activation;
use crate::matmul::Write;
use crate::real::Real;

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
    if y.is_empty() {
        return;
    }
    im2col::forward(g, x, weight, bias, activation, y);
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
    let method = im2col::Im2col { g: *g, weight };
    driver::backward(g, &method, x, upstream, gradients);
}

fn check<T>(g: &Geometry, x: &[T], weight: &[T]) {
    assert_eq!(x.len(), g.input_len(), "input of a convolution");
    assert_eq!(weight.len(), g.weight_len(), "weight of a convolution");
}

#[cfg(test)]
mod tests;
