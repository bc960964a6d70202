//! The differentiable operations.
//!
//! Every operation checks its arguments first and allocates afterwards. Arguments that may be parameters are
//! `impl Into<`[`Input`](crate::Input)`>`: a tensor, a variable, or a parameter with its slot. `f32` and `f64` run in kernels;
//! `f16` and `bf16` are computed in `f32` and rounded once at the end.

mod activation;
mod cross_entropy;
mod dropout;
mod linear;
mod norm;
mod prepare;
mod softmax;
#[cfg(test)]
mod testing;

pub use activation::activate;
pub use cross_entropy::{CrossEntropy, Reduction, cross_entropy};
pub use dropout::dropout;
pub use linear::linear;
pub use norm::{BatchNormed, batch_norm, batch_norm_eval, group_norm, layer_norm, rms_norm};
pub use softmax::{log_softmax, softmax};
